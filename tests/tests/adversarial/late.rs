//! Members who come late: whose time was over when their work came, or whose view of others was old; and whoever
//! seals where two removals meet that nobody has brought together yet.

use std::time::Duration;

use tombolo::crypto::{Body, Dep, DeviceSecrets};
use tombolo::document::{Crdt, MapEdit};
use tombolo::protocol::ids::{DocumentId, UserId};
use tombolo::protocol::membership::View;
use tombolo::protocol::record::{RecordBody, Role};
use tombolo::{LinkWay, MembershipAct, SetAsideReason};
use tombolo_tests::world::device_secrets;
use tombolo_tests::{Net, Replica, Rogue};

use crate::removal::{part, with_two_relays};
use crate::support::{
    AUTOMERGE, POISON, RELAY, Scene, go_on, invite, others_go_on, role, scene, set_aside, set_role, stated, twin, user,
};

#[test]
fn case_33_what_a_guest_dates_back_after_the_sweep_is_beyond_the_pins_of_it() {
    let mut story = scene(133, Role::Writer);
    let ([alice, bob], guest) = (story.honest, user(&story.net, story.mallory));
    story.mallory.edit(&mut story.net, "in time");
    story.net.run_until_quiet();
    let friday = story.net.now().wall_ms + 3_600_000;
    let granted = MembershipAct::SetRole { user: guest, role: Role::Writer, expires_ms: Some(friday) };
    let granted = stated(&mut story.net, alice, granted);
    story.net.cut(story.mallory);
    story.net.run_for(Duration::from_secs(3700));
    bob.edit(&mut story.net, "friday");
    story.net.run_for(Duration::from_secs(60));
    assert_eq!(role(&mut story.net, alice, guest), None, "the sweep has come");
    // It stands on the grant as it was, and a relay that helps takes it in.
    story.rogue.stand_on(granted);
    let late = story.rogue.seal(story.target, AUTOMERGE, &POISON);
    story.net.plant_entry(RELAY, &late);
    story.net.run_for(Duration::from_secs(60));
    assert_eq!(story.set_aside(), [SetAsideReason::BeyondPin], "it is not even looked into");
    story.assert_counted(SetAsideReason::BeyondPin, 1);
    for replica in [alice, bob] {
        assert!(replica.has(&mut story.net, story.target, "in time"));
        replica.assert_sound(&story.net);
    }
    others_go_on(&mut story.net, &[alice, bob]);
    story.net.assert_equal(&[alice, bob]);
}

#[test]
fn case_53_where_two_removals_meet_nothing_is_sealed_before_an_epoch_that_follows_both() {
    let names = ["alice", "ben", "cleo", "xaver", "yoko", "rita"];
    let (mut net, [alice, ben, cleo, xaver, yoko, rita], second) = with_two_relays(53, names);
    let mallory = net.device("mallory");
    let link = invite(&mut net, alice, Role::Writer, Some(1));
    let again = twin(&link);
    mallory.take_invite(&mut net, link);
    net.run_until_quiet();
    for (who, role) in [(ben, Role::Admin), (cleo, Role::Admin), (mallory, Role::Admin), (rita, Role::Reader)] {
        set_role(&mut net, alice, who, role);
    }
    let mut rogue = Rogue::of(&net, mallory, &again);
    let [x, y] = [xaver, yoko].map(|replica| user(&net, replica));
    part(&mut net, ben, cleo, &[alice, xaver, yoko, rita, mallory], second);
    stated(&mut net, ben, MembershipAct::Remove { user: x });
    stated(&mut net, cleo, MembershipAct::Remove { user: y });
    // Rita alone brings the two together, and a reader draws no keys: there is no epoch where they meet.
    for replica in [alice, ben, cleo, xaver, yoko, mallory] {
        replica.kill(&mut net);
    }
    net.heal();
    net.run_for(Duration::from_secs(120));
    let membership = net.membership(RELAY);
    let heads: Vec<_> = membership.heads().iter().copied().collect();
    assert_eq!((heads.len(), membership.view().epoch()), (2, None), "nobody who may draw keys has been there");
    let meeting = rogue.state_on(&membership, &heads, RecordBody::Admit(Vec::new()));
    rogue.learn_epochs(&membership);
    rogue.stand_on(meeting.id());
    let [target, other] = net.documents()[..].try_into().unwrap();
    let sealed = rogue.seal(target, AUTOMERGE, &POISON);
    net.plant_record(RELAY, &meeting);
    net.plant_entry(RELAY, &sealed);
    net.run_for(Duration::from_secs(120));
    assert_eq!(net.membership(RELAY).view_at(&meeting.id()).map(View::epoch), Some(None));
    assert_eq!(set_aside(&mut net, rita), [SetAsideReason::EpochMismatch]);
    // Once by her, and once by the second relay, to which she brings what she holds.
    assert_eq!(rita.counted(&net, SetAsideReason::EpochMismatch), 2);
    rita.assert_sound(&net);
    // Alice comes, and draws keys that follow both: the other document goes on, and it stays aside.
    net.start(alice);
    net.run_for(Duration::from_secs(120));
    alice.try_edit(&mut net, other, "healed").unwrap();
    net.run_for(Duration::from_secs(120));
    for replica in [alice, rita] {
        assert!(replica.has(&mut net, other, "healed"), "{replica:?}");
        assert_eq!(set_aside(&mut net, replica), [SetAsideReason::EpochMismatch], "{replica:?}");
        replica.assert_sound(&net);
    }
    net.assert_equal(&[alice, rita]);
}

#[test]
fn case_64_a_removal_with_old_pins_keeps_what_others_built_on_and_holds_above() {
    let (mut net, [alice, ben, carol, xenia], second) = with_two_relays(64, ["alice", "ben", "carol", "xenia"]);
    let gone = user(&net, xenia);
    set_role(&mut net, alice, ben, Role::Admin);
    xenia.edit(&mut net, "before he left");
    net.run_until_quiet();
    // Ben is away for days; his pins stay where they are.
    net.cut(ben);
    net.cut_from(alice, second);
    net.cut_from(carol, second);
    net.cut_from(xenia, second);
    net.run_for(Duration::from_secs(3 * 24 * 3600));
    xenia.edit(&mut net, "built on");
    net.run_for(Duration::from_secs(60));
    carol.edit(&mut net, "on top of it");
    net.run_for(Duration::from_secs(60));
    net.cut(alice);
    net.cut(carol);
    net.run_for(Duration::from_secs(60));
    xenia.edit(&mut net, "nobody has seen it");
    net.run_for(Duration::from_secs(60));
    net.heal_to(ben, second);
    net.run_for(Duration::from_secs(60));
    stated(&mut net, ben, MembershipAct::Remove { user: gone });
    net.heal();
    net.run_for(Duration::from_secs(600));
    let document = net.documents()[0];
    for replica in [alice, ben, carol] {
        assert_eq!(role(&mut net, replica, gone), None);
        for word in ["before he left", "built on", "on top of it"] {
            assert!(replica.has(&mut net, document, word), "{replica:?} {word}");
        }
        assert!(!replica.has(&mut net, document, "nobody has seen it"), "{replica:?}");
        assert_eq!(set_aside(&mut net, replica), [SetAsideReason::BeyondPin; 2]);
        assert!(replica.counted(&net, SetAsideReason::BeyondPin) >= 2);
        replica.assert_sound(&net);
    }
    net.assert_equal(&[alice, ben, carol]);
    xenia.kill(&mut net);
    let other = alice.create(&mut net, Crdt::Automerge);
    net.run_for(Duration::from_secs(60));
    go_on(&mut net, &[alice, ben, carol], other);
}

/// In the name of a first device, an entry stands on a ninth of a second's, which there is not; then both are removed, and the
/// second goes on to write up to its ninth.
fn names_ahead(scene: Scene, first: DeviceSecrets, second: Replica, gone: &[UserId]) {
    let Scene { mut net, honest: [alice, bob], mallory, mut rogue, target } = scene;
    rogue.act_as(device_secrets(&net, second));
    rogue.stand_on(net.membership(RELAY).head().unwrap());
    let mut draft = rogue.draft(target);
    let second_is = device_secrets(&net, second);
    rogue.act_as(first);
    let own = rogue.draft(target);
    let ahead = Dep { chain: draft.chain.id(), seq: 9, hash_prefix: [7; 8] };
    let body = Body { deps: vec![ahead], ..Rogue::body(AUTOMERGE, &[]) };
    let leans = rogue.seal_draft(own, &body);
    net.plant_entry(RELAY, &leans);
    net.run_for(Duration::from_secs(60));
    for replica in [mallory, second] {
        replica.kill(&mut net);
    }
    for user in gone {
        stated(&mut net, alice, MembershipAct::Remove { user: *user });
    }
    net.run_for(Duration::from_secs(60));
    rogue.act_as(second_is);
    for seq in 1..=9 {
        draft.seq = seq;
        let late = rogue.seal_draft(draft.clone(), &Rogue::body(AUTOMERGE, &[]));
        draft.prev = late.hash();
        net.plant_entry(RELAY, &late);
        net.run_for(Duration::from_secs(30));
        for replica in [alice, bob] {
            let aside = set_aside(&mut net, replica);
            assert_eq!(aside, vec![SetAsideReason::BeyondPin; seq as usize], "{replica:?}");
        }
    }
    others_go_on(&mut net, &[alice, bob]);
    net.assert_equal(&[alice, bob]);
}

#[test]
fn who_is_removed_with_two_devices_lets_in_with_one_nothing_that_the_other_writes_later() {
    let mut scene = scene(65, Role::Writer);
    let phone = scene.net.device("phone");
    scene.net.link(scene.mallory, phone, LinkWay::Scan);
    scene.net.run_for(Duration::from_secs(60));
    let (first, gone) = (scene.mallory.secrets(&scene.net), user(&scene.net, scene.mallory));
    names_ahead(scene, first, phone, &[gone]);
}

#[test]
fn of_two_who_are_removed_one_lets_in_nothing_that_the_other_writes_later() {
    let mut scene = scene(67, Role::Writer);
    let nick = scene.net.device("nick");
    let link = invite(&mut scene.net, scene.honest[0], Role::Writer, Some(1));
    nick.take_invite(&mut scene.net, link);
    scene.net.run_for(Duration::from_secs(60));
    let gone = [scene.mallory, nick].map(|replica| user(&scene.net, replica));
    let first = scene.mallory.secrets(&scene.net);
    names_ahead(scene, first, nick, &gone);
}

/// Writes a word as a key, and at the end of a text: so it stands on whatever stands there.
fn append(net: &mut Net, who: Replica, document: DocumentId, (key, text): (&str, &str)) {
    let begin = |edit: &mut MapEdit<'_>| {
        edit.put(key, 1)?;
        if text.is_empty() { Ok(()) } else { edit.text("body")?.push_str(text) }
    };
    net.act(who, |engine, now, tx| engine.edit(now, &document, begin, tx)).unwrap().unwrap();
}

#[test]
fn what_stands_on_nothing_that_was_cut_off_shows_though_what_was_made_right_behind_it_does_not() {
    let (mut net, [alice, bob], second) = with_two_relays(66, ["alice", "bob"]);
    let document = net.documents()[1];
    bob.edit(&mut net, "early");
    net.run_until_quiet();
    net.cut_from(alice, second);
    net.cut_from(bob, RELAY);
    net.run_for(Duration::from_secs(60));
    append(&mut net, bob, document, ("cut off", "cut off"));
    net.run_for(Duration::from_secs(60));
    net.cut(bob);
    net.run_for(Duration::from_secs(60));
    // What he writes after a new start counts its own letters anew.
    bob.crash(&mut net);
    append(&mut net, bob, document, ("beside", ""));
    append(&mut net, bob, document, ("on it", "on it"));
    // He may not write for a moment, and what Alice has not seen by then does not count.
    set_role(&mut net, alice, bob, Role::Reader);
    set_role(&mut net, alice, bob, Role::Writer);
    net.heal_to(bob, RELAY);
    net.run_for(Duration::from_secs(120));
    for replica in [alice, bob] {
        assert_eq!(set_aside(&mut net, replica), [SetAsideReason::BeyondPin], "{replica:?}");
        let shown = ["early", "cut off", "beside", "on it"].map(|word| replica.has(&mut net, document, word));
        assert_eq!(shown, [true, false, true, false], "{replica:?}");
        replica.assert_sound(&net);
    }
    net.assert_equal(&[alice, bob]);
}
