//! A member who does more than the role allows, and one who is to carry and not to read.

use std::time::Duration;

use tombolo::SetAsideReason;
use tombolo::protocol::frame::RefusalReason;
use tombolo::protocol::ids::Stream;
use tombolo::protocol::record::Role;
use tombolo_tests::Rogue;

use crate::support::{AUTOMERGE, POISON, RELAY, scene, set_role};

#[test]
fn case_14_a_reader_who_writes_all_the_same_is_refused_and_if_the_relay_colludes_set_aside() {
    writes_beyond_the_role(14, Role::Reader);
}

#[test]
fn case_15_a_commenter_who_writes_content_is_refused_and_if_the_relay_colludes_set_aside() {
    writes_beyond_the_role(15, Role::Commenter);
}

#[test]
fn who_may_only_comment_has_what_was_commented_stored_by_everybody_and_no_word_in_the_content() {
    let mut story = scene(150, Role::Commenter);
    let target = story.target;
    let asked = story.mallory.try_edit(&mut story.net, target, "content");
    assert!(matches!(asked, Err(tombolo::Error::RoleDenied)), "{asked:?}");
    // An app of a later version, which comments.
    let mut draft = story.rogue.draft(target);
    draft.chain.stream = Stream::COMMENTS;
    let comment = story.rogue.seal_draft(draft, &Rogue::body(AUTOMERGE, &[b"well said".to_vec()]));
    assert_eq!(story.append_entries(std::slice::from_ref(&comment)), []);
    assert_eq!(story.set_aside(), []);
    // Those who can not show it keep it all the same: a relay that lost everything has it from them.
    story.mallory.kill(&mut story.net);
    story.net.lose_log(RELAY);
    story.net.run_for(Duration::from_secs(300));
    assert!(story.net.entries(RELAY).iter().any(|entry| entry.hash() == comment.hash()));
    story.ends();
}

fn writes_beyond_the_role(seed: u64, role: Role) {
    let mut story = scene(seed, role);
    let target = story.target;
    let asked = story.mallory.try_edit(&mut story.net, target, "forbidden");
    assert!(matches!(asked, Err(tombolo::Error::RoleDenied)), "{asked:?}");
    let entry = story.rogue.seal(target, AUTOMERGE, &POISON);
    assert_eq!(story.append_entries(std::slice::from_ref(&entry)), [RefusalReason::RoleDenied]);
    assert_eq!(story.net.refused(RELAY, "role_denied"), 1);
    assert_eq!(story.set_aside(), []);
    story.net.plant_entry(RELAY, &entry);
    story.net.run_until_quiet();
    assert_eq!(story.set_aside(), [SetAsideReason::RoleDenied]);
    story.assert_counted(SetAsideReason::RoleDenied, 1);
    story.ends();
}

#[test]
fn case_16_a_carrier_holds_what_it_can_not_open() {
    let mut story = scene(16, Role::Writer);
    let carrier = story.net.device("carrier");
    let honest = story.honest;
    story.net.join(honest[0], carrier, Role::Carrier);
    honest[1].edit(&mut story.net, "a secret of the tide");
    story.net.run_for(Duration::from_secs(120));
    let workspace = story.net.workspace();
    let documents = story.net.act(carrier, |engine, _, tx| engine.documents(&workspace, tx));
    assert_eq!(documents.unwrap().unwrap(), [], "it does not even know what there is");
    let target = story.target;
    let read = story.net.act(carrier, |engine, now, tx| engine.read(now, &target, |view| view.keys(), tx));
    assert!(read.is_err());
    assert!(carrier.counted(&story.net, SetAsideReason::PendingKey) > 0);
    // All of it lies there: it can bring it to a relay that has lost everything.
    for replica in honest {
        story.net.cut(replica);
    }
    story.net.lose_log(RELAY);
    story.net.run_for(Duration::from_secs(300));
    assert!(!story.net.entries(RELAY).is_empty());
    story.net.heal();
    story.ends();
    // Who is made a reader is given the keys, and what was carried opens.
    set_role(&mut story.net, honest[0], carrier, Role::Reader);
    assert!(carrier.has(&mut story.net, target, "a secret of the tide"));
}
