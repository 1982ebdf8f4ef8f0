//! Ten thousand random histories: the evaluator means the same in any order of arrival, and what the
//! slow model of `tests/model` says.
//!
//! A failing seed is printed with the fewest steps that still fail; `TOMBOLO_HISTORY=seed` replays it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that can not go on fails")]

#[path = "model/compare.rs"]
mod compare;
#[path = "model/history.rs"]
mod history;
#[path = "model/model.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};

use compare::fails;
use history::{History, Person, people, play};
use model::admission::Right;
use model::graph::{has, members};
use model::{Fate, Model, Who};
use tombolo_protocol::ids::*;
use tombolo_protocol::record::RecordBody;

const HISTORIES: u64 = 10_000;
const STEPS: usize = 45;

/// Leaves out steps as long as the history still fails (delta debugging).
fn shrink(people: &[Person], seed: u64) -> (BTreeSet<usize>, String) {
    let mut left_out = BTreeSet::new();
    let mut said = String::new();
    let mut chunk = STEPS / 2;
    while chunk > 0 {
        for from in (0..STEPS).step_by(chunk) {
            let more: BTreeSet<usize> = left_out.iter().copied().chain(from..from + chunk).collect();
            if more.len() > left_out.len()
                && let Err(still) = fails(&play(people, seed, STEPS, &more), seed)
            {
                (left_out, said) = (more, still);
            }
        }
        chunk /= 2;
    }
    (left_out, said)
}

fn tell(history: &History) {
    let model = Model::new(&history.records, &history.attestations);
    let user = |id: &UserId| id.short();
    for (at, record) in model.records.iter().enumerate() {
        let parents: Vec<usize> = record.parents().iter().map(|id| model.at[id]).collect();
        let fate = match &model.fates[at] {
            Fate::Valid(word) => format!("valid by {} rank {}", user(&word.user), word.rank),
            other => format!("{other:?}"),
        };
        let void = has(model.view().void, at);
        let body = match record.body() {
            RecordBody::Standing(said) => {
                format!("Standing {} {:?} rotates {}", user(&said.subject), said.role, said.rotation.is_some())
            }
            RecordBody::OwnerTransfer(to) => format!("OwnerTransfer {}", user(to)),
            RecordBody::Devices(said) => format!(
                "Devices of {} {:?}",
                user(&said.identity.user()),
                said.identity.records.iter().map(|r| (r.act(), r.signer())).collect::<Vec<_>>()
            ),
            other => format!("{other:?}").chars().take(60).collect(),
        };
        println!("{at} on {parents:?}: {body} -> {fate} void {void}");
    }
}

/// Two threads: one for each core of a small machine.
const THREADS: u64 = 2;

type Covered = BTreeMap<&'static str, u64>;

fn check(people: &[Person], seeds: impl Iterator<Item = u64>) -> Covered {
    let mut covered = Covered::new();
    for seed in seeds {
        let history = play(people, seed, STEPS, &BTreeSet::new());
        match fails(&history, seed) {
            Ok(model) => cover(&model, &history, &mut covered),
            Err(first) => {
                let (left_out, said) = shrink(people, seed);
                tell(&play(people, seed, STEPS, &left_out));
                panic!("TOMBOLO_HISTORY={seed}: {first}\nat its shortest: {said}");
            }
        }
    }
    covered
}

#[test]
fn ten_thousand_histories_mean_what_the_model_says_in_any_order() {
    let people = people(5);
    let replayed: Option<u64> = std::env::var("TOMBOLO_HISTORY").ok().and_then(|seed| seed.parse().ok());
    let share = |thread: u64| match replayed {
        Some(seed) => (seed..seed + 1).skip(thread as usize).step_by(THREADS as usize),
        None => (0..HISTORIES).skip(thread as usize).step_by(THREADS as usize),
    };
    let mut covered = Covered::new();
    std::thread::scope(|scope| {
        let work = |thread| {
            scope.spawn({
                let people = &people;
                move || check(people, share(thread))
            })
        };
        for worker in (0..THREADS).map(work).collect::<Vec<_>>() {
            let part = worker.join().unwrap_or_else(|failed| std::panic::resume_unwind(failed));
            part.into_iter().for_each(|(what, count)| *covered.entry(what).or_default() += count);
        }
    });
    println!("{covered:#?}");
    if replayed.is_none() {
        for what in COUNTED {
            assert!(covered.get(what).is_some_and(|count| *count > 0), "no history had: {what}");
        }
    }
}

/// What must have happened in some history, or this test could not fail where it should.
const COUNTED: [&str; 33] = [
    "acts voided",
    "admins' verdicts",
    "admitted beyond a pin",
    "awaiting a second factor",
    "concurrent removals",
    "departures",
    "departures of readers",
    "departures of readers healed",
    "departures with an epoch",
    "devices that give themselves up",
    "entries beyond a pin",
    "entries by nobody entitled",
    "entries in their own right",
    "entries of a void standing",
    "epochs to be healed",
    "grants after a removal",
    "grants voided",
    "guards of the last owner",
    "invites ended",
    "invites ended by who may not offer them",
    "invites with keys ended by a lowering",
    "invites with keys ended by a removal",
    "joins",
    "joins awaiting",
    "joins voided",
    "mutual removals",
    "own devices revoked",
    "ownership handed over",
    "pins added later",
    "recovery keys",
    "refused",
    "root beats device",
    "sweeps",
];

fn cover(model: &Model, history: &History, covered: &mut Covered) {
    let mut count = |what: &'static str, how_often: usize| *covered.entry(what).or_default() += how_often as u64;
    let view = model.view();
    count("histories", 1);
    count("records", model.records.len());
    count("acts voided", view.void.count_ones() as usize);
    count("guards of the last owner", usize::from(view.forced != 0));
    count("invites ended", view.invites.values().filter(|invite| invite.ended).count());
    count("recovery keys", view.recovery.len());
    count("admins' verdicts", view.verdicts.len());
    for at in 0..model.records.len() {
        cover_record(model, at, &mut count);
    }
    let admitted = model.admitted(&history.entries);
    for (at, entry) in history.entries.iter().enumerate() {
        match model.right(entry) {
            Right::Own => count("entries in their own right", 1),
            Right::Denied => count("entries by nobody entitled", 1),
            Right::Beyond => {
                count("entries beyond a pin", 1);
                count("admitted beyond a pin", usize::from(admitted.contains(&at)));
                count("entries of a void standing", usize::from(model.rests_on_void(entry)));
            }
            Right::Excluded | Right::Unknown => {}
        }
    }
}

fn cover_record(model: &Model, at: usize, count: &mut impl FnMut(&'static str, usize)) {
    let (view, record) = (model.view(), &model.records[at]);
    let word = match &model.fates[at] {
        Fate::Valid(word) => word,
        Fate::Refused => {
            count("departures with an epoch", usize::from(draws_for_itself(model, at)));
            return count("refused", 1);
        }
        Fate::AwaitsAttestation if matches!(record.body(), RecordBody::Join(_)) => return count("joins awaiting", 1),
        Fate::AwaitsAttestation => return count("awaiting a second factor", 1),
        Fate::AwaitsParents => return,
    };
    let void = has(view.void, at);
    count("epochs to be healed", usize::from(model.view_at(at).needs_healing()));
    count("departures of readers", usize::from(word.departs));
    let healed = members(view.set).any(|other| word.departs && model.heals(other, at));
    count("departures of readers healed", usize::from(healed));
    let itself = word.departs && matches!(record.body(), RecordBody::Devices(_));
    count("devices that give themselves up", usize::from(itself));
    match record.body() {
        RecordBody::Join(_) => count(if void { "joins voided" } else { "joins" }, 1),
        RecordBody::OwnerTransfer(_) => count("ownership handed over", 1),
        RecordBody::Devices(_) if !word.hits.is_empty() => count("own devices revoked", 1),
        RecordBody::Standing(said) => {
            count("pins added later", usize::from(word.adds_pins_to.is_some() && said.pins.is_some()));
            count("sweeps", usize::from(said.proof.is_some()));
            let then = model.eval(model.anc[at]);
            let keyed = |who: &Who| matches!(who, Who::Invite(invite) if then.invites[invite].is_keyed());
            let ended = word.hits.iter().filter(|(who, _)| keyed(who)).count();
            count(
                if said.role.is_none() {
                    "invites with keys ended by a removal"
                } else {
                    "invites with keys ended by a lowering"
                },
                ended,
            );
            let own = |who: &Who| matches!(who, Who::Invite(invite) if then.invites[invite].maker == said.subject);
            let lowered = said.role.is_some() && word.hits.iter().any(|(who, _)| own(who));
            count("invites ended by who may not offer them", usize::from(lowered));
            count("departures", usize::from(said.subject == word.user && said.role.is_none()));
            count("grants voided", usize::from(void && word.hits.is_empty()));
            let before = members(model.anc[at]).any(|older| strikes(model, older, said.subject));
            count("grants after a removal", usize::from(before && said.role.is_some()));
        }
        _ => {}
    }
    for other in members(view.set & !view.void).filter(|other| model.apart(at, *other)) {
        let struck = model.word(other).hits.iter().any(|(who, _)| *who == Who::Device(record.author()));
        count("root beats device", usize::from(void && struck && model.word(other).rank % 4 == 2));
        let both = !void && !word.hits.is_empty() && !model.word(other).hits.is_empty();
        count("concurrent removals", usize::from(both));
        let mutual = strikes(model, at, model.word(other).user) && strikes(model, other, word.user);
        count("mutual removals", usize::from(both && mutual));
    }
}

/// Whether a refused record removes its own author and begins an epoch.
fn draws_for_itself(model: &Model, at: usize) -> bool {
    let record = &model.records[at];
    let RecordBody::Standing(said) = record.body() else { return false };
    let view = model.view();
    let author = view.devices.get(&record.author()).map(|(user, ..)| *user);
    said.role.is_none() && said.rotation.is_some() && author == Some(said.subject)
}

fn strikes(model: &Model, at: usize, user: UserId) -> bool {
    model.word(at).hits.contains(&(Who::User(user), None))
}
