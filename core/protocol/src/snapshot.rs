//! Published snapshots: what one says of itself in the clear, and how another device vouches for it.
//!
//! A snapshot is an entry of kind 1 in its author's chain, in parts if it is long. The clear section of its last part
//! is a [`Cover`]: how the state was made, and which entries it stands for. An [`Attest`] is the word of another
//! device that it has made the same bytes of the same entries; it is an item of the log.
//!
//! Invariant: a value has one encoding, and both are claims: who may write, and how many words are enough, says
//! `membership/vouching.rs`; whether the state is what the cover says, only who holds the entries can say.

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::{DecodeError, Reader, check_limit};
use crate::hash::hash;
use crate::ids::{ChainId, DeviceId, EntryHash, RecordId, WorkspaceId};
use crate::item::ItemHash;
use crate::keys::{KeyError, SignKey, Signature, VerifyKey};
use crate::limits::{CLEAR_SECTION_BYTES_MAX, COVERED_CHAINS_MAX, EXCLUDED_ENTRIES_MAX, POSITION_MAX};

/// What a snapshot stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// How the state was made; each number is a CRDT, a line of its library, and its settings.
    pub encoder: u8,
    /// The last entry of the snapshot that the state was made on, if it was made on one.
    pub base: Option<EntryHash>,
    /// Of each chain all up to this place is covered; the entry there is named.
    pub chains: BTreeMap<ChainId, (u64, EntryHash)>,
    /// Entries below those places that the state does not hold, for an admin excluded them.
    pub excluded: BTreeSet<EntryHash>,
}

impl Cover {
    /// Writes the fixed layout.
    ///
    /// # Errors
    /// [`DecodeError`] if it covers nothing, or more than one clear section holds.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut out = vec![self.encoder];
        out.extend_from_slice(self.base.unwrap_or(NO_BASE).as_bytes());
        out.extend_from_slice(&(self.chains.len() as u32).to_be_bytes());
        for (chain, (seq, entry)) in &self.chains {
            out.extend_from_slice(chain.as_bytes());
            out.extend_from_slice(&seq.to_be_bytes());
            out.extend_from_slice(entry.as_bytes());
        }
        out.extend_from_slice(&(self.excluded.len() as u32).to_be_bytes());
        self.excluded.iter().for_each(|entry| out.extend_from_slice(entry.as_bytes()));
        Self::decode(&out).map(|_| out)
    }

    /// Reads a clear section.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that is not exactly one cover of something.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_limit("clear section", bytes.len() as u64, CLEAR_SECTION_BYTES_MAX as u64)?;
        let mut reader = Reader::new(bytes);
        let encoder = reader.u8()?;
        let base = Some(EntryHash::read(&mut reader)?).filter(|base| *base != NO_BASE);
        let mut chains = BTreeMap::new();
        let count = reader.u32()?;
        check_limit("covered chains", u64::from(count), COVERED_CHAINS_MAX as u64)?;
        for _ in 0..count {
            let chain = ChainId::read(&mut reader)?;
            let (seq, entry) = (reader.u64()?, EntryHash::read(&mut reader)?);
            let follows = chains.last_key_value().is_none_or(|(last, _)| *last < chain);
            if !follows || seq == 0 || seq > POSITION_MAX {
                return Err(DecodeError::Invalid { field: "covered chain" });
            }
            chains.insert(chain, (seq, entry));
        }
        if chains.is_empty() {
            return Err(DecodeError::Invalid { field: "covered chain" });
        }
        let mut excluded = BTreeSet::new();
        let count = reader.u32()?;
        check_limit("excluded entries", u64::from(count), EXCLUDED_ENTRIES_MAX as u64)?;
        for _ in 0..count {
            let entry = EntryHash::read(&mut reader)?;
            if excluded.last().is_some_and(|last| *last >= entry) {
                return Err(DecodeError::Invalid { field: "excluded entry" });
            }
            excluded.insert(entry);
        }
        reader.finish()?;
        Ok(Self { encoder, base, chains, excluded })
    }
}

/// "I hold what this snapshot covers, all of it counts, and I have made the same state of it."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    /// In which workspace.
    pub workspace: WorkspaceId,
    /// The last entry of the snapshot.
    pub snapshot: EntryHash,
    /// Who says so.
    pub device: DeviceId,
    /// The membership record that the device had caught up with.
    pub members_head: RecordId,
    signature: Signature,
}

impl Attest {
    /// Makes and signs the statement.
    #[must_use]
    pub fn sign(
        workspace: WorkspaceId,
        snapshot: EntryHash,
        device: DeviceId,
        members_head: RecordId,
        key: &SignKey,
    ) -> Self {
        let mut attest = Self { workspace, snapshot, device, members_head, signature: [0; 64] };
        attest.signature = key.sign(CONTEXT, &attest.statement());
        attest
    }

    fn statement(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(self.workspace.as_bytes());
        out.extend_from_slice(self.snapshot.as_bytes());
        out.extend_from_slice(self.device.as_bytes());
        out.extend_from_slice(self.members_head.as_bytes());
        out
    }

    /// Writes statement and signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.statement();
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads statement and signature; nothing is verified yet.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes do not follow the layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let attest = Self {
            workspace: WorkspaceId::read(&mut reader)?,
            snapshot: EntryHash::read(&mut reader)?,
            device: DeviceId::read(&mut reader)?,
            members_head: RecordId::read(&mut reader)?,
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(attest)
    }

    /// Verifies that its device signed it.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] if it did not.
    pub fn verify(&self, device: &VerifyKey) -> Result<(), KeyError> {
        device.verify(CONTEXT, &self.statement(), &self.signature)
    }

    /// Returns its name in the log.
    #[must_use]
    pub fn item_hash(&self) -> ItemHash {
        ItemHash::Attest(hash("snapshot-attest", &[&self.encode()]))
    }
}

const MAGIC: [u8; 4] = *b"TBT1";
const CONTEXT: &str = "snapshot-attest-sig";
/// Stands where there is no base.
const NO_BASE: EntryHash = EntryHash::from_bytes([0; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(chains: &[(u8, u64)], excluded: &[u8]) -> Cover {
        let chain =
            |(name, seq): &(u8, u64)| (ChainId::from_bytes([*name; 8]), (*seq, EntryHash::from_bytes([*name; 32])));
        let excluded = excluded.iter().map(|name| EntryHash::from_bytes([*name; 32])).collect();
        Cover { encoder: 1, base: None, chains: chains.iter().map(chain).collect(), excluded }
    }

    #[test]
    fn a_cover_reads_back_and_covers_something() {
        let covers = [cover(&[(1, 1)], &[]), cover(&[(1, 7), (2, POSITION_MAX)], &[1, 3])];
        for one in covers {
            assert_eq!(Cover::decode(&one.encode().unwrap()), Ok(one.clone()));
            let based = Cover { base: Some(EntryHash::from_bytes([9; 32])), ..one };
            assert_eq!(Cover::decode(&based.encode().unwrap()), Ok(based));
        }
        for wrong in [cover(&[], &[]), cover(&[(1, 0)], &[]), cover(&[(1, POSITION_MAX + 1)], &[])] {
            assert_eq!(wrong.encode(), Err(DecodeError::Invalid { field: "covered chain" }));
        }
    }

    #[test]
    fn what_is_out_of_order_or_twice_in_a_cover_is_refused() {
        let bytes = cover(&[(1, 1), (2, 1)], &[1, 2]).encode().unwrap();
        let (chains, excluded) = (1 + 32 + 4, 1 + 32 + 4 + 2 * 48 + 4);
        for (at, long, field) in [(chains, 8, "covered chain"), (excluded, 32, "excluded entry")] {
            for name in [2, 3] {
                let mut wrong = bytes.clone();
                wrong[at..at + long].fill(name);
                assert_eq!(Cover::decode(&wrong), Err(DecodeError::Invalid { field }));
            }
        }
    }

    #[test]
    fn a_cover_is_bounded_before_it_is_read() {
        let mut bytes = vec![1; 1 + 32];
        bytes.extend_from_slice(&(COVERED_CHAINS_MAX as u32 + 1).to_be_bytes());
        assert!(matches!(Cover::decode(&bytes), Err(DecodeError::TooLarge { field: "covered chains", .. })));
        let chains: Vec<_> = (0..COVERED_CHAINS_MAX as u64).collect();
        let chain = |n: &u64| (ChainId::from_bytes(n.to_be_bytes()), (1, EntryHash::from_bytes([1; 32])));
        let mut full = cover(&[(1, 1)], &[]);
        full.chains = chains.iter().map(chain).collect();
        assert!(full.encode().is_ok());
        full.excluded = (0..=EXCLUDED_ENTRIES_MAX as u64)
            .map(|n| EntryHash::from_bytes(crate::hash::sha256(&[&n.to_be_bytes()])))
            .collect();
        assert!(matches!(full.encode(), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn an_attest_is_its_devices_word_on_one_snapshot() {
        let key = SignKey::from_seed(&[7; 32]);
        let attest = Attest::sign(
            WorkspaceId::from_bytes([1; 32]),
            EntryHash::from_bytes([2; 32]),
            DeviceId::from_bytes([3; 32]),
            RecordId::from_bytes([4; 32]),
            &key,
        );
        let mut bytes = attest.encode();
        let public = VerifyKey::parse(&key.public()).unwrap();
        assert_eq!(Attest::decode(&bytes).unwrap().verify(&public), Ok(()));
        bytes[40] ^= 1;
        let other = Attest::decode(&bytes).unwrap();
        assert_eq!(other.verify(&public), Err(KeyError::BadSignature));
        assert_ne!(other.item_hash(), attest.item_hash());
    }
}
