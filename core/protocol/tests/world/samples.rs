//! One sample of every layout, made with fixed keys, and its reading.

#![allow(unreachable_pub, reason = "a module of a test binary")]

use minicbor::bytes::ByteVec;
use tombolo_protocol::auth::{Binding, Transcript};
use tombolo_protocol::bytes::Reader;
use tombolo_protocol::entry::{Entry, Header};
use tombolo_protocol::frame::*;
use tombolo_protocol::hash::sha256;
use tombolo_protocol::identity::IdentityLog;
use tombolo_protocol::ids::{ChainId, DocumentTag, EntryHash, EpochId, LogId, RecordId, RendezvousId};
use tombolo_protocol::item::{Declaration, ItemHash, LeftOut, LogItem};
use tombolo_protocol::log::{Frontier, LogOrigin};
use tombolo_protocol::receipt::{Attestation, LogReset, Receipt, Signed, acknowledged};
use tombolo_protocol::record::*;
use tombolo_protocol::snapshot::{Attest, Cover};
use tombolo_protocol::status::StatusRow;

use crate::world::{self, Person, RELAY_SEED, World};

/// Bytes, and the id, hash or proof that follows from them (empty if none does).
pub struct Vector {
    pub kind: &'static str,
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub id: Vec<u8>,
}

fn vector(kind: &'static str, name: &'static str, bytes: Vec<u8>, id: &[u8]) -> Vector {
    Vector { kind, name, bytes, id: id.to_vec() }
}

pub fn vectors() -> Vec<Vector> {
    let mut all = record_vectors();
    all.extend(entry_vectors());
    all.extend(statement_vectors());
    all.extend(log_vectors());
    all.extend(frame_vectors());
    all.extend(snapshot_vectors());
    all
}

/// Reads bytes of a kind; the answer differs for any two values.
pub fn parse(kind: &str, bytes: &[u8]) -> Result<Vec<u8>, ()> {
    match kind {
        "record" => Record::decode(bytes).map(|v| v.encode()).map_err(drop),
        "identity" => {
            let mut reader = Reader::new(bytes);
            let log = IdentityLog::read(&mut reader).map_err(drop)?;
            reader.finish().map_err(drop)?;
            let mut out = Vec::new();
            log.write(&mut out);
            Ok(out)
        }
        "entry" => Entry::decode(bytes).map(|v| v.encode()).map_err(drop),
        "item" => parse_item(bytes),
        "receipt" => Signed::<Receipt>::decode(bytes).map(|v| v.encode()).map_err(drop),
        "reset" => Signed::<LogReset>::decode(bytes).map(|v| v.encode()).map_err(drop),
        "attestation" => Signed::<Attestation>::decode(bytes).map(|v| v.encode()).map_err(drop),
        "status" => StatusRow::decode(bytes).map(|v| v.encode()).map_err(drop),
        "cover" => Cover::decode(bytes).and_then(|v| v.encode()).map_err(drop),
        "attest" => Attest::decode(bytes).map(|v| v.encode()).map_err(drop),
        "frontier" => Frontier::decode(bytes).map(|v| v.encode()).map_err(drop),
        "frame" => Frame::decode(bytes).map(|v| v.encode()).map_err(drop),
        "signature" => Ok(bytes.to_vec()),
        _ => panic!("no such kind"),
    }
}

fn parse_item(bytes: &[u8]) -> Result<Vec<u8>, ()> {
    let entries = sample_chain();
    let declared = Declaration::of(entries[1].header());
    match LogItem::decode(bytes).map_err(drop)? {
        LogItem::Record(bytes) => Ok(LogItem::encode_record(bytes)),
        LogItem::Attestation(bytes) => Ok(LogItem::encode_attestation(bytes)),
        LogItem::Entry(bytes) => {
            let entry = Entry::decode(bytes).map_err(drop)?;
            Ok(LogItem::encode_entry(&entry, None))
        }
        LogItem::Elided(short) => {
            let entry = short.expand(&declared, entries[1].hash()).map_err(drop)?;
            Ok(LogItem::encode_entry(&entry, Some((short.declared_at, &declared))))
        }
        LogItem::Attest(bytes) => Ok(LogItem::encode_attest(bytes)),
        LogItem::LeftOut(run) => Ok(run.encode()),
    }
}

fn sample_chain() -> Vec<Entry> {
    let anna = Person::new(1);
    world::chain(&anna.found().workspace(), &anna, 3)
}

fn record_vectors() -> Vec<Vector> {
    let (anna, ben) = (Person::new(1), Person::new(2));
    let mut world = World::founded_by(&anna);
    let invite = world.invite(&world.members.view(), Role::Writer, 1, 1_800_000_000_000);
    let body = RecordBody::InviteCreate(Box::new(invite));
    let invite = world.add(anna.say(&world.members, &world.heads(), body));
    let join = world.add(world.join(&ben, &world.heads(), invite));
    world.attest(world.attestation(RELAY_SEED, join, 1, 1_750_000_000_000));
    let rotation = world.rotation(&world.members.view());
    world.add(ben.say(&world.members, &world.heads(), RecordBody::Rotate(rotation)));
    let body = world::succession(RELAY_SEED, RELAY_SEED + 1);
    world.add(anna.say(&world.members, &world.heads(), body));
    let body = world::devices(&anna.log_with_second_device(), None);
    world.add(anna.say(&world.members, &world.heads(), body));
    let body = RecordBody::Unsupported { kind: 200, bytes: vec![1, 2, 3] };
    world.add(anna.say(&world.members, &world.heads(), body));
    let names = [
        "genesis",
        "devices with the first epoch",
        "invite-create",
        "join",
        "rotate",
        "relay-succession",
        "devices",
        "a type of a later version",
    ];
    let mut all: Vec<Vector> = names
        .iter()
        .zip(&world.records)
        .map(|(name, record)| vector("record", name, record.encode(), record.id().as_bytes()))
        .collect();
    for (name, body) in statements(&world, &anna, &ben, invite) {
        let record = anna.say(&world.members, &world.heads(), body);
        all.push(vector("record", name, record.encode(), record.id().as_bytes()));
    }
    let user = anna.log.user();
    let logs = [
        ("one device", anna.log.clone()),
        ("two devices", anna.log_with_second_device()),
        ("a device revoked by the root", anna.log_with_first_revoked()),
    ];
    for (name, log) in logs {
        let mut bytes = Vec::new();
        log.write(&mut bytes);
        all.push(vector("identity", name, bytes, user.as_bytes()));
    }
    all
}

/// One body of each type that the little history above has no need of.
fn statements(world: &World, anna: &Person, ben: &Person, invite: RecordId) -> Vec<(&'static str, RecordBody)> {
    let rotation = world.rotation(&world.members.view());
    let hashes = vec![EntryHash::from_bytes([0x51; 32]), EntryHash::from_bytes([0x52; 32])];
    let chain = world::header(&world.members.workspace(), ben, 1, Header::NO_PREV).chain;
    let pin = Pin { chain, seq: 7, hash: EntryHash::from_bytes([0x53; 32]) };
    let expiry = Expiry { expires_ms: 1_800_000_000_000, relay: world::relay(RELAY_SEED) };
    let subject = ben.log.user();
    let standing = Standing { subject, role: None, expiry: None, proof: None, pins: None, rotation: None };
    let removal = Standing {
        pins: Some(Pins { documents: None, chains: vec![pin] }),
        rotation: Some(rotation.clone()),
        ..standing.clone()
    };
    let listed = Pins { documents: Some(vec![chain.document]), chains: vec![pin] };
    let sweep = Standing { proof: Some(receipt()), pins: Some(listed.clone()), ..standing.clone() };
    let grant = Standing { role: Some(Role::Reader), expiry: Some(expiry), ..standing };
    let policy = Policy {
        levels: Levels { open: 0, append: 1, invite: 3, membership: 4 },
        relays: vec![world::relay(RELAY_SEED)],
        needs_binding: true,
        recovery: Some(OrganisationRecovery { user: subject, box_public: [0x54; 32] }),
    };
    let revoked = Devices {
        identity: anna.log_with_first_revoked().into(),
        pins: Some(listed),
        rotation: Some(rotation.clone()),
    };
    let kit = RecoverySet::sign([0x55; 32], &world::key(anna.seed));
    let rewrap = Rewrap { epoch: rotation.epoch, wraps: rotation.wraps.clone() };
    vec![
        ("standing: removal with pins", RecordBody::Standing(Box::new(removal))),
        ("standing: sweep", RecordBody::Standing(Box::new(sweep))),
        ("standing: grant that expires", RecordBody::Standing(Box::new(grant))),
        ("devices: one revoked", RecordBody::Devices(Box::new(revoked))),
        ("rewrap", RecordBody::Rewrap(rewrap)),
        ("policy", RecordBody::Policy(policy)),
        ("owner-transfer", RecordBody::OwnerTransfer(subject)),
        ("admit", RecordBody::Admit(hashes.clone())),
        ("exclude", RecordBody::Exclude(hashes)),
        ("purge", RecordBody::Purge(chain.document)),
        ("recovery-set", RecordBody::RecoverySet(kit)),
        ("invite-revoke", RecordBody::InviteRevoke(Box::new(InviteRevoke { invite, rotation: Some(rotation) }))),
    ]
}

fn entry_vectors() -> Vec<Vector> {
    let anna = Person::new(1);
    let workspace = anna.found().workspace();
    let chain = sample_chain();
    let snapshot = Header {
        kind: tombolo_protocol::entry::EntryKind::Snapshot,
        ..world::header(&workspace, &anna, 4, chain[2].hash())
    };
    let snapshot = world::entry(snapshot, b"covers", 32, &anna);
    let declared = Declaration::of(chain[1].header());
    let [first, second, third] = &chain[..] else {
        panic!("three entries");
    };
    let genesis = anna.found();
    vec![
        vector("entry", "creation", first.encode(), first.hash().as_bytes()),
        vector("entry", "changes", second.encode(), second.hash().as_bytes()),
        vector("entry", "snapshot", snapshot.encode(), snapshot.hash().as_bytes()),
        vector("item", "record", LogItem::encode_record(&genesis.encode()), genesis.id().as_bytes()),
        vector("item", "entry", LogItem::encode_entry(second, None), second.hash().as_bytes()),
        vector("item", "elided entry", LogItem::encode_entry(third, Some((300, &declared))), third.hash().as_bytes()),
    ]
}

fn snapshot_vectors() -> Vec<Vector> {
    let (anna, ben) = (Person::new(1), Person::new(2));
    let workspace = anna.found().workspace();
    let entries = sample_chain();
    let last = &entries[2];
    let cover = Cover {
        encoder: 1,
        base: None,
        chains: [(last.header().chain.id(), (3, last.hash())), (ChainId::from_bytes([8; 8]), (300, entries[0].hash()))]
            .into(),
        excluded: [entries[1].hash()].into(),
    };
    let clear = cover.encode().unwrap();
    let header = Header {
        kind: tombolo_protocol::entry::EntryKind::Snapshot,
        ..world::header(&workspace, &anna, 4, last.hash())
    };
    let snapshot = world::entry(header, &clear, 32, &anna);
    let on_base = Cover { base: Some(snapshot.hash()), excluded: [].into(), ..cover };
    let attest = Attest::sign(workspace, snapshot.hash(), ben.keys.id(), RecordId::from_bytes([0x30; 32]), &ben.device);
    let leaf = attest.item_hash().to_leaf();
    vec![
        vector("cover", "without a base", clear, snapshot.hash().as_bytes()),
        vector("cover", "on a base", on_base.encode().unwrap(), &[]),
        vector("attest", "attest", attest.encode(), &leaf),
        vector("item", "attest", LogItem::encode_attest(&attest.encode()), &leaf),
    ]
}

fn attest() -> Attest {
    let [anna, ben] = [1, 2].map(Person::new);
    let (snapshot, head) = (EntryHash::from_bytes([0x50; 32]), RecordId::from_bytes([0x30; 32]));
    Attest::sign(anna.found().workspace(), snapshot, ben.keys.id(), head, &ben.device)
}

fn receipt() -> Signed<Receipt> {
    let hash = |n| ItemHash::Entry(EntryHash::from_bytes([n; 32]));
    let receipt = Receipt {
        relay: world::relay(RELAY_SEED),
        workspace: Person::new(1).found().workspace(),
        log: LogId::from_bytes([0x10; 16]),
        position: 7,
        head: [0x11; 32],
        time_ms: 1_700_000_000_001,
        acknowledged: acknowledged(&[hash(1), hash(2)]),
    };
    Signed::sign(receipt, &world::key(RELAY_SEED))
}

fn reset() -> Signed<LogReset> {
    let reset = LogReset {
        relay: world::relay(RELAY_SEED),
        workspace: Person::new(1).found().workspace(),
        old_log: LogId::from_bytes([0x10; 16]),
        new_log: LogId::from_bytes([0x20; 16]),
        position: 5,
        head: [0x11; 32],
        time_ms: 1_700_000_000_002,
    };
    Signed::sign(reset, &world::key(RELAY_SEED))
}

fn attestation() -> Signed<Attestation> {
    let world = World::founded_by(&Person::new(1));
    world.attestation(RELAY_SEED, RecordId::from_bytes([0x30; 32]), 2, 1_700_000_000_003)
}

fn status() -> StatusRow {
    let anna = Person::new(1);
    StatusRow::sign(
        anna.found().workspace().tag(),
        anna.keys.id(),
        1_700_000_000_004,
        EpochId::from_bytes([0xe0; 32]),
        vec![0xab; 40],
        &anna.device,
    )
}

fn statement_vectors() -> Vec<Vector> {
    let anna = Person::new(1);
    let transcript = Transcript {
        relay: world::relay(RELAY_SEED),
        host: "relay.example.org".to_owned(),
        device_nonce: [0x40; 32],
        relay_nonce: [0x41; 32],
        binding: Binding::Exporter([0x42; 32]),
    };
    let device = transcript.sign_as_device(&anna.keys, &anna.device);
    let relay = transcript.sign_as_relay(&anna.keys, &world::key(RELAY_SEED));
    let invite = transcript.sign_as_invite(&anna.keys, &world::key(world::INVITE_SEED));
    vec![
        vector("receipt", "receipt", receipt().encode(), &[]),
        vector("reset", "log reset", reset().encode(), &[]),
        vector("attestation", "attestation", attestation().encode(), &attestation().item_hash().to_leaf()),
        vector("status", "status row", status().encode(), &[]),
        vector("signature", "a device's proof", device.to_vec(), &[]),
        vector("signature", "a relay's proof", relay.to_vec(), &[]),
        vector("signature", "an invite's proof", invite.to_vec(), &[]),
    ]
}

fn log_vectors() -> Vec<Vector> {
    let origin =
        LogOrigin::new(&world::relay(RELAY_SEED), &LogId::from_bytes([0x10; 16]), &Person::new(1).found().workspace());
    let names = ["0 items", "1 item", "2 items", "3 items", "4 items", "5 items", "6 items", "7 items"];
    let mut frontier = Frontier::new();
    let run: Vec<ItemHash> = (3..8).map(|n| ItemHash::Entry(EntryHash::from_bytes(sha256(&[&[n]])))).collect();
    let mut all = vec![vector("item", "left out", LeftOut::of(3, &run).encode(), &[])];
    for (n, name) in names.into_iter().enumerate() {
        all.push(vector("frontier", name, frontier.encode(), &frontier.head(&origin)));
        frontier.append(&ItemHash::Entry(EntryHash::from_bytes(sha256(&[&[n as u8]]))));
    }
    all
}

fn frame_vectors() -> Vec<Vector> {
    let known = [handshake_frames(), opening_frames(), log_frames(), device_frames(), step_up_frames()].concat();
    let frames = [known, filter_frames()].concat();
    let vector_of = |frame: &Frame| vector("frame", frame.name(), frame.encode(), &[frame.number()]);
    frames.iter().map(vector_of).collect()
}

fn handshake_frames() -> Vec<Frame> {
    vec![
        Frame::Hello(Hello {
            version: 1,
            sign_public: [1; 32],
            box_public: [2; 32],
            nonce: [3; 32],
            features: vec![1, 300],
            token: Some("let me in".to_owned()),
        }),
        Frame::Challenge(Challenge {
            version: 1,
            relay: world::relay(RELAY_SEED),
            nonce: [4; 32],
            tls: TlsMode::Exporter,
            features: vec![1],
        }),
        Frame::Auth(Auth { proof: [5; 64] }),
        Frame::Welcome(Welcome { proof: [6; 64], credit_bytes: 1 << 20, time_ms: 1_700_000_000_005, ping_ms: 20_000 }),
        Frame::Close(Close { code: 4001, retry_after_ms: Some(1500), version: None }),
    ]
}

fn step_up_frames() -> Vec<Frame> {
    let workspace = Person::new(1).found().workspace().tag();
    let levels = LevelGap { needed: 3, have: 1 };
    vec![
        Frame::StepUp(StepUp { workspace, method: StepUpMethod::Oidc }),
        Frame::StepUpChallenge(StepUpChallenge {
            method: StepUpMethod::Totp,
            nonce: [8; 32],
            enrolment: Some("otpauth://totp/x".to_owned()),
            issuer: Some("https://login.example.org".to_owned()),
            audience: Some("tombolo".to_owned()),
        }),
        Frame::StepUpProof(StepUpProof { method: StepUpMethod::Totp, proof: "287082".to_owned() }),
        Frame::SteppedUp(SteppedUp { level: 4, until_ms: 1_700_000_300_005, refused: Some(StepUpRefusal::Stale) }),
        Frame::MfaRequired(MfaRequired { workspace, levels }),
        Frame::NotFound(NotFound { workspace, reason: Some(NotFoundReason::from(RightEnded::Expired).number()) }),
        Frame::Shut(Shut { channel: 3, ended: Some(RightEnded::Revoked) }),
        Frame::Refused(Refused {
            channel: 3,
            batch: 1,
            item: 0,
            reason: RefusalReason::MfaRequired,
            chain_seq: None,
            levels: Some(levels),
        }),
    ]
}

fn opening_frames() -> Vec<Frame> {
    let id = Person::new(1).found().workspace();
    let workspace = id.tag();
    let record = ByteVec::from(Person::new(1).found().encode());
    let attestation = ByteVec::from(attestation().encode());
    vec![
        Frame::Open(Open {
            workspace,
            log: Some(LogId::from_bytes([0x10; 16])),
            cursor: 1000,
            receipt: Some(receipt().encode().into()),
            documents: None,
        }),
        Frame::Opened(Opened {
            workspace,
            channel: 3,
            log: LogId::from_bytes([0x20; 16]),
            head: receipt().encode().into(),
            reset: Some(reset().encode().into()),
            resumed: false,
        }),
        Frame::NotFound(NotFound { workspace, reason: None }),
        Frame::Shut(Shut { channel: 3, ended: None }),
        Frame::Seed(Seed {
            workspace: id,
            records: vec![record.clone()],
            attestations: vec![attestation.clone()],
            more: true,
            documents: None,
        }),
        Frame::Enter(Enter { workspace, invite: RecordId::from_bytes([0x30; 32]), proof: [7; 64] }),
        Frame::Ground(Ground {
            workspace,
            records: vec![record],
            attestations: vec![attestation],
            more: false,
            attests: Vec::new(),
        }),
        Frame::Ground(Ground {
            workspace,
            records: Vec::new(),
            attestations: Vec::new(),
            more: false,
            attests: vec![attest().encode().into()],
        }),
    ]
}

/// Frames of a device that asks for some documents.
fn filter_frames() -> Vec<Frame> {
    let workspace = Person::new(1).found().workspace();
    let documents = Some(vec![DocumentTag::from_bytes([0x51; 16]), DocumentTag::from_bytes([0x52; 16])]);
    let opening =
        Open { workspace: workspace.tag(), log: None, cursor: 0, receipt: None, documents: documents.clone() };
    let held = Some(vec![ChainId::from_bytes([0x61; 8])]);
    let (records, attestations) = (Vec::new(), Vec::new());
    vec![
        Frame::Open(opening),
        Frame::Seed(Seed { workspace, records, attestations, more: false, documents: documents.clone() }),
        Frame::Reconcile(Reconcile { channel: 3, method: Reconcile::LIST, documents: documents.clone(), held }),
        Frame::Reconcile(Reconcile { channel: 3, method: Reconcile::NARROW, documents: Some(Vec::new()), held: None }),
        Frame::Summary(Summary {
            channel: 3,
            frontier: Frontier::new().encode().into(),
            chains: Vec::new(),
            more: false,
            chosen: Some(true),
        }),
    ]
}

fn log_frames() -> Vec<Frame> {
    let (channel, chain) = (3, ChainId::from_bytes([8; 8]));
    let item = ByteVec::from(LogItem::encode_entry(&sample_chain()[1], None));
    let mut frontier = Frontier::new();
    frontier.append(&ItemHash::Attestation([9; 32]));
    let summary = ChainSummary { chain, seq: 40, hash: [1; 8], declared_at: 900, declared_seq: 30 };
    let entry = ByteVec::from(sample_chain()[1].encode());
    vec![
        Frame::Append(Append { channel, batch: 1, items: vec![item.clone()] }),
        Frame::Received(Received {
            channel,
            first_batch: 1,
            last_batch: 2,
            positions: vec![(7, 1), (1000, 300)],
            receipt: receipt().encode().into(),
        }),
        Frame::Refused(Refused {
            channel,
            batch: 1,
            item: 0,
            reason: RefusalReason::Gap,
            chain_seq: Some(41),
            levels: None,
        }),
        Frame::Items(Items { channel, first_position: 7, items: vec![item] }),
        Frame::Head(Head { channel, receipt: receipt().encode().into() }),
        Frame::Fetch(Fetch { channel, chain, from_seq: 2, to_seq: 9 }),
        Frame::Fetched(Fetched { channel, chain, entries: vec![entry] }),
        Frame::Pruned(Pruned { channel, chain, snapshot: chain, from_seq: 41, to_seq: 43 }),
        Frame::Reconcile(Reconcile { channel, method: Reconcile::LIST, documents: None, held: None }),
        Frame::Summary(Summary {
            channel,
            frontier: frontier.encode().into(),
            chains: vec![summary],
            more: false,
            chosen: None,
        }),
        Frame::Status(Status { channel, row: status().encode().into() }),
    ]
}

fn device_frames() -> Vec<Frame> {
    let id = Person::new(1).found().workspace();
    let rendezvous = RendezvousId::from_bytes([0x50; 16]);
    vec![
        Frame::Claim(Claim { identity: vec![0x51; 3].into() }),
        Frame::Claimed(Claimed { workspaces: vec![id] }),
        Frame::Return(Return { workspace: id.tag(), identity: vec![0x51; 3].into() }),
        Frame::Meet(Meet { rendezvous, waits: true }),
        Frame::Pass(Pass { rendezvous, message: vec![0x52; 5].into() }),
        Frame::Part(Part { rendezvous, reason: PartReason::Taken }),
    ]
}
