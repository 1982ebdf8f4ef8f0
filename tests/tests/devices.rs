//! Stories of a user's devices: names, a lost phone.

use std::time::Duration;

use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo::protocol::close::CloseCode;
use tombolo::{LinkWay, Platform};
use tombolo_tests::Net;

#[test]
fn a_lost_phone_is_out_and_what_it_wrote_stays() {
    let mut net = Net::seeded(41);
    let [laptop, bob] = net.replicas(["laptop", "bob"]);
    let phone = net.device("phone");
    net.link(laptop, phone, LinkWay::Scan);
    phone.edit(&mut net, "from the phone");
    net.run_until_quiet();
    let (lost, _) = phone.ids(&net);
    laptop.give_up(&mut net, lost);
    net.run_for(Duration::from_secs(120));
    bob.edit(&mut net, "after the loss");
    laptop.edit(&mut net, "after the loss too");
    net.run_for(Duration::from_secs(300));
    net.assert_converged([laptop, bob]);
    for document in net.documents() {
        assert!(bob.has(&mut net, document, "from the phone"), "what it wrote before stays");
        assert!(!phone.has(&mut net, document, "after the loss"), "it reads nothing new");
    }
    assert!(!bob.devices_of_members(&mut net).contains(&lost));
    assert!(laptop.was_told(&net, |event| matches!(event, Event::DeviceRevoked { device } if *device == lost)));
}

#[test]
fn a_device_that_was_given_up_asks_its_relay_now_and_then_and_not_every_minute() {
    let mut net = Net::seeded(44);
    let [laptop] = net.replicas(["laptop"]);
    let phone = net.device("phone");
    net.link(laptop, phone, LinkWay::Scan);
    let (lost, _) = phone.ids(&net);
    laptop.give_up(&mut net, lost);
    net.run_for(Duration::from_secs(120));
    let dials = |net: &Net| {
        let dialling = |event: &&Event| matches!(event, Event::Relay { state: RelayState::Dialling, .. });
        phone.events(net).iter().filter(dialling).count()
    };
    let before = dials(&net);
    net.run_for(Duration::from_secs(2 * 3600));
    let asked = dials(&net) - before;
    assert!((5..=12).contains(&asked), "{asked} times in two hours");
    assert!(phone.was_told(&net, |event| {
        matches!(event, Event::Relay { state: RelayState::Offline { reason, proven: true, .. }, .. }
            if *reason == Some(OfflineReason::Ended(CloseCode::DeviceRevoked)))
    }));
}

#[test]
fn a_revocation_made_offline_is_kept_through_a_crash_and_stated_later() {
    let mut net = Net::seeded(42);
    let [laptop, bob] = net.replicas(["laptop", "bob"]);
    let phone = net.device("phone");
    net.link(laptop, phone, LinkWay::Scan);
    let (lost, _) = phone.ids(&net);
    net.cut(laptop);
    laptop.give_up(&mut net, lost);
    laptop.crash(&mut net);
    net.run_for(Duration::from_secs(60));
    assert!(bob.devices_of_members(&mut net).contains(&lost));
    net.heal();
    net.run_for(Duration::from_secs(300));
    assert!(!bob.devices_of_members(&mut net).contains(&lost));
}

#[test]
fn devices_have_names_that_the_users_other_devices_learn_and_relays_do_not() {
    let mut net = Net::seeded(43);
    let [laptop] = net.replicas(["laptop"]);
    let phone = net.device("phone");
    net.link(laptop, phone, LinkWay::Scan);
    let (id, _) = phone.ids(&net);
    net.act(phone, |engine, now, tx| engine.rename_device(now, &id, "Anna's phone", tx)).unwrap();
    net.run_until_quiet();
    let described = laptop.devices(&net).into_iter().find(|device| device.id == id).unwrap();
    assert_eq!(described.name.as_deref(), Some("Anna's phone"));
    assert_eq!((described.platform, described.is_this, described.revoked), (Platform::here(), false, false));
    assert_eq!(described.added, Some(laptop.ids(&net).0));
}
