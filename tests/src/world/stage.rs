//! The team itself: its devices, users, relays and documents, and how they come together.
//!
//! Invariant: the first actor founds the workspace, owns it, and is spared everything that loses a store.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo::document::Crdt;
use tombolo::engine::Event;
use tombolo::protocol::ids::{DeviceId, DocumentId, EntryHash};
use tombolo::protocol::record::Role;
use tombolo::{LinkWay, SetAsideReason};
use tombolo_testkit::mishap::Mishaps;

use super::census::Census;
use super::fault::Fault;
use super::ledger::Ledger;
use super::script::{Recipe, Scenario, Script};
use crate::chance::Chance;
use crate::net::Net;
use crate::replica::Replica;
use crate::rogue::Rogue;
use crate::station::RelayNode;

/// What stands in every word, and must stand nowhere else.
pub(super) const NEEDLE: &str = "reef7b1f";

/// From how many entries on a document is published, where devices publish.
const PUBLISHED_FROM: usize = 6;
/// How long relays keep what a snapshot stands for, where devices publish.
const PRUNED_AFTER: Duration = Duration::from_secs(20);
/// How long some devices keep it, where devices publish.
const COMPACTED_AFTER: Duration = Duration::from_secs(10);

/// How an actor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A device of a member.
    Member,
    /// It has an invite, or waits to be linked.
    Guest,
    /// Its user was removed.
    Removed,
    /// Its user gave it up.
    Revoked,
    /// It is gone for good.
    Gone,
}

/// One device of the team.
pub(super) struct Actor {
    pub(super) replica: Replica,
    /// As it was when it was last looked at: a device that is linked becomes another.
    pub(super) device: DeviceId,
    pub(super) user: usize,
    pub(super) standing: Standing,
    /// Which actor linked it.
    pub(super) linker: Option<usize>,
    /// How many of its events were looked at.
    pub(super) heard: usize,
    /// Edits that wait for a relay's receipt, by the number of the wait, in this life.
    pub(super) waits: BTreeMap<u64, Vec<String>>,
    /// Waits for somebody else to have seen an edit: its words, and who.
    pub(super) sights: BTreeMap<u64, (Vec<String>, usize)>,
}

/// One person.
pub(super) struct User {
    pub(super) role: Role,
    /// Whether the role changed: what was written since may never count.
    pub(super) troubled: bool,
}

/// A member who means harm.
pub(super) struct Harm {
    pub(super) rogue: Rogue,
}

/// The world of one history.
pub(super) struct World {
    pub(super) net: Net,
    pub(super) chance: Chance,
    pub(super) actors: Vec<Actor>,
    pub(super) users: Vec<User>,
    pub(super) relays: Vec<RelayNode>,
    pub(super) documents: Vec<DocumentId>,
    pub(super) ledger: Ledger,
    pub(super) census: Census,
    pub(super) harm: Option<Harm>,
    /// The one actor whose store may be lost or put back.
    pub(super) unlucky: usize,
    pub(super) mishaps: Mishaps,
    pub(super) backed_up: bool,
    /// Whether something was pending in the copy of its store.
    pub(super) pending_in_copy: bool,
    /// Whether relays keep what they were given in this history.
    pub(super) relays_keep: bool,
    /// Whether relays, and some devices, delete what a snapshot stands for.
    pub(super) deletes: bool,
    /// Whether devices ask for some documents only.
    pub(super) asks: bool,
    pub(super) words: u64,
    /// Words that devices were told others have, and who.
    pub(super) claims: Vec<(Vec<String>, usize)>,
    /// What was decided, for a person.
    pub(super) told: Vec<String>,
    /// Entries that the rogue made, and why they must be set aside, where that is certain.
    pub(super) planted: Vec<(EntryHash, Option<SetAsideReason>)>,
    /// When a relay last lost or restarted something.
    pub(super) moved_at: Duration,
    /// How many devices were there in the beginning.
    pub(super) cast: usize,
    on_disk: bool,
}

impl World {
    /// Brings a team together: nothing goes wrong yet.
    pub(super) fn set(recipe: &Recipe, script: &Script) -> Self {
        let mut net = Net::seeded(recipe.seed);
        if recipe.scenario == Scenario::Snapshots {
            net.publish_all(PUBLISHED_FROM);
            net.compact_some(COMPACTED_AFTER);
        }
        net.watch();
        net.hide(NEEDLE.as_bytes());
        let mut relays = vec![RelayNode::FIRST];
        relays.extend((1..script.relays).map(|_| net.add_relay()));
        if recipe.scenario == Scenario::Snapshots {
            relays.iter().for_each(|relay| net.prune_after(*relay, PRUNED_AFTER));
        }
        let chance = Chance::new(recipe.seed, "world");
        let losses = [Fault::RelayWipe, Fault::LogLost, Fault::RelayRollback];
        let mut world = Self {
            net,
            chance,
            actors: Vec::new(),
            users: Vec::new(),
            relays,
            documents: Vec::new(),
            ledger: Ledger::default(),
            census: Census::default(),
            harm: None,
            unlucky: script.devices - 1,
            mishaps: Mishaps::default(),
            backed_up: false,
            pending_in_copy: false,
            deletes: recipe.scenario == Scenario::Snapshots,
            asks: recipe.scenario == Scenario::Partial,
            relays_keep: !losses.into_iter().any(|fault| script.has(fault)),
            words: 0,
            claims: Vec::new(),
            told: Vec::new(),
            planted: Vec::new(),
            moved_at: Duration::ZERO,
            cast: script.devices,
            on_disk: script.has(Fault::PowerCut) || script.has(Fault::DiskError),
        };
        world.assemble(script);
        world
    }

    fn assemble(&mut self, script: &Script) {
        self.users.push(User { role: Role::Owner, troubled: false });
        let founder = self.enter(0, Standing::Member);
        let founder = self.actors[founder].replica;
        self.net.dial_relay(founder, RelayNode::FIRST);
        let made = self.net.act(founder, |engine, now, tx| engine.create_workspace(now, "Field notes reef7b1f", tx));
        self.net.share(made.expect("a workspace is founded").expect("the founder lives"));
        let first = self.chance.index(2);
        for nth in 0..script.documents {
            let crdt = if (first + nth).is_multiple_of(2) { Crdt::Automerge } else { Crdt::Yrs };
            let id = founder.create(&mut self.net, crdt);
            let tally = self
                .net
                .act(founder, |engine, now, tx| engine.edit(now, &id, |edit| edit.counter("tally")?.increment(0), tx));
            tally.expect("the edit is taken");
            self.documents.push(id);
        }
        self.net.run_until_quiet();
        for nth in 1..script.devices {
            self.admit(nth);
        }
        if [Fault::Poison, Fault::OldEpoch, Fault::Fork].into_iter().any(|fault| script.has(fault)) {
            self.admit_harm();
        }
        for actor in 0..self.actors.len() {
            for relay in self.relays.clone().into_iter().skip(1) {
                self.net.dial_relay(self.actors[actor].replica, relay);
            }
        }
        self.net.run_until_quiet();
        self.hear();
        // The founder has the keys that all were given: from here on they are looked for in every frame.
        self.hide_kept_by(0);
        self.net.back_up_relay(RelayNode::FIRST);
    }

    /// Lets one more device in: of a user who is here, or of a new one.
    fn admit(&mut self, nth: usize) {
        if nth > 1 && self.chance.one_in(3) {
            let old = self.chance.index(self.actors.len());
            let user = self.actors[old].user;
            let new = self.enter(user, Standing::Member);
            let (old, new) = (self.actors[old].replica, self.actors[new].replica);
            let way = if self.chance.one_in(2) { LinkWay::Scan } else { LinkWay::Code };
            self.net.link(old, new, way);
            return;
        }
        let role = [Role::Writer, Role::Writer, Role::Admin, Role::Writer][self.chance.index(4)];
        self.users.push(User { role, troubled: false });
        let guest = self.enter(self.users.len() - 1, Standing::Member);
        let (host, guest) = (self.actors[0].replica, self.actors[guest].replica);
        self.net.join(host, guest, role);
    }

    fn admit_harm(&mut self) {
        let replica = self.net.device("mallory");
        let host = self.actors[0].replica;
        let link = host.invite(&mut self.net, Role::Writer);
        let again = link.to_string().parse().expect("a link reads what it wrote");
        replica.take_invite(&mut self.net, link);
        self.net.run_until_quiet();
        let rogue = Rogue::of(&self.net, replica, &again);
        replica.kill(&mut self.net);
        self.harm = Some(Harm { rogue });
    }

    /// Adds a device with an empty store.
    pub(super) fn enter(&mut self, user: usize, standing: Standing) -> usize {
        let name = format!("d{}", self.actors.len());
        let replica = if self.on_disk { self.net.device_on_disk(&name) } else { self.net.device(&name) };
        self.add_actor(replica, user, standing)
    }

    pub(super) fn add_actor(&mut self, replica: Replica, user: usize, standing: Standing) -> usize {
        let (waits, sights) = (BTreeMap::new(), BTreeMap::new());
        let device = replica.secrets(&self.net).id();
        self.actors.push(Actor { replica, device, user, standing, linker: None, heard: 0, waits, sights });
        self.hide_beginner(replica);
        self.actors.len() - 1
    }

    /// Tells whether a device has become another user's, with keys that it did not begin with.
    pub(super) fn was_linked(&self, actor: usize) -> bool {
        let actor = &self.actors[actor];
        actor.device != actor.replica.secrets(&self.net).id()
    }

    /// Returns the actors that stand so.
    pub(super) fn those(&self, standing: Standing) -> Vec<usize> {
        (0..self.actors.len()).filter(|actor| self.actors[*actor].standing == standing).collect()
    }

    pub(super) fn is_up(&self, actor: usize) -> bool {
        self.actors[actor].replica.is_up(&self.net)
    }

    /// Returns the members' devices that are up.
    pub(super) fn present(&self) -> Vec<usize> {
        self.those(Standing::Member).into_iter().filter(|actor| self.is_up(*actor)).collect()
    }

    /// Picks one of a list; `None` of an empty one.
    pub(super) fn pick<T: Copy>(list: &[T], by: u64) -> Option<T> {
        let at = usize::try_from(by % (list.len() as u64).max(1)).unwrap_or(0);
        list.get(at).copied()
    }

    /// Tells whether a user's words must come through.
    pub(super) fn is_trusted(&self, actor: usize) -> bool {
        let actor = &self.actors[actor];
        let user = &self.users[actor.user];
        actor.standing == Standing::Member && !user.troubled && user.role >= Role::Writer
    }

    /// Looks at what devices have told their apps since the last time, and who they are now.
    pub(super) fn hear(&mut self) {
        for number in 0..self.actors.len() {
            let actor = &mut self.actors[number];
            let before = actor.device;
            if actor.replica.is_up(&self.net) {
                actor.device = actor.replica.ids(&self.net).0;
            }
            if actor.device != before {
                self.hide_kept_by(number);
            }
            let actor = &mut self.actors[number];
            let events: Vec<Event> = actor.replica.events(&self.net).iter().skip(actor.heard).cloned().collect();
            actor.heard += events.len();
            for event in events {
                self.census.take_event(&event);
                self.take_event(number, &event);
            }
        }
    }

    fn take_event(&mut self, number: usize, event: &Event) {
        let actor = &mut self.actors[number];
        match event {
            Event::Reached(wait) => {
                if let Some(words) = actor.waits.remove(wait) {
                    self.ledger.reached_relay(&words);
                    self.census.saw("a word was acknowledged by a relay");
                }
                if let Some(claim) = actor.sights.remove(wait) {
                    self.census.saw("a device was told that another has its word");
                    self.claims.push(claim);
                }
            }
            Event::Joined { .. } | Event::Linked { .. } if actor.standing == Standing::Guest => {
                actor.standing = Standing::Member;
                self.census.saw("a guest became a member");
            }
            _ => {}
        }
    }
}
