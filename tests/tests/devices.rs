//! Stories of a user's devices: names, a lost phone.

use std::time::Duration;

use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::frame::Frame;
use tombolo::protocol::ids::WorkspaceId;
use tombolo::{LinkWay, Platform};
use tombolo_tests::lies::{self, Lie};
use tombolo_tests::{Net, RelayNode, Replica};

/// Lists workspaces under ids that there are none of, and with the tags of those that there are.
fn lists_falsely() -> Lie {
    lies::rewrite(|frame| match frame {
        Frame::Claimed(mut claimed) => {
            for id in &mut claimed.workspaces {
                let mut bytes = *id.as_bytes();
                bytes[31] ^= 1;
                *id = WorkspaceId::from_bytes(bytes);
            }
            vec![claimed.into()]
        }
        frame => vec![frame],
    })
}

#[test]
fn a_made_up_workspace_with_the_tag_of_one_that_is_here_is_not_asked_for() {
    let mut net = Net::seeded(45);
    let [laptop] = net.replicas(["laptop"]);
    let phone = net.device("phone");
    net.link(laptop, phone, LinkWay::Scan);
    net.lie(RelayNode::FIRST, lists_falsely());
    let (tap, said) = lies::tap();
    net.patch(laptop, tap);
    net.reset(laptop);
    net.run_for(Duration::from_secs(600));
    let names = || said.borrow().iter().map(Frame::name).collect::<Vec<_>>();
    assert!(names().contains(&"Claim"), "{:?}", names());
    assert!(!names().contains(&"Return"), "{:?}", names());
}

#[test]
fn a_made_up_workspace_keeps_nobody_from_coming_back_to_the_one_with_its_tag() {
    let mut net = Net::seeded(46);
    let [laptop] = net.replicas(["laptop"]);
    laptop.edit(&mut net, "kept");
    let kit = laptop.make_kit(&mut net);
    net.run_until_quiet();
    laptop.kill(&mut net);
    let found = net.device("found");
    found.recover(&mut net, kit);
    net.lie(RelayNode::FIRST, lists_falsely());
    net.dial_relay(found, RelayNode::FIRST);
    net.run_for(Duration::from_secs(30));
    net.honest(RelayNode::FIRST);
    net.reset(found);
    net.run_for(Duration::from_secs(120));
    for document in net.documents() {
        assert!(found.has(&mut net, document, "kept"), "{:?}", found.events(&net));
    }
}

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

/// A laptop that gives a phone up at one relay, while the phone and a tablet of the same person are at another.
fn given_up_elsewhere(seed: u64, build_on: impl FnOnce(&mut Net, Replica, RelayNode)) -> (Net, [Replica; 3]) {
    let mut net = Net::seeded(seed);
    let [laptop, bob] = net.replicas(["laptop", "bob"]);
    let second = net.add_relay();
    let [tablet, phone] = ["tablet", "phone"].map(|name| {
        let device = net.device(name);
        net.link(laptop, device, LinkWay::Scan);
        device
    });
    net.dial_relay(tablet, second);
    net.dial_relay(phone, second);
    net.run_until_quiet();
    net.cut_from(tablet, RelayNode::FIRST);
    net.cut_from(phone, RelayNode::FIRST);
    net.run_for(Duration::from_secs(90));
    phone.edit(&mut net, "from the phone");
    net.run_for(Duration::from_secs(90));
    build_on(&mut net, tablet, second);
    net.run_for(Duration::from_secs(90));
    let (lost, _) = phone.ids(&net);
    laptop.give_up(&mut net, lost);
    net.run_for(Duration::from_secs(90));
    phone.kill(&mut net);
    net.heal_to(tablet, RelayNode::FIRST);
    net.run_for(Duration::from_secs(90));
    (net, [laptop, tablet, bob])
}

fn what_the_tablet_built_on_counts(mut net: Net, three: [Replica; 3]) {
    let [one, other] = net.documents()[..] else { unreachable!("two documents") };
    for replica in three {
        assert!(replica.has(&mut net, one, "on it"), "{replica:?} lost what the tablet wrote");
        assert!(replica.has(&mut net, one, "from the phone"), "{replica:?}");
        assert!(!replica.has(&mut net, other, "from the phone"), "nobody built on it there");
        replica.assert_sound(&net);
    }
    net.assert_equal(&three);
    three[1].edit(&mut net, "goes on");
    net.run_for(Duration::from_secs(90));
    assert!(three.iter().all(|replica| replica.has(&mut net, one, "goes on")));
}

#[test]
fn what_a_tablet_built_on_what_a_lost_phone_wrote_stays_though_the_laptop_had_not_seen_it() {
    let (net, three) = given_up_elsewhere(48, |net, tablet, _| {
        let document = net.documents()[0];
        tablet.try_edit(net, document, "on it").unwrap();
    });
    what_the_tablet_built_on_counts(net, three);
}

#[test]
fn what_a_tablet_built_on_a_lost_phone_and_had_not_sealed_yet_stays_too() {
    let (net, three) = given_up_elsewhere(49, |net, tablet, second| {
        net.cut_from(tablet, second);
        net.run_for(Duration::from_secs(90));
        let document = net.documents()[0];
        tablet.try_edit(net, document, "on it").unwrap();
    });
    what_the_tablet_built_on_counts(net, three);
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
