//! Handles to what people do with their devices: link, name, give up, and come back from a kit.
//!
//! Invariant: a handle holds no secret but a kit's, which is wiped when it is dropped.

use std::path::PathBuf;

use tombolo_crypto::{KitShare, LinkDigits, RecoveryKit};
use tombolo_protocol::ids::{DeviceId, UserId};

use super::builder::ReplicaBuilder;
use super::clock::SystemEntropy;
use super::events::ReplicaEvents;
use super::replica::Replica;
use crate::engine::Event;
use crate::error::Error;
#[cfg(feature = "network")]
use crate::identity::LinkWay;
use crate::identity::{Alarm, DeviceDescription};

/// A request to become a user's device, while it is under way.
#[derive(Debug)]
pub struct LinkRequestHandle {
    replica: Replica,
    events: ReplicaEvents,
    text: String,
}

impl LinkRequestHandle {
    /// Returns what to show: the text of a QR code, or the code to type on the other device.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Waits until the other device has answered, and returns the digits to show.
    ///
    /// # Errors
    /// [`Error::Link`] if the link was given up, [`Error::Closed`].
    pub async fn digits(&mut self) -> Result<LinkDigits, Error> {
        loop {
            match self.events.next().await.ok_or(Error::Closed)? {
                Event::LinkDigits { digits } => return Ok(digits),
                Event::LinkFailed { reason } => return Err(Error::Link(reason)),
                _ => {}
            }
        }
    }

    /// Waits until this device is the user's, and returns whose it has become.
    ///
    /// # Errors
    /// As [`LinkRequestHandle::digits`].
    pub async fn linked(&mut self) -> Result<UserId, Error> {
        loop {
            match self.events.next().await.ok_or(Error::Closed)? {
                Event::Linked { user } => return Ok(user),
                Event::LinkFailed { reason } => return Err(Error::Link(reason)),
                _ => {}
            }
        }
    }

    /// Gives the request up.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn cancel(self) -> Result<(), Error> {
        self.replica.cancel_link().await
    }
}

/// The approval of a new device, while it is under way.
#[derive(Debug)]
pub struct ApprovalHandle {
    replica: Replica,
    events: ReplicaEvents,
}

impl ApprovalHandle {
    /// Waits until the new device shows its digits; then ask the person for them.
    ///
    /// # Errors
    /// [`Error::Link`] if the link was given up, [`Error::Closed`].
    pub async fn asked(&mut self) -> Result<DeviceId, Error> {
        loop {
            match self.events.next().await.ok_or(Error::Closed)? {
                Event::LinkAsks { device } => return Ok(device),
                Event::LinkFailed { reason } => return Err(Error::Link(reason)),
                _ => {}
            }
        }
    }

    /// Takes the digits that a person read on the new device; there is one attempt.
    ///
    /// # Errors
    /// [`Error::Link`] if they are wrong or too late, [`Error::Store`].
    pub async fn confirm(self, digits: &str) -> Result<(), Error> {
        let digits = digits.to_owned();
        // A wrong guess is an answer, and what it changes is kept.
        self.replica.call(move |engine, now, tx| Ok(engine.confirm_link(now, &digits, tx))).await?
    }

    /// Gives the approval up.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn cancel(self) -> Result<(), Error> {
        self.replica.cancel_link().await
    }
}

/// A recovery kit that is not confirmed yet: keep it in one of its forms, read it back, then confirm it.
#[derive(Debug)]
pub struct KitBuilder {
    kit: RecoveryKit,
}

impl KitBuilder {
    /// Returns the kit, to be written as words or as a page.
    #[must_use]
    pub fn kit(&self) -> &RecoveryKit {
        &self.kit
    }

    /// Seals the kit under a passphrase. It hashes for some hundred milliseconds: call it where that may block.
    ///
    /// # Errors
    /// [`Error::Recovery`] if there is too little memory.
    pub fn to_file(&self, passphrase: &str) -> Result<Vec<u8>, Error> {
        Ok(self.kit.to_file(passphrase, &mut SystemEntropy::new())?)
    }

    /// Cuts the kit into shares, of which `need` are enough.
    ///
    /// # Errors
    /// [`Error::Recovery`] for numbers with which nobody can share.
    pub fn to_shares(&self, need: u8, of: u8) -> Result<Vec<KitShare>, Error> {
        Ok(self.kit.to_shares(need, of, &mut SystemEntropy::new())?)
    }
}

impl Replica {
    /// Asks, at a relay, to become a device of somebody who has one already. What was made here before is
    /// taken along.
    ///
    /// # Errors
    /// [`Error::Link`] if a link is under way or this user has other devices, [`Error::RoleDenied`] if there
    /// is a workspace that this user does not own, [`Error::Address`], [`Error::Store`].
    #[cfg(feature = "network")]
    pub async fn request_link(&self, address: &str, way: LinkWay) -> Result<LinkRequestHandle, Error> {
        let (address, events) = (address.to_owned(), self.events());
        let text = self.call(move |engine, now, tx| engine.request_link(now, &address, way, tx)).await?;
        Ok(LinkRequestHandle { replica: self.clone(), events, text })
    }

    /// Takes up the request of a new device: the text of its QR code, or the code that was typed.
    ///
    /// # Errors
    /// [`Error::Link`] if it is none, too old or used, [`Error::NoRelay`] for a code while no relay is
    /// reached, [`Error::Address`], [`Error::Store`].
    #[cfg(feature = "network")]
    pub async fn approve_link(&self, text: &str) -> Result<ApprovalHandle, Error> {
        let (text, events) = (text.to_owned(), self.events());
        self.call(move |engine, now, tx| engine.approve_link(now, &text, tx)).await?;
        Ok(ApprovalHandle { replica: self.clone(), events })
    }

    /// Gives up the link that is under way, if there is one.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn cancel_link(&self) -> Result<(), Error> {
        self.call(|engine, _, _| {
            engine.cancel_link();
            Ok(())
        })
        .await
    }

    /// Lists the devices of this user.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn devices(&self) -> Result<Vec<DeviceDescription>, Error> {
        self.call(|engine, _, _| Ok(engine.devices())).await
    }

    /// Names a device of this user.
    ///
    /// # Errors
    /// [`Error::NoDevice`], [`Error::Store`].
    pub async fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.call(move |engine, now, tx| engine.rename_device(now, &device, &name, tx)).await
    }

    /// Gives up another device of this user: each workspace shuts it out as soon as a session is level.
    ///
    /// # Errors
    /// [`Error::NoDevice`], [`Error::NotReady`] for this very device, [`Error::Store`].
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), Error> {
        self.call(move |engine, _, tx| engine.revoke_device(&device, tx)).await
    }

    /// Lists what a person should look at: suspected copies of this device, links that failed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        self.call(|engine, _, tx| engine.alarms(tx)).await
    }

    /// Forgets the alarms.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn dismiss_alarms(&self) -> Result<(), Error> {
        self.call(|engine, _, tx| engine.dismiss_alarms(tx)).await
    }

    /// Begins a recovery kit.
    ///
    /// # Errors
    /// [`Error::NoRoot`] where the user's root is not: on linked devices, and after a kit was confirmed.
    pub async fn recovery_kit(&self) -> Result<KitBuilder, Error> {
        let kit = self.call(|engine, _, _| engine.recovery_kit()).await?;
        Ok(KitBuilder { kit })
    }

    /// Confirms that the person holds a kit, as it was read back: workspaces give it their keys, and the
    /// root is erased on this device.
    ///
    /// # Errors
    /// [`Error::Recovery`] if it is another user's, [`Error::NoRoot`], [`Error::Store`].
    pub async fn confirm_kit(&self, kit: RecoveryKit) -> Result<(), Error> {
        self.call(move |engine, _, tx| engine.confirm_kit(&kit, tx)).await
    }

    /// Brings a user back from a kit, into a new store with the defaults; [`Event::Recovered`] says when all
    /// is here and the lost devices are out. Words carry no relays: dial one.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] if there is a workspace at the path, [`Error::Address`], [`Error::Store`].
    pub async fn recover(kit: RecoveryKit, path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(path).recover(kit).await
    }
}

impl ReplicaBuilder {
    /// Brings a user back from a kit, into a new store.
    ///
    /// # Errors
    /// As [`Replica::recover`].
    pub async fn recover(self, kit: RecoveryKit) -> Result<Replica, Error> {
        let replica = self.open().await?;
        replica.call(move |engine, now, tx| engine.recover(now, kit, tx)).await?;
        Ok(replica)
    }
}
