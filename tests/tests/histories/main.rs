//! Random histories of members and of what they write: grants, removals, changes of roles, new keys and offline
//! work of five replicas at two relays, delivered in any order, with cuts and crashes.
//!
//! When all is quiet, everybody who is a member by then says the same of the members, keeps the same entries aside
//! for the same reasons and holds the same documents, both relays have the same members and the same epoch; and all
//! of that is what the slow model says (`opinion.rs`).
//!
//! `TOMBOLO_HISTORIES=n` plays n histories, from `TOMBOLO_SEED_FROM` on; `TOMBOLO_SEED=n` plays that one alone.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that can not go on fails, and says what it has seen"
)]

mod opinion;

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo::document::Value;
use tombolo::protocol::ids::{DocumentId, EntryHash, UserId};
use tombolo::protocol::record::Role;
use tombolo::{DebtReason, Error, MembershipAct, SetAsideReason};
use tombolo_tests::{Chance, Net, RelayNode, Replica};

use opinion::Opinion;

/// Histories of an ordinary test run.
const HISTORIES: u64 = 40;
/// Steps of one history.
const STEPS: u32 = 24;
/// Simulated time in which everything comes to everybody: what nobody else sends on is sent on within a minute.
const SETTLES: Duration = Duration::from_secs(180);
/// Simulated time in which who was turned away asks again: some were taken in again.
const ASKS_AGAIN: Duration = Duration::from_secs(20 * 60);
const ROLES: [Role; 5] = [Role::Admin, Role::Writer, Role::Commenter, Role::Reader, Role::Carrier];

/// What must have happened somewhere in so many histories, or they prove little.
#[derive(Default)]
struct Census {
    stated: u64,
    removed: u64,
    regranted: u64,
    clashed: u64,
    beyond: u64,
    carried: u64,
    kept: u64,
    gone: u64,
}

struct World {
    net: Net,
    chance: Chance,
    all: [Replica; 5],
    users: [UserId; 5],
    relays: [RelayNode; 2],
}

impl World {
    fn seeded(seed: u64) -> Self {
        let mut net = Net::seeded(seed);
        let all = net.replicas(["alice", "ben", "cleo", "dora", "emil"]);
        let second = net.add_relay();
        all.iter().for_each(|replica| net.dial_relay(*replica, second));
        net.run_until_quiet();
        let users = all.map(|replica| replica.ids(&net).1);
        let chance = Chance::new(seed, "members");
        let mut world = Self { net, chance, all, users, relays: [RelayNode::FIRST, second] };
        world.state(0, MembershipAct::SetRole { user: users[1], role: Role::Admin, expires_ms: None });
        world.net.run_until_quiet();
        world
    }

    /// Lets somebody state something; tells whether it was stated or is intended.
    fn state(&mut self, who: usize, act: MembershipAct) -> bool {
        let workspace = self.net.workspace();
        // Whoever may not is told so.
        let stated = self.net.act(self.all[who], move |engine, now, tx| engine.act(now, &workspace, act, tx));
        matches!(stated, Ok(Some(_)))
    }

    fn step(&mut self, nth: u32, census: &mut Census) {
        let (who, whose) = (self.chance.index(5), self.chance.index(5));
        let (replica, relay) = (self.all[who], self.relays[self.chance.index(2)]);
        match self.chance.below(20) {
            0..=8 => {
                let document = self.net.documents()[self.chance.index(2)];
                // A reader, and who is removed, is refused.
                let written = replica.try_edit(&mut self.net, document, &format!("word{nth}"));
                assert!(matches!(written, Ok(()) | Err(Error::RoleDenied)), "{written:?}");
            }
            9..=11 => self.net.cut_from(replica, relay),
            12..=13 => self.net.heal(),
            14 => replica.crash(&mut self.net),
            15..=16 if whose != 0 => {
                let done = self.state(who.min(1), MembershipAct::Remove { user: self.users[whose] });
                census.removed += u64::from(done);
            }
            _ if whose != 0 => {
                let role = ROLES[self.chance.index(ROLES.len())];
                let gone = self.knows_role(self.all[who.min(1)], whose).is_none();
                let grant = MembershipAct::SetRole { user: self.users[whose], role, expires_ms: None };
                let done = self.state(who.min(1), grant);
                census.stated += u64::from(done);
                census.regranted += u64::from(done && gone);
            }
            _ => {}
        }
    }

    fn knows_role(&mut self, who: Replica, whose: usize) -> Option<Role> {
        let user = self.users[whose];
        self.members(who).into_iter().find(|(member, _)| *member == user).map(|(_, role)| role)
    }

    fn members(&mut self, who: Replica) -> Vec<(UserId, Role)> {
        let workspace = self.net.workspace();
        let members = self.net.act(who, |engine, _, _| engine.members(&workspace));
        let members = members.expect("the workspace is here").expect("the device is up");
        members.into_iter().map(|member| (member.user, member.role)).collect()
    }

    /// What a replica shows of the documents, and then what it keeps aside of what there is at the relays: work of
    /// its own may have been refused, and is nobody else's matter.
    fn holds(&mut self, who: Replica, there: &BTreeSet<EntryHash>) -> Held {
        let documents = self.net.documents().into_iter();
        let documents = documents.map(|document| (document, read(&mut self.net, who, document))).collect();
        let debt = who.debt(&mut self.net);
        let aside = debt.set_aside.into_iter().filter(|entry| there.contains(&entry.hash));
        let aside = aside.map(|entry| (entry.hash, entry.reason)).collect();
        let refused = |reason| matches!(reason, DebtReason::Refused(_) | DebtReason::UnderWay);
        for owed in &debt.documents {
            assert!(refused(owed.reason), "{who:?}: {owed:?}");
        }
        Held { aside, documents, keeps: debt.documents.len() as u64 }
    }

    /// Everybody who stays says and holds the same, and what the model says.
    fn judge(&mut self, census: &mut Census) {
        let [first, second] = self.relays.map(|relay| self.net.membership(relay));
        assert_eq!(first.heads(), second.heads(), "the relays have other records");
        let [entries, others] = self.relays.map(|relay| self.net.entries(relay));
        let there: BTreeSet<EntryHash> = entries.iter().map(|entry| entry.hash()).collect();
        assert_eq!(there, others.iter().map(|entry| entry.hash()).collect(), "the relays have other entries");
        let model = Opinion::of(&first, &entries, &self.all[0].secrets(&self.net), &self.net.documents());
        assert_eq!(first.view().members().collect::<Vec<_>>(), model.members, "the model has other members");
        assert_eq!((first.view().epoch(), second.view().epoch()), (model.epoch, model.epoch));
        let reads = |who: &usize| first.view().role(&self.users[*who]) >= Some(Role::Reader);
        let staying: Vec<Replica> = (0..5).filter(reads).map(|who| self.all[who]).collect();
        for replica in &staying {
            assert_eq!(self.members(*replica), model.members, "{replica:?}");
            let held = self.holds(*replica, &there);
            assert_eq!(held.aside, model.aside, "{replica:?}");
            assert_eq!(held.documents, model.documents, "{replica:?}");
            census.kept += held.keeps;
            replica.assert_sound(&self.net);
        }
        census.gone += 5 - staying.len() as u64;
        census.clashed += first.in_order().into_iter().filter(|record| record.parents().len() > 1).count() as u64;
        census.beyond += u64::from(!model.aside.is_empty());
        census.carried += u64::from(model.carried > 0);
    }
}

struct Held {
    aside: BTreeSet<(EntryHash, SetAsideReason)>,
    /// In how many documents it has work that its role does not let it send any more.
    keeps: u64,
    documents: Vec<(DocumentId, Value)>,
}

fn read(net: &mut Net, who: Replica, document: DocumentId) -> Value {
    let read = net.act(who, |engine, now, tx| engine.read(now, &document, |view| view.to_value(), tx));
    read.expect("the document is here").expect("the device is up").expect("it reads")
}

fn history(seed: u64, census: &mut Census) -> String {
    let mut world = World::seeded(seed);
    for nth in 0..STEPS {
        world.step(nth, census);
        let pause = world.chance.below(40);
        world.net.run_for(Duration::from_secs(if pause > 20 { pause } else { 0 }));
    }
    world.net.heal();
    world.net.run_for(ASKS_AGAIN + SETTLES);
    // Whoever can write does, so that an epoch begins where two removals met.
    for (who, replica) in world.all.into_iter().enumerate() {
        if world.knows_role(replica, who) >= Some(Role::Writer) {
            let document = world.net.documents()[0];
            let last = replica.try_edit(&mut world.net, document, &format!("last of {who}"));
            assert!(matches!(last, Ok(()) | Err(Error::RoleDenied)), "{last:?}");
        }
    }
    world.net.run_for(SETTLES);
    world.judge(census);
    if seed.is_multiple_of(10) {
        world.all.into_iter().for_each(|replica| replica.crash(&mut world.net));
        world.net.run_for(SETTLES);
        world.judge(&mut Census::default());
    }
    world.net.trace_hash()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn whatever_is_stated_and_written_in_whatever_order_all_who_stay_agree_with_each_other_and_with_the_model() {
    if let Some(seed) = number("TOMBOLO_SEED") {
        println!("seed {seed}: {}", history(seed, &mut Census::default()));
        return;
    }
    let (mut failed, mut census) = (Vec::new(), Census::default());
    let (from, count) = (number("TOMBOLO_SEED_FROM").unwrap_or(0), number("TOMBOLO_HISTORIES").unwrap_or(HISTORIES));
    for seed in from..from + count {
        let play = std::panic::AssertUnwindSafe(|| history(seed, &mut census));
        if std::panic::catch_unwind(play).is_err() {
            failed.push(seed);
        }
    }
    let Census { stated, removed, regranted, clashed, beyond, carried, kept, gone } = census;
    println!(
        "{count} histories from {from}: {stated} roles given, {removed} removals, {regranted} taken in again, {clashed} \
         records on several heads, {beyond} with work beyond a pin, {carried} with such work that others carry, \
         {kept} documents with work of who may not send it any more, {gone} members gone"
    );
    assert!(failed.is_empty(), "seeds {failed:?}");
    if count >= HISTORIES {
        assert!([stated, removed, regranted, clashed, beyond, gone].iter().all(|met| *met > 0), "it proves little");
    }
}
