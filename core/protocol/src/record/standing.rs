//! A member's standing: grant, change, removal, expiry; and the pins that go with a removal.
//!
//! Invariant: chains and documents in pins are sorted and distinct, so one set has one encoding.

use super::body::{read_option, write_option};
use super::{RecordError, Role, Rotation};
use crate::bytes::{DecodeError, Reader, check_limit, put_run};
use crate::ids::{ChainKey, DeviceId, DocumentTag, EntryHash, Incarnation, RelayId, Stream, UserId};
use crate::limits::{PINNED_DOCUMENTS_MAX, PINS_MAX};
use crate::receipt::{Receipt, Signed};

/// When a role ends, and by whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Milliseconds since 1970.
    pub expires_ms: i64,
    /// The relay that enforces it, and whose receipt proves that it has come.
    pub relay: RelayId,
}

/// What a member may do from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose standing it is.
    pub subject: UserId,
    /// The role; `None` removes the subject.
    pub role: Option<Role>,
    /// When the role ends, if it does.
    pub expiry: Option<Expiry>,
    /// A receipt whose time lies after the expiry of the role that is swept.
    pub proof: Option<Signed<Receipt>>,
    /// How far the subject's work goes.
    pub pins: Option<Pins>,
    /// The epoch that begins.
    pub rotation: Option<Rotation>,
}

impl Standing {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.subject.as_bytes());
        out.push(self.role.map_or(0, |role| role as u8));
        write_option(self.expiry.as_ref(), out, |expiry, out| {
            out.extend_from_slice(&expiry.expires_ms.to_be_bytes());
            out.extend_from_slice(expiry.relay.as_bytes());
        });
        write_option(self.proof.as_ref(), out, |proof, out| put_run(out, &proof.encode()));
        write_option(self.pins.as_ref(), out, Pins::write);
        write_option(self.rotation.as_ref(), out, Rotation::write);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let subject = UserId::read(reader)?;
        let role = match reader.u8()? {
            0 => None,
            number => Some(Role::from_u8(number)?),
        };
        Ok(Self {
            subject,
            role,
            expiry: read_option(reader, "expiry", |reader| {
                Ok(Expiry { expires_ms: reader.i64()?, relay: RelayId::read(reader)? })
            })?,
            proof: read_option(reader, "proof", |reader| Signed::decode(reader.run("proof", Receipt::SIGNED_BYTES)?))?,
            pins: read_option(reader, "pins", Pins::read)?,
            rotation: read_option(reader, "rotation", Rotation::read)?,
        })
    }
}

/// The last entry of a chain that a remover holds verified, without a gap below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The chain.
    pub chain: ChainKey,
    /// Its last admitted sequence number.
    pub seq: u64,
    /// That entry's hash.
    pub hash: EntryHash,
}

/// How far the work of a removed member or device goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// The documents they speak for; `None` for all that are or will be.
    pub documents: Option<Vec<DocumentTag>>,
    /// Of those documents, the subject's chains; a chain that is not listed is pinned at nothing.
    pub chains: Vec<Pin>,
}

impl Pins {
    const PIN_BYTES: usize = 97;

    /// Returns the last admitted sequence number of a chain; `None` if the pins do not speak for it.
    #[must_use]
    pub fn limit(&self, chain: &ChainKey) -> Option<u64> {
        if let Ok(at) = self.chains.binary_search_by(|pin| pin.chain.cmp(chain)) {
            return self.chains.get(at).map(|pin| pin.seq);
        }
        match &self.documents {
            None => Some(0),
            Some(documents) => documents.binary_search(&chain.document).is_ok().then_some(0),
        }
    }

    /// Returns the hash of the last admitted entry of a chain that is listed.
    #[must_use]
    pub fn hash_at(&self, chain: &ChainKey) -> Option<EntryHash> {
        let at = self.chains.binary_search_by(|pin| pin.chain.cmp(chain)).ok()?;
        self.chains.get(at).map(|pin| pin.hash)
    }

    pub(super) fn sort(&mut self) {
        self.chains.sort_unstable_by_key(|pin| pin.chain);
        self.chains.dedup_by_key(|pin| pin.chain);
        if let Some(documents) = &mut self.documents {
            documents.sort_unstable();
            documents.dedup();
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_option(self.documents.as_ref(), out, |documents, out| {
            out.extend_from_slice(&(documents.len() as u32).to_be_bytes());
            for document in documents {
                out.extend_from_slice(document.as_bytes());
            }
        });
        out.extend_from_slice(&(self.chains.len() as u32).to_be_bytes());
        for pin in &self.chains {
            out.extend_from_slice(pin.chain.document.as_bytes());
            out.push(pin.chain.stream.0);
            out.extend_from_slice(pin.chain.device.as_bytes());
            out.extend_from_slice(&pin.chain.incarnation.0.to_be_bytes());
            out.extend_from_slice(&pin.seq.to_be_bytes());
            out.extend_from_slice(pin.hash.as_bytes());
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let documents = read_option(reader, "pinned documents", |reader| {
            let documents = read_list(reader, "pinned documents", PINNED_DOCUMENTS_MAX, 16, DocumentTag::read)?;
            sorted(documents, "pinned documents", |a, b| a < b)
        })?;
        let chains = read_list(reader, "pins", PINS_MAX, Self::PIN_BYTES, |reader| {
            let (document, stream) = (DocumentTag::read(reader)?, Stream(reader.u8()?));
            let (device, incarnation) = (DeviceId::read(reader)?, Incarnation(reader.u64()?));
            let chain = ChainKey { document, stream, device, incarnation };
            Ok(Pin { chain, seq: reader.position()?, hash: EntryHash::read(reader)? })
        })?;
        Ok(Self { documents, chains: sorted(chains, "pins", |a, b| a.chain < b.chain)? })
    }
}

/// Reads a list with a count of four bytes; nothing is allocated beyond what the input can hold.
pub(super) fn read_list<T>(
    reader: &mut Reader<'_>,
    field: &'static str,
    limit: usize,
    item_bytes: usize,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.u32()?;
    check_limit(field, u64::from(count), limit.min(reader.remaining() / item_bytes.max(1)) as u64)?;
    (0..count).map(|_| read(reader)).collect()
}

pub(super) fn sorted<T>(
    list: Vec<T>,
    field: &'static str,
    rises: impl Fn(&T, &T) -> bool,
) -> Result<Vec<T>, DecodeError> {
    if list.is_sorted_by(rises) { Ok(list) } else { Err(DecodeError::Invalid { field }) }
}
