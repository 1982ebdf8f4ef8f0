//! Devices and records made by hand: what a relay can check is real, what it can not is filler.

use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind, Header};
use tombolo_protocol::identity::{DeviceKeys, Identity, IdentityAct, IdentityLog, IdentityRecord, Signer};
use tombolo_protocol::ids::{
    ChainKey, DeviceId, DocumentTag, EpochId, Incarnation, RecordId, RelayId, Stream, UserId, WorkspaceId,
};
use tombolo_protocol::item::LogItem;
use tombolo_protocol::keys::{SignKey, VerifyKey};
use tombolo_protocol::record::{
    Devices, Draft, EpochWrap, Expiry, Genesis, InviteCreate, Join, PreviousEpoch, Record, RecordBody, Role, Rotation,
    Standing,
};

/// One device of one user.
pub(crate) struct Person {
    seed: u8,
    root: u8,
    pub(crate) keys: DeviceKeys,
}

impl Person {
    pub(crate) fn new(seed: u8) -> Self {
        let keys = DeviceKeys::parse(&SignKey::from_seed(&[seed; 32]).public(), &[seed; 32]);
        Self { seed, root: seed ^ 0xff, keys: keys.unwrap() }
    }

    /// Another device of the same user.
    pub(crate) fn other_device(&self, seed: u8) -> Self {
        Self { root: self.root, ..Self::new(seed) }
    }

    pub(crate) fn user(&self) -> UserId {
        UserId::derive(&self.root().public())
    }

    pub(crate) fn sign_key(&self) -> SignKey {
        SignKey::from_seed(&[self.seed; 32])
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.keys.id()
    }

    fn root(&self) -> SignKey {
        SignKey::from_seed(&[self.root; 32])
    }

    fn act(&self, log: &mut IdentityLog, act: IdentityAct, new: Option<&Self>) {
        let draft = Identity::evaluate(log).unwrap().draft(act, Signer::Device(self.id()));
        let counter = new.map(|new| draft.counter_sign(&new.sign_key()));
        let signature = draft.sign(&self.sign_key());
        log.records.push(draft.complete(signature, counter));
    }

    /// The user's devices: this one, others it vouches for, and of those the ones that it gives up.
    pub(crate) fn devices(&self, others: &[&Self], revoked: &[&Self]) -> IdentityLog {
        let mut log = self.identity();
        for other in others {
            self.act(&mut log, IdentityAct::Add { keys: other.keys, platform: 0 }, Some(other));
        }
        for gone in revoked {
            self.act(&mut log, IdentityAct::Revoke(gone.id()), None);
        }
        log
    }

    fn identity(&self) -> IdentityLog {
        let first = IdentityRecord::first(&self.root(), self.keys, 0, &self.sign_key());
        IdentityLog { root: VerifyKey::parse(&self.root().public()).unwrap(), records: vec![first] }
    }

    pub(crate) fn record(&self, ground: &[Record], body: RecordBody) -> Record {
        let last = ground.last().unwrap();
        let draft = Draft {
            workspace: last.workspace(),
            generation: last.generation() + 1,
            time_ms: 0,
            author: self.id(),
            parents: vec![last.id()],
            body,
            secret: Vec::new(),
        };
        Record::sign(draft, &self.sign_key()).unwrap()
    }
}

pub(crate) const EPOCH: EpochId = EpochId::from_bytes([0xe0; 32]);

/// A founded workspace: genesis and the founder's devices.
pub(crate) fn found(founder: &Person, nonce: u8) -> Vec<Record> {
    let genesis = Draft {
        workspace: Record::NO_WORKSPACE,
        generation: 0,
        time_ms: 0,
        author: founder.id(),
        parents: Vec::new(),
        body: RecordBody::Genesis(Box::new(Genesis {
            nonce: [nonce; 16],
            root: VerifyKey::parse(&founder.root().public()).unwrap(),
            device: founder.keys,
            blinding_commitment: [7; 32],
        })),
        secret: Vec::new(),
    };
    let genesis = Record::sign(genesis, &founder.sign_key()).unwrap();
    let rotation = Rotation { epoch: EPOCH, previous: Vec::new(), wraps: vec![wrap(*founder.id().as_bytes())] };
    let devices = RecordBody::Devices(Box::new(Devices {
        identity: founder.identity().into(),
        pins: None,
        rotation: Some(rotation),
    }));
    let devices = founder.record(std::slice::from_ref(&genesis), devices);
    vec![genesis, devices]
}

pub(crate) fn invite(
    ground: &[Record],
    by: &Person,
    relay: RelayId,
    role: Role,
    uses: u32,
    expires_ms: i64,
) -> (Record, SignKey) {
    let key = SignKey::from_seed(&[0x77; 32]);
    let body = InviteCreate {
        role,
        expires_ms,
        uses,
        relay,
        sign_public: VerifyKey::parse(&key.public()).unwrap(),
        box_public: [3; 32],
        epoch: EPOCH,
        wrap: wrap([0; 32]),
    };
    (by.record(ground, RecordBody::InviteCreate(Box::new(body))), key)
}

pub(crate) fn join(ground: &[Record], who: &Person, invite: RecordId, key: &SignKey) -> Record {
    who.record(ground, RecordBody::Join(Box::new(Join::sign(invite, who.identity(), key))))
}

pub(crate) fn workspace(ground: &[Record]) -> WorkspaceId {
    ground[0].workspace()
}

/// An epoch for these devices, behind the first one.
pub(crate) fn rotation(epoch: EpochId, to: &[&Person]) -> Rotation {
    let mut wraps: Vec<_> = to.iter().map(|person| wrap(*person.id().as_bytes())).collect();
    wraps.sort_by_key(|wrap| wrap.recipient);
    Rotation { epoch, previous: vec![PreviousEpoch { epoch: EPOCH, sealed: [4; 48] }], wraps }
}

/// A standing that a record gives.
pub(crate) fn standing(subject: &Person, role: Option<Role>, rotation: Option<Rotation>) -> RecordBody {
    let standing = Standing { subject: subject.user(), role, expiry: None, proof: None, pins: None, rotation };
    RecordBody::Standing(Box::new(standing))
}

/// A writer's role that ends.
pub(crate) fn until(subject: &Person, expires_ms: i64, relay: RelayId) -> RecordBody {
    let expiry = Some(Expiry { expires_ms, relay });
    let role = Some(Role::Writer);
    let standing = Standing { subject: subject.user(), role, expiry, proof: None, pins: None, rotation: None };
    RecordBody::Standing(Box::new(standing))
}

pub(crate) fn item(record: &Record) -> Vec<u8> {
    LogItem::encode_record(&record.encode())
}

fn wrap(recipient: [u8; 32]) -> EpochWrap {
    EpochWrap { recipient, encapsulated: [1; 32], sealed: [2; 80] }
}

/// A chain that is being written.
pub(crate) struct Pen {
    key: SignKey,
    header: Header,
    declared: Option<(u64, tombolo_protocol::item::Declaration)>,
}

impl Pen {
    pub(crate) fn new(who: &Person, ground: &[Record], document: u8, stream: Stream) -> Self {
        let header = Header {
            kind: EntryKind::Changes,
            flags: EntryFlags::NONE,
            workspace: workspace(ground).tag(),
            chain: ChainKey {
                document: DocumentTag::from_bytes([document; 16]),
                stream,
                device: who.id(),
                incarnation: Incarnation(1),
            },
            seq: 0,
            prev: Header::NO_PREV,
            epoch: EPOCH,
            members_head: ground.last().unwrap().id(),
            clear_root: Header::NO_CLEAR,
            salt: [5; 16],
            body_len: 0,
        };
        Self { key: who.sign_key(), header, declared: None }
    }

    pub(crate) fn header(&mut self) -> &mut Header {
        &mut self.header
    }

    pub(crate) fn write(&mut self, text: &[u8]) -> Entry {
        let mut sealed = text.to_vec();
        sealed.extend_from_slice(&[0; 16]);
        self.header.seq += 1;
        self.header.body_len = sealed.len() as u32;
        let entry = Entry::sign(self.header.clone(), Vec::new(), sealed, &self.key).unwrap();
        self.header.prev = entry.hash();
        entry
    }

    /// Writes an entry as a log item, in short form once a declaration is known.
    pub(crate) fn item(&mut self, text: &[u8]) -> Vec<u8> {
        let entry = self.write(text);
        let declared = self.declared.as_ref().map(|(position, declared)| (*position, declared));
        LogItem::encode_entry(&entry, declared)
    }

    /// Notes where the first entry stands, so that later ones are elided against it.
    pub(crate) fn declared_at(&mut self, position: u64) {
        let declaration = tombolo_protocol::item::Declaration::of(&self.header);
        self.declared = Some((position, declaration));
    }
}
