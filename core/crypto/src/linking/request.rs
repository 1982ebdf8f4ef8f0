//! What a new device shows, or leaves at the rendezvous: its key, its id and how long it waits.
//!
//! Text, for a QR code: `tombolo-link:1:` and the base64url form of `token 16 | message | checksum 4`.
//!
//! Invariant: a text that parses is whole; it fits [`LINK_TEXT_CHARS_MAX`]. The relay sees the
//! rendezvous, never the token that it is derived from.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use tombolo_protocol::bytes::Reader;
use tombolo_protocol::hash::hash;
use tombolo_protocol::ids::{DeviceId, RendezvousId};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::LinkError;
use super::message::{Kind, begin, read_kind};
use crate::derive::{first, half};
use crate::entropy::{Entropy, array};
use crate::{addresses, typed};

/// Characters of a request as text: a QR code of this size is read by any camera.
pub const LINK_TEXT_CHARS_MAX: usize = 300;
/// Bytes of the relay's address in a request, for the text to stay within its limit.
pub const LINK_ADDRESS_BYTES_MAX: usize = 100;

const SCHEME: &str = "tombolo-link:";
const VERSION: &str = "1";
const CHECKSUM_BYTES: usize = 4;
const CODE_BYTES: usize = 5;

/// What the two devices know of a link before they begin; from a QR code nobody else knows it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct LinkToken([u8; 16]);

impl LinkToken {
    /// Draws the token of a QR code.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self(array(entropy))
    }

    /// Returns where the two meet.
    #[must_use]
    pub fn rendezvous(&self) -> RendezvousId {
        RendezvousId::from_bytes(half(&hash("link-rendezvous", &[&self.0])))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken(secret)")
    }
}

/// Eight characters for devices without a camera: they find each other by it. It is short enough for the
/// relay to guess, so all rests on the digits.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct LinkCode([u8; CODE_BYTES]);

impl LinkCode {
    /// Draws a code.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self(array(entropy))
    }

    /// Returns the token that both devices derive from it.
    #[must_use]
    pub fn token(&self) -> LinkToken {
        LinkToken(half(&hash("link-code", &[&self.0])))
    }

    /// Writes it as a person reads it aloud.
    #[must_use]
    pub fn to_text(&self) -> String {
        typed::encode(&self.0).to_string()
    }
}

impl FromStr for LinkCode {
    type Err = LinkError;

    /// Reads a code; case, white space and hyphens do not matter.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        // A longer text is not worth reading.
        let short = text.len() <= LINK_TEXT_CHARS_MAX;
        let bytes = short.then(|| typed::decode(text)).flatten().ok_or(LinkError::NotACode)?;
        bytes.as_slice().try_into().map(Self).map_err(|_| LinkError::NotACode)
    }
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkCode(secret)")
    }
}

/// The request of a new device to become a user's.
pub struct LinkRequest {
    pub(super) token: LinkToken,
    pub(super) ephemeral: [u8; 32],
    pub(super) device: DeviceId,
    pub(super) expires_ms: i64,
    pub(super) relay: String,
}

impl LinkRequest {
    pub(super) fn new(
        token: LinkToken,
        ephemeral: [u8; 32],
        device: DeviceId,
        expires_ms: i64,
        relay: &str,
    ) -> Result<Self, LinkError> {
        if relay.len() > LINK_ADDRESS_BYTES_MAX {
            let (count, limit) = (relay.len(), LINK_ADDRESS_BYTES_MAX);
            return Err(LinkError::TooMany { what: "bytes of address", count, limit });
        }
        addresses::check(&[relay.to_owned()])?;
        Ok(Self { token, ephemeral, device, expires_ms, relay: relay.to_owned() })
    }

    /// Returns where the two devices meet.
    #[must_use]
    pub fn rendezvous(&self) -> RendezvousId {
        self.token.rendezvous()
    }

    /// Returns the relay that has the rendezvous.
    #[must_use]
    pub fn relay(&self) -> &str {
        &self.relay
    }

    /// Returns which device asks.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Writes the message that waits at the rendezvous of a code.
    #[must_use]
    pub fn to_message(&self) -> Vec<u8> {
        let mut out = begin(Kind::Request);
        out.extend_from_slice(&self.ephemeral);
        out.extend_from_slice(self.device.as_bytes());
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        out.push(self.relay.len() as u8);
        out.extend_from_slice(self.relay.as_bytes());
        out
    }

    /// Reads the message that was found at the rendezvous of a token.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] if it breaks its layout, [`LinkError::Replayed`] if it is a later one.
    pub fn from_message(token: LinkToken, bytes: &[u8]) -> Result<Self, LinkError> {
        let mut reader = read_kind(bytes, Kind::Request)?;
        let ephemeral = reader.array()?;
        let device = DeviceId::read(&mut reader)?;
        let expires_ms = reader.i64()?;
        let relay = addresses::read_one(&mut reader)?;
        reader.finish()?;
        Self::new(token, ephemeral, device, expires_ms, &relay)
    }

    /// Writes the text of the QR code.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = self.token.as_bytes().to_vec();
        bytes.extend_from_slice(&self.to_message());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        format!("{SCHEME}{VERSION}:{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for LinkRequest {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(LinkError::NotALink)?;
        let (version, rest) = rest.split_once(':').ok_or(LinkError::NotALink)?;
        if version != VERSION {
            return Err(LinkError::Version);
        }
        if rest.len() > LINK_TEXT_CHARS_MAX {
            return Err(LinkError::Checksum);
        }
        let bytes = BASE64URL_NOPAD.decode(rest.as_bytes()).map_err(|_| LinkError::Checksum)?;
        let (payload, found) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(LinkError::Checksum)?;
        if *found != checksum(payload) {
            return Err(LinkError::Checksum);
        }
        let mut reader = Reader::new(payload);
        let token = LinkToken(reader.array()?);
        Self::from_message(token, reader.take_rest())
    }
}

impl fmt::Debug for LinkRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkRequest({}, secret)", self.device.short())
    }
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    first(&hash("link-request", &[payload]))
}
