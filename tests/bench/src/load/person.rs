//! Devices and workspaces made by hand: what a relay can check is real, what only members could read is filler.
//!
//! Invariant: the same numbers give the same keys, so a session that comes back is the same device.

use std::net::Ipv4Addr;

use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind, Header};
use tombolo_protocol::identity::{DeviceKeys, Identity, IdentityAct, IdentityLog, IdentityRecord, Signer};
use tombolo_protocol::ids::{
    ChainKey, DeviceId, DocumentTag, EpochId, Incarnation, RecordId, RelayId, Stream, WorkspaceId, WorkspaceTag,
};
use tombolo_protocol::item::{Declaration, LogItem};
use tombolo_protocol::keys::{SignKey, VerifyKey};
use tombolo_protocol::record::{
    Devices, Draft, EpochWrap, Genesis, InviteCreate, Join, Record, RecordBody, Role, Rotation,
};

use crate::error::BenchError;

const EPOCH: EpochId = EpochId::from_bytes([0xe0; 32]);
const BROKEN: BenchError = BenchError::Wrong("a record that was made by hand");

/// One device.
#[derive(Clone)]
pub(crate) struct Person {
    seed: [u8; 32],
    pub(crate) keys: DeviceKeys,
    /// Where its connections come from: one address has too few ports for all.
    pub(crate) source: Ipv4Addr,
}

impl Person {
    /// Makes device `nth` of a kind.
    pub(crate) fn new(kind: u8, nth: u32) -> Result<Self, BenchError> {
        let seed = seed_of(kind, nth);
        let keys = DeviceKeys::parse(&SignKey::from_seed(&seed).public(), &seed).map_err(|_| BROKEN)?;
        let [_, _, _, low] = nth.to_be_bytes();
        Ok(Self { seed, keys, source: Ipv4Addr::new(127, 0, 1 + low % 8, 1) })
    }

    pub(crate) fn sign_key(&self) -> SignKey {
        SignKey::from_seed(&self.seed)
    }

    fn id(&self) -> DeviceId {
        self.keys.id()
    }
}

fn seed_of(kind: u8, nth: u32) -> [u8; 32] {
    let mut seed = [kind; 32];
    if let Some(first) = seed.first_chunk_mut() {
        *first = nth.to_be_bytes();
    }
    seed
}

/// A workspace, as its first records found it.
pub(crate) struct Ground {
    pub(crate) id: WorkspaceId,
    pub(crate) tag: WorkspaceTag,
    pub(crate) records: Vec<Vec<u8>>,
    last: RecordId,
}

impl Ground {
    /// Founds a workspace whose user has these devices; the first is the founder.
    pub(crate) fn found(nth: u32, devices: &[&Person]) -> Result<Self, BenchError> {
        let founder = devices.first().ok_or(BROKEN)?;
        let identity = user_of(&seed_of(0xfe, nth), devices)?;
        let genesis =
            Genesis { nonce: [9; 16], root: identity.root, device: founder.keys, blinding_commitment: [7; 32] };
        let genesis = sign(founder, None, RecordBody::Genesis(Box::new(genesis)))?;
        let mut wraps: Vec<EpochWrap> = devices.iter().map(|device| wrap(*device.id().as_bytes())).collect();
        wraps.sort_by_key(|wrap| wrap.recipient);
        let rotation = Rotation { epoch: EPOCH, previous: Vec::new(), wraps };
        let body = Devices { identity: identity.into(), pins: None, rotation: Some(rotation) };
        let devices = sign(founder, Some(&genesis), RecordBody::Devices(Box::new(body)))?;
        Ok(Self {
            id: genesis.workspace(),
            tag: genesis.workspace().tag(),
            last: devices.id(),
            records: vec![genesis.encode(), devices.encode()],
        })
    }

    /// Lets one more user in, who has these devices, by an invite whose uses this relay counts. The first of them brings
    /// the records to the relay.
    pub(crate) fn joined(
        &self,
        founder: &Person,
        relay: RelayId,
        nth: u32,
        devices: &[&Person],
    ) -> Result<Self, BenchError> {
        let first = devices.first().ok_or(BROKEN)?;
        let before = Record::decode(self.records.last().ok_or(BROKEN)?).map_err(|_| BROKEN)?;
        let key = SignKey::from_seed(&seed_of(0xfd, nth));
        let invite = InviteCreate {
            role: Role::Reader,
            expires_ms: 0,
            uses: 1,
            relay,
            sign_public: VerifyKey::parse(&key.public()).map_err(|_| BROKEN)?,
            box_public: key.public(),
            epoch: EPOCH,
            wrap: wrap([0; 32]),
        };
        let invite = sign(founder, Some(&before), RecordBody::InviteCreate(Box::new(invite)))?;
        let join = Join::sign(invite.id(), user_of(&seed_of(0xfc, nth), devices)?, &key);
        let join = sign(first, Some(&invite), RecordBody::Join(Box::new(join)))?;
        let records = self.records.iter().cloned().chain([invite.encode(), join.encode()]).collect();
        Ok(Self { id: self.id, tag: self.tag, last: self.last, records })
    }
}

/// Makes a user of these devices; the first one adds the others.
fn user_of(seed: &[u8; 32], devices: &[&Person]) -> Result<IdentityLog, BenchError> {
    let (first, root) = (devices.first().ok_or(BROKEN)?, SignKey::from_seed(seed));
    let verify = VerifyKey::parse(&root.public()).map_err(|_| BROKEN)?;
    let mut user =
        IdentityLog { root: verify, records: vec![IdentityRecord::first(&root, first.keys, 0, &first.sign_key())] };
    for other in devices.iter().skip(1) {
        let draft = Identity::evaluate(&user).map_err(|_| BROKEN)?;
        let draft = draft.draft(IdentityAct::Add { keys: other.keys, platform: 0 }, Signer::Device(first.id()));
        let counter = draft.counter_sign(&other.sign_key());
        let signature = draft.sign(&first.sign_key());
        user.records.push(draft.complete(signature, Some(counter)));
    }
    Ok(user)
}

fn sign(author: &Person, parent: Option<&Record>, body: RecordBody) -> Result<Record, BenchError> {
    let draft = Draft {
        workspace: parent.map_or(Record::NO_WORKSPACE, Record::workspace),
        generation: parent.map_or(0, |parent| parent.generation() + 1),
        time_ms: 0,
        author: author.id(),
        parents: parent.iter().map(|parent| parent.id()).collect(),
        body,
        secret: Vec::new(),
    };
    Record::sign(draft, &author.sign_key()).map_err(|_| BROKEN)
}

fn wrap(recipient: [u8; 32]) -> EpochWrap {
    EpochWrap { recipient, encapsulated: [1; 32], sealed: [2; 80] }
}

/// A chain that is being written.
pub(crate) struct Pen {
    key: SignKey,
    header: Header,
    declared: Option<(u64, Declaration)>,
}

impl Pen {
    pub(crate) fn new(who: &Person, ground: &Ground, document: u8) -> Self {
        let header = Header {
            kind: EntryKind::Changes,
            flags: EntryFlags::NONE,
            workspace: ground.tag,
            chain: ChainKey {
                document: DocumentTag::from_bytes([document; 16]),
                stream: Stream::CONTENT,
                device: who.id(),
                incarnation: Incarnation(1),
            },
            seq: 0,
            prev: Header::NO_PREV,
            epoch: EPOCH,
            members_head: ground.last,
            clear_root: Header::NO_CLEAR,
            salt: [5; 16],
            body_len: 0,
        };
        Self { key: who.sign_key(), header, declared: None }
    }

    /// Writes an entry of so many sealed bytes as a log item, in short form once a declaration is known.
    pub(crate) fn item(&mut self, bytes: usize) -> Result<Vec<u8>, BenchError> {
        let sealed = vec![0x5a; bytes];
        self.header.seq += 1;
        self.header.body_len = u32::try_from(bytes).map_err(|_| BROKEN)?;
        let entry = Entry::sign(self.header.clone(), Vec::new(), sealed, &self.key).map_err(|_| BROKEN)?;
        self.header.prev = entry.hash();
        let declared = self.declared.as_ref().map(|(position, declared)| (*position, declared));
        Ok(LogItem::encode_entry(&entry, declared))
    }

    /// Notes where an entry stands, so that later ones are elided against it.
    pub(crate) fn declared_at(&mut self, position: u64) {
        if self.declared.is_none() {
            self.declared = Some((position, Declaration::of(&self.header)));
        }
    }
}
