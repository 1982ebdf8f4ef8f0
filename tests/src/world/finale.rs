//! Heal, wait within a bound, and judge: nothing lost, everybody equal, nothing owed, and then all is still.
//!
//! Invariant: what is judged is what the founder calls a member that may read; everybody else is judged by what
//! they must not have.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo::document::Value;
use tombolo::document::Version;
use tombolo::protocol::ids::EntryHash;
use tombolo::protocol::record::Role;
use tombolo::{InviteTerms, SetAside, SetAsideReason};

use super::fault::Fault;
use super::stage::{Standing, World};
use crate::invariant::{Invariant, Violation};
use crate::net::Needles;

/// One look whether all has come to rest.
const SLICE: Duration = Duration::from_secs(60);
/// Within so many of them it must have.
const SLICES_MAX: u32 = 30;
/// What an idle device may do in an hour.
const IDLE_STEPS_MAX: u64 = 60;
/// What files may grow in an idle hour: SQLite's log is written back, nothing is added.
const IDLE_BYTES_MAX: u64 = 64 << 10;
/// A store's bytes when there is nothing in it, for each word, and for each device that writes.
const STORE_BYTES: (u64, u64, u64) = (6 << 20, 6 << 10, 256 << 10);

type Content = Vec<(usize, Version, Value)>;

impl World {
    /// Ends everything that disturbs, and brings everybody back.
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.calm();
        self.relay_moved();
        for actor in 0..self.actors.len() {
            self.actors[actor].replica.spare(&mut self.net);
        }
        self.net.run_for(Duration::from_secs(30));
        for round in 0..2 {
            for actor in 0..self.actors.len() {
                self.start(actor)?;
                let reaches = self.actors[actor].standing == Standing::Member && self.is_up(actor);
                for relay in self.relays.clone().into_iter().filter(|_| reaches && round == 0) {
                    self.net.dial_relay(self.actors[actor].replica, relay);
                }
            }
            // A fault of the disk that was armed may strike once more.
            self.net.run_for(Duration::from_secs(60));
        }
        if self.asks {
            // What was left out comes now, or is lost. A fault of the disk may take the first word back.
            let twice = [self.actors.len(); 2];
            for actor in twice.into_iter().flat_map(|count| 0..count) {
                self.ask_for_all(actor);
                self.start(actor)?;
            }
        }
        self.hear();
        self.settle_standings();
        Ok(())
    }

    /// Who stays a member is what the founder knows in the end: an act may not have counted.
    fn settle_standings(&mut self) {
        let Some(members) = self.members() else { return };
        for actor in self.actors.iter_mut() {
            let role = members.iter().find(|(_, _, devices)| devices.contains(&actor.device)).map(|(_, role, _)| *role);
            if role.is_some() && matches!(actor.standing, Standing::Removed | Standing::Revoked) {
                actor.standing = Standing::Member;
            }
            if let Some(role) = role.filter(|_| actor.standing == Standing::Member) {
                self.users[actor.user].role = role;
            }
        }
    }

    /// Returns the devices that must agree: those of members who may read, which are up.
    fn judged(&mut self) -> Vec<usize> {
        let members = self.members().unwrap_or_default();
        let mut judged = self.present();
        judged.retain(|actor| {
            let device = self.actors[*actor].device;
            members.iter().any(|(_, role, devices)| *role >= Role::Reader && devices.contains(&device))
        });
        judged
    }

    /// Waits until everybody agrees; says what does not.
    pub(super) fn come_to_rest(&mut self) -> Result<(), Violation> {
        // What a relay kept to itself is noticed with the next thing that it says.
        self.word(0, 0)?;
        let mut last = Ok(());
        for _ in 0..SLICES_MAX {
            self.net.run_for(SLICE);
            self.hear();
            if self.intends(0) {
                continue;
            }
            self.settle_standings();
            last = self.agree();
            if last.is_ok() {
                return Ok(());
            }
        }
        last.and_then(|()| {
            let what = format!("what was intended is not stated after {SLICES_MAX} minutes");
            Err(Violation { invariant: Invariant::Liveness, what })
        })
    }

    /// Fails unless all who are judged hold the same, and every word that must be there, and owe nothing.
    pub(super) fn agree(&mut self) -> Result<(), Violation> {
        let judged = self.judged();
        if judged.iter().any(|actor| self.was_linked(*actor)) {
            self.census.saw("a linked device was judged");
        }
        let mut first: Option<(usize, Content)> = None;
        for actor in judged {
            let content = self.content(actor)?;
            if let Some((other, expected)) = &first {
                compare(*other, expected, actor, &content)?;
            } else {
                first = Some((actor, content));
            }
            let Some(debt) = self.debt_of(actor) else { continue };
            let troubled = self.users[self.actors[actor].user].troubled;
            if !debt.is_settled() && !troubled && !self.waits_in_vain(actor, &debt) {
                let what = format!("it still owes: {}", self.describe(actor));
                return Err(Violation { invariant: Invariant::Liveness, what });
            }
        }
        Ok(())
    }

    fn content(&mut self, actor: usize) -> Result<Content, Violation> {
        let mut content = Vec::new();
        for document in 0..self.documents.len() {
            let id = self.documents[document];
            let replica = self.actors[actor].replica;
            let version = self.net.act(replica, |engine, now, tx| engine.version(now, &id, tx));
            let value = self.value_of(actor, document);
            let (Ok(Some(version)), Some(value)) = (version, value) else {
                let due = self.ledger.must(document).next().map(|(word, _)| word.to_owned());
                let what = || format!("d{actor} does not have document {document}, with {due:?} in it");
                Violation::unless(due.is_none(), Invariant::NothingLost, what)?;
                continue;
            };
            // Who made a document when the right to was lost already keeps it, with nothing in it that counts.
            let is_empty = value.as_map().is_some_and(|map| map.is_empty());
            if is_empty && self.ledger.must(document).next().is_none() {
                continue;
            }
            let held = self.judge_shape(actor, document, &value)?;
            let lost: Vec<&str> =
                self.ledger.must(document).map(|(word, _)| word).filter(|w| !held.contains(*w)).collect();
            Violation::unless(lost.is_empty(), Invariant::NothingLost, || {
                format!("d{actor} lacks {} words of document {document}: {:?}", lost.len(), lost.first())
            })?;
            content.push((document, version, value));
        }
        Ok(content)
    }

    /// Fails unless the rogue's entries are kept aside by everybody or by nobody, and stores agree with themselves.
    pub(super) fn judge_stores(&mut self, stay: bool) -> Result<(), Violation> {
        for actor in self.judged() {
            let report = self.actors[actor].replica.integrity(&self.net);
            let what = || format!("d{actor}: {report:?}");
            Violation::unless(report.is_sound(), Invariant::CrashOrder, what)?;
            let Some(debt) = self.debt_of(actor).filter(|_| stay && actor < self.cast) else { continue };
            let kept = |(hash, reason): &&(EntryHash, Option<SetAsideReason>)| {
                let fits = |aside: &SetAside| aside.hash == *hash && reason.is_none_or(|reason| aside.reason == reason);
                !debt.set_aside.iter().any(fits)
            };
            let missing = self.planted.iter().find(kept);
            let what = || format!("d{actor} does not list {missing:?} among what is set aside: {:?}", debt.set_aside);
            Violation::unless(missing.is_none(), Invariant::Quarantine, what)?;
        }
        self.judge_sizes()
    }

    fn judge_sizes(&mut self) -> Result<(), Violation> {
        let (words, _) = self.ledger.counts();
        let (base, each, device) = STORE_BYTES;
        let limit = base + each * words as u64 + device * self.actors.len() as u64;
        for actor in 0..self.actors.len() {
            let bytes = bytes_of(&self.net.store_files(self.actors[actor].replica));
            let what = || format!("d{actor} has {bytes} bytes for {words} words, at most {limit}");
            Violation::unless(bytes <= limit, Invariant::Bounded, what)?;
        }
        Ok(())
    }

    /// Who is out, and was told so, gets nothing that is written from now on.
    pub(super) fn judge_the_gone(&mut self) -> Result<(), Violation> {
        let out: Vec<usize> = (0..self.actors.len())
            .filter(|actor| matches!(self.actors[*actor].standing, Standing::Removed | Standing::Revoked))
            .filter(|actor| self.is_up(*actor))
            .collect();
        if out.is_empty() {
            return Ok(());
        }
        let (before, sealed) = (self.words, BTreeMap::from_iter(self.own_chains(0).1));
        (0..self.documents.len()).try_for_each(|document| self.word(0, document))?;
        self.net.run_for(Duration::from_secs(150));
        for actor in out {
            for document in 0..self.documents.len() {
                let held = self.words_of(actor, document).unwrap_or_default();
                let new = held.iter().find(|word| number_of(word) > before);
                let what = || format!("d{actor} is out and reads {new:?} in document {document}");
                Violation::unless(new.is_none(), Invariant::Membership, what)?;
            }
            let held = self.chains_held(actor, 0);
            let new = held.iter().find(|(chain, seq)| sealed.get(chain).is_none_or(|last| seq > last));
            let what =
                || format!("d{actor} is out and was given entry {:?} of d0, sealed as it is", new.map(|it| it.1));
            Violation::unless(new.is_none(), Invariant::Membership, what)?;
            self.actors[actor].replica.kill(&mut self.net);
        }
        self.agree()
    }

    /// An hour in which nobody does anything: nothing grows, and nobody is busy.
    pub(super) fn judge_idleness(&mut self) -> Result<(), Violation> {
        for actor in 0..self.actors.len() {
            if !self.is_settled(actor) {
                self.actors[actor].replica.kill(&mut self.net);
            }
        }
        self.net.run_for(Duration::from_secs(3600));
        let (steps, bytes) = (self.net.steps(), self.all_bytes());
        self.net.run_for(Duration::from_secs(3600));
        let busy = self.net.steps() - steps;
        let limit = IDLE_STEPS_MAX * self.actors.len() as u64 * self.relays.len() as u64;
        Violation::unless(busy <= limit, Invariant::Liveness, || format!("{busy} steps in an idle hour"))?;
        let grown = self.all_bytes().saturating_sub(bytes);
        Violation::unless(grown <= IDLE_BYTES_MAX, Invariant::Bounded, || {
            format!("{grown} bytes more after an idle hour")
        })
    }

    fn all_bytes(&self) -> u64 {
        let stores = self.actors.iter().map(|actor| bytes_of(&self.net.store_files(actor.replica)));
        let relays = self.relays.iter().map(|relay| bytes_of(&self.net.relay_files(*relay)));
        stores.chain(relays).sum()
    }

    /// Nothing stands in clear in any file.
    pub(super) fn judge_secrecy(&mut self) -> Result<(), Violation> {
        self.hide_what_is_kept();
        let mut needles = Needles::default();
        self.net.hidden().iter().flat_map(|hidden| forms(hidden)).for_each(|form| needles.add(&form));
        let stores = self.actors.iter().flat_map(|actor| self.net.store_files(actor.replica));
        let relays = self.relays.iter().flat_map(|relay| self.net.relay_files(*relay));
        for path in relays.chain(stores) {
            let found = needles.stand_in(&std::fs::read(&path).unwrap_or_default());
            let what = || format!("{:?} holds a word or a key in clear", path.file_name());
            Violation::unless(!found, Invariant::NoPlaintext, what)?;
        }
        Ok(())
    }

    /// Every relay is wiped at once: the devices bring everything back.
    pub(super) fn wipe_all(&mut self) -> Result<(), Violation> {
        for relay in self.relays.clone() {
            self.net.wipe_relay(relay);
        }
        self.relay_moved();
        self.census.saw("every relay was wiped at the end");
        let rest = self.come_to_rest().and_then(|()| self.judge_healing());
        rest.map_err(|violation| Violation { invariant: Invariant::RelayIsDisposable, what: violation.to_string() })
    }

    /// Whoever says that nothing is owed has brought back what the relays lost.
    fn judge_healing(&mut self) -> Result<(), Violation> {
        self.judged().into_iter().try_for_each(|actor| self.judge_status(actor))
    }

    /// A new device learns everything from the relays alone: what was settled is there.
    pub(super) fn ask_relays_alone(&mut self) -> Result<(), Violation> {
        let workspace = self.net.workspace();
        let terms = InviteTerms { role: Role::Reader, expires_ms: None, uses: Some(1) };
        let founder = self.actors[0].replica;
        let made = self.net.act(founder, |engine, now, tx| engine.invite(now, &workspace, terms, tx));
        let Ok(Some(link)) = made else { return Ok(()) };
        self.net.run_for(Duration::from_secs(120));
        for actor in 0..self.actors.len() {
            self.actors[actor].replica.kill(&mut self.net);
        }
        let guest = self.net.device("newcomer");
        guest.take_invite(&mut self.net, link);
        self.net.run_for(Duration::from_secs(180));
        self.users.push(super::stage::User { role: Role::Reader, troubled: false });
        let guest = self.add_actor(guest, self.users.len() - 1, Standing::Guest);
        self.hear();
        let joined = self.actors[guest].standing == Standing::Member;
        let what = || "a newcomer with an invite does not get in".to_owned();
        Violation::unless(joined, Invariant::Liveness, what)?;
        self.content(guest)?;
        self.census.saw("a relay alone gave everything back");
        Ok(())
    }

    /// Counts what every device has met.
    pub(super) fn take_census(&mut self) {
        for nth in 0..self.actors.len() {
            let replica = self.actors[nth].replica;
            let net = &self.net;
            self.census.take_counted(|reason: SetAsideReason| replica.counted(net, reason));
            if self.deletes && self.gave_up(nth) {
                self.census.saw("a device gave up what a snapshot stands for");
            }
        }
        for relay in &self.relays {
            self.census.take_log(&self.net.items_if_any(*relay));
            if self.net.took_floors(*relay) {
                self.census.saw("a relay took from a device what a snapshot stands for");
            }
        }
    }

    /// Tells whether what the rogue planted stays where it was put.
    pub(super) fn plants_stay(&self) -> bool {
        // What an honest relay would refuse is lost with the log that it was put into.
        let losses = [Fault::RelayWipe, Fault::LogLost, Fault::RelayRollback];
        !losses.iter().any(|fault| self.census.faults.contains_key(fault))
    }
}

fn compare(one: usize, left: &Content, other: usize, right: &Content) -> Result<(), Violation> {
    let differs = |what: String| Err(Violation { invariant: Invariant::Converges, what });
    if !left.iter().map(|(document, ..)| document).eq(right.iter().map(|(document, ..)| document)) {
        return differs(format!("d{one} has {} documents, d{other} has {}, or others", left.len(), right.len()));
    }
    for ((document, version, value), (_, version_too, value_too)) in left.iter().zip(right) {
        if value != value_too {
            return differs(format!("d{one} and d{other} differ in document {document}"));
        }
        if version != version_too {
            return differs(format!("d{one} and d{other} differ in the version of document {document}"));
        }
    }
    Ok(())
}

fn number_of(word: &str) -> u64 {
    word.split('-').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn bytes_of(files: &[std::path::PathBuf]) -> u64 {
    files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum()
}

/// The forms in which a needle may stand in a file.
fn forms(needle: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![needle.to_vec(), data_encoding::HEXLOWER.encode(needle).into_bytes()];
    forms.push(String::from_utf8_lossy(needle).encode_utf16().flat_map(u16::to_le_bytes).collect());
    for skip in 0..3 {
        let whole = needle.get(skip..).unwrap_or_default();
        let whole = whole.get(..whole.len() / 3 * 3).unwrap_or_default();
        forms.push(data_encoding::BASE64_NOPAD.encode(whole).into_bytes());
    }
    forms
}
