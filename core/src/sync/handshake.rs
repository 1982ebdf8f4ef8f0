//! The beginning of a session: both ends prove their keys.
//!
//! Invariant: nothing is believed or said before the relay's proof holds; without TLS the other end
//! must be this very machine, and a proxy in between must have been allowed when dialling.

use std::time::Duration;

use tombolo_crypto::array;
use tombolo_protocol::auth::{Binding, PROTOCOL_VERSION, Transcript};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Auth, Challenge, Frame, Hello, TlsMode, Welcome};
use tombolo_protocol::limits::FEATURE_LINKING;

use super::backoff::Backoff;
use super::{Fault, Live, Session};
use crate::engine::{Connection, Effect, Engine, Event, Now, RelayState, Unreached};
use crate::store::Tx;
use crate::sync::reason::SetAsideReason;

/// How long both ends may take to prove themselves.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);

/// A proof that is under way.
pub(super) struct Handshake {
    nonce: [u8; 32],
    host: String,
    binding: Binding,
    loopback: bool,
    transcript: Option<Transcript>,
    deadline: Duration,
}

impl Handshake {
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }
}

impl Engine {
    pub(crate) fn connected(&mut self, now: Now, connection: Connection, host: String, ends: (Binding, bool)) {
        let (binding, loopback) = ends;
        let nonce = array(self.entropy.as_mut());
        let keys = self.device.public();
        let features = if self.is_stranger() { vec![FEATURE_LINKING] } else { Vec::new() };
        let Some(relay) = self.current(connection).filter(|relay| matches!(relay.session, Session::Dialling)) else {
            return;
        };
        let hello = Hello {
            version: PROTOCOL_VERSION,
            sign_public: keys.sign.to_bytes(),
            box_public: keys.box_public,
            nonce,
            features,
            token: relay.row.token.clone(),
        };
        let handshake =
            Handshake { nonce, host, binding, loopback, transcript: None, deadline: now.mono + HANDSHAKE_MAX };
        relay.session = Session::Proving(Box::new(handshake));
        self.send(connection.relay.0, hello);
    }

    /// Ends all sessions and dials again: this is another device from now on.
    pub(crate) fn meet_relays_anew(&mut self, now: Now) {
        let mut effects = Vec::new();
        for relay in self.relays.values_mut() {
            if !matches!(relay.session, Session::Offline) {
                effects.push(Effect::HangUp { connection: relay.connection(), code: CloseCode::Going });
                relay.attempt += 1;
                relay.session = Session::Offline;
            }
            relay.backoff = Backoff::default();
            relay.dial_at = Some(now.mono);
        }
        effects.into_iter().for_each(|effect| self.push(effect));
    }

    /// Takes in a frame.
    pub(crate) fn receive(&mut self, now: Now, connection: Connection, bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(relay) = self.current(connection) else {
            return Ok(());
        };
        let proven = matches!(relay.session, Session::Live(_));
        let decoded = if proven { Frame::decode(bytes) } else { Frame::decode_unauthenticated(bytes) };
        let frame = decoded.map_err(|_| MALFORMED)?;
        if let Frame::Close(close) = frame {
            let wait = close.retry_after_ms.map(|ms| Duration::from_millis(u64::from(ms)));
            let code = CloseCode::from_number(close.code);
            self.push(crate::engine::Effect::HangUp { connection, code: CloseCode::Going });
            self.go_offline(now, connection.relay.0, Some(code.into()), wait);
            return Ok(());
        }
        match frame {
            Frame::Challenge(challenge) if !proven => self.answer(connection, &challenge),
            Frame::Welcome(welcome) if !proven => self.welcomed(now, connection, &welcome, tx),
            frame if proven => {
                self.note_answer(connection.relay.0, &frame, bytes.len());
                self.take_frame(now, connection.relay.0, frame, tx)
            }
            _ => Err(MALFORMED),
        }
    }

    fn answer(&mut self, connection: Connection, challenge: &Challenge) -> Result<(), Fault> {
        let keys = self.device.public();
        let Some(relay) = self.relays.get_mut(&connection.relay.0) else {
            return Ok(());
        };
        let allow_proxy = relay.row.allow_proxy;
        let Session::Proving(handshake) = &mut relay.session else {
            return Ok(());
        };
        if challenge.version != PROTOCOL_VERSION {
            return Err(Fault::Session(CloseCode::UnsupportedVersion, SetAsideReason::UnsupportedVersion));
        }
        let binding = match (challenge.tls, handshake.binding) {
            (TlsMode::Exporter, Binding::Exporter(exported)) => Binding::Exporter(exported),
            (TlsMode::Plain, Binding::None) if handshake.loopback => Binding::None,
            (TlsMode::Proxy, _) if allow_proxy => Binding::None,
            (TlsMode::Proxy, _) => return Err(Fault::Way(Unreached::BehindProxy)),
            (TlsMode::Plain, Binding::None) => return Err(Fault::Way(Unreached::PlainNotLoopback)),
            _ => return Err(Fault::Way(Unreached::TlsEndedBetween)),
        };
        let transcript = Transcript {
            relay: challenge.relay,
            host: handshake.host.to_ascii_lowercase(),
            device_nonce: handshake.nonce,
            relay_nonce: challenge.nonce,
            binding,
        };
        let proof = transcript.sign_as_device(&keys, self.device.sign_key());
        handshake.transcript = Some(transcript);
        self.send(connection.relay.0, Auth { proof });
        Ok(())
    }

    fn welcomed(&mut self, now: Now, connection: Connection, welcome: &Welcome, tx: &Tx<'_>) -> Result<(), Fault> {
        const REFUSED: Fault = Fault::Session(CloseCode::AuthFailed, SetAsideReason::AuthFailed);
        let keys = self.device.public();
        let row = connection.relay.0;
        let Some(relay) = self.relays.get_mut(&row) else {
            return Ok(());
        };
        let Session::Proving(handshake) = &mut relay.session else {
            return Ok(());
        };
        let transcript = handshake.transcript.take().ok_or(REFUSED)?;
        transcript.verify_relay(&keys, &welcome.proof).map_err(|_| REFUSED)?;
        let (id, address) = (transcript.relay, relay.row.address.clone());
        let replaced = relay.row.key.filter(|known| *known != id);
        relay.session = Session::Live(Box::new(Live {
            relay: id,
            transcript,
            credit_bytes: welcome.credit_bytes as usize,
            in_flight_bytes: 0,
            channels: std::collections::BTreeMap::new(),
            step_ups: super::step_up::StepUps::default(),
            answers: super::Answers::default(),
            since: now.mono,
        }));
        if relay.row.key.is_none() {
            relay.row.key = Some(id);
            tx.set_relay_key(row, &id)?;
        }
        if let Some(old) = replaced {
            self.forget_relay_logs(row, tx)?;
            self.tell(Event::RelayReplaced { address: address.clone(), old, new: id });
        }
        self.tell(Event::Relay { address, state: RelayState::Online { relay: id } });
        for workspace in self.workspaces.keys().copied().collect::<Vec<_>>() {
            self.open_channel(row, workspace);
        }
        self.retry_joins(now);
        self.ask_for_workspaces(row);
        Ok(())
    }

    /// Forgets our places in the logs of a relay that has another key than before.
    fn forget_relay_logs(&mut self, relay: i64, tx: &Tx<'_>) -> Result<(), Fault> {
        for workspace in self.workspaces.keys() {
            tx.forget_log(relay, *workspace)?;
        }
        Ok(())
    }

    /// Keeps the key of a relay that was replaced, once a workspace has been healed there; in the same
    /// commit every workspace begins to owe the word on who succeeds the old one.
    pub(crate) fn keep_relay_key(&mut self, relay: i64, tx: &Tx<'_>) -> Result<(), Fault> {
        let Some(relay) = self.relays.get_mut(&relay) else {
            return Ok(());
        };
        let Session::Live(live) = &relay.session else {
            return Ok(());
        };
        let (row, new) = (relay.row.row, live.relay);
        let Some(old) = relay.row.key.replace(new).filter(|old| *old != new) else {
            return Ok(());
        };
        tx.set_relay_key(row, &new)?;
        for workspace in self.workspaces.keys() {
            tx.await_succession(row, *workspace, &old)?;
        }
        Ok(())
    }
}

pub(super) const MALFORMED: Fault = Fault::Session(CloseCode::Malformed, SetAsideReason::Malformed);
