//! What a set of records means, by definition: slow, obvious, and written from the specification alone.
//!
//! Everything is worked out anew from the whole set of records: ancestors are bit masks, the meaning of a
//! set is found by looking at every pair, nothing is kept from one question to the next but answers.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

#[path = "admission.rs"]
pub mod admission;
#[path = "devices.rs"]
pub mod devices;
#[path = "graph.rs"]
pub mod graph;
#[path = "judge.rs"]
pub mod judge;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use devices::Statements;
use graph::{Deed, Set, has, members, voids};
use tombolo_protocol::hash::hash;
use tombolo_protocol::ids::{DeviceId, DocumentTag, EntryHash, EpochId, RecordId, RelayId, UserId, WorkspaceId};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{Expiry, InviteCreate, Policy, Record, RecordBody, Role};

/// Whom or what a removal is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    User(UserId),
    Device(DeviceId),
    Invite(RecordId),
}

/// What the judgement of a valid record found.
#[derive(Clone, Debug)]
pub struct Word {
    pub user: UserId,
    pub rank: u8,
    pub needs: u8,
    pub rests: Vec<usize>,
    pub hits: Vec<(Who, Option<Role>)>,
    /// Standings that it gives.
    pub gives: Vec<(UserId, Option<Role>, Option<Expiry>)>,
    pub adds_pins_to: Option<UserId>,
    pub was_owner: bool,
    /// Whether it takes the keys from its own author.
    pub departs: bool,
    pub nth: u32,
}

#[derive(Clone, Debug)]
pub enum Fate {
    Valid(Word),
    Refused,
    AwaitsAttestation,
    AwaitsParents,
}

#[derive(Clone, Debug)]
pub struct Invite {
    pub maker: UserId,
    pub create: InviteCreate,
    pub ended: bool,
    pub used: u32,
}

impl Invite {
    pub fn is_open(&self) -> bool {
        !self.ended && (self.create.uses == 0 || self.used < self.create.uses)
    }

    pub fn is_keyed(&self) -> bool {
        self.create.uses == 1 && self.is_open() && self.create.role >= Role::Reader
    }
}

/// What holds in one set of records.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub set: Set,
    pub void: Set,
    pub forced: Set,
    pub roles: BTreeMap<UserId, Role>,
    pub expiries: BTreeMap<UserId, Expiry>,
    pub deciding: BTreeMap<UserId, usize>,
    pub logs: BTreeMap<UserId, Statements>,
    /// Whose, whether certified, whether active.
    pub devices: BTreeMap<DeviceId, (UserId, bool, bool)>,
    pub invites: BTreeMap<RecordId, Invite>,
    pub joined: BTreeSet<(UserId, RecordId)>,
    pub successions: BTreeSet<(RelayId, RelayId)>,
    pub epochs: BTreeSet<EpochId>,
    pub epoch: Option<EpochId>,
    pub to_follow: BTreeSet<EpochId>,
    /// Whether somebody who knows the last epoch has left, and none was begun since.
    pub is_left: bool,
    pub policy: Option<Policy>,
    pub recovery: BTreeMap<UserId, [u8; 32]>,
    pub verdicts: BTreeMap<EntryHash, bool>,
    pub purged: BTreeSet<DocumentTag>,
    pub recipients: BTreeSet<[u8; 32]>,
}

impl View {
    pub fn role(&self, user: &UserId) -> Option<Role> {
        self.roles.get(user).copied()
    }

    pub fn owners(&self) -> usize {
        self.roles.values().filter(|role| **role == Role::Owner).count()
    }

    pub fn needs_healing(&self) -> bool {
        self.is_left || self.epoch.is_none() && !self.to_follow.is_empty()
    }
}

pub struct Model {
    pub workspace: WorkspaceId,
    /// In topological order.
    pub records: Vec<Record>,
    pub at: BTreeMap<RecordId, usize>,
    pub anc: Vec<Set>,
    pub words: BTreeMap<(RecordId, RelayId), Attestation>,
    pub fates: Vec<Fate>,
    views: RefCell<BTreeMap<Set, Rc<View>>>,
}

impl Model {
    pub fn new(records: &[Record], attestations: &[Signed<Attestation>]) -> Self {
        let mut ordered: Vec<Record> = records.to_vec();
        ordered.sort_by_key(|record| (record.generation(), record.id()));
        ordered.dedup_by_key(|record| record.id());
        assert!(ordered.len() <= 128, "a bit mask holds 128 records");
        let genesis = ordered.iter().find(|record| matches!(record.body(), RecordBody::Genesis(_)));
        let mut model = Self {
            workspace: genesis.map_or(WorkspaceId::from_bytes([0; 32]), Record::workspace),
            at: ordered.iter().enumerate().map(|(at, record)| (record.id(), at)).collect(),
            anc: vec![0; ordered.len()],
            words: BTreeMap::new(),
            fates: Vec::new(),
            views: RefCell::default(),
            records: ordered,
        };
        for said in attestations {
            model.hear(said);
        }
        for at in 0..model.records.len() {
            model.anc[at] = model.parents(at).iter().flatten().fold(0, |set, up| set | model.anc[*up] | 1 << *up);
            let fate = model.settle(at);
            model.fates.push(fate);
            if let Some(fate) = model.second_look(at) {
                model.fates[at] = fate;
            }
        }
        model
    }

    /// Of each relay and record the best word counts: the highest level, then the earliest.
    fn hear(&mut self, said: &Signed<Attestation>) {
        let Ok(said) = said.verify() else { return };
        let rank = |said: &Attestation| (u8::MAX - said.level, said.time_ms, said.nth);
        let held = self.words.entry((said.subject, said.relay)).or_insert_with(|| said.clone());
        if rank(said) < rank(held) {
            *held = said.clone();
        }
    }

    /// The parents' places; `None` for one that is not here.
    fn parents(&self, at: usize) -> Vec<Option<usize>> {
        self.records[at].parents().iter().map(|id| self.at.get(id).copied()).collect()
    }

    fn settle(&self, at: usize) -> Fate {
        let mut refused = false;
        for parent in self.parents(at) {
            match parent.map(|parent| &self.fates[parent]) {
                None | Some(Fate::AwaitsAttestation | Fate::AwaitsParents) => return Fate::AwaitsParents,
                Some(Fate::Refused) => refused = true,
                Some(Fate::Valid(_)) => {}
            }
        }
        let deepest = self.parents(at).iter().flatten().map(|up| self.records[*up].generation() + 1).max();
        if refused || self.records[at].generation() != deepest.unwrap_or(0) {
            return Fate::Refused;
        }
        self.judge(at)
    }

    pub fn word(&self, at: usize) -> &Word {
        match &self.fates[at] {
            Fate::Valid(word) => word,
            other => panic!("only valid records are looked at: {other:?}"),
        }
    }

    pub fn valid(&self) -> Set {
        (0..self.records.len()).filter(|at| matches!(self.fates[*at], Fate::Valid(_))).fold(0, |set, at| set | 1 << at)
    }

    pub fn heads(&self) -> BTreeSet<RecordId> {
        let valid = self.valid();
        let head = |at: &usize| !members(valid).any(|other| has(self.anc[other], *at));
        members(valid).filter(head).map(|at| self.records[at].id()).collect()
    }

    pub fn apart(&self, a: usize, b: usize) -> bool {
        a != b && !has(self.anc[a], b) && !has(self.anc[b], a)
    }

    pub fn below_and(&self, at: usize) -> Set {
        self.anc[at] | 1 << at
    }

    /// The meaning of all valid records.
    pub fn view(&self) -> Rc<View> {
        self.eval(self.valid())
    }

    pub fn view_at(&self, at: usize) -> Rc<View> {
        self.eval(self.below_and(at))
    }

    /// The meaning of a downward-closed set of valid records.
    pub fn eval(&self, set: Set) -> Rc<View> {
        if let Some(known) = self.views.borrow().get(&set) {
            return known.clone();
        }
        let view = Rc::new(self.eval_anew(set));
        self.views.borrow_mut().insert(set, view.clone());
        view
    }

    fn eval_anew(&self, set: Set) -> View {
        if set == 0 {
            return View::default();
        }
        // What an owner has built on stays decided: forced out of what counts before, it stays so.
        let owned = members(set).filter(|at| self.word(*at).rank >= 4 * Role::Owner as u8);
        let settled = owned.fold(0, |forced, at| forced | self.eval(self.anc[at]).forced);
        let mut forced = settled;
        loop {
            let view = self.effects(set, self.voids(set, forced), forced);
            let counting = set & !view.void;
            let clashing = members(counting).filter(|at| self.clashes(*at, counting) || self.follows(*at, forced));
            let mut more = clashing.fold(forced, |set, at| set | 1 << at);
            if more == forced {
                let beside = members(counting).filter(|at| members(set).any(|other| self.apart(*at, other)));
                let beside = beside.fold(0, |set, at| set | 1 << at);
                let losing = members(beside).filter(|at| self.takes_ownership(*at) || self.undoes_any(*at, beside));
                more = losing.fold(forced, |set, at| set | 1 << at);
            }
            if view.owners() > 0 || more == forced {
                return view;
            }
            forced = more;
        }
    }

    /// Whether it takes ownership from somebody, beside another that does, or touches somebody whom another
    /// record makes owner beside it.
    fn clashes(&self, at: usize, counting: Set) -> bool {
        members(counting).filter(|other| self.apart(at, *other)).any(|other| {
            let hands_over = matches!(self.records[at].body(), RecordBody::OwnerTransfer(_));
            let both_lose = self.takes_ownership(at) && self.takes_ownership(other);
            both_lose || self.undoes(at, other) || hands_over && self.undoes(other, at)
        })
    }

    /// Whether it lowers somebody further whom a record lowered that is forced out now, and counted then.
    fn follows(&self, at: usize, forced: Set) -> bool {
        let then = self.eval(self.anc[at]);
        let lowers = |user: &UserId| {
            let act = self.word(at).gives.iter().find(|(other, ..)| other == user);
            act.is_some_and(|(_, role, _)| *role < Some(Role::Owner))
        };
        members(forced & then.set & !then.void).any(|up| self.word(up).gives.iter().any(|(user, ..)| lowers(user)))
            && !matches!(self.records[at].body(), RecordBody::Join(_))
    }

    fn takes_ownership(&self, at: usize) -> bool {
        self.word(at).was_owner || matches!(self.records[at].body(), RecordBody::OwnerTransfer(_))
    }

    fn undoes_any(&self, at: usize, counting: Set) -> bool {
        members(counting).any(|other| self.undoes(at, other))
    }

    /// Whether one gives somebody less than the owner's role that another gives.
    fn undoes(&self, one: usize, other: usize) -> bool {
        let less = |(user, role, _): &&(UserId, Option<Role>, _)| {
            let makes = &self.word(other).gives;
            *role < Some(Role::Owner) && makes.iter().any(|(made, role, _)| made == user && *role == Some(Role::Owner))
        };
        !matches!(self.records[one].body(), RecordBody::Join(_)) && self.word(one).gives.iter().find(less).is_some()
    }

    fn voids(&self, set: Set, forced: Set) -> Set {
        let deed = |at: usize| {
            let (word, record) = (self.word(at), &self.records[at]);
            let mut by = vec![Who::User(word.user), Who::Device(record.author())];
            if let RecordBody::Join(join) = record.body() {
                by.push(Who::Invite(join.invite));
            }
            let hits = word.hits.iter().map(|(who, floor)| (*who, floor.map_or(0, |role| role as u8))).collect();
            Deed { at, rank: word.rank, by, needs: word.needs, hits, rests: word.rests.clone() }
        };
        voids(&members(set).map(deed).collect::<Vec<_>>(), &self.anc, forced)
    }

    /// Of some places those that no other of them descends from.
    fn maximal(&self, places: &[usize]) -> Vec<usize> {
        let top = |at: &&usize| !places.iter().any(|other| has(self.anc[*other], **at));
        places.iter().filter(top).copied().collect()
    }

    /// The effects of all but the void.
    pub fn effects(&self, set: Set, void: Set, forced: Set) -> View {
        let counting = set & !void;
        let mut view = View { set, void, forced, ..View::default() };
        self.standings(&mut view, counting);
        self.learn_devices(&mut view);
        self.learn_invites(&mut view, counting);
        self.epochs(&mut view);
        self.settlements(&mut view, counting);
        self.verdicts(&mut view, counting);
        self.recipients(&mut view);
        view
    }

    fn standings(&self, view: &mut View, counting: Set) {
        let given = |at: usize| self.word(at).gives.iter().map(move |(user, ..)| *user);
        let users: BTreeSet<UserId> = members(counting).flat_map(given).collect();
        for user in users {
            let acts: Vec<usize> = members(counting).filter(|at| given(*at).any(|other| other == user)).collect();
            let act = |at: usize| *self.word(at).gives.iter().find(|(other, ..)| *other == user).unwrap();
            let top = self.maximal(&acts);
            let better = |at: &usize| {
                let role = act(*at).1;
                (role.is_some(), u8::MAX - self.word(*at).rank, role, self.records[*at].id())
            };
            let decides = top.into_iter().min_by_key(better).unwrap();
            view.deciding.insert(user, decides);
            if let Some(role) = act(decides).1 {
                view.roles.insert(user, role);
                act(decides).2.map(|expiry| view.expiries.insert(user, expiry));
            }
        }
    }

    fn learn_devices(&self, view: &mut View) {
        for at in members(view.set) {
            let log = match self.records[at].body() {
                RecordBody::Genesis(genesis) => {
                    view.devices.insert(genesis.device.id(), (self.word(at).user, false, false));
                    continue;
                }
                RecordBody::Devices(devices) => &devices.identity,
                RecordBody::Join(join) if !has(view.void, at) => &join.identity,
                _ => continue,
            };
            view.logs.entry(log.user()).or_default().extend(devices::statements(log));
        }
        for (user, all) in view.logs.iter().rev() {
            let meaning = devices::meaning(all);
            for device in &meaning.known {
                view.devices.insert(*device, (*user, true, meaning.active.contains(device)));
            }
        }
    }

    fn learn_invites(&self, view: &mut View, counting: Set) {
        for at in members(counting) {
            match self.records[at].body() {
                RecordBody::InviteCreate(create) => {
                    let (maker, create) = (self.word(at).user, create.as_ref().clone());
                    view.invites.insert(self.records[at].id(), Invite { maker, create, ended: false, used: 0 });
                }
                RecordBody::Join(join) => {
                    view.joined.insert((self.word(at).user, join.invite));
                    let invite = view.invites.get_mut(&join.invite).unwrap();
                    invite.used = invite.used.max(self.word(at).nth);
                }
                _ => {}
            }
            for (who, _) in &self.word(at).hits {
                // The invite itself may not count.
                if let Who::Invite(invite) = who
                    && let Some(invite) = view.invites.get_mut(invite)
                {
                    invite.ended = true;
                }
            }
        }
    }

    fn epochs(&self, view: &mut View) {
        let rotations: Vec<usize> =
            members(view.set).filter(|at| self.records[*at].body().rotation().is_some()).collect();
        let epoch = |at: usize| self.records[at].body().rotation().unwrap().epoch;
        view.epochs = rotations.iter().map(|at| epoch(*at)).collect();
        let counting: Vec<usize> = rotations.into_iter().filter(|at| !has(view.void, *at)).collect();
        let mut departures = members(view.set & !view.void).filter(|at| self.word(*at).departs);
        view.is_left = departures.any(|left| !counting.iter().any(|rotation| self.heals(*rotation, left)));
        let newest = self.maximal(&counting);
        // What took keys from somebody, as far as an epoch has begun in it or behind it.
        let shuts_out = |at: &usize| {
            self.word(*at).departs || !self.word(*at).hits.is_empty() && self.records[*at].body().rotation().is_some()
        };
        let known = |at: usize| -> BTreeSet<usize> {
            members(view.set & !view.void).filter(|r| *r == at || has(self.anc[at], *r)).filter(shuts_out).collect()
        };
        let removals: BTreeSet<usize> = newest.iter().flat_map(|at| known(*at)).collect();
        let whole: Vec<usize> = newest.iter().copied().filter(|at| known(*at) == removals).collect();
        view.epoch = whole.iter().min_by_key(|at| self.records[**at].id()).map(|at| epoch(*at));
        if view.epoch.is_none() {
            let leads = |at: &usize| newest.iter().any(|other| !known(*at).is_subset(&known(*other)));
            view.to_follow = newest.iter().copied().filter(leads).map(epoch).collect();
        }
        view.to_follow.extend(view.epoch);
        if view.is_left {
            view.epoch = None;
        }
    }

    /// Whether one begins an epoch behind another.
    pub fn heals(&self, rotation: usize, left: usize) -> bool {
        has(self.anc[rotation], left) && self.records[rotation].body().rotation().is_some()
    }

    fn settlements(&self, view: &mut View, counting: Set) {
        let policies: Vec<usize> =
            members(counting).filter(|at| matches!(self.records[*at].body(), RecordBody::Policy(_))).collect();
        let best = self.maximal(&policies).into_iter().max_by_key(|at| (self.word(*at).rank, self.records[*at].id()));
        if let Some(RecordBody::Policy(policy)) = best.map(|at| self.records[at].body()) {
            view.policy = Some(policy.clone());
        }
        let mut kits: BTreeMap<UserId, Vec<usize>> = BTreeMap::new();
        for at in members(counting) {
            match self.records[at].body() {
                RecordBody::RecoverySet(_) => kits.entry(self.word(at).user).or_default().push(at),
                RecordBody::RelaySuccession(next) => drop(view.successions.insert((next.old, next.new))),
                RecordBody::Purge(document) => drop(view.purged.insert(*document)),
                _ => {}
            }
        }
        for (user, kits) in kits {
            let lowest = self.maximal(&kits).into_iter().min_by_key(|at| self.records[*at].id()).unwrap();
            if let RecordBody::RecoverySet(kit) = self.records[lowest].body() {
                view.recovery.insert(user, kit.box_public);
            }
        }
    }

    fn verdicts(&self, view: &mut View, counting: Set) {
        let mut said: BTreeMap<EntryHash, Vec<usize>> = BTreeMap::new();
        for at in members(counting) {
            if let RecordBody::Admit(entries) | RecordBody::Exclude(entries) = self.records[at].body() {
                entries.iter().for_each(|entry| said.entry(*entry).or_default().push(at));
            }
        }
        for (entry, acts) in said {
            let admits = |at: usize| matches!(self.records[at].body(), RecordBody::Admit(_));
            view.verdicts.insert(entry, self.maximal(&acts).into_iter().all(admits));
        }
    }

    fn recipients(&self, view: &mut View) {
        let reads = |user: &UserId| view.role(user) >= Some(Role::Reader);
        let mut all: BTreeSet<[u8; 32]> = BTreeSet::new();
        let devices = view.devices.iter().filter(|(_, (user, _, active))| *active && reads(user));
        all.extend(devices.map(|(device, _)| *device.as_bytes()));
        all.extend(view.recovery.keys().filter(|user| reads(user)).map(|user| *user.as_bytes()));
        if let Some(kit) = view.policy.as_ref().and_then(|policy| policy.recovery.as_ref()) {
            all.insert(hash("organisation-recovery", &[kit.user.as_bytes(), &kit.box_public]));
        }
        let invites = view.invites.iter().filter(|(_, invite)| invite.is_keyed());
        all.extend(invites.map(|(id, _)| *id.as_bytes()));
        view.recipients = all;
    }
}
