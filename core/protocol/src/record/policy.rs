//! What owners settle for all: policy, the handing over of ownership, recovery keys; and verdicts on entries.
//!
//! Invariant: lists are sorted and distinct, so one set has one encoding.

use super::body::{read_option, write_option};
use super::standing::{read_list, sorted};
use super::{RecordBody, RecordError};
use crate::bytes::{DecodeError, Reader};
use crate::hash::hash;
use crate::ids::{EntryHash, RelayId, UserId};
use crate::keys::{KeyError, SignKey, Signature, VerifyKey};
use crate::limits::{JUDGED_ENTRIES_MAX, POLICY_RELAYS_MAX};

/// The least level of authentication that an act needs; zero and one mean the device's key alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// To open the workspace at a relay.
    pub open: u8,
    /// To append entries.
    pub append: u8,
    /// To make invites.
    pub invite: u8,
    /// To change members, devices, owners and this policy.
    pub membership: u8,
}

impl Levels {
    /// Returns the level that an act needs whose author is a device of this user.
    #[must_use]
    pub fn needed(&self, act: &RecordBody, author: &UserId) -> u8 {
        match act {
            // Whoever wants to go may go.
            RecordBody::Standing(standing) if standing.subject == *author && standing.role.is_none() => 0,
            RecordBody::Standing(_)
            | RecordBody::Devices(_)
            | RecordBody::InviteRevoke(_)
            | RecordBody::OwnerTransfer(_)
            | RecordBody::Policy(_) => self.membership,
            RecordBody::InviteCreate(_) => self.invite,
            _ => 0,
        }
    }

    /// Returns the greatest of them.
    #[must_use]
    pub fn highest(&self) -> u8 {
        self.open.max(self.append).max(self.invite).max(self.membership)
    }

    /// Returns what is enough for both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            open: self.open.max(other.open),
            append: self.append.max(other.append),
            invite: self.invite.max(other.invite),
            membership: self.membership.max(other.membership),
        }
    }
}

/// A key that can open everything, held by an organisation; every member sees that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrganisationRecovery {
    /// Whose key it is called.
    pub user: UserId,
    /// X25519: epochs are wrapped to it.
    pub box_public: [u8; 32],
}

impl OrganisationRecovery {
    /// Returns the name under which epochs are wrapped to it.
    #[must_use]
    pub fn recipient(&self) -> [u8; 32] {
        hash("organisation-recovery", &[self.user.as_bytes(), &self.box_public])
    }

    /// Tells whether its key is none that anything may be wrapped to.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        crate::identity::is_low_order(&self.box_public)
    }
}

/// What owners ask of everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What a second factor is needed for.
    pub levels: Levels,
    /// The relays whose attestations on levels count, sorted.
    pub relays: Vec<RelayId>,
    /// Whether sessions must be bound to their TLS connection.
    pub needs_binding: bool,
    /// The organisation's recovery key, if there is one.
    pub recovery: Option<OrganisationRecovery>,
}

/// The highest level of authentication there is.
pub const LEVEL_MAX: u8 = 4;

impl Policy {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Levels { open, append, invite, membership } = self.levels;
        out.extend_from_slice(&[open, append, invite, membership, u8::from(self.needs_binding)]);
        out.extend_from_slice(&(self.relays.len() as u32).to_be_bytes());
        for relay in &self.relays {
            out.extend_from_slice(relay.as_bytes());
        }
        write_option(self.recovery.as_ref(), out, |recovery, out| {
            out.extend_from_slice(recovery.user.as_bytes());
            out.extend_from_slice(&recovery.box_public);
        });
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let [open, append, invite, membership, binding] = reader.array()?;
        let levels = Levels { open, append, invite, membership };
        if levels.highest() > LEVEL_MAX || binding > 1 {
            return Err(DecodeError::Invalid { field: "policy" }.into());
        }
        let relays = read_list(reader, "policy relays", POLICY_RELAYS_MAX, 32, RelayId::read)?;
        let recovery = read_option(reader, "recovery", |reader| {
            Ok(OrganisationRecovery { user: UserId::read(reader)?, box_public: reader.array()? })
        })?;
        if recovery.is_some_and(|recovery| recovery.is_weak()) {
            return Err(KeyError::WeakKey.into());
        }
        Ok(Self {
            levels,
            relays: sorted(relays, "policy relays", |a, b| a < b)?,
            needs_binding: binding == 1,
            recovery,
        })
    }
}

/// A user's recovery key: epochs are wrapped to it, so that the kit opens what the lost devices could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverySet {
    /// X25519, from the user's root seed.
    pub box_public: [u8; 32],
    /// By the user's root over user and key: one signature serves every workspace, also after the root
    /// is in the kit alone.
    pub root_signature: Signature,
}

impl RecoverySet {
    const CONTEXT: &'static str = "recovery-set-sig";

    /// Signs the claim that this key is the root's.
    #[must_use]
    pub fn sign(box_public: [u8; 32], root: &SignKey) -> Self {
        let user = UserId::derive(&root.public());
        Self { box_public, root_signature: root.sign(Self::CONTEXT, &Self::claim(&user, &box_public)) }
    }

    /// Verifies the claim under the user's root key.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if the root did not sign it.
    pub fn verify(&self, root: &VerifyKey) -> Result<(), KeyError> {
        let user = UserId::derive(&root.to_bytes());
        root.verify(Self::CONTEXT, &Self::claim(&user, &self.box_public), &self.root_signature)
    }

    fn claim(user: &UserId, box_public: &[u8; 32]) -> Vec<u8> {
        [user.as_bytes().as_slice(), box_public].concat()
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.box_public);
        out.extend_from_slice(&self.root_signature);
    }

    /// Reads it; the signature is judged by [`RecoverySet::verify`].
    ///
    /// # Errors
    /// [`RecordError`] if the bytes are none or the key is weak.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let read = Self { box_public: reader.array()?, root_signature: reader.array()? };
        if crate::identity::is_low_order(&read.box_public) {
            return Err(KeyError::WeakKey.into());
        }
        Ok(read)
    }
}

pub(super) fn write_entries(entries: &[EntryHash], out: &mut Vec<u8>) {
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    for entry in entries {
        out.extend_from_slice(entry.as_bytes());
    }
}

pub(super) fn read_entries(reader: &mut Reader<'_>) -> Result<Vec<EntryHash>, DecodeError> {
    sorted(read_list(reader, "entries", JUDGED_ENTRIES_MAX, 32, EntryHash::read)?, "entries", |a, b| a < b)
}
