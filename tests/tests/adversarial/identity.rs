//! The two moments at which somebody becomes a user's device: a link that is stood between, and a kit that is
//! lost, altered or weakened.

use std::time::Duration;

use tombolo::crypto::{LinkError, RecoveryError, RecoveryKit};
use tombolo::engine::Event;
use tombolo::{AlarmKind, Error, LinkFailure, LinkWay};
use tombolo_tests::{Chance, Net, RelayNode, Replica};

use crate::support::others_go_on;

#[test]
fn case_45_wrong_digits_end_the_link_and_raise_an_alarm() {
    let mut net = Net::seeded(23);
    let [laptop, bob] = net.replicas(["laptop", "bob"]);
    let phone = net.device("phone");
    let text = phone.ask_to_be_linked(&mut net, LinkWay::Scan);
    net.run_for(Duration::from_secs(1));
    laptop.take_up(&mut net, &text).unwrap();
    net.run_for(Duration::from_secs(2));
    let right = phone.digits(&net).unwrap().to_string();
    let wrong = if right == "000 000" { "000 001" } else { "000 000" };
    let refused = laptop.confirm(&mut net, wrong);
    assert!(matches!(refused, Err(Error::Link(LinkFailure::Link(LinkError::WrongDigits)))));
    assert!(matches!(laptop.confirm(&mut net, &right), Err(Error::Link(LinkFailure::NoLink))), "one attempt");
    let again = laptop.take_up(&mut net, &text);
    assert!(
        matches!(again, Err(Error::Link(LinkFailure::Link(LinkError::Replayed)))),
        "a request is good for one link"
    );
    net.run_until_quiet();
    for device in [laptop, phone] {
        assert!(device.was_told(&net, |event| matches!(event, Event::LinkFailed { .. })));
    }
    laptop.crash(&mut net);
    let alarms = net.act(laptop, |engine, _, tx| engine.alarms(tx)).unwrap().unwrap();
    assert!(matches!(alarms.as_slice(), [alarm] if matches!(alarm.kind, AlarmKind::LinkFailed { .. })));
    assert_eq!(laptop.devices(&net).len(), 1);
    others_go_on(&mut net, &[laptop, bob]);
    net.run_until_quiet();
    net.assert_converged([laptop, bob]);
}

#[test]
fn case_45_a_code_that_was_swapped_ends_at_the_digits() {
    let mut net = Net::seeded(451);
    let [laptop, bob] = net.replicas(["laptop", "bob"]);
    let (phone, mallory) = (net.device("phone"), net.device("mallory"));
    let hers = phone.ask_to_be_linked(&mut net, LinkWay::Scan);
    let swapped = mallory.ask_to_be_linked(&mut net, LinkWay::Scan);
    assert_ne!(hers, swapped);
    net.run_for(Duration::from_secs(1));
    laptop.take_up(&mut net, &swapped).unwrap();
    net.run_for(Duration::from_secs(2));
    // The person types what the own phone shows: it shows nothing, so a guess.
    assert_eq!(phone.digits(&net), None);
    let right = mallory.digits(&net).unwrap().to_string();
    let guess = if right == "123 456" { "123 457" } else { "123 456" };
    let refused = laptop.confirm(&mut net, guess);
    assert!(matches!(refused, Err(Error::Link(LinkFailure::Link(LinkError::WrongDigits)))));
    net.run_until_quiet();
    let alarms = net.act(laptop, |engine, _, tx| engine.alarms(tx)).unwrap().unwrap();
    assert!(matches!(alarms.as_slice(), [alarm] if matches!(alarm.kind, AlarmKind::LinkFailed { .. })));
    assert_eq!(laptop.devices(&net).len(), 1);
    assert_ne!(mallory.ids(&net).1, laptop.ids(&net).1);
    // The next request is the phone's own, and is good.
    net.run_for(Duration::from_secs(200));
    net.link(laptop, phone, LinkWay::Scan);
    others_go_on(&mut net, &[laptop, bob, phone]);
}

/// Loses two devices of a user and comes back by what `keep` makes of the kit.
fn story(seed: u64, keep: impl Fn(RecoveryKit, &mut Chance) -> RecoveryKit) {
    let mut net = Net::seeded(seed);
    let [laptop, bob] = net.replicas(["laptop", "bob"]);
    let phone = net.device("phone");
    net.link(laptop, phone, LinkWay::Scan);
    let kit = laptop.make_kit(&mut net);
    laptop.edit(&mut net, "from the laptop");
    phone.edit(&mut net, "from the phone");
    net.run_until_quiet();
    let (lost, user) = phone.ids(&net);
    laptop.kill(&mut net);
    phone.kill(&mut net);
    let kit = keep(kit, net.chance());
    let found = net.device("found");
    found.recover(&mut net, kit);
    net.dial_relay(found, RelayNode::FIRST);
    net.run_until_quiet();
    assert_eq!(found.ids(&net).1, user, "the same user");
    found.edit(&mut net, "again");
    net.run_until_quiet();
    net.assert_converged([bob, found]);
    assert!(found.was_told(&net, |event| matches!(event, Event::Recovered { workspaces: 1 })));
    let gone = found.devices(&net).into_iter().filter(|device| device.revoked).count();
    assert_eq!(gone, 2, "both lost devices are out");
    shut_out(&mut net, phone, bob, lost);
    phone.kill(&mut net);
    others_go_on(&mut net, &[bob, found]);
}

/// The lost device turns up again in somebody's hands: it reads nothing new.
fn shut_out(net: &mut Net, phone: Replica, bob: Replica, lost: tombolo::protocol::ids::DeviceId) {
    net.start(phone);
    net.run_for(Duration::from_secs(120));
    bob.edit(net, "after the loss");
    net.run_for(Duration::from_secs(120));
    let document = net.documents().remove(0);
    assert!(!phone.has(net, document, "after the loss"));
    assert!(!bob.devices_of_members(net).contains(&lost));
}

#[test]
fn case_47_all_devices_lost_words_bring_everything_back() {
    story(31, |kit, _| RecoveryKit::from_words(&kit.words()).unwrap());
}

#[test]
fn case_47_all_devices_lost_a_file_brings_everything_back() {
    story(32, |kit, chance| {
        let file = kit.to_file("low tide at six", chance).unwrap();
        RecoveryKit::from_file(&file, "low tide at six").unwrap()
    });
}

#[test]
fn case_47_all_devices_lost_two_of_three_shares_bring_everything_back() {
    story(33, |kit, chance| {
        let shares = kit.to_shares(2, 3, chance).unwrap();
        let texts: Vec<String> = shares.iter().map(|share| share.to_text().to_string()).collect();
        let one = RecoveryKit::from_shares(&[&texts[0]]);
        assert!(matches!(one, Err(RecoveryError::TooFewShares { have: 1, need: 2 })));
        RecoveryKit::from_shares(&[&texts[0], &texts[2]]).unwrap()
    });
}

#[test]
fn case_48_a_kit_that_was_weakened_altered_or_mistyped_recovers_nobody_and_says_why() {
    let mut net = Net::seeded(48);
    let [laptop, bob] = net.replicas(["laptop", "bob"]);
    let kit = laptop.make_kit(&mut net);
    let file = kit.to_file("low tide at six", net.chance()).unwrap();
    // Behind the four bytes of its name stand memory in KiB and passes: what an attacker would like to be small.
    let mut weak = file.clone();
    weak[4..12].copy_from_slice(&[0, 0, 0, 8, 0, 0, 0, 1]);
    let opened = RecoveryKit::from_file(&weak, "low tide at six");
    assert!(matches!(opened, Err(RecoveryError::KdfDowngrade { memory_kib: 8, passes: 1 })), "{opened:?}");
    let mut altered = file.clone();
    *altered.last_mut().unwrap() ^= 1;
    let opened = RecoveryKit::from_file(&altered, "low tide at six");
    assert!(matches!(opened, Err(RecoveryError::Decrypt)), "{opened:?}");
    let opened = RecoveryKit::from_file(&file, "high tide at six");
    assert!(matches!(opened, Err(RecoveryError::Decrypt)), "{opened:?}");
    let words = kit.words();
    let mut swapped: Vec<&str> = words.split(' ').collect();
    swapped.reverse();
    let opened = RecoveryKit::from_words(&swapped.join(" "));
    assert!(matches!(opened, Err(RecoveryError::WordsChecksum)), "{opened:?}");
    // The kit itself still does.
    let whole = RecoveryKit::from_file(&file, "low tide at six").unwrap();
    assert_eq!(whole.user(), laptop.ids(&net).1);
    others_go_on(&mut net, &[laptop, bob]);
    net.run_until_quiet();
    net.assert_converged([laptop, bob]);
}
