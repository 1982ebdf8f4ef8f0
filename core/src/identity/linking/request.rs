//! The side of a device that asks: it waits at the rendezvous, shows digits, and becomes the user's.
//!
//! Invariant: the secrets that a link was begun with are this device's only once the approval has opened.

use std::time::Duration;

use tombolo_crypto::{Approval, DeviceSecrets, LinkCode, LinkError, LinkToken, NewDevice, NewDeviceStep};
use tombolo_protocol::frame::{Meet, Pass};
use tombolo_protocol::ids::RendezvousId;

use super::{LinkFailure, LinkWay, deadline};
use crate::engine::{Engine, Event, Now};
use crate::error::Error;
use crate::identity::Platform;
use crate::store::{StoreError, Tx};

/// This device asks.
pub(super) struct Requesting {
    pub(super) relay: i64,
    pub(super) rendezvous: RendezvousId,
    device: DeviceSecrets,
    new: NewDevice,
    way: LinkWay,
    /// The session in which it waits.
    session: Option<u64>,
    answered: bool,
    pub(super) until: Duration,
}

impl Engine {
    /// Asks to become the device of another user, at a relay; returns what to show as a QR code or to read
    /// aloud. What is here is taken along if all of it is this user's own.
    ///
    /// # Errors
    /// [`Error::Link`] if one is under way or this device's user has others, [`Error::RoleDenied`] if there
    /// is a workspace here that this user does not own, [`Error::Address`], [`Error::Store`].
    pub fn request_link(&mut self, now: Now, address: &str, way: LinkWay, tx: &Tx<'_>) -> Result<String, Error> {
        if self.own.links.request.is_some() || self.own.links.approval.is_some() {
            return Err(Error::Link(LinkFailure::Busy));
        }
        self.check_mergeable()?;
        // Set first: the session that is dialled now must ask to be let in.
        let (request, text) = self.begin_request(now, address, way).map_err(|error| Error::Link(error.into()))?;
        self.own.links.request = Some(request);
        let allow_proxy = self.allows_proxy(address);
        let relay = match self.dial(now, address, allow_proxy, None, tx) {
            Ok(relay) => relay.0,
            Err(error) => {
                self.own.links.request = None;
                return Err(error);
            }
        };
        if let Some(request) = self.own.links.request.as_mut() {
            request.relay = relay;
        }
        self.drive_links(now);
        Ok(text)
    }

    fn begin_request(&mut self, now: Now, address: &str, way: LinkWay) -> Result<(Requesting, String), LinkError> {
        let device = DeviceSecrets::generate(self.entropy.as_mut());
        let code = LinkCode::generate(self.entropy.as_mut());
        let token = match way {
            LinkWay::Scan => LinkToken::generate(self.entropy.as_mut()),
            LinkWay::Code => code.token(),
        };
        let platform = Platform::here() as u8;
        let new = NewDevice::begin(&device, platform, address, token, now.wall_ms, self.entropy.as_mut())?;
        let text = match way {
            LinkWay::Scan => new.request().to_text(),
            LinkWay::Code => code.to_text(),
        };
        let (rendezvous, until) = (new.request().rendezvous(), deadline(now));
        let (relay, session, answered) = (0, None, false);
        Ok((Requesting { relay, rendezvous, device, new, way, session, answered, until }, text))
    }

    pub(super) fn drive_request(&mut self, now: Now) {
        let Some(request) = self.own.links.request.as_ref() else {
            return;
        };
        let (relay, rendezvous) = (request.relay, request.rendezvous);
        if request.until <= now.mono {
            return self.fail_request(LinkFailure::Link(LinkError::Expired));
        }
        let session = self.session_of(relay);
        if request.session == session {
            return;
        }
        if request.answered {
            return self.fail_request(LinkFailure::Offline);
        }
        let message = (request.way == LinkWay::Code).then(|| request.new.request().to_message());
        if let Some(request) = self.own.links.request.as_mut() {
            request.session = session;
        }
        if session.is_some() {
            self.send(relay, Meet { rendezvous, waits: true });
            if let Some(message) = message {
                self.send(relay, Pass { rendezvous, message: message.into() });
            }
        }
    }

    pub(super) fn fail_request(&mut self, reason: LinkFailure) {
        if let Some(request) = self.own.links.request.take() {
            self.part(request.rendezvous, vec![request.relay]);
            self.tell(Event::LinkFailed { reason });
        }
    }

    pub(super) fn pass_to_request(&mut self, now: Now, pass: &Pass, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(request) = self.own.links.request.as_mut() else {
            return Ok(());
        };
        request.answered = true;
        let (relay, rendezvous) = (request.relay, request.rendezvous);
        match request.new.receive(&pass.message, &request.device, now.wall_ms, self.entropy.as_mut()) {
            Ok(NewDeviceStep::Send(message)) => {
                self.send(relay, Pass { rendezvous, message: message.into() });
                Ok(())
            }
            Ok(NewDeviceStep::ShowDigits { digits, send }) => {
                self.send(relay, Pass { rendezvous, message: send.into() });
                self.tell(Event::LinkDigits { digits });
                Ok(())
            }
            Ok(NewDeviceStep::Linked(approval)) => match self.own.links.request.take() {
                Some(request) => self.linked(now, request.device, *approval, tx),
                None => Ok(()),
            },
            Err(error) => {
                self.fail_request(LinkFailure::Link(error));
                Ok(())
            }
        }
    }

    /// Becomes the user's device, and opens the user's workspaces.
    fn linked(&mut self, now: Now, device: DeviceSecrets, approval: Approval, tx: &Tx<'_>) -> Result<(), StoreError> {
        let user = approval.log.user();
        match self.become_user(now, device, approval.log, tx) {
            Ok(()) => {}
            Err(Error::Store(error)) => return Err(error),
            Err(_) => {
                self.tell(Event::LinkFailed { reason: LinkFailure::NotTakenAlong });
                return Ok(());
            }
        }
        for (id, linked) in approval.workspaces {
            for address in &linked.relays {
                let allow_proxy = self.allows_proxy(address);
                // An address that this device may not dial is passed over: the others serve.
                if let Err(Error::Store(error)) = self.dial(now, address, allow_proxy, None, tx) {
                    return Err(error);
                }
            }
            self.insert_returning(id, Some(linked), tx)?;
        }
        self.tell(Event::Linked { user });
        Ok(())
    }
}
