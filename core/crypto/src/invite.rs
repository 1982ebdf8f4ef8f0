//! Invites: the secret that a link carries, and the link as text.
//!
//! Text: `tombolo:1:` and the base64url form of `payload ‖ checksum`.
//!
//! Invariant: a link that parses is whole and of this version; whoever holds it can join, so it is
//! never printed by `Debug`.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use tombolo_protocol::bytes::{DecodeError, Reader};
use tombolo_protocol::hash::hash;
use tombolo_protocol::ids::{LogId, RecordId, RelayId, WorkspaceId};
use tombolo_protocol::keys::SignKey;
use tombolo_protocol::limits::{ADDRESS_BYTES_MAX, INVITE_RELAYS_MAX};
use zeroize::Zeroizing;

use crate::addresses;
use crate::derive::{expand, expand_secret, extract};
use crate::device::box_public;
use crate::entropy::Entropy;
use crate::secret::Secret32;

const SCHEME: &str = "tombolo:";
const VERSION: &str = "1";
const CHECKSUM_BYTES: usize = 4;
/// Characters of a link: eight addresses of full length and the ids, in base64, are below 4 KiB.
const LINK_CHARS_MAX: usize = 4 << 10;

/// What an invite is made of: signs the Join, and opens the epoch that was wrapped for it.
#[derive(PartialEq, Eq)]
pub struct InviteSecret(Secret32);

impl InviteSecret {
    /// Draws the secret of a new invite.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self(Secret32::generate(entropy))
    }

    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret32::from_bytes(bytes))
    }

    /// Returns the bytes, to be sealed or put into a link.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Makes another copy.
    #[must_use]
    pub const fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }

    /// Returns the key that signs a Join.
    #[must_use]
    pub fn sign_key(&self) -> SignKey {
        SignKey::from_seed(&expand::<32>(&self.prk(), "invite-sign", &[]))
    }

    /// Returns the X25519 secret that the epoch is wrapped to.
    #[must_use]
    pub fn box_secret(&self) -> Secret32 {
        expand_secret(&self.prk(), "invite-box", &[])
    }

    /// Returns the X25519 public key.
    #[must_use]
    pub fn box_public(&self) -> [u8; 32] {
        box_public(&self.box_secret())
    }

    fn prk(&self) -> Secret32 {
        extract(b"tombolo/v1/invite", self.as_bytes())
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(secret)")
    }
}

/// Why a text is not an invite link; each says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InviteLinkError {
    /// It does not start as a link does.
    NotALink,
    /// It is of another version.
    Version,
    /// Characters are missing or were changed on the way.
    Checksum,
    /// It is whole, but what it says breaks a rule: made by a faulty program.
    Malformed(DecodeError),
}

impl fmt::Display for InviteLinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALink => {
                f.write_str("this is not an invite link; copy the whole text that starts with tombolo:1:")
            }
            Self::Version => f.write_str("the invite link is of another version of Tombolo; update this program"),
            Self::Checksum => {
                f.write_str("the invite link is incomplete or was altered; copy it again, from start to end")
            }
            Self::Malformed(error) => {
                write!(f, "the invite link is faulty ({error}); ask for a new one")
            }
        }
    }
}

impl std::error::Error for InviteLinkError {}

impl From<DecodeError> for InviteLinkError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// All that a person needs to join a workspace while nobody else is online.
#[derive(PartialEq, Eq)]
pub struct InviteLink {
    /// What is joined.
    pub workspace: WorkspaceId,
    /// The record that offers it.
    pub invite: RecordId,
    /// The relay that counts the uses.
    pub relay: RelayId,
    /// Where relays are dialled; one that is empty or over its limit is no address and is left out.
    pub addresses: Vec<String>,
    /// A log, a position and the head there: a relay that shows less was reset or lies.
    pub checkpoint: Option<(LogId, u64, [u8; 32])>,
    /// Proves the invitation and opens the epoch.
    pub secret: InviteSecret,
}

impl InviteLink {
    fn payload(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(LINK_CHARS_MAX));
        out.extend_from_slice(self.workspace.as_bytes());
        out.extend_from_slice(self.invite.as_bytes());
        out.extend_from_slice(self.relay.as_bytes());
        let dialled = |address: &&String| (1..=ADDRESS_BYTES_MAX).contains(&address.len());
        let addresses: Vec<&String> = self.addresses.iter().filter(dialled).take(INVITE_RELAYS_MAX).collect();
        addresses::write(&addresses, &mut out);
        out.push(u8::from(self.checkpoint.is_some()));
        if let Some((log, position, head)) = &self.checkpoint {
            out.extend_from_slice(log.as_bytes());
            out.extend_from_slice(&position.to_be_bytes());
            out.extend_from_slice(head);
        }
        out.extend_from_slice(self.secret.as_bytes());
        out
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let workspace = WorkspaceId::read(&mut reader)?;
        let invite = RecordId::read(&mut reader)?;
        let relay = RelayId::read(&mut reader)?;
        let addresses = addresses::read(&mut reader)?;
        let checkpoint = match reader.u8()? {
            0 => None,
            1 => Some((LogId::read(&mut reader)?, reader.position()?, reader.array()?)),
            _ => {
                return Err(DecodeError::Invalid { field: "checkpoint" });
            }
        };
        let secret = InviteSecret::from_bytes(reader.array()?);
        reader.finish()?;
        Ok(Self { workspace, invite, relay, addresses, checkpoint, secret })
    }
}

impl fmt::Display for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.payload();
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        let text = Zeroizing::new(BASE64URL_NOPAD.encode(&bytes));
        write!(f, "{SCHEME}{VERSION}:{}", text.as_str())
    }
}

impl FromStr for InviteLink {
    type Err = InviteLinkError;

    /// Reads a link; white space around it, or where a mail broke it into lines, is left out.
    fn from_str(text: &str) -> Result<Self, InviteLinkError> {
        let text = text.trim();
        let rest = text.strip_prefix(SCHEME).ok_or(InviteLinkError::NotALink)?;
        let (version, rest) = rest.split_once(':').ok_or(InviteLinkError::NotALink)?;
        if version != VERSION {
            return Err(InviteLinkError::Version);
        }
        if rest.len() > LINK_CHARS_MAX {
            return Err(InviteLinkError::Checksum);
        }
        let text: Zeroizing<String> = Zeroizing::new(rest.split_whitespace().collect());
        let decoded = BASE64URL_NOPAD.decode(text.as_bytes());
        let bytes = Zeroizing::new(decoded.map_err(|_| InviteLinkError::Checksum)?);
        let (payload, found) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(InviteLinkError::Checksum)?;
        if *found != checksum(payload) {
            return Err(InviteLinkError::Checksum);
        }
        Ok(Self::decode(payload)?)
    }
}

impl fmt::Debug for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteLink({}, {}, secret)", self.workspace.short(), self.invite.short())
    }
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut out = [0; CHECKSUM_BYTES];
    for (to, from) in out.iter_mut().zip(hash("invite-link", &[payload])) {
        *to = from;
    }
    out
}
