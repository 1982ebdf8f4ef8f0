//! Stories of people: roles that change, members who go, invites that end, keys that follow.

use std::time::Duration;

use tombolo::engine::{Engine, Event, Now, OfflineReason, RelayState};
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::ids::UserId;
use tombolo::protocol::membership::RecordRefusal;
use tombolo::protocol::record::Role;
use tombolo::{ActOutcome, DebtReason, Error, InviteTerms, MembershipAct, SetAsideReason, Tx};
use tombolo_tests::{Net, RelayNode, Replica, keys_of};

fn user(net: &mut Net, replica: Replica) -> UserId {
    let Ok(Some(user)) = net.act(replica, |engine: &mut Engine, _: Now, _: &Tx<'_>| Ok(engine.user_id())) else {
        unreachable!("the device is up");
    };
    user
}

fn act(net: &mut Net, who: Replica, act: MembershipAct) -> Result<ActOutcome, Error> {
    let workspace = net.workspace();
    net.act(who, move |engine, now, tx| engine.act(now, &workspace, act, tx)).map(|outcome| {
        let Some(outcome) = outcome else { unreachable!("the device is up") };
        outcome
    })
}

fn role(net: &mut Net, who: Replica, whose: UserId) -> Option<Role> {
    let workspace = net.workspace();
    let Ok(Some(members)) = net.act(who, |engine, _, _| engine.members(&workspace)) else {
        unreachable!("the device is up");
    };
    members.into_iter().find(|member| member.user == whose).map(|member| member.role)
}

#[test]
fn a_reader_who_was_none_for_a_while_is_given_the_keys_of_what_was_written_meanwhile() {
    for restarts in [false, true] {
        let mut net = Net::seeded(300);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        let (bobs, [document, _]) = (user(&mut net, bob), net.documents()[..].try_into().unwrap());
        for (role, word) in [(Role::Carrier, "while-away"), (Role::Writer, "after")] {
            act(&mut net, alice, MembershipAct::SetRole { user: bobs, role, expires_ms: None }).unwrap();
            alice.edit(&mut net, word);
            net.run_for(Duration::from_millis(150));
        }
        if restarts {
            alice.crash(&mut net);
        }
        net.run_until_quiet();
        assert!(bob.has(&mut net, document, "while-away") && bob.has(&mut net, document, "after"));
        net.assert_equal([alice, bob].as_slice());
    }
}

#[test]
fn a_removed_member_reads_nothing_that_is_written_from_then_on() {
    let mut net = Net::seeded(301);
    let [alice, bob, carol] = net.replicas(["alice", "bob", "carol"]);
    let (bobs, [document, _]) = (user(&mut net, bob), net.documents()[..].try_into().unwrap());
    bob.edit(&mut net, "from-bob");
    net.run_until_quiet();
    let outcome = act(&mut net, alice, MembershipAct::Remove { user: bobs }).unwrap();
    assert!(matches!(outcome, ActOutcome::Stated(_)));
    net.run_until_quiet();
    assert_eq!(role(&mut net, carol, bobs), None);
    alice.edit(&mut net, "after");
    net.run_until_quiet();
    assert!(carol.has(&mut net, document, "after"));
    assert!(!bob.has(&mut net, document, "after"));
    assert!(alice.has(&mut net, document, "from-bob") && carol.has(&mut net, document, "from-bob"));
    assert!(
        matches!(bob.try_edit(&mut net, document, "too-late"), Err(Error::RoleDenied)) || {
            net.run_until_quiet();
            !carol.has(&mut net, document, "too-late")
        }
    );
    net.assert_equal([alice, carol].as_slice());
}

#[test]
fn who_is_taken_back_hears_of_it_without_a_start() {
    let mut net = Net::seeded(314);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let (bobs, document) = (user(&mut net, bob), net.documents()[0]);
    act(&mut net, alice, MembershipAct::Remove { user: bobs }).unwrap();
    net.run_until_quiet();
    let ended = |event: &Event| match event {
        Event::Relay { state: RelayState::Offline { reason, .. }, .. } => {
            *reason == Some(OfflineReason::Ended(CloseCode::DeviceRevoked))
        }
        _ => false,
    };
    assert!(bob.was_told(&net, ended));
    alice.edit(&mut net, "while-away");
    net.run_for(Duration::from_secs(24 * 3600));
    act(&mut net, alice, MembershipAct::SetRole { user: bobs, role: Role::Writer, expires_ms: None }).unwrap();
    net.run_for(Duration::from_secs(21 * 60));
    assert!(bob.has(&mut net, document, "while-away"));
    bob.try_edit(&mut net, document, "back").unwrap();
    net.run_until_quiet();
    assert!(alice.has(&mut net, document, "back"));
    net.assert_converged([alice, bob]);
}

#[test]
fn every_member_is_told_once_when_members_change_and_nobody_when_all_is_as_it_was() {
    let mut net = Net::seeded(318);
    let everybody = net.replicas(["alice", "bob", "carol"]);
    let [alice, bob, carol] = everybody;
    let bobs = user(&mut net, bob);
    net.run_until_quiet();
    let told = |net: &Net| {
        everybody
            .map(|who| who.events(net).iter().filter(|event| matches!(event, Event::MembersChanged { .. })).count())
    };
    let before = told(&net);
    assert!(before.iter().all(|count| *count > 0), "each has seen others join: {before:?}");
    alice.edit(&mut net, "a word changes no member");
    let link = alice.invite(&mut net, Role::Writer);
    net.run_until_quiet();
    act(&mut net, alice, MembershipAct::RevokeInvite { invite: link.invite }).unwrap();
    net.run_until_quiet();
    for who in everybody {
        who.crash(&mut net);
    }
    net.run_until_quiet();
    assert_eq!(told(&net), before, "neither a word nor a record nor a start");
    for (times, role_now) in [(1, Role::Reader), (2, Role::Writer)] {
        act(&mut net, alice, MembershipAct::SetRole { user: bobs, role: role_now, expires_ms: None }).unwrap();
        net.run_until_quiet();
        assert_eq!(role(&mut net, carol, bobs), Some(role_now));
        assert_eq!(told(&net), before.map(|count| count + times));
    }
}

#[test]
fn a_reader_who_becomes_a_writer_writes_as_soon_as_the_device_has_heard() {
    for away in [false, true] {
        let mut net = Net::seeded(315);
        let [alice, bob, carol] = net.replicas(["alice", "bob", "carol"]);
        let (bobs, document) = (user(&mut net, bob), net.documents()[0]);
        let set = |role| MembershipAct::SetRole { user: bobs, role, expires_ms: None };
        act(&mut net, alice, set(Role::Reader)).unwrap();
        net.run_until_quiet();
        assert!(matches!(bob.try_edit(&mut net, document, "as-reader"), Err(Error::RoleDenied)));
        alice.edit(&mut net, "read");
        net.run_until_quiet();
        assert!(bob.has(&mut net, document, "read"), "a reader reads");
        if away {
            net.cut(bob);
            net.run_for(Duration::from_secs(120));
        }
        act(&mut net, alice, set(Role::Writer)).unwrap();
        net.run_for(Duration::from_secs(120));
        // Until the device has heard of it, it takes nothing that nobody else would.
        let offline = bob.try_edit(&mut net, document, "offline");
        assert_eq!(matches!(offline, Err(Error::RoleDenied)), away, "{offline:?}");
        net.heal();
        net.run_until_quiet();
        assert!(bob.was_told(&net, |event| matches!(event, Event::RoleChanged { role: Some(Role::Writer), .. })));
        bob.try_edit(&mut net, document, "as-writer").unwrap();
        net.run_until_quiet();
        // What was written by right stays when the right goes.
        act(&mut net, alice, set(Role::Reader)).unwrap();
        net.run_until_quiet();
        for replica in [alice, bob, carol] {
            assert!(replica.has(&mut net, document, "as-writer"));
            assert!(!replica.has(&mut net, document, "as-reader"));
            assert_eq!(replica.has(&mut net, document, "offline"), !away);
        }
        net.assert_converged([alice, bob, carol]);
    }
}

#[test]
fn what_is_decided_offline_is_stated_after_catching_up() {
    let mut net = Net::seeded(302);
    let [alice, bob, carol] = net.replicas(["alice", "bob", "carol"]);
    let (bobs, carols) = (user(&mut net, bob), user(&mut net, carol));
    net.cut(alice);
    net.run_for(Duration::from_secs(120));
    let intended = act(&mut net, alice, MembershipAct::SetRole { user: bobs, role: Role::Reader, expires_ms: None });
    assert_eq!(intended.unwrap(), ActOutcome::Intended);
    alice.crash(&mut net);
    assert_eq!(role(&mut net, carol, bobs), Some(Role::Writer));
    net.heal();
    net.run_until_quiet();
    for who in [alice, bob, carol] {
        assert_eq!(role(&mut net, who, bobs), Some(Role::Reader));
    }
    assert!(bob.was_told(&net, |event| matches!(event, Event::RoleChanged { role: Some(Role::Reader), .. })));
    let refused = act(&mut net, bob, MembershipAct::Remove { user: carols });
    assert!(matches!(refused, Err(Error::Refused(RecordRefusal::RoleDenied))));
    let back = act(&mut net, alice, MembershipAct::SetRole { user: bobs, role: Role::Writer, expires_ms: None });
    assert!(matches!(back, Ok(ActOutcome::Stated(_))));
    net.run_until_quiet();
    bob.edit(&mut net, "again");
    net.run_until_quiet();
    net.assert_converged([alice, bob, carol]);
}

#[test]
fn the_last_owner_stays_and_may_hand_over() {
    let mut net = Net::seeded(303);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let (alices, bobs) = (user(&mut net, alice), user(&mut net, bob));
    let refused = act(&mut net, alice, MembershipAct::Remove { user: alices });
    assert!(matches!(refused, Err(Error::Refused(RecordRefusal::LastOwner))));
    act(&mut net, alice, MembershipAct::TransferOwnership { to: bobs }).unwrap();
    net.run_until_quiet();
    assert_eq!((role(&mut net, bob, bobs), role(&mut net, bob, alices)), (Some(Role::Owner), Some(Role::Admin)));
    act(&mut net, alice, MembershipAct::Remove { user: alices }).unwrap();
    net.run_until_quiet();
    assert_eq!(role(&mut net, bob, alices), None);
}

#[test]
fn a_revoked_invite_lets_nobody_in() {
    let mut net = Net::seeded(304);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let link = alice.invite(&mut net, Role::Writer);
    net.run_until_quiet();
    act(&mut net, alice, MembershipAct::RevokeInvite { invite: link.invite }).unwrap();
    net.run_until_quiet();
    let mallory = net.device("mallory");
    let mallorys = user(&mut net, mallory);
    mallory.take_invite(&mut net, link);
    net.run_for(Duration::from_secs(120));
    assert_eq!(role(&mut net, alice, mallorys), None);
    bob.edit(&mut net, "private");
    // Mallory goes on asking, so it is never quiet.
    net.run_for(Duration::from_secs(60));
    net.assert_converged([alice, bob]);
}

#[test]
fn a_guest_until_friday_is_gone_on_friday() {
    let mut net = Net::seeded(305);
    let [alice, bob, guest] = net.replicas(["alice", "bob", "guest"]);
    let guests = user(&mut net, guest);
    let friday = net.now().wall_ms + 3_600_000;
    let role_until = MembershipAct::SetRole { user: guests, role: Role::Reader, expires_ms: Some(friday) };
    act(&mut net, alice, role_until).unwrap();
    net.run_until_quiet();
    assert_eq!(role(&mut net, bob, guests), Some(Role::Reader));
    net.run_for(Duration::from_secs(3_700));
    bob.edit(&mut net, "friday");
    net.run_for(Duration::from_secs(30));
    assert_eq!(role(&mut net, alice, guests), None, "a receipt from after friday proves it");
    // The relay shut the door on the minute, so the guest has heard of nothing since.
    let document = net.documents()[0];
    assert!(alice.has(&mut net, document, "friday") && !guest.has(&mut net, document, "friday"));
}

#[test]
fn a_member_who_came_by_an_older_epoch_is_given_the_present_one() {
    let mut net = Net::seeded(306);
    let [alice, bob, carol] = net.replicas(["alice", "bob", "carol"]);
    let carols = user(&mut net, carol);
    let workspace = net.workspace();
    let terms = InviteTerms { role: Role::Writer, expires_ms: None, uses: None };
    let link = net.act(alice, |engine, now, tx| engine.invite(now, &workspace, terms, tx)).unwrap().unwrap();
    // The invite for many uses is given no new epoch, and a removal would end it: a rotation does not.
    let other = alice.invite(&mut net, Role::Reader);
    net.run_until_quiet();
    act(&mut net, alice, MembershipAct::RevokeInvite { invite: other.invite }).unwrap();
    net.run_until_quiet();
    let dave = net.device("dave");
    dave.take_invite(&mut net, link);
    net.run_for(Duration::from_secs(30));
    alice.edit(&mut net, "for-dave-too");
    net.run_until_quiet();
    let document = net.documents()[0];
    assert!(dave.has(&mut net, document, "for-dave-too"));
    assert_eq!(role(&mut net, bob, carols), Some(Role::Writer));
    net.assert_converged([alice, bob, carol, dave]);
}

/// Makes ben an admin.
fn promote(net: &mut Net, [alice, ben]: [Replica; 2]) -> UserId {
    let bens = user(net, ben);
    let raised = act(net, alice, MembershipAct::SetRole { user: bens, role: Role::Admin, expires_ms: None });
    assert!(matches!(raised, Ok(ActOutcome::Stated(_))), "{raised:?}");
    net.run_until_quiet();
    bens
}

#[test]
fn who_lowers_himself_loses_nothing_that_he_wrote_before() {
    for offline in [false, true] {
        let mut net = Net::seeded(308);
        let [alice, ben] = net.replicas(["alice", "ben"]);
        let bens = promote(&mut net, [alice, ben]);
        let lower = MembershipAct::SetRole { user: bens, role: Role::Commenter, expires_ms: None };
        // Sealed, and lost on the way to the relay.
        ben.edit(&mut net, "under-way");
        net.cut(ben);
        if offline {
            net.run_for(Duration::from_secs(120));
            ben.edit(&mut net, "on-the-train");
            assert_eq!(act(&mut net, ben, lower).unwrap(), ActOutcome::Intended);
        } else {
            ben.edit(&mut net, "on-the-train");
            act(&mut net, ben, lower).unwrap();
        }
        net.heal();
        net.run_for(Duration::from_secs(300));
        assert_eq!(role(&mut net, alice, bens), Some(Role::Commenter));
        for document in net.documents() {
            for word in ["under-way", "on-the-train"] {
                assert!(alice.has(&mut net, document, word), "{word}, offline {offline}");
            }
        }
        net.assert_converged([alice, ben]);
    }
}

#[test]
fn what_waits_on_a_device_whose_role_was_lowered_is_owed_with_the_reason_and_goes_out_once_it_may() {
    let mut net = Net::seeded(309);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let (bobs, document) = (user(&mut net, bob), net.documents()[0]);
    net.cut(bob);
    net.run_for(Duration::from_secs(60));
    bob.try_edit(&mut net, document, "offline").unwrap();
    let role = |role| MembershipAct::SetRole { user: bobs, role, expires_ms: None };
    act(&mut net, alice, role(Role::Reader)).unwrap();
    net.heal();
    net.run_for(Duration::from_secs(120));
    let owed: Vec<DebtReason> = bob.debt(&mut net).documents.iter().map(|owed| owed.reason).collect();
    assert_eq!(owed, [DebtReason::Refused(SetAsideReason::RoleDenied)]);
    assert!(!alice.has(&mut net, document, "offline"));
    act(&mut net, alice, role(Role::Writer)).unwrap();
    net.run_for(Duration::from_secs(120));
    net.assert_converged([alice, bob]);
}

#[test]
fn the_link_of_an_admin_who_was_lowered_lets_nobody_in() {
    let mut net = Net::seeded(310);
    let [alice, ben] = net.replicas(["alice", "ben"]);
    let bens = promote(&mut net, [alice, ben]);
    let [first, second] = [(); 2].map(|()| ben.invite(&mut net, Role::Writer));
    let early = net.device("early");
    early.take_invite(&mut net, first);
    net.run_until_quiet();
    act(&mut net, alice, MembershipAct::SetRole { user: bens, role: Role::Carrier, expires_ms: None }).unwrap();
    net.run_until_quiet();
    let late = net.device("late");
    late.take_invite(&mut net, second);
    net.run_for(Duration::from_secs(60));
    let lates = user(&mut net, late);
    assert_eq!(role(&mut net, alice, lates), None, "it was ben's word, and his word is no admin's any more");
    assert!(late.was_told(&net, |event| matches!(event, Event::JoinRefused { .. })));
    alice.edit(&mut net, "after");
    net.run_until_quiet();
    let earlys = user(&mut net, early);
    assert_eq!(role(&mut net, alice, earlys), Some(Role::Writer), "who came before stays");
    net.assert_equal(&[alice, early]);
}

#[test]
fn a_carrier_who_leaves_beside_a_grant_that_would_let_them_read_knows_no_key_that_is_used() {
    for leaves in [true, false] {
        let mut net = Net::seeded(311);
        let [alice, ben, cleo] = net.replicas(["alice", "ben", "cleo"]);
        let second = net.add_relay();
        [alice, ben, cleo].into_iter().for_each(|replica| net.dial_relay(replica, second));
        net.run_until_quiet();
        let cleos = user(&mut net, cleo);
        promote(&mut net, [alice, ben]);
        let role = |role| MembershipAct::SetRole { user: cleos, role, expires_ms: None };
        act(&mut net, alice, role(Role::Carrier)).unwrap();
        net.run_until_quiet();
        // Alice and ben do not hear of each other. Cleo goes by one relay, and is let read at the other.
        net.cut_from(alice, second);
        net.cut_from(ben, RelayNode::FIRST);
        net.cut(cleo);
        net.run_for(Duration::from_secs(120));
        act(&mut net, ben, role(Role::Reader)).unwrap();
        net.run_for(Duration::from_secs(60));
        if leaves {
            net.heal_to(cleo, RelayNode::FIRST);
            net.run_for(Duration::from_secs(60));
            act(&mut net, cleo, MembershipAct::Remove { user: cleos }).unwrap();
        } else {
            act(&mut net, alice, MembershipAct::Remove { user: cleos }).unwrap();
        }
        net.run_for(Duration::from_secs(60));
        net.heal();
        net.run_for(Duration::from_secs(300));
        alice.edit(&mut net, "after");
        net.run_for(Duration::from_secs(120));
        let membership = net.membership(RelayNode::FIRST);
        assert_eq!(membership.view().role(&cleos), None);
        let (epoch, hers) = (membership.view().epoch().unwrap(), cleo.secrets(&net));
        assert!(!keys_of(&membership, &[&hers]).epochs.contains_key(&epoch), "leaves {leaves}");
        net.assert_equal(&[alice, ben]);
    }
}

#[test]
fn who_comes_back_reads_what_was_sealed_in_either_of_two_epochs_that_began_side_by_side() {
    let mut net = Net::seeded(313);
    let [alice, ben, cleo, dora] = net.replicas(["alice", "ben", "cleo", "dora"]);
    let second = net.add_relay();
    [alice, ben, cleo, dora].into_iter().for_each(|replica| net.dial_relay(replica, second));
    net.run_until_quiet();
    let bens = user(&mut net, ben);
    // Ben leaves; cleo draws keys at one relay and dora at the other, and each of them writes.
    net.cut(alice);
    net.cut_from(cleo, second);
    net.cut_from(dora, RelayNode::FIRST);
    net.run_for(Duration::from_secs(60));
    act(&mut net, ben, MembershipAct::Remove { user: bens }).unwrap();
    net.run_for(Duration::from_secs(20));
    net.cut(ben);
    cleo.edit(&mut net, "at-the-first");
    dora.edit(&mut net, "at-the-second");
    net.run_for(Duration::from_secs(60));
    net.heal();
    net.run_for(Duration::from_secs(120));
    act(&mut net, alice, MembershipAct::SetRole { user: bens, role: Role::Reader, expires_ms: None }).unwrap();
    ben.crash(&mut net);
    net.run_for(Duration::from_secs(300));
    for document in net.documents() {
        for word in ["at-the-first", "at-the-second"] {
            assert!(ben.has(&mut net, document, word), "{word}");
        }
    }
    net.assert_equal(&[alice, ben, cleo, dora]);
}

#[test]
fn who_left_knows_no_key_that_is_used_though_somebody_else_was_removed_beside_it() {
    let mut net = Net::seeded(312);
    let [alice, ben, xaver, yoko, zoe] = net.replicas(["alice", "ben", "xaver", "yoko", "zoe"]);
    let second = net.add_relay();
    [alice, ben].into_iter().for_each(|replica| net.dial_relay(replica, second));
    net.run_until_quiet();
    promote(&mut net, [alice, ben]);
    let [x, y, z] = [xaver, yoko, zoe].map(|replica| user(&mut net, replica));
    net.cut_from(alice, second);
    net.cut_from(ben, RelayNode::FIRST);
    net.run_for(Duration::from_secs(60));
    // Yoko leaves by the first relay, and alice draws keys; at the second, zoe is removed with keys that yoko is given.
    act(&mut net, yoko, MembershipAct::Remove { user: y }).unwrap();
    net.run_for(Duration::from_secs(60));
    act(&mut net, alice, MembershipAct::SetRole { user: x, role: Role::Reader, expires_ms: None }).unwrap();
    act(&mut net, ben, MembershipAct::Remove { user: z }).unwrap();
    net.run_for(Duration::from_secs(60));
    net.heal();
    net.run_for(Duration::from_secs(300));
    alice.edit(&mut net, "after");
    net.run_for(Duration::from_secs(120));
    let membership = net.membership(RelayNode::FIRST);
    let epoch = membership.view().epoch().unwrap();
    for gone in [yoko, zoe] {
        assert!(!keys_of(&membership, &[&gone.secrets(&net)]).epochs.contains_key(&epoch), "{gone:?}");
    }
    net.assert_equal(&[alice, ben, xaver]);
}
