//! Stores that are copied, rolled back or altered, chance that is stuck, and what logs give away.

use std::collections::BTreeSet;
use std::time::Duration;

use data_encoding::{BASE64_NOPAD, HEXLOWER, HEXUPPER};
use tombolo::crypto::{Entropy, EntryDraft, EpochKeys};
use tombolo::engine::Event;
use tombolo::protocol::ids::{DeviceId, Incarnation};
use tombolo::protocol::record::Role;
use tombolo::{AlarmKind, DebtReason, LinkWay, MembershipAct, SetAsideReason};
use tombolo_tests::{Log, Net, Replica};

use crate::support::{AUTOMERGE, RELAY, others_go_on, scene, set_aside, stated, user};

fn suspected(event: &Event) -> bool {
    matches!(event, Event::CloneSuspected { .. })
}

fn alarms(net: &mut Net, replica: Replica) -> Vec<AlarmKind> {
    let alarms = net.act(replica, |engine, _, tx| engine.alarms(tx)).unwrap().unwrap();
    alarms.into_iter().map(|alarm| alarm.kind).collect()
}

/// The lives in which a device has written, as the relay's log has them.
fn lives(net: &Net, device: DeviceId) -> BTreeSet<Incarnation> {
    let own = net.entries(RELAY).into_iter().filter(|entry| entry.header().chain.device == device);
    own.map(|entry| entry.header().chain.incarnation).collect()
}

/// Chance that always draws the same.
struct Stuck;

impl Entropy for Stuck {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

#[test]
fn case_31_stuck_chance_repeats_no_key_and_nonce() {
    const SEALS: u32 = 50_000;
    let mut story = scene(31, Role::Writer);
    let draft = story.rogue.draft(story.target);
    let (keys, secrets) = (story.rogue.keys(), story.rogue.secrets());
    // Key and nonce follow from the header; in one place of one chain only the salt can tell headers apart.
    let seal = |from: u32, to: u32| -> Vec<[u8; 16]> {
        let salt = |nth: u32| sealed(keys, secrets, &draft, nth);
        (from..to).map(salt).collect()
    };
    let salts = std::thread::scope(|scope| {
        let half = scope.spawn(|| seal(0, SEALS / 2));
        let other = seal(SEALS / 2, SEALS);
        [half.join().unwrap(), other].concat()
    });
    assert_eq!(salts.iter().collect::<BTreeSet<_>>().len(), SEALS as usize, "the detector found a repetition");
    // It does find one: the same plaintext in the same place has the same salt, and is the same entry.
    assert_eq!(sealed(keys, secrets, &draft, 5), salts[5]);
    story.ends();
}

fn sealed(keys: &EpochKeys, device: &tombolo::crypto::DeviceSecrets, draft: &EntryDraft, nth: u32) -> [u8; 16] {
    let entry = keys.seal_entry(draft.clone(), &nth.to_be_bytes(), device, &mut Stuck).unwrap();
    entry.header().salt
}

#[test]
fn case_32_a_store_that_runs_on_two_machines_is_noticed_on_both_and_both_write_on() {
    let mut net = Net::seeded(32);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let phone = net.device("phone");
    net.link(alice, phone, LinkWay::Scan);
    alice.edit(&mut net, "milk");
    net.run_until_quiet();
    let twin = net.copy_store(alice, "twin");
    // One device has one session at a relay, so the two take turns.
    net.cut(alice);
    alice.edit(&mut net, "by alice");
    twin.edit(&mut net, "by her twin");
    net.run_until_quiet();
    net.cut(twin);
    net.heal_to(alice, RELAY);
    net.run_until_quiet();
    assert!(alice.was_told(&net, suspected), "{:?}", alice.events(&net));
    net.cut(alice);
    net.heal_to(twin, RELAY);
    net.run_until_quiet();
    assert!(twin.was_told(&net, suspected), "{:?}", twin.events(&net));
    let workspace = net.workspace();
    for replica in [alice, twin] {
        assert_eq!(alarms(&mut net, replica), [AlarmKind::CloneSuspected { workspace }]);
        let told = replica.events(&net).iter().filter(|event| suspected(event)).count();
        assert_eq!(told, 1, "once, until it is dismissed");
    }
    assert!(!bob.was_told(&net, suspected) && !phone.was_told(&net, suspected), "it is not theirs");
    // Both chains are good: each life is one of its own.
    let device = alice.ids(&net).0;
    assert_eq!(lives(&net, device).len(), 2);
    for replica in [bob, phone, twin] {
        assert_eq!(replica.counted(&net, SetAsideReason::Fork), 0);
    }
    net.assert_converged([twin, bob]);
    // Until the device is given up: then both are out.
    net.heal_to(alice, RELAY);
    phone.give_up(&mut net, device);
    net.run_for(Duration::from_secs(300));
    bob.edit(&mut net, "after the loss");
    net.run_for(Duration::from_secs(300));
    let document = net.documents()[0];
    for replica in [alice, twin] {
        assert!(!replica.has(&mut net, document, "after the loss"));
        replica.kill(&mut net);
    }
    assert!(bob.has(&mut net, document, "by alice") && bob.has(&mut net, document, "by her twin"));
    others_go_on(&mut net, &[bob, phone]);
}

#[test]
fn case_49_a_value_in_another_row_or_table_does_not_open_and_a_file_rolled_back_begins_another_life() {
    for (table, column) in [("pending", "change_sealed"), ("meta", "value")] {
        let mut net = Net::seeded(49);
        let [alice, bob] = net.replicas(["alice", "bob"]);
        let (target, other) = (net.documents()[0], net.documents()[1]);
        net.cut(alice);
        net.run_for(Duration::from_secs(60));
        alice.try_edit(&mut net, other, "beside it").unwrap();
        alice.try_edit(&mut net, target, "written offline").unwrap();
        alice.kill(&mut net);
        swap(&alice.store_path(&net), table, column);
        net.start(alice);
        let read = alice.words(&mut net, target);
        assert!(!read.iter().any(|word| word == "written offline"));
        let damaged = |event: &Event| matches!(event, Event::ChangesDamaged { changes: 1, .. });
        assert!(alice.was_told(&net, damaged), "{:?}", alice.events(&net));
        let debt = alice.debt(&mut net);
        assert!(debt.documents.iter().any(|owed| owed.reason == DebtReason::Damaged), "{debt:?}");
        net.heal();
        crate::support::go_on(&mut net, &[alice, bob], other);
        // An older file in the place of the present one is noticed, and begins another life.
        let device = bob.ids(&net).0;
        let before = lives(&net, device);
        bob.kill(&mut net);
        bob.back_up(&net);
        net.start(bob);
        bob.try_edit(&mut net, other, "later").unwrap();
        net.run_for(Duration::from_secs(60));
        bob.restore(&mut net, false);
        crate::support::go_on(&mut net, &[alice, bob], other);
        assert!(lives(&net, device).len() > before.len());
        assert_eq!(alice.counted(&net, SetAsideReason::Fork), 0);
    }
}

/// Puts a sealed value where the pending change of the first document stands: of another row of its table, or of another table.
fn swap(path: &std::path::Path, table: &str, column: &str) {
    let file = rusqlite::Connection::open(path).unwrap();
    let of_pending = "SELECT change_sealed FROM pending ORDER BY pending LIMIT 1";
    let own: Vec<u8> = file.query_row(of_pending, [], |row| row.get(0)).unwrap();
    let query = format!("SELECT {column} FROM {table} WHERE {column} <> ?1 ORDER BY 1 LIMIT 1");
    let other: Vec<u8> = file.query_row(&query, [&own], |row| row.get(0)).unwrap();
    file.execute("UPDATE pending SET change_sealed = ?2 WHERE change_sealed = ?1", (own, other)).unwrap();
}

#[test]
fn case_56_a_store_restored_with_its_vault_uses_no_place_and_no_actor_twice() {
    for with_lock in [false, true] {
        let mut story = scene(56, Role::Writer);
        let [alice, bob] = story.honest;
        let net = &mut story.net;
        alice.kill(net);
        alice.back_up(net);
        net.start(alice);
        alice.edit(net, "milk");
        net.run_until_quiet();
        net.cut(alice);
        alice.restore(net, with_lock);
        alice.edit(net, "bread, before any session");
        net.heal();
        net.run_until_quiet();
        alice.edit(net, "salt");
        net.run_until_quiet();
        net.assert_converged([alice, bob]);
        assert_eq!(bob.counted(net, SetAsideReason::Fork), 0, "no place was used twice");
        let device = alice.ids(net).0;
        assert!(lives(net, device).len() >= 2);
        // Each life writes as other actors: no instance is drawn again in another life.
        let own = net.entries(RELAY).into_iter().filter(|entry| entry.header().chain.device == device);
        let mut instances: Vec<(u64, Incarnation)> = Vec::new();
        for entry in own {
            let body = story.rogue.open(&entry).unwrap();
            instances.push((body.instance.0, entry.header().chain.incarnation));
        }
        instances.sort_unstable();
        instances.dedup();
        let distinct: BTreeSet<u64> = instances.iter().map(|(instance, _)| *instance).collect();
        assert_eq!(distinct.len(), instances.len());
        story.ends();
    }
}

/// Tells whether bytes stand in a log: as they are, in hex, in base64, or as a list of numbers.
fn gives_away(log: &Log, secret: &[u8]) -> bool {
    let numbers = format!("{secret:?}");
    let mut forms = vec![
        secret.to_vec(),
        HEXLOWER.encode(secret).into_bytes(),
        HEXUPPER.encode(secret).into_bytes(),
        numbers.trim_matches(['[', ']']).as_bytes().to_vec(),
    ];
    for skip in 0..3 {
        let text = BASE64_NOPAD.encode(&secret[skip..]);
        forms.push(text.as_bytes()[..text.len() - 4].to_vec());
    }
    forms.iter().any(|form| log.holds(form))
}

#[test]
fn case_55_the_finest_log_gives_away_no_key_and_no_word() {
    let (log, guard) = Log::of_thread();
    let mut story = scene(55, Role::Writer);
    let [alice, bob] = story.honest;
    let phone = story.net.device("phone");
    story.net.link(alice, phone, LinkWay::Scan);
    let digits = phone.digits(&story.net).unwrap().to_string();
    let kit = alice.make_kit(&mut story.net);
    let link = alice.invite(&mut story.net, Role::Reader);
    bob.edit(&mut story.net, "Needle-of-the-reef-7b1f");
    let poison = story.rogue.seal(story.target, AUTOMERGE, b"Needle-of-the-reef-7b1f");
    story.append_entries(&[poison]);
    assert_eq!(set_aside(&mut story.net, bob), [SetAsideReason::Poison]);
    story.net.lie(RELAY, tombolo_tests::lies::flip_bits(8));
    story.net.run_for(Duration::from_secs(60));
    story.net.honest(RELAY);
    let mallorys = user(&story.net, story.mallory);
    stated(&mut story.net, alice, MembershipAct::Remove { user: mallorys });
    story.mallory.kill(&mut story.net);
    story.ends();
    drop(guard);
    assert!(log.holds("DEBUG") || log.holds("TRACE"), "something was logged");
    let mut secrets = vec![b"Needle-of-the-reef-7b1f".to_vec(), kit.words().as_bytes().to_vec()];
    secrets.extend([kit.root().seed().to_vec(), link.secret.as_bytes().to_vec()]);
    for replica in [alice, bob, phone, story.mallory] {
        let device = replica.secrets(&story.net);
        secrets.push(device.sign_key().to_seed().to_vec());
        secrets.push(device.box_secret().as_bytes().to_vec());
    }
    for secret in &secrets {
        assert!(!gives_away(&log, secret), "{secret:?}");
    }
    assert!(!log.holds(digits.as_bytes()));
    // The searcher does find what stands there.
    assert!(gives_away(&log, b"tombolo"));
}
