//! What people do with their devices: link, give up, recover.

use tombolo::crypto::{LinkDigits, RecoveryKit};
use tombolo::engine::Event;
use tombolo::protocol::ids::{DeviceId, UserId};
use tombolo::{DeviceDescription, Error, LinkWay};

use super::Net;
use crate::replica::Replica;
use crate::station::RelayNode;

impl Net {
    /// Links a new device to the user of another, by a scanned or typed code, with the right digits.
    pub fn link(&mut self, old: Replica, new: Replica, way: LinkWay) {
        let text = new.ask_to_be_linked(self, way);
        self.run_for(std::time::Duration::from_secs(1));
        old.take_up(self, &text).expect("the request is good");
        self.run_for(std::time::Duration::from_secs(2));
        let digits = new.digits(self).expect("the new device shows digits").to_string();
        old.confirm(self, &digits).expect("the digits are right");
        self.run_until_quiet();
    }
}

impl Replica {
    /// Asks to be linked, at the first relay; returns what to show.
    pub fn ask_to_be_linked(self, net: &mut Net, way: LinkWay) -> String {
        let address = net.station(RelayNode::FIRST).address.clone();
        let asked = net.act(self, move |engine, now, tx| engine.request_link(now, &address, way, tx));
        asked.expect("the request is made").expect("its device lives")
    }

    /// Takes up what another device shows.
    ///
    /// # Errors
    /// What the engine answers.
    pub fn take_up(self, net: &mut Net, text: &str) -> Result<(), Error> {
        let text = text.to_owned();
        net.act(self, move |engine, now, tx| engine.approve_link(now, &text, tx)).map(|_| ())
    }

    /// Types digits.
    ///
    /// # Errors
    /// What the engine answers.
    pub fn confirm(self, net: &mut Net, digits: &str) -> Result<(), Error> {
        let digits = digits.to_owned();
        // A wrong guess is an answer, and what it changes is kept.
        let done = net.act(self, move |engine, now, tx| Ok(engine.confirm_link(now, &digits, tx)))?;
        done.unwrap_or(Ok(()))
    }

    /// Returns the digits that the device shows.
    #[must_use]
    pub fn digits(self, net: &Net) -> Option<LinkDigits> {
        let shown = |event: &Event| match event {
            Event::LinkDigits { digits } => Some(*digits),
            _ => None,
        };
        self.events(net).iter().rev().find_map(shown)
    }

    /// Returns this device's and this user's id.
    #[must_use]
    pub fn ids(self, net: &Net) -> (DeviceId, UserId) {
        let engine = net.state(self).engine().expect("the device is up");
        (engine.device_id(), engine.user_id())
    }

    /// Lists the devices of this user.
    #[must_use]
    pub fn devices(self, net: &Net) -> Vec<DeviceDescription> {
        net.state(self).engine().expect("the device is up").devices()
    }

    /// Gives up a device of this user.
    pub fn give_up(self, net: &mut Net, device: DeviceId) {
        net.act(self, |engine, _, tx| engine.revoke_device(&device, tx)).expect("the device is given up");
    }

    /// Makes a recovery kit and confirms it.
    pub fn make_kit(self, net: &mut Net) -> RecoveryKit {
        let made = net.act(self, |engine, _, tx| {
            let kit = engine.recovery_kit()?;
            engine.confirm_kit(&kit, tx)?;
            Ok(kit)
        });
        made.expect("the root is here").expect("the device lives")
    }

    /// Becomes the user of a kit again.
    pub fn recover(self, net: &mut Net, kit: RecoveryKit) {
        net.act(self, |engine, now, tx| engine.recover(now, kit, tx)).expect("the replica is empty");
    }
}

impl Replica {
    /// Returns the devices of all members, as this device knows them.
    pub fn devices_of_members(self, net: &mut Net) -> Vec<DeviceId> {
        let workspace = net.workspace();
        let members = net.act(self, |engine, _, _| engine.members(&workspace));
        let members = members.expect("the workspace is here").expect("the device lives");
        members.into_iter().flat_map(|member| member.devices).collect()
    }
}
