//! Links in the wrong hands, relays that lie to who joins, and invites that two relays are asked for.

use std::time::Duration;

use tombolo::crypto::{UserRoot, array};
use tombolo::engine::Event;
use tombolo::protocol::frame::Frame;
use tombolo::protocol::keys::VerifyKey;
use tombolo::protocol::record::{Draft, Genesis, Record, RecordBody, Role};
use tombolo::{JoinRefusal, MembershipAct, SetAsideReason, WorkspaceState};
use tombolo_tests::lies;
use tombolo_tests::{Chance, Net, Replica};

use crate::support::{RELAY, invite, others_go_on, role, scene, stated, twin, user};

fn joined(event: &Event) -> bool {
    matches!(event, Event::Joined { .. })
}

fn state(net: &mut Net, replica: Replica) -> WorkspaceState {
    let workspace = net.workspace();
    net.act(replica, |engine, _, _| engine.workspace_state(&workspace)).unwrap().unwrap()
}

#[test]
fn case_59_a_removed_member_does_not_come_back_by_the_link_that_was_kept() {
    let mut net = Net::seeded(59);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let link = invite(&mut net, alice, Role::Writer, None);
    let mallory = net.device("mallory");
    mallory.take_invite(&mut net, twin(&link));
    net.run_until_quiet();
    let mallorys = user(&net, mallory);
    assert_eq!(role(&mut net, alice, mallorys), Some(Role::Writer));
    stated(&mut net, alice, MembershipAct::Remove { user: mallorys });
    // By the same device, and by another under another name.
    mallory.kill(&mut net);
    let again = net.device("again");
    let key = link.secret.box_secret();
    let id = link.invite;
    again.take_invite(&mut net, link);
    net.run_for(Duration::from_secs(300));
    let ended = |event: &Event| matches!(event, Event::JoinRefused { reason: Some(JoinRefusal::Ended), .. });
    assert!(again.was_told(&net, ended), "{:?}", again.events(&net));
    assert_eq!(state(&mut net, again), WorkspaceState::Refused(JoinRefusal::Ended));
    assert!(net.metric(RELAY, "enters_refused_total") > 0);
    let agains = user(&net, again);
    for replica in [alice, bob] {
        assert_eq!((role(&mut net, replica, mallorys), role(&mut net, replica, agains)), (None, None));
    }
    // No later epoch is wrapped to it.
    let membership = net.membership(RELAY);
    let epoch = membership.view().epoch().unwrap();
    for record in membership.in_order() {
        let Some((wrapped, wraps)) = record.body().wraps().filter(|(wrapped, _)| *wrapped == epoch) else { continue };
        assert!(wraps.iter().all(|wrap| wrap.recipient != *id.as_bytes()));
        let opens = |wrap| tombolo::crypto::unwrap_epoch(&membership.workspace(), &wrapped, wrap, &key).is_ok();
        assert!(!wraps.iter().any(opens));
    }
    others_go_on(&mut net, &[alice, bob]);
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
}

#[test]
fn case_60_who_joins_by_a_link_takes_no_genesis_but_the_one_it_names() {
    let mut story = scene(60, Role::Writer);
    let [alice, bob] = story.honest;
    let secrets = story.rogue.secrets().public();
    let root = UserRoot::from_seed(&[3; 32]);
    let genesis = Genesis {
        nonce: array(&mut Chance::new(60, "genesis")),
        root: VerifyKey::parse(&root.sign_key().public()).unwrap(),
        device: secrets,
        blinding_commitment: [5; 32],
    };
    let draft = Draft {
        workspace: Record::NO_WORKSPACE,
        generation: 0,
        time_ms: 0,
        author: secrets.id(),
        parents: Vec::new(),
        body: RecordBody::Genesis(Box::new(genesis)),
        secret: Vec::new(),
    };
    let made_up = Record::sign(draft, story.rogue.secrets().sign_key()).unwrap().encode();
    let link = alice.invite(&mut story.net, Role::Writer);
    let carol = story.net.device("carol");
    story.net.lie(
        RELAY,
        lies::rewrite(move |frame| match frame {
            Frame::Ground(mut ground) => {
                ground.records = vec![made_up.clone().into()];
                ground.attestations = Vec::new();
                ground.more = false;
                vec![ground.into()]
            }
            frame => vec![frame],
        }),
    );
    carol.take_invite(&mut story.net, link);
    story.net.run_for(Duration::from_secs(120));
    assert!(!carol.was_told(&story.net, joined));
    assert!(carol.counted(&story.net, SetAsideReason::RecordRefused) > 0, "{:?}", carol.events(&story.net));
    let workspace = story.net.workspace();
    let members = story.net.act(carol, |engine, _, _| engine.members(&workspace)).unwrap().unwrap();
    assert!(members.is_empty(), "{members:?}");
    story.net.honest(RELAY);
    story.net.run_for(Duration::from_secs(120));
    assert!(carol.was_told(&story.net, joined), "with the true one she comes in");
    others_go_on(&mut story.net, &[alice, bob, carol]);
    story.net.run_until_quiet();
    story.net.assert_converged([alice, bob, carol]);
}

#[test]
fn case_61_of_two_who_take_one_place_at_two_relays_the_counting_one_decides() {
    let mut net = Net::seeded(61);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let second = net.add_relay();
    for replica in [alice, bob] {
        net.dial_relay(replica, second);
    }
    net.run_until_quiet();
    let link = invite(&mut net, alice, Role::Writer, Some(1));
    let (carol, dave) = (net.device("carol"), net.device("dave"));
    net.cut_from(carol, second);
    net.cut_from(dave, RELAY);
    net.dial_relay(dave, second);
    carol.take_invite(&mut net, twin(&link));
    dave.take_invite(&mut net, link);
    net.run_for(Duration::from_secs(300));
    let (carols, daves) = (user(&net, carol), user(&net, dave));
    assert!(carol.was_told(&net, joined));
    assert!(!dave.was_told(&net, joined));
    let told = |event: &Event| matches!(event, Event::JoinRefused { .. });
    assert!(dave.was_told(&net, told), "{:?}", dave.events(&net));
    for replica in [alice, bob] {
        assert_eq!((role(&mut net, replica, carols), role(&mut net, replica, daves)), (Some(Role::Writer), None));
    }
    // Once dave reaches the relay that counts, it is for good.
    net.heal();
    net.run_for(Duration::from_secs(300));
    assert_eq!(state(&mut net, dave), WorkspaceState::Refused(JoinRefusal::UsedUp));
    dave.kill(&mut net);
    others_go_on(&mut net, &[alice, bob, carol]);
    net.run_until_quiet();
    net.assert_converged([alice, bob, carol]);
}
