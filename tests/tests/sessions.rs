//! Stories of sessions that break at a bad moment, of relays that keep something back, and of joins that fail.

use std::time::Duration;

use tombolo::crypto::InviteLink;
use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::frame::{Close, Frame};
use tombolo::protocol::ids::WorkspaceId;
use tombolo::protocol::record::Role;
use tombolo::InviteTerms;
use tombolo_tests::lies::{self, Lie};
use tombolo_tests::{Net, RelayNode, Replica};

const RELAY: RelayNode = RelayNode::FIRST;

fn invite(net: &mut Net, host: Replica, workspace: WorkspaceId) -> InviteLink {
    let terms = InviteTerms { role: Role::Writer, expires_ms: None, uses: Some(1) };
    let made = net.act(host, |engine, now, tx| engine.invite(now, &workspace, terms, tx));
    let Ok(Some(link)) = made else { unreachable!("an invite is made") };
    net.run_until_quiet();
    link
}

/// Keeps one workspace from opening: nothing about it reaches the device.
fn never_opens(workspace: WorkspaceId) -> Lie {
    let mut hidden = None;
    lies::rewrite(move |frame| {
        let about = match &frame {
            Frame::Opened(opened) if opened.workspace == workspace.tag() => {
                hidden = Some(opened.channel);
                true
            }
            Frame::Items(items) => Some(items.channel) == hidden,
            Frame::Head(head) => Some(head.channel) == hidden,
            Frame::Status(status) => Some(status.channel) == hidden,
            _ => false,
        };
        if about { Vec::new() } else { vec![frame] }
    })
}

#[test]
fn a_relay_that_lost_its_key_is_succeeded_in_every_workspace_though_the_first_session_breaks() {
    let mut net = Net::seeded(50);
    let [alice, bob] = ["alice", "bob"].map(|name| net.device(name));
    net.found(alice);
    let made = net.act(alice, |engine, now, tx| engine.create_workspace(now, "Second", tx));
    let second = made.unwrap().unwrap();
    net.run_until_quiet();
    let link = invite(&mut net, alice, second);
    net.wipe_relay(RELAY);
    net.lie(RELAY, never_opens(second));
    net.run_for(Duration::from_secs(120));
    assert!(alice.was_told(&net, |event| matches!(event, Event::RelayReplaced { .. })));
    assert!(alice.debt(&mut net).is_settled(), "the first workspace is healed");
    alice.crash(&mut net);
    net.honest(RELAY);
    net.run_until_quiet();
    alice.crash(&mut net);
    net.run_until_quiet();
    bob.take_invite(&mut net, link);
    net.run_until_quiet();
    let joined = |event: &Event| matches!(event, Event::Joined { workspace } if *workspace == second);
    assert!(bob.was_told(&net, joined), "{:?}", bob.events(&net));
}

/// Says that the session is over before the relay could prove its key.
fn turned_away_before_the_proof(code: CloseCode) -> Lie {
    lies::rewrite(move |frame| match frame {
        Frame::Challenge(_) => {
            vec![Close { code: code.number(), retry_after_ms: Some(u32::MAX), version: None }.into()]
        }
        frame => vec![frame],
    })
}

#[test]
fn a_refusal_that_anybody_could_have_forged_keeps_no_device_away() {
    for code in [CloseCode::NotAdmitted, CloseCode::UnsupportedVersion, CloseCode::Overloaded] {
        let mut net = Net::seeded(51);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        net.lie(RELAY, turned_away_before_the_proof(code));
        net.restart_relay(RELAY);
        net.run_for(Duration::from_secs(300));
        let states = net.act(alice, |engine, now, _| Ok(engine.relay_states(now))).unwrap().unwrap();
        let hearsay = |state: &RelayState| match state {
            RelayState::Offline { retry_in: Some(_), reason, proven } => *reason == Some(OfflineReason::Ended(code)) && !proven,
            state => *state == RelayState::Dialling,
        };
        assert!(states.iter().all(|(_, state)| hearsay(state)), "{states:?}");
        let told = |event: &Event| matches!(event, Event::Relay { state, .. } if hearsay(state));
        assert!(alice.was_told(&net, told));
        alice.edit(&mut net, "meanwhile");
        net.honest(RELAY);
        net.run_for(Duration::from_secs(120));
        net.run_until_quiet();
        net.assert_converged([alice, bob]);
    }
}
