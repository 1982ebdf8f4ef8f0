//! Stories of a second device: by a scanned or typed code, with wrong digits, too late, and with work of its own.

use std::time::Duration;

use tombolo::crypto::LinkError;
use tombolo::document::Crdt;
use tombolo::engine::Event;
use tombolo::protocol::frame::PartReason;
use tombolo::protocol::record::Role;
use tombolo::{Error, LinkFailure, LinkWay, WorkspaceState};
use tombolo_tests::{Net, RelayNode};

#[test]
fn a_phone_is_linked_by_a_scanned_code_and_has_everything() {
    for way in [LinkWay::Scan, LinkWay::Code] {
        let mut net = Net::seeded(21);
        let [laptop, bob] = net.replicas(["laptop", "bob"]);
        laptop.edit(&mut net, "milk");
        let phone = net.device("phone");
        net.link(laptop, phone, way);
        assert_eq!(phone.ids(&net).1, laptop.ids(&net).1, "one user");
        phone.edit(&mut net, "bread");
        net.run_until_quiet();
        net.assert_converged([laptop, bob, phone]);
        assert!(laptop.was_told(&net, |event| matches!(event, Event::DeviceLinked { .. })));
        assert!(phone.was_told(&net, |event| matches!(event, Event::Linked { .. })));
        assert_eq!(phone.devices(&net).len(), 2);
    }
}

#[test]
fn a_code_that_is_scanned_before_its_device_is_at_the_relay_links_once_it_comes() {
    let mut net = Net::seeded(23);
    let [laptop] = net.replicas(["laptop"]);
    let phone = net.device("phone");
    net.cut(phone);
    let text = phone.ask_to_be_linked(&mut net, LinkWay::Scan);
    laptop.take_up(&mut net, &text).unwrap();
    net.run_for(Duration::from_secs(5));
    net.heal();
    net.run_for(Duration::from_secs(5));
    let digits = phone.digits(&net).expect("digits are shown").to_string();
    laptop.confirm(&mut net, &digits).unwrap();
    net.run_until_quiet();
    assert_eq!(phone.ids(&net).1, laptop.ids(&net).1, "one user");
    // One who never comes is not waited for.
    let tablet = net.device("tablet");
    net.cut(tablet);
    let text = tablet.ask_to_be_linked(&mut net, LinkWay::Scan);
    laptop.take_up(&mut net, &text).unwrap();
    net.run_for(Duration::from_secs(22));
    let absent = LinkFailure::Parted(PartReason::NotThere);
    assert!(laptop.was_told(&net, |event| matches!(event, Event::LinkFailed { reason } if *reason == absent)));
}

#[test]
fn who_looks_for_a_scanned_device_and_loses_the_relay_does_nothing_until_it_is_back() {
    // Whenever it is lost: before the relay has said that nobody is there yet, or between two looks.
    for moment in 0..16 {
        let mut net = Net::seeded(24);
        let [laptop] = net.replicas(["laptop"]);
        let phone = net.device("phone");
        net.cut(phone);
        let text = phone.ask_to_be_linked(&mut net, LinkWay::Scan);
        laptop.take_up(&mut net, &text).unwrap();
        net.run_for(Duration::from_millis(50 * moment));
        net.stop_relay(RelayNode::FIRST);
        let steps = net.steps();
        net.run_for(Duration::from_secs(10));
        assert!(net.steps() < steps + 200, "{} steps", net.steps() - steps);
    }
}

#[test]
fn the_store_of_a_device_that_is_on_its_way_into_a_workspace_is_whole() {
    let mut net = Net::seeded(27);
    let [laptop] = net.replicas(["laptop"]);
    let phone = net.device("phone");
    let text = phone.ask_to_be_linked(&mut net, LinkWay::Scan);
    net.run_for(Duration::from_secs(1));
    laptop.take_up(&mut net, &text).unwrap();
    net.run_for(Duration::from_secs(2));
    let digits = phone.digits(&net).expect("digits are shown").to_string();
    laptop.confirm(&mut net, &digits).unwrap();
    let mut returning = 0;
    for _ in 0..400 {
        net.run_for(Duration::from_millis(2));
        let here = net.act(phone, |engine, _, _| Ok(engine.workspaces())).unwrap().unwrap();
        returning += here.iter().filter(|workspace| workspace.state == WorkspaceState::Returning).count();
        phone.assert_sound(&net);
    }
    assert!(returning > 0, "it was on its way for a while");
}

#[test]
fn all_other_devices_of_the_user_hear_of_a_new_one() {
    let mut net = Net::seeded(22);
    let [laptop] = net.replicas(["laptop"]);
    let (phone, tablet) = (net.device("phone"), net.device("tablet"));
    net.link(laptop, phone, LinkWay::Scan);
    net.link(phone, tablet, LinkWay::Scan);
    let (new, _) = tablet.ids(&net);
    assert!(laptop.was_told(&net, |event| matches!(event, Event::DeviceLinked { device, .. } if *device == new)));
    tablet.edit(&mut net, "from the tablet");
    net.run_until_quiet();
    net.assert_converged([laptop, phone, tablet]);
}

#[test]
fn a_request_that_nobody_takes_up_in_three_minutes_is_over() {
    let mut net = Net::seeded(24);
    let [laptop] = net.replicas(["laptop"]);
    let phone = net.device("phone");
    let text = phone.ask_to_be_linked(&mut net, LinkWay::Scan);
    net.run_for(Duration::from_secs(181));
    let expired = LinkFailure::Link(LinkError::Expired);
    assert!(phone.was_told(&net, |event| matches!(event, Event::LinkFailed { reason } if *reason == expired)));
    let refused = laptop.take_up(&mut net, &text);
    assert!(matches!(refused, Err(Error::Link(reason)) if reason == expired));
    net.link(laptop, phone, LinkWay::Scan);
    assert_eq!(phone.ids(&net).1, laptop.ids(&net).1, "the next request is good");
}

#[test]
fn what_was_made_without_an_account_is_taken_along_to_the_user() {
    let mut net = Net::seeded(25);
    let [laptop] = net.replicas(["laptop"]);
    let phone = net.device("phone");
    let (made, document) = net
        .act(phone, |engine, now, tx| {
            let workspace = engine.create_workspace(now, "On the train", tx)?;
            let document = engine.create_document(now, &workspace, Crdt::Automerge, tx)?;
            engine.edit(now, &document, |edit| edit.put("before", 1), tx)?;
            Ok((workspace, document))
        })
        .unwrap()
        .unwrap();
    let anonymous = phone.ids(&net).1;
    net.link(laptop, phone, LinkWay::Scan);
    net.act(phone, |engine, now, tx| engine.edit(now, &document, |edit| edit.put("after", 2), tx)).unwrap();
    net.run_until_quiet();
    let user = laptop.ids(&net).1;
    let members = net.act(laptop, |engine, _, _| engine.members(&made)).unwrap().unwrap();
    let role = |user| members.iter().find(|member| member.user == user).map(|member| member.role);
    assert_eq!((role(user), role(anonymous)), (Some(Role::Owner), None), "no owner stays whom nobody is");
    for device in [laptop, phone] {
        let words = device.words(&mut net, document);
        assert_eq!(words, ["after", "before"]);
    }
    net.assert_converged([laptop, phone]);
}

#[test]
fn a_workspace_founded_after_the_link_reaches_the_users_other_devices() {
    let mut net = Net::seeded(26);
    let [laptop] = net.replicas(["laptop"]);
    let phone = net.device("phone");
    net.link(laptop, phone, LinkWay::Scan);
    let made = net.act(laptop, |engine, now, tx| engine.create_workspace(now, "Later", tx)).unwrap().unwrap();
    net.run_until_quiet();
    phone.crash(&mut net);
    net.run_until_quiet();
    let here = net.act(phone, |engine, _, _| Ok(engine.workspaces())).unwrap().unwrap();
    let later = here.iter().find(|workspace| workspace.id == made).unwrap();
    assert_eq!((later.name.as_deref(), later.role), (Some("Later"), Some(Role::Owner)));
}
