//! People with fixed keys and the records they make: what the tests of this crate share.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::cell::Cell;

use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind, Header, clear_root};
use tombolo_protocol::identity::{DeviceKeys, Identity, IdentityAct, IdentityLog, IdentityRecord, Signer};
use tombolo_protocol::ids::{
    ChainKey, DocumentTag, EntryHash, EpochId, Incarnation, RecordId, RelayId, Stream, WorkspaceId,
};
use tombolo_protocol::keys::{SignKey, VerifyKey};
use tombolo_protocol::membership::{Membership, View};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{
    Devices, Draft, EpochWrap, Genesis, InviteCreate, Join, PreviousEpoch, Record, RecordBody, RelaySuccession, Role,
    Rotation,
};

pub const INVITE_SEED: u8 = 200;
pub const RELAY_SEED: u8 = 220;

pub fn key(seed: u8) -> SignKey {
    SignKey::from_seed(&[seed; 32])
}

pub fn relay(seed: u8) -> RelayId {
    RelayId::from_bytes(key(seed).public())
}

fn device_keys(seed: u8) -> DeviceKeys {
    DeviceKeys::parse(&key(seed).public(), &[seed; 32]).unwrap()
}

/// A user with a first device, and a second one that the first vouched for.
pub struct Person {
    pub seed: u8,
    pub device: SignKey,
    pub keys: DeviceKeys,
    pub log: IdentityLog,
}

impl Person {
    pub fn new(seed: u8) -> Self {
        let (root, device) = (key(seed), key(seed + 50));
        let keys = device_keys(seed + 50);
        let log = IdentityLog {
            root: VerifyKey::parse(&root.public()).unwrap(),
            records: vec![IdentityRecord::first(&root, keys, 1, &device)],
        };
        Self { seed, device, keys, log }
    }

    pub fn log_with_second_device(&self) -> IdentityLog {
        let mut log = self.log.clone();
        let (second, keys) = (key(self.seed + 100), device_keys(self.seed + 100));
        let identity = Identity::evaluate(&log).unwrap();
        log.records.push(IdentityRecord::next(&identity, (self.keys.id(), &self.device), keys, 2, &second));
        log
    }

    /// What recovery writes: the root adds the second device and revokes the first.
    pub fn log_with_first_revoked(&self) -> IdentityLog {
        let (root, second, keys) = (key(self.seed), key(self.seed + 100), device_keys(self.seed + 100));
        let mut log = self.log.clone();
        let draft = Identity::evaluate(&log).unwrap().draft(IdentityAct::Add { keys, platform: 2 }, Signer::Root);
        let (signature, counter) = (draft.sign(&root), draft.counter_sign(&second));
        log.records.push(draft.complete(signature, Some(counter)));
        let draft = Identity::evaluate(&log).unwrap().draft(IdentityAct::Revoke(self.keys.id()), Signer::Root);
        let signature = draft.sign(&root);
        log.records.push(draft.complete(signature, None));
        log
    }

    pub fn say(&self, on: &Membership, parents: &[RecordId], body: RecordBody) -> Record {
        let generation = parents.iter().map(|id| on.record(id).unwrap().generation() + 1).max();
        let draft = Draft {
            workspace: on.workspace(),
            generation: generation.unwrap(),
            time_ms: 1_700_000_000_000,
            author: self.keys.id(),
            parents: parents.to_vec(),
            body,
            secret: vec![9; 3],
        };
        Record::sign(draft, &self.device).unwrap()
    }

    pub fn found(&self) -> Record {
        let genesis = Genesis { nonce: [7; 16], root: self.log.root, device: self.keys, blinding_commitment: [8; 32] };
        let draft = Draft {
            workspace: Record::NO_WORKSPACE,
            generation: 0,
            time_ms: 1_700_000_000_000,
            author: self.keys.id(),
            parents: Vec::new(),
            body: RecordBody::Genesis(Box::new(genesis)),
            secret: Vec::new(),
        };
        Record::sign(draft, &self.device).unwrap()
    }
}

/// A workspace as an all-knowing bystander sees it, and every record and attestation made so far.
pub struct World {
    pub members: Membership,
    pub records: Vec<Record>,
    pub attestations: Vec<Signed<Attestation>>,
    epochs: Cell<u64>,
}

impl World {
    pub fn founded_by(founder: &Person) -> Self {
        let genesis = founder.found();
        let mut world = Self {
            members: Membership::new(genesis.workspace()),
            records: Vec::new(),
            attestations: Vec::new(),
            epochs: Cell::new(0),
        };
        let id = world.add(genesis);
        let certified = world.view_with(&[id]);
        let first = Rotation {
            epoch: world.fresh_epoch(),
            previous: Vec::new(),
            wraps: vec![wrap(founder.keys.id().as_bytes())],
        };
        assert!(certified.epoch().is_none());
        let body = devices(&founder.log, Some(first));
        let devices = founder.say(&world.members, &[id], body);
        world.add(devices);
        world
    }

    pub fn add(&mut self, record: Record) -> RecordId {
        let id = record.id();
        self.records.push(record.clone());
        self.members.insert(record);
        id
    }

    pub fn attest(&mut self, signed: Signed<Attestation>) {
        self.attestations.push(signed.clone());
        self.members.attest(signed);
    }

    pub fn heads(&self) -> Vec<RecordId> {
        self.members.heads().iter().copied().collect()
    }

    pub fn view_with(&self, parents: &[RecordId]) -> std::sync::Arc<View> {
        self.members.view_of(parents)
    }

    pub fn fresh_epoch(&self) -> EpochId {
        self.epochs.set(self.epochs.get() + 1);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.epochs.get().to_be_bytes());
        EpochId::from_bytes(bytes)
    }

    pub fn rotation(&self, view: &View) -> Rotation {
        Rotation {
            epoch: self.fresh_epoch(),
            previous: view.newest_epochs().map(|epoch| PreviousEpoch { epoch, sealed: [3; 48] }).collect(),
            wraps: view.recipients().iter().map(|(id, _)| wrap(id)).collect(),
        }
    }

    pub fn invite(&self, view: &View, role: Role, uses: u32, expires_ms: i64) -> InviteCreate {
        InviteCreate {
            role,
            expires_ms,
            uses,
            relay: relay(RELAY_SEED),
            sign_public: VerifyKey::parse(&key(INVITE_SEED).public()).unwrap(),
            box_public: [INVITE_SEED; 32],
            epoch: view.epoch().unwrap_or(EpochId::from_bytes([0; 32])),
            wrap: wrap(&[0; 32]),
        }
    }

    pub fn join(&self, who: &Person, parents: &[RecordId], invite: RecordId) -> Record {
        let join = Join::sign(invite, who.log.clone(), &key(INVITE_SEED));
        who.say(&self.members, parents, RecordBody::Join(Box::new(join)))
    }

    pub fn attestation(&self, relay_seed: u8, subject: RecordId, nth: u32, time_ms: i64) -> Signed<Attestation> {
        let statement = Attestation {
            relay: relay(relay_seed),
            workspace: self.members.workspace(),
            subject,
            nth,
            time_ms,
            level: 1,
        };
        Signed::sign(statement, &key(relay_seed))
    }
}

pub fn devices(log: &IdentityLog, rotation: Option<Rotation>) -> RecordBody {
    RecordBody::Devices(Box::new(Devices { identity: log.clone().into(), pins: None, rotation }))
}

pub fn succession(old: u8, new: u8) -> RecordBody {
    RecordBody::RelaySuccession(RelaySuccession {
        address: "wss://relay.example.org".to_owned(),
        old: relay(old),
        new: relay(new),
    })
}

pub fn wrap(recipient: &[u8; 32]) -> EpochWrap {
    EpochWrap { recipient: *recipient, encapsulated: [1; 32], sealed: [2; 80] }
}

pub fn header(workspace: &WorkspaceId, author: &Person, seq: u64, prev: EntryHash) -> Header {
    Header {
        kind: EntryKind::Changes,
        flags: EntryFlags::NONE,
        workspace: workspace.tag(),
        chain: ChainKey {
            document: DocumentTag::from_bytes([0xd0; 16]),
            stream: Stream::CONTENT,
            device: author.keys.id(),
            incarnation: Incarnation(0x1122_3344_5566_7788),
        },
        seq,
        prev,
        epoch: EpochId::from_bytes([0xe0; 32]),
        members_head: RecordId::from_bytes([0xf0; 32]),
        clear_root: Header::NO_CLEAR,
        salt: [0x5a; 16],
        body_len: 0,
    }
}

/// Seals nothing: the ciphertext is a pattern.
pub fn entry(mut header: Header, clear: &[u8], sealed_bytes: usize, author: &Person) -> Entry {
    header.body_len = u32::try_from(sealed_bytes).unwrap();
    header.clear_root = clear_root(clear);
    let sealed = (0..sealed_bytes).map(|n| n as u8).collect();
    Entry::sign(header, clear.to_vec(), sealed, &author.device).unwrap()
}

/// A chain of `count` entries, the first of which creates its document.
pub fn chain(workspace: &WorkspaceId, author: &Person, count: u64) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for seq in 1..=count {
        let prev = entries.last().map_or(Header::NO_PREV, Entry::hash);
        let mut header = header(workspace, author, seq, prev);
        if seq == 1 {
            header.flags = EntryFlags::CREATION;
        }
        entries.push(entry(header, &[], 48, author));
    }
    entries
}
