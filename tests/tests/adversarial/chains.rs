//! A member whose chain lies: about the epoch, about the members it stands on, or in two branches.

use tombolo::SetAsideReason;
use tombolo::protocol::frame::RefusalReason;
use tombolo::protocol::record::Role;
use tombolo_tests::Rogue;

use crate::support::{AUTOMERGE, POISON, RELAY, scene, set_role};

fn poison() -> tombolo::crypto::Body {
    Rogue::body(AUTOMERGE, &[POISON.to_vec()])
}

#[test]
fn case_28_an_entry_is_sealed_with_the_epoch_of_the_members_it_stands_on_or_not_taken() {
    let mut story = scene(28, Role::Writer);
    let [alice, bob] = story.honest;
    // A reader's keys are taken away and given back: a new epoch begins for all.
    set_role(&mut story.net, alice, bob, Role::Carrier);
    set_role(&mut story.net, alice, bob, Role::Writer);
    let membership = story.net.membership(RELAY);
    story.rogue.stand_on(membership.head().unwrap());
    let old_epoch = story.rogue.seal(story.target, AUTOMERGE, &POISON);
    assert_ne!(Some(old_epoch.header().epoch), membership.view().epoch());
    assert_eq!(story.append_entries(std::slice::from_ref(&old_epoch)), [RefusalReason::EpochMismatch]);
    assert_eq!(story.net.refused(RELAY, "epoch_mismatch"), 1);
    story.net.plant_entry(RELAY, &old_epoch);
    story.net.run_until_quiet();
    assert_eq!(story.set_aside(), [SetAsideReason::EpochMismatch]);
    story.assert_counted(SetAsideReason::EpochMismatch, 1);
    story.ends();
}

#[test]
fn case_29_a_chain_does_not_go_back_to_older_members() {
    let mut story = scene(29, Role::Writer);
    let older = story.net.membership(RELAY).head().unwrap();
    // An invite changes the members' log and no key.
    drop(story.honest[0].invite(&mut story.net, Role::Reader));
    let newer = story.net.membership(RELAY).head().unwrap();
    assert_ne!(older, newer);
    story.rogue.stand_on(newer);
    let draft = story.rogue.draft(story.target);
    let first = story.rogue.seal_draft(draft.clone(), &poison());
    let back = tombolo::crypto::EntryDraft { seq: 2, prev: first.hash(), members_head: older, ..draft };
    let second = story.rogue.seal_draft(back, &poison());
    let said = story.append_entries(&[first.clone(), second.clone()]);
    assert_eq!(said, [RefusalReason::MembershipRegression]);
    assert_eq!(story.net.refused(RELAY, "membership_regression"), 1);
    story.net.plant_entry(RELAY, &second);
    story.net.run_until_quiet();
    assert_eq!(story.set_aside(), [SetAsideReason::MembershipRegression, SetAsideReason::Poison]);
    story.assert_counted(SetAsideReason::MembershipRegression, 1);
    story.ends();
}
