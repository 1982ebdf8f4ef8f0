//! Random histories: people on several replicas that part and meet, with a share of cheats.
//!
//! Invariant: a history is a function of its seed and of the list of steps that were left out.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::collections::{BTreeMap, BTreeSet};

use tombolo_protocol::identity::{DeviceKeys, IdentityAct, IdentityDraft, IdentityLog, IdentityRecord, Signer};
use tombolo_protocol::ids::*;
use tombolo_protocol::keys::{SignKey, VerifyKey};
use tombolo_protocol::membership::{Membership, View};
use tombolo_protocol::receipt::{Attestation, Receipt, Signed};
use tombolo_protocol::record::*;

use super::model::admission::Entry;

pub const REPLICAS: usize = 5;
const DEVICES: usize = 4;
const RELAY: u8 = 220;

/// Small, fast and the same everywhere (SplitMix64).
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())].clone())
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }
}

/// A user with a root and some devices; the keys are the same in all histories.
pub struct Person {
    pub root: SignKey,
    pub user: UserId,
    pub devices: Vec<(SignKey, DeviceKeys)>,
    pub log: IdentityLog,
}

fn seed(kind: u8, n: usize) -> SignKey {
    let mut bytes = [kind; 32];
    bytes[0] = n as u8;
    SignKey::from_seed(&bytes)
}

pub fn people(count: usize) -> Vec<Person> {
    let person = |n: usize| {
        let root = seed(1, n);
        let device = |k: usize| {
            let (sign, box_public) = (seed(2, n * 16 + k), [(10 + n * 16 + k) as u8; 32]);
            let keys = DeviceKeys::parse(&sign.public(), &box_public).unwrap();
            (sign, keys)
        };
        let devices: Vec<_> = (0..DEVICES).map(device).collect();
        let first = IdentityRecord::first(&root, devices[0].1, 1, &devices[0].0);
        let log = IdentityLog { root: VerifyKey::parse(&root.public()).unwrap(), records: vec![first] };
        Person { user: log.user(), root, devices, log }
    };
    (0..count).map(person).collect()
}

/// What one replica holds.
#[derive(Clone)]
struct Replica {
    members: Membership,
    records: BTreeSet<usize>,
    attestations: BTreeSet<usize>,
    entries: BTreeSet<usize>,
}

/// All that was made in one history.
pub struct History {
    pub workspace: WorkspaceId,
    pub records: Vec<Record>,
    pub attestations: Vec<Signed<Attestation>>,
    pub entries: Vec<Entry>,
    /// What each replica holds in the end: records and attestations.
    pub held: Vec<(Vec<usize>, Vec<usize>)>,
    /// The replicas' own evaluations, grown step by step.
    pub grown: Vec<Membership>,
}

struct Maker<'a> {
    people: &'a [Person],
    dice: Dice,
    replicas: Vec<Replica>,
    history: History,
    epochs: u64,
    /// The identity logs as far as anybody has taken them.
    logs: Vec<IdentityLog>,
}

/// Plays a history; steps in `left_out` are not taken, and each step has its own dice.
pub fn play(people: &[Person], seed: u64, steps: usize, left_out: &BTreeSet<usize>) -> History {
    let kept = (0..steps).filter(|step| !left_out.contains(step));
    play_dice(people, seed, kept.map(|step| seed.wrapping_mul(0x1000_0000_01b3).wrapping_add(step as u64) << 8))
}

/// Plays a history of which each step throws the dice that it is given.
pub fn play_dice(people: &[Person], seed: u64, dice: impl Iterator<Item = u64>) -> History {
    let mut maker = Maker::found(people, seed);
    for dice in dice {
        maker.dice = Dice(dice);
        let at = maker.dice.below(REPLICAS);
        match maker.dice.below(20) {
            0..=3 => maker.meet(at),
            4..=6 => maker.write(at),
            _ => maker.act(at),
        }
    }
    maker.end()
}

impl<'a> Maker<'a> {
    fn found(people: &'a [Person], seed: u64) -> Self {
        let founder = &people[0];
        let (sign, keys) = &founder.devices[0];
        let genesis = Genesis { nonce: [7; 16], root: founder.log.root, device: *keys, blinding_commitment: [8; 32] };
        let draft = Draft {
            workspace: Record::NO_WORKSPACE,
            generation: 0,
            time_ms: seed as i64,
            author: keys.id(),
            parents: Vec::new(),
            body: RecordBody::Genesis(Box::new(genesis)),
            secret: Vec::new(),
        };
        let genesis = Record::sign(draft, sign).unwrap();
        let workspace = genesis.workspace();
        let replica = Replica {
            members: Membership::new(workspace),
            records: BTreeSet::new(),
            attestations: BTreeSet::new(),
            entries: BTreeSet::new(),
        };
        let history = History {
            workspace,
            records: Vec::new(),
            attestations: Vec::new(),
            entries: Vec::new(),
            held: Vec::new(),
            grown: Vec::new(),
        };
        let logs = people.iter().map(|person| person.log.clone()).collect();
        let replicas = vec![replica; REPLICAS];
        let mut maker = Maker { people, dice: Dice(seed), replicas, history, epochs: 0, logs };
        let id = genesis.id();
        maker.publish(0, genesis);
        let rotation =
            Rotation { epoch: maker.fresh_epoch(), previous: vec![], wraps: vec![wrap(keys.id().as_bytes())] };
        let body = devices(&founder.log, None, Some(rotation));
        let second = maker.sign(0, &[id], (0, 0), body);
        maker.publish(0, second);
        // A few people are there before anybody parts.
        for (n, role) in [Role::Owner, Role::Admin, Role::Admin, Role::Writer].into_iter().enumerate() {
            if n + 1 < people.len() {
                let role = if role == Role::Owner && maker.dice.one_in(2) { Role::Admin } else { role };
                maker.bring(n + 1, role);
            }
        }
        for other in 1..REPLICAS {
            maker.carry(0, other);
        }
        maker
    }

    /// Grants a role and brings the devices.
    fn bring(&mut self, who: usize, role: Role) {
        let heads: Vec<RecordId> = self.replicas[0].members.heads().iter().copied().collect();
        let body = standing(self.people[who].user, Some(role), None, None);
        let grant = self.sign(0, &heads, (0, 0), body);
        let id = grant.id();
        self.publish(0, grant);
        let body = devices(&self.people[who].log, None, None);
        let brought = self.sign(0, &[id], (who, 0), body);
        self.publish(0, brought);
    }

    fn end(mut self) -> History {
        for replica in &self.replicas {
            let all = (replica.records.iter().copied().collect(), replica.attestations.iter().copied().collect());
            self.history.held.push(all);
        }
        self.history.grown = self.replicas.into_iter().map(|replica| replica.members).collect();
        self.history
    }

    fn fresh_epoch(&mut self) -> EpochId {
        self.epochs += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.epochs.to_be_bytes());
        EpochId::from_bytes(bytes)
    }

    fn sign(&self, at: usize, parents: &[RecordId], (who, device): (usize, usize), body: RecordBody) -> Record {
        let members = &self.replicas[at].members;
        let generation = parents.iter().filter_map(|id| members.record(id)).map(|r| r.generation() + 1).max();
        let (sign, keys) = &self.people[who].devices[device];
        let draft = Draft {
            workspace: self.history.workspace,
            generation: generation.unwrap_or(1),
            time_ms: self.history.records.len() as i64,
            author: keys.id(),
            parents: parents.to_vec(),
            body,
            secret: Vec::new(),
        };
        Record::sign(draft, sign).unwrap()
    }

    fn publish(&mut self, at: usize, record: Record) {
        self.replicas[at].records.insert(self.history.records.len());
        self.replicas[at].members.insert_proven(record.clone());
        self.history.records.push(record);
    }

    fn attest(&mut self, at: usize, subject: RecordId) {
        let statement = Attestation {
            relay: relay(RELAY + self.dice.below(8) as u8 / 7),
            workspace: self.history.workspace,
            subject,
            nth: 1 + self.dice.below(5) as u32 / 3,
            time_ms: 100,
            level: 1 + self.dice.below(3) as u8,
        };
        let signer = SignKey::from_seed(&[if statement.relay == relay(RELAY) { RELAY } else { RELAY + 1 }; 32]);
        let signed = Signed::sign(statement, &signer);
        self.replicas[at].attestations.insert(self.history.attestations.len());
        self.replicas[at].members.attest(signed.clone());
        self.history.attestations.push(signed);
    }

    /// One replica is given all that another holds.
    fn carry(&mut self, from: usize, to: usize) {
        let held = &self.replicas[from];
        let (records, said, entries) = (held.records.clone(), held.attestations.clone(), held.entries.clone());
        let into = &mut self.replicas[to];
        for record in records.iter().filter(|at| into.records.insert(**at)) {
            into.members.insert_proven(self.history.records[*record].clone());
        }
        for attestation in said.iter().filter(|at| into.attestations.insert(**at)) {
            into.members.attest(self.history.attestations[*attestation].clone());
        }
        into.entries.extend(entries);
    }

    fn meet(&mut self, at: usize) {
        let other = self.dice.below(REPLICAS);
        if other != at {
            self.carry(other, at);
            if self.dice.one_in(2) {
                self.carry(at, other);
            }
        }
    }

    /// Whom a device belongs to, by place.
    fn holder(&self, device: &DeviceId) -> Option<(usize, usize)> {
        let places = self.people.iter().enumerate();
        let mut found = places.flat_map(|(who, person)| {
            let devices = person.devices.iter().enumerate();
            devices.map(move |(k, (_, keys))| (keys.id(), (who, k)))
        });
        found.find(|(id, _)| id == device).map(|(_, place)| place)
    }

    fn actors(&self, view: &View, least: Role) -> Vec<(usize, usize)> {
        let devices = view.devices().filter(|(id, _)| view.role_of_device(id) >= Some(least));
        devices.filter_map(|(id, _)| self.holder(&id)).collect()
    }

    /// Writes an entry that depends on some that are here.
    fn write(&mut self, at: usize) {
        let view = self.replicas[at].members.view();
        let Some((who, device)) = ({
            let actors = self.actors(&view, Role::Carrier);
            self.dice.pick(&actors)
        }) else {
            return;
        };
        let chain = ChainKey {
            document: DocumentTag::from_bytes([self.dice.below(2) as u8; 16]),
            stream: Stream(u8::from(self.dice.one_in(5))),
            device: self.people[who].devices[device].1.id(),
            incarnation: Incarnation(1),
        };
        let held: Vec<usize> = self.replicas[at].entries.iter().copied().collect();
        let entries = &self.history.entries;
        let seq = held.iter().map(|e| &entries[*e]).filter(|e| e.chain == chain).map(|e| e.seq).max().unwrap_or(0) + 1;
        let mut deps: Vec<usize> =
            held.iter().copied().filter(|e| entries[*e].chain == chain && entries[*e].seq + 1 == seq).collect();
        for entry in &held {
            let other = &self.history.entries[*entry].chain;
            if other.document == chain.document && other.stream == chain.stream && self.dice.one_in(3) {
                deps.push(*entry);
            }
        }
        let heads = if self.dice.one_in(8) { self.some_past(at) } else { self.heads(at) };
        let Some(members_head) = self.dice.pick(&heads) else { return };
        let hash = tombolo_protocol::hash::sha256(&[&self.history.entries.len().to_be_bytes()]);
        let entry = Entry { chain, seq, hash: EntryHash::from_bytes(hash), members_head, deps };
        self.replicas[at].entries.insert(self.history.entries.len());
        self.history.entries.push(entry);
    }

    fn heads(&self, at: usize) -> Vec<RecordId> {
        self.replicas[at].members.heads().iter().copied().collect()
    }

    /// One or two older records: where a cheat pretends to stand.
    fn some_past(&mut self, at: usize) -> Vec<RecordId> {
        let members = &self.replicas[at].members;
        let records = self.replicas[at].records.iter().map(|n| self.history.records[*n].id());
        let known: Vec<RecordId> = records.filter(|id| members.view_at(id).is_some()).collect();
        let mut past: Vec<RecordId> = (0..=self.dice.below(2)).filter_map(|_| self.dice.pick(&known)).collect();
        past.sort_unstable();
        past.dedup();
        past
    }

    fn act(&mut self, at: usize) {
        let cheats = self.dice.one_in(5);
        let parents = if cheats && self.dice.one_in(2) { self.some_past(at) } else { self.heads(at) };
        let view = self.replicas[at].members.view_of(&parents);
        let what = self.dice.below(34);
        let least = match what {
            0..=13 => Role::Admin,
            14..=20 => Role::Commenter,
            28.. => Role::Owner,
            _ => Role::Carrier,
        };
        let least = if cheats && self.dice.one_in(3) { Role::Carrier } else { least };
        let mut actors = self.actors(&view, least);
        if cheats && self.dice.one_in(6) {
            actors = (0..self.people.len()).flat_map(|who| (0..DEVICES).map(move |k| (who, k))).collect();
        }
        let Some(author) = self.dice.pick(&actors) else { return };
        let Some((author, body)) = self.body(at, &view, author, what) else { return };
        let body = if cheats && self.dice.one_in(3) { self.spoil(body) } else { body };
        let record = self.sign(at, &parents, author, body);
        let (id, attested) = (record.id(), matches!(record.body(), RecordBody::Join(_)));
        self.publish(at, record);
        let strict = view.policy().is_some_and(|policy| policy.levels.membership > 1 || policy.levels.invite > 1);
        if attested || strict {
            for _ in 0..self.dice.below(5) {
                self.attest(at, id);
            }
        }
    }

    fn body(
        &mut self,
        at: usize,
        view: &View,
        author: (usize, usize),
        what: usize,
    ) -> Option<((usize, usize), RecordBody)> {
        let who = self.dice.below(self.people.len());
        let subject = self.people[who].user;
        let body = match what {
            0..=6 => self.removal(at, view, author.0, (subject, None))?,
            7 | 8 => {
                let role = self.dice.pick(&[Role::Carrier, Role::Reader, Role::Commenter, Role::Writer])?;
                match view.role(&subject) {
                    Some(before) if role < before => self.removal(at, view, author.0, (subject, Some(role)))?,
                    _ => self.grant(subject, role),
                }
            }
            9 => self.sweep(at, view, author.0)?,
            10 | 11 if view.epoch().is_none() => RecordBody::Rotate(self.rotation(view, |_| true, None)),
            10 | 11 => self.invite(view)?,
            12 => self.verdict(),
            13 => match self.dice.below(3) {
                0 => RecordBody::Purge(DocumentTag::from_bytes([self.dice.below(3) as u8; 16])),
                _ => RecordBody::RelaySuccession(RelaySuccession {
                    address: "a".to_owned(),
                    old: relay(RELAY),
                    new: relay(RELAY + 1),
                }),
            },
            14..=17 => RecordBody::Rotate(self.rotation(view, |_| true, None)),
            18 => self.rewrap(view)?,
            19 => return self.devices(view, who, author),
            21..=23 => return self.devices(view, author.0, author),
            20 | 24 => return self.join(at, view),
            25 => {
                let role = self.lowered();
                self.removal(at, view, author.0, (self.people[author.0].user, role))?
            }
            26 => RecordBody::RecoverySet(RecoverySet::sign([100 + author.0 as u8; 32], &self.people[author.0].root)),
            27 => self.revoke_invite(view)?,
            28 | 29 => {
                let role = self.dice.pick(&[Role::Admin, Role::Owner, Role::Writer])?;
                self.grant(subject, role)
            }
            30 => RecordBody::OwnerTransfer(subject),
            31 => self.policy(),
            _ => {
                let owners: Vec<UserId> = view.members().filter(|(_, r)| *r == Role::Owner).map(|(u, _)| u).collect();
                let owner = self.dice.pick(&owners)?;
                self.removal(at, view, author.0, (owner, None))?
            }
        };
        Some((author, body))
    }

    fn grant(&mut self, subject: UserId, role: Role) -> RecordBody {
        let expiry = self.dice.one_in(3).then(|| Expiry { expires_ms: 50, relay: relay(RELAY) });
        standing(subject, Some(role), expiry, None)
    }

    /// What a member may be lowered to: mostly nothing.
    fn lowered(&mut self) -> Option<Role> {
        self.dice.pick(&[None, None, Some(Role::Carrier), Some(Role::Writer), Some(Role::Admin)]).flatten()
    }

    /// A removal, or a step down, with pins and the epoch that it needs.
    fn removal(
        &mut self,
        at: usize,
        view: &View,
        author: usize,
        (subject, role): (UserId, Option<Role>),
    ) -> Option<RecordBody> {
        let before = view.role(&subject);
        if before.is_none() && !self.dice.one_in(2) {
            return None;
        }
        let pins = self.dice.below(3) > 0;
        let pins = pins.then(|| self.pins(at, view, |device| device.user == subject));
        let ended: Vec<RecordId> = view
            .invites()
            .filter(|(id, invite)| invite.maker == subject || role.is_none() && self.joined(at, &subject, id))
            .filter(|(_, invite)| role < Some(Role::Admin) || invite.role == Role::Admin && role < Some(Role::Owner))
            .map(|(id, _)| id)
            .collect();
        let keyed = ended.iter().any(|id| view.invite(id).is_some_and(|invite| invite.is_keyed()));
        let (read, reads) = (before.is_some_and(Role::may_read), role.is_some_and(Role::may_read));
        let takes_keys = read && !reads || before.is_some() && role.is_none() || role < before && keyed;
        // Who leaves begins no epoch, but for some who try.
        let departs = subject == self.people[author].user && !reads && !self.dice.one_in(8);
        let rotation = (takes_keys && !departs).then(|| {
            let gone: BTreeSet<[u8; 32]> = view
                .devices()
                .filter(|(_, device)| device.user == subject)
                .map(|(id, _)| *id.as_bytes())
                .chain([*subject.as_bytes()])
                .filter(|_| !reads)
                .chain(ended.iter().map(|id| *id.as_bytes()))
                .collect();
            self.rotation(view, |id| !gone.contains(id), None)
        });
        let RecordBody::Standing(mut body) = standing(subject, role, None, rotation) else { return None };
        body.pins = pins;
        Some(RecordBody::Standing(body))
    }

    fn joined(&self, at: usize, user: &UserId, invite: &RecordId) -> bool {
        self.replicas[at].records.iter().any(|n| match self.history.records[*n].body() {
            RecordBody::Join(join) => join.invite == *invite && join.identity.user() == *user,
            _ => false,
        })
    }

    fn pins(
        &mut self,
        at: usize,
        view: &View,
        of: impl Fn(&tombolo_protocol::membership::DeviceStanding) -> bool,
    ) -> Pins {
        let mut chains: BTreeMap<ChainKey, Pin> = BTreeMap::new();
        for entry in self.replicas[at].entries.iter().map(|n| &self.history.entries[*n]) {
            if view.device(&entry.chain.device).is_some_and(&of) && self.dice.below(8) > 0 {
                let pin = Pin { chain: entry.chain, seq: entry.seq, hash: entry.hash };
                let held = chains.entry(entry.chain).or_insert(pin);
                if held.seq < pin.seq {
                    *held = pin;
                }
            }
        }
        let documents = self.dice.one_in(3).then(|| vec![DocumentTag::from_bytes([self.dice.below(2) as u8; 16])]);
        Pins { documents, chains: chains.into_values().collect() }
    }

    fn rotation(&mut self, view: &View, keeps: impl Fn(&[u8; 32]) -> bool, more: Option<DeviceId>) -> Rotation {
        let mut wraps: Vec<EpochWrap> =
            view.recipients().iter().map(|(id, _)| id).filter(|id| keeps(id)).map(wrap).collect();
        wraps.extend(more.map(|id| wrap(id.as_bytes())));
        wraps.sort_by_key(|wrap| wrap.recipient);
        wraps.dedup_by_key(|wrap| wrap.recipient);
        let previous = view.newest_epochs().map(|epoch| PreviousEpoch { epoch, sealed: [3; 48] }).collect();
        Rotation { epoch: self.fresh_epoch(), previous, wraps }
    }

    fn sweep(&mut self, at: usize, view: &View, author: usize) -> Option<RecordBody> {
        let ending: Vec<UserId> = view.members().map(|(user, _)| user).filter(|u| view.expiry(u).is_some()).collect();
        let subject = self.dice.pick(&ending)?;
        let receipt = Receipt {
            relay: relay(RELAY),
            workspace: self.history.workspace,
            log: LogId::from_bytes([1; 16]),
            position: 1,
            head: [0; 32],
            time_ms: 51 - i64::from(self.dice.one_in(6)),
            acknowledged: [0; 32],
        };
        let RecordBody::Standing(mut body) = self.removal(at, view, author, (subject, None))? else { return None };
        body.proof = Some(Signed::sign(receipt, &SignKey::from_seed(&[RELAY; 32])));
        Some(RecordBody::Standing(body))
    }

    fn invite(&mut self, view: &View) -> Option<RecordBody> {
        let role = self.dice.pick(&[Role::Reader, Role::Writer, Role::Writer, Role::Admin, Role::Carrier])?;
        Some(RecordBody::InviteCreate(Box::new(InviteCreate {
            role,
            expires_ms: [0, 0, 99, 1000][self.dice.below(4)],
            uses: self.dice.below(4) as u32,
            relay: relay(RELAY),
            sign_public: VerifyKey::parse(&SignKey::from_seed(&[200; 32]).public()).unwrap(),
            box_public: [200; 32],
            epoch: view.epoch()?,
            wrap: wrap(&[0; 32]),
        })))
    }

    fn revoke_invite(&mut self, view: &View) -> Option<RecordBody> {
        let invites: Vec<RecordId> = view.invites().map(|(id, _)| id).collect();
        let invite = self.dice.pick(&invites)?;
        let standing = view.invite(&invite)?;
        let rotation = standing.is_keyed().then(|| self.rotation(view, |id| id != invite.as_bytes(), None));
        Some(RecordBody::InviteRevoke(Box::new(InviteRevoke { invite, rotation })))
    }

    fn join(&mut self, at: usize, view: &View) -> Option<((usize, usize), RecordBody)> {
        let invites: Vec<RecordId> =
            view.invites().filter(|(_, invite)| !invite.ended || at == 0).map(|(id, _)| id).collect();
        let invite = self.dice.pick(&invites)?;
        let who = self.dice.below(self.people.len());
        let log = view.identity(&self.people[who].user).unwrap_or(&self.people[who].log).clone();
        let device = self.dice.below(4) / 3;
        let join = Join::sign(invite, log, &SignKey::from_seed(&[200; 32]));
        Some(((who, device), RecordBody::Join(Box::new(join))))
    }

    fn verdict(&mut self) -> RecordBody {
        let all: Vec<EntryHash> = self.history.entries.iter().map(|entry| entry.hash).collect();
        let mut some: Vec<EntryHash> = (0..2).filter_map(|_| self.dice.pick(&all)).collect();
        some.sort_unstable();
        some.dedup();
        if self.dice.one_in(2) { RecordBody::Admit(some) } else { RecordBody::Exclude(some) }
    }

    fn rewrap(&mut self, view: &View) -> Option<RecordBody> {
        let recipients: Vec<[u8; 32]> = view.recipients().iter().map(|(id, _)| *id).collect();
        Some(RecordBody::Rewrap(Rewrap { epoch: view.epoch()?, wraps: vec![wrap(&self.dice.pick(&recipients)?)] }))
    }

    fn policy(&mut self) -> RecordBody {
        let level = |dice: &mut Dice| [0, 0, 1, 2][dice.below(4)];
        let levels = Levels { open: 0, append: 0, invite: level(&mut self.dice), membership: level(&mut self.dice) };
        let recovery = OrganisationRecovery { user: self.people[0].user, box_public: [99; 32] };
        let recovery = self.dice.one_in(2).then_some(recovery);
        RecordBody::Policy(Policy { levels, relays: vec![relay(RELAY)], needs_binding: false, recovery })
    }

    /// What a user says of their devices now: as it was, with one more, or with one less.
    fn devices(&mut self, view: &View, who: usize, author: (usize, usize)) -> Option<((usize, usize), RecordBody)> {
        let person = &self.people[who];
        let log = view.identity(&person.user).unwrap_or(&person.log).clone();
        let own = author.0 == who;
        let signer = person.devices[author.1].1.id();
        let (log, gone, added) = match self.dice.below(6) {
            0 => (self.logs[who].clone(), None, None),
            1 | 2 if own => {
                let k = self.dice.below(DEVICES);
                (self.add(log, who, k, Signer::Device(signer), &person.devices[author.1].0)?, None, Some(k))
            }
            3 if own => {
                let gone = self.dice.below(DEVICES);
                (self.revoke(log, who, gone, Signer::Device(signer), &person.devices[author.1].0)?, Some(gone), None)
            }
            4 => {
                let gone = self.dice.below(DEVICES);
                (self.revoke(log, who, gone, Signer::Root, &person.root)?, Some(gone), None)
            }
            _ => (log, None, None),
        };
        self.logs[who] = self.logs[who].merged(&log);
        let gone: Vec<DeviceId> = gone.iter().map(|k| person.devices[*k].1.id()).collect();
        let active = |id: &DeviceId| view.device(id).is_some_and(|device| device.is_active());
        // A device that gives itself up begins no epoch, but for some that try.
        let departs = gone.contains(&self.people[author.0].devices[author.1].1.id()) && !self.dice.one_in(8);
        let revokes = gone.iter().any(active);
        let rotation = (revokes && !departs).then(|| {
            let gone: Vec<[u8; 32]> = gone.iter().map(|id| *id.as_bytes()).collect();
            self.rotation(view, |id| !gone.contains(id), None)
        });
        let pins = revokes && self.dice.one_in(2);
        let pins = pins.then(|| self.pins(0, view, |device| gone.contains(&device.keys.id())));
        // A new device may bring itself.
        let author = match added {
            Some(k) if self.dice.one_in(3) => (who, k),
            _ => author,
        };
        Some((author, devices(&log, pins, rotation)))
    }

    fn add(&self, mut log: IdentityLog, who: usize, k: usize, signer: Signer, key: &SignKey) -> Option<IdentityLog> {
        let (sign, keys) = &self.people[who].devices[k];
        let draft = draft(&log, IdentityAct::Add { keys: *keys, platform: 1 }, signer);
        let (signature, counter) = (draft.sign(key), draft.counter_sign(sign));
        log.records.push(draft.complete(signature, Some(counter)));
        (log.records.len() < 12).then_some(log)
    }

    fn revoke(&self, mut log: IdentityLog, who: usize, k: usize, signer: Signer, key: &SignKey) -> Option<IdentityLog> {
        let draft = draft(&log, IdentityAct::Revoke(self.people[who].devices[k].1.id()), signer);
        let signature = draft.sign(key);
        log.records.push(draft.complete(signature, None));
        (log.records.len() < 12).then_some(log)
    }

    /// What a cheat makes of an honest body.
    fn spoil(&mut self, body: RecordBody) -> RecordBody {
        let outsider = wrap(&[0xee; 32]);
        let change = |rotation: &mut Rotation, way: usize| match way {
            0 => rotation.wraps.push(outsider.clone()),
            1 => drop(rotation.wraps.pop()),
            2 => rotation.previous.clear(),
            _ => rotation.epoch = EpochId::from_bytes([0; 32]),
        };
        let way = self.dice.below(5);
        match body {
            RecordBody::Standing(mut standing) => {
                match &mut standing.rotation {
                    Some(rotation) if way < 4 => change(rotation, way),
                    _ => standing.rotation = None,
                }
                RecordBody::Standing(standing)
            }
            RecordBody::Devices(mut devices) => {
                match &mut devices.rotation {
                    Some(rotation) if way < 4 => change(rotation, way),
                    _ => devices.rotation = None,
                }
                RecordBody::Devices(devices)
            }
            RecordBody::Rotate(mut rotation) => {
                change(&mut rotation, way);
                RecordBody::Rotate(rotation)
            }
            RecordBody::Rewrap(mut rewrap) => {
                rewrap.wraps = vec![outsider];
                RecordBody::Rewrap(rewrap)
            }
            other => other,
        }
    }
}

/// Stands on all of a log.
fn draft(log: &IdentityLog, act: IdentityAct, signer: Signer) -> IdentityDraft {
    let mut heads: BTreeSet<_> = log.records.iter().map(IdentityRecord::id).collect();
    for parent in log.records.iter().flat_map(IdentityRecord::parents) {
        heads.remove(parent);
    }
    IdentityDraft::new(log.user(), &heads.into_iter().collect::<Vec<_>>(), act, signer)
}

fn standing(subject: UserId, role: Option<Role>, expiry: Option<Expiry>, rotation: Option<Rotation>) -> RecordBody {
    RecordBody::Standing(Box::new(Standing { subject, role, expiry, proof: None, pins: None, rotation }))
}

fn devices(log: &IdentityLog, pins: Option<Pins>, rotation: Option<Rotation>) -> RecordBody {
    RecordBody::Devices(Box::new(Devices { identity: log.clone().into(), pins, rotation }))
}

fn wrap(recipient: &[u8; 32]) -> EpochWrap {
    EpochWrap { recipient: *recipient, encapsulated: [1; 32], sealed: [2; 80] }
}

pub fn relay(seed: u8) -> RelayId {
    use std::sync::OnceLock;
    static RELAYS: OnceLock<[RelayId; 2]> = OnceLock::new();
    let of = |seed: u8| RelayId::from_bytes(SignKey::from_seed(&[seed; 32]).public());
    RELAYS.get_or_init(|| [of(RELAY), of(RELAY + 1)])[usize::from(seed - RELAY)]
}
