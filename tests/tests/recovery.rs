//! Stories of losing every device: a kit in each of its forms brings everything back, and shuts out what is lost.

use std::time::Duration;

use tombolo::LinkWay;
use tombolo::crypto::RecoveryKit;
use tombolo::engine::Event;
use tombolo_tests::{Chance, Net, Replica};

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
    net.dial_relay(found, tombolo_tests::RelayNode::FIRST);
    net.run_until_quiet();
    assert_eq!(found.ids(&net).1, user, "the same user");
    found.edit(&mut net, "again");
    net.run_until_quiet();
    net.assert_converged([bob, found]);
    assert!(found.was_told(&net, |event| matches!(event, Event::Recovered { workspaces: 1 })));
    let gone = found.devices(&net).into_iter().filter(|device| device.revoked).count();
    assert_eq!(gone, 2, "both lost devices are out");
    shut_out(&mut net, phone, bob, lost);
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
        assert!(RecoveryKit::from_shares(&[&texts[0]]).is_err(), "one is not enough");
        RecoveryKit::from_shares(&[&texts[0], &texts[2]]).unwrap()
    });
}

#[test]
fn a_user_without_a_kit_is_reminded_until_there_is_one() {
    let mut net = Net::seeded(34);
    let [laptop] = net.replicas(["laptop"]);
    let reminders =
        |net: &Net| laptop.events(net).iter().filter(|event| matches!(event, Event::RecoveryKitMissing)).count();
    net.run_for(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(reminders(&net), 4, "at the open, and daily");
    laptop.make_kit(&mut net);
    net.run_for(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(reminders(&net), 4);
    let again = net.act(laptop, |engine, _, _| engine.recovery_kit());
    assert!(matches!(again, Err(tombolo::Error::NoRoot)), "the root is erased");
}
