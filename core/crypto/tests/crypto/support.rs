//! What the tests share: entropy that counts, and a workspace with one device.

use tombolo_crypto::{
    DeviceSecrets, Entropy, EntryDraft, EpochKeys, EpochSecret, InviteLink, InviteSecret, RecoveryKit, UserRoot, array,
};
use tombolo_protocol::entry::{EntryFlags, EntryKind, Header};
use tombolo_protocol::ids::{ChainKey, DocumentTag, Incarnation, LogId, RecordId, RelayId, Stream, WorkspaceId};

/// SHA-256 of a counter: fixed, and never the same twice.
#[derive(Default)]
pub(crate) struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            self.0 += 1;
            let block = tombolo_protocol::hash::hash("test-entropy", &[&self.0.to_be_bytes()]);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

pub(crate) fn workspace() -> WorkspaceId {
    WorkspaceId::from_bytes([0x11; 32])
}

pub(crate) fn epoch() -> (EpochKeys, DeviceSecrets, Counter) {
    let mut entropy = Counter::default();
    let device = DeviceSecrets::generate(&mut entropy);
    let keys = EpochKeys::derive(&workspace(), &EpochSecret::generate(&mut entropy));
    (keys, device, entropy)
}

pub(crate) fn draft(device: &DeviceSecrets) -> EntryDraft {
    EntryDraft {
        kind: EntryKind::Changes,
        flags: EntryFlags::NONE,
        workspace: workspace().tag(),
        chain: ChainKey {
            document: DocumentTag::from_bytes([0x22; 16]),
            stream: Stream::CONTENT,
            device: device.id(),
            incarnation: Incarnation(3),
        },
        seq: 1,
        prev: Header::NO_PREV,
        members_head: RecordId::from_bytes([0x33; 32]),
        clear: b"covers".to_vec(),
    }
}

pub(crate) fn kit() -> RecoveryKit {
    let relays = vec!["wss://relay.example.org".to_owned(), "10.0.0.1:7000".to_owned()];
    RecoveryKit::new(UserRoot::from_seed(&[0x5e; 32]), relays).unwrap()
}

pub(crate) fn link(entropy: &mut dyn Entropy) -> InviteLink {
    InviteLink {
        workspace: workspace(),
        invite: RecordId::from_bytes(array(entropy)),
        relay: RelayId::from_bytes(array(entropy)),
        addresses: vec!["relay.example.org".to_owned(), "10.0.0.1:7000".to_owned()],
        checkpoint: Some((LogId::from_bytes([4; 16]), 99, [5; 32])),
        secret: InviteSecret::generate(entropy),
    }
}
