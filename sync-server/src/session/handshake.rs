//! Hello, challenge, proof, welcome.
//!
//! Invariant: a challenge is drawn for one session and answered once, within 30 seconds; until then
//! nothing is looked up for the peer but whether its device is known.

use tombolo_protocol::auth::{Binding, PROTOCOL_VERSION, Transcript};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Auth, Challenge, Hello, Welcome};
use tombolo_protocol::identity::DeviceKeys;
use tombolo_protocol::limits::{CHALLENGE_MS_MAX, FEATURE_LINKING};

use super::{Challenged, Proven, SecondFactor, Session, Stage};
use crate::fanout::Closing;

/// What the connection says of the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The host that was dialled, as the request names it.
    pub host: String,
    /// What ties the session to its TLS connection.
    pub binding: Binding,
}

impl Session {
    pub(super) fn hello(&mut self, hello: Hello) -> Result<(), Closing> {
        if !matches!(self.stage, Stage::Fresh) {
            return Err(CloseCode::Malformed.into());
        }
        if hello.version != PROTOCOL_VERSION {
            return Err(CloseCode::UnsupportedVersion.into());
        }
        let keys = DeviceKeys::parse(&hello.sign_public, &hello.box_public);
        let keys = keys.map_err(|_| Closing::from(CloseCode::AuthFailed))?;
        let nonce = self.relay.draw()?;
        let transcript = Transcript {
            relay: self.relay.id(),
            host: self.peer.host.to_lowercase(),
            device_nonce: hello.nonce,
            relay_nonce: nonce,
            binding: self.peer.binding,
        };
        let challenge = Challenge {
            version: PROTOCOL_VERSION,
            relay: self.relay.id(),
            nonce,
            tls: self.relay.terms().tls,
            features: Vec::new(),
        };
        self.stage = Stage::Challenged(Box::new(Challenged {
            keys,
            links: hello.features.contains(&FEATURE_LINKING),
            token: hello.token,
            transcript,
            deadline_ms: self.relay.steady_ms().saturating_add(CHALLENGE_MS_MAX),
        }));
        self.send(challenge);
        Ok(())
    }

    pub(super) fn auth(&mut self, auth: &Auth) -> Result<(), Closing> {
        let stage = std::mem::replace(&mut self.stage, Stage::Fresh);
        let Stage::Challenged(challenged) = stage else {
            return Err(CloseCode::Malformed.into());
        };
        let Challenged { keys, token, links, transcript, deadline_ms } = *challenged;
        if self.relay.steady_ms() > deadline_ms {
            return Err(CloseCode::AuthTimeout.into());
        }
        let proof = transcript.verify_device(&keys, &auth.proof);
        proof.map_err(|_| Closing::from(CloseCode::AuthFailed))?;
        let device = keys.id();
        if self.relay.log().is_revoked(&device)? {
            // Before it has the relay's proof, a device takes no verdict for one, and would ask every minute.
            self.send(self.welcome(&transcript, &keys));
            return Err(CloseCode::DeviceRevoked.into());
        }
        let token_holds = self.relay.admission().admits(token.as_deref());
        // A device that is to be linked, or that a kit brings back, is nobody's yet: it may ask, and begin nothing.
        let admitted = token_holds || links || self.relay.log().knows_device(&device)?;
        let guest = if admitted { None } else { Some(self.receive_guest()?) };
        let welcome = self.welcome(&transcript, &keys);
        tracing::debug!(device = %device.short(), session = self.outbox.id().0, "a device proved its key");
        self.stage = Stage::Proven(Box::new(Proven {
            keys,
            device,
            transcript,
            token_holds,
            guest,
            factor: SecondFactor::default(),
            pending: None,
        }));
        self.relay.arrive(device, self.outbox.id());
        self.note_came();
        self.send(welcome);
        Ok(())
    }

    fn welcome(&self, transcript: &Transcript, keys: &DeviceKeys) -> Welcome {
        Welcome {
            proof: transcript.sign_as_relay(keys, self.relay.key()),
            credit_bytes: self.relay.terms().credit_bytes,
            time_ms: self.relay.now_ms(),
            ping_ms: self.relay.terms().ping_ms,
        }
    }
}
