//! A story of a user who has no kit yet: the device goes on reminding.

use std::time::Duration;

use tombolo::engine::Event;
use tombolo_tests::Net;

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
