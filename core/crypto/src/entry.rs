//! Sealing and opening entries.
//!
//! Invariant: each entry has a key and nonce of its own, derived from its whole header, which is also
//! the associated data; the salt in the header is hedged, so a stuck source of randomness repeats a
//! key for identical plaintext only.

use std::fmt;

use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::entry::{
    Entry, EntryFlags, EntryKind, HEADER_BEFORE_SALT_BYTES, HEADER_BYTES, Header, TAG_BYTES, clear_root,
};
use tombolo_protocol::ids::{ChainKey, EntryHash, RecordId, WorkspaceTag};
use tombolo_protocol::keys::SIGNATURE_BYTES;
use tombolo_protocol::limits::{CLEAR_SECTION_BYTES_MAX, ENTRY_BYTES_MAX};
use zeroize::Zeroizing;

use crate::derive::{KeyNonce, OpenError, SALT_BYTES, half, mac};
use crate::device::DeviceSecrets;
use crate::entropy::{Entropy, array};
use crate::epoch::EpochKeys;
use crate::padding::{pad, padded_len, unpad};

/// Why an entry can not be sealed: always the fault of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The entry would be over its limit; split it into parts.
    TooLarge {
        /// Bytes it would have.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The chain belongs to another device.
    StrangeDevice,
    /// The draft breaks a rule of the header.
    Refused(DecodeError),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, limit } => {
                write!(f, "an entry of {bytes} bytes is over the limit of {limit}")
            }
            Self::StrangeDevice => f.write_str("the chain belongs to another device"),
            Self::Refused(error) => write!(f, "the draft breaks a rule: {error}"),
        }
    }
}

impl std::error::Error for SealError {}

/// What an entry's header will say, but for what sealing adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryDraft {
    /// What the sealed part holds.
    pub kind: EntryKind,
    /// Creation, base, continuation.
    pub flags: EntryFlags,
    /// The workspace.
    pub workspace: WorkspaceTag,
    /// The chain it is appended to.
    pub chain: ChainKey,
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Hash of the entry before; zero for the first.
    pub prev: EntryHash,
    /// The membership record its author has caught up with.
    pub members_head: RecordId,
    /// The clear section, empty for none.
    pub clear: Vec<u8>,
}

impl EpochKeys {
    /// Pads, seals and signs an entry.
    ///
    /// # Errors
    /// [`SealError`] if the draft is too large, of another device's chain, or breaks a rule.
    pub fn seal_entry(
        &self,
        draft: EntryDraft,
        body: &[u8],
        device: &DeviceSecrets,
        entropy: &mut dyn Entropy,
    ) -> Result<Entry, SealError> {
        if draft.chain.device != device.id() {
            return Err(SealError::StrangeDevice);
        }
        let body_len = checked_body_len(&draft.clear, body.len())?;
        let plaintext = pad(body);
        let mut header = Header {
            kind: draft.kind,
            flags: draft.flags,
            workspace: draft.workspace,
            chain: draft.chain,
            seq: draft.seq,
            prev: draft.prev,
            epoch: self.epoch(),
            members_head: draft.members_head,
            clear_root: clear_root(&draft.clear),
            salt: [0; SALT_BYTES],
            body_len,
        };
        header.salt = hedged_salt(&header, &plaintext, device, entropy);
        let bytes = header.encode();
        let mut sealed = Vec::with_capacity(body_len as usize);
        self.entry_key(&header, &bytes).seal(&bytes, plaintext, &mut sealed);
        Entry::sign(header, draft.clear, sealed, device.sign_key()).map_err(SealError::Refused)
    }

    /// Opens an entry and returns its body.
    ///
    /// # Errors
    /// [`OpenError::WrongEpoch`] if another epoch seals it, [`OpenError::Decrypt`] if any byte is
    /// not its author's, [`OpenError::Padding`] if its author broke the padding rule.
    pub fn open_entry(&self, entry: &Entry) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let header = entry.header();
        if header.epoch != self.epoch() {
            return Err(OpenError::WrongEpoch);
        }
        let bytes = header.encode();
        unpad(self.entry_key(header, &bytes).open(&bytes, entry.sealed())?)
    }

    fn entry_key(&self, header: &Header, bytes: &[u8]) -> KeyNonce {
        let prk = self.document_prk(&header.chain.document);
        KeyNonce::derive(&prk, "entry", &[bytes])
    }
}

fn checked_body_len(clear: &[u8], body: usize) -> Result<u32, SealError> {
    let too_large = |bytes, limit| SealError::TooLarge { bytes, limit };
    if clear.len() > CLEAR_SECTION_BYTES_MAX {
        return Err(too_large(clear.len(), CLEAR_SECTION_BYTES_MAX));
    }
    let clear = if clear.is_empty() { 0 } else { 4 + clear.len() };
    let sealed = padded_len(body).saturating_add(TAG_BYTES);
    let bytes = sealed.saturating_add(HEADER_BYTES + clear + SIGNATURE_BYTES);
    if bytes > ENTRY_BYTES_MAX {
        return Err(too_large(bytes, ENTRY_BYTES_MAX));
    }
    u32::try_from(sealed).map_err(|_| too_large(bytes, ENTRY_BYTES_MAX))
}

fn hedged_salt(
    header: &Header,
    plaintext: &[u8],
    device: &DeviceSecrets,
    entropy: &mut dyn Entropy,
) -> [u8; SALT_BYTES] {
    let random: [u8; 16] = array(entropy);
    let bytes = header.encode();
    let before_salt = bytes.get(..HEADER_BEFORE_SALT_BYTES).unwrap_or(&bytes);
    let parts: [&[u8]; 3] = [&random, before_salt, plaintext];
    half(&mac(device.salt_key().as_bytes(), "entry-salt", &parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::EpochSecret;
    use tombolo_protocol::ids::{DocumentTag, Incarnation, Stream, WorkspaceId};

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    /// Chance that goes round and round.
    struct Round(u8);

    impl Entropy for Round {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.0 = (self.0 + 1) % 3;
            bytes.fill(self.0);
        }
    }

    /// How many of a million salts of one place are distinct, each over another plaintext.
    fn distinct_salts(mut entropy: impl Entropy) -> usize {
        let device = DeviceSecrets::generate(&mut Fixed);
        let keys = EpochKeys::derive(&WorkspaceId::from_bytes([3; 32]), &EpochSecret::from_bytes([4; 32]));
        let header = sealed_as_it_is(&keys, &pad(b"")).header().clone();
        let salt = |nth: u32| hedged_salt(&header, &nth.to_be_bytes(), &device, &mut entropy);
        let mut salts: Vec<_> = (0..1_000_000).map(salt).collect();
        salts.sort_unstable();
        salts.dedup();
        salts.len()
    }

    #[test]
    fn a_million_plaintexts_have_a_million_salts_though_chance_is_stuck_or_repeats() {
        std::thread::scope(|scope| {
            let stuck = scope.spawn(|| distinct_salts(Fixed));
            assert_eq!(distinct_salts(Round(0)), 1_000_000);
            assert_eq!(stuck.join().unwrap(), 1_000_000);
        });
    }

    /// Seals a plaintext as it is: what a member with all keys can do.
    fn sealed_as_it_is(keys: &EpochKeys, plaintext: &[u8]) -> Entry {
        let device = DeviceSecrets::generate(&mut Fixed);
        let header = Header {
            kind: EntryKind::Changes,
            flags: EntryFlags::NONE,
            workspace: WorkspaceId::from_bytes([1; 32]).tag(),
            chain: ChainKey {
                document: DocumentTag::from_bytes([2; 16]),
                stream: Stream::CONTENT,
                device: device.id(),
                incarnation: Incarnation(3),
            },
            seq: 1,
            prev: Header::NO_PREV,
            epoch: keys.epoch(),
            members_head: RecordId::from_bytes([4; 32]),
            clear_root: Header::NO_CLEAR,
            salt: [5; 16],
            body_len: (plaintext.len() + TAG_BYTES) as u32,
        };
        let bytes = header.encode();
        let mut sealed = Vec::new();
        let plaintext = Zeroizing::new(plaintext.to_vec());
        keys.entry_key(&header, &bytes).seal(&bytes, plaintext, &mut sealed);
        Entry::sign(header, Vec::new(), sealed, device.sign_key()).unwrap()
    }

    #[test]
    fn an_entry_whose_author_broke_the_padding_rule_is_not_opened() {
        let workspace = WorkspaceId::from_bytes([1; 32]);
        let keys = EpochKeys::derive(&workspace, &EpochSecret::from_bytes([6; 32]));
        let whole = pad(&[9; 29]).to_vec();
        let opened = keys.open_entry(&sealed_as_it_is(&keys, &whole));
        assert_eq!(opened.map(|body| body.to_vec()), Ok(vec![9; 29]));

        let mut dirty = whole.clone();
        *dirty.last_mut().unwrap() = 1;
        let unpadded = whole[..33].to_vec();
        let longer = [whole.as_slice(), &[0; 2]].concat();
        let mut beyond = whole.clone();
        beyond[..4].copy_from_slice(&[0, 0, 0, 33]);
        let mut endless = whole;
        endless[..4].copy_from_slice(&[0xff; 4]);
        for wrong in [dirty, unpadded, longer, beyond, endless, vec![0; 3], vec![]] {
            let opened = keys.open_entry(&sealed_as_it_is(&keys, &wrong));
            assert_eq!(opened, Err(OpenError::Padding), "{wrong:?}");
        }
    }
}
