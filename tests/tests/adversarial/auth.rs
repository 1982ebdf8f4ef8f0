//! Somebody who wants a session that is not theirs.

use std::time::Duration;

use tombolo::Milestone;
use tombolo::document::Crdt;
use tombolo::engine::OfflineReason;
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::frame::{Frame, Hello};
use tombolo::protocol::record::Role;
use tombolo_tests::lies;

use crate::between::{Behind, between, by_name, certificate, refusal, replica, soon, tls_relay, trusting};
use crate::support::{scene, turned_away};

#[tokio::test(flavor = "multi_thread")]
async fn case_36_a_proof_that_somebody_between_hands_on_is_worth_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (own, his) = (certificate("localhost"), certificate("localhost"));
    let relay = tls_relay(folder.path(), &own).await;
    let alice = replica(&folder, "alice", &[&own, &his]).await;
    let workspace = alice.create_workspace("Field notes").await.unwrap();
    let address = by_name(between(&his, Behind::Tls(relay.address, trusting(&own))).await);
    assert_eq!(refusal(&alice, &address, false).await, OfflineReason::Ended(CloseCode::AuthFailed));
    // To allow a proxy does not help him: this relay wants the exporter.
    assert_eq!(refusal(&alice, &address, true).await, OfflineReason::Ended(CloseCode::AuthFailed));
    assert!(!workspace.sync_debt().await.unwrap().confirmed);
    alice.dial(&by_name(relay.address)).await.unwrap();
    soon("alice is in step by the straight way", workspace.settled()).await.unwrap();
    // What was written meanwhile was his to hear neither by content nor at all.
    let document = workspace.create_document(Crdt::Yrs).await.unwrap();
    document.edit(|edit| edit.put("goes", "on")).await.unwrap();
    soon("the document goes on", document.wait_for(Milestone::RelayDurable)).await.unwrap();
}

#[test]
fn case_37_a_stolen_token_and_name_are_no_session_without_the_key() {
    let mut story = scene(37, Role::Writer);
    let alice = story.honest[0].secrets(&story.net).public();
    let (sign_public, box_public) = (alice.sign.to_bytes(), alice.box_public);
    story.net.patch(
        story.mallory,
        lies::rewrite(move |frame| match frame {
            Frame::Hello(hello) => {
                let token = Some("stolen".to_owned());
                vec![Hello { sign_public, box_public, token, ..hello }.into()]
            }
            frame => vec![frame],
        }),
    );
    story.mallory.crash(&mut story.net);
    story.net.run_for(Duration::from_secs(60));
    assert!(story.mallory.was_told(&story.net, |event| turned_away(event, CloseCode::AuthFailed)));
    story.mallory.kill(&mut story.net);
    story.ends();
}
