//! Ten thousand random histories: the evaluator means the same in any order of arrival, and what the
//! slow model of `tests/model` says.
//!
//! A failing seed is printed with the fewest steps that still fail; `TOMBOLO_HISTORY=seed` replays it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that can not go on fails")]

#[path = "model/history.rs"]
mod history;
#[path = "model/model.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};

use history::{Dice, History, Person, people, play};
use model::admission::Right;
use model::graph::{has, members};
use model::{Fate, Model, Who};
use tombolo_protocol::ids::*;
use tombolo_protocol::membership::{Admission, Membership, RecordOutcome};
use tombolo_protocol::record::{Record, RecordBody, Role};

const HISTORIES: u64 = 10_000;
const STEPS: usize = 45;

/// Compares an evaluation with the model of the same set; the difference, if there is one, in words.
fn differs(members: &Membership, model: &Model) -> Option<String> {
    for (at, record) in model.records.iter().enumerate() {
        let agrees = matches!(
            (members.outcome(&record.id()), &model.fates[at]),
            (Some(RecordOutcome::Admitted), Fate::Valid(_))
                | (Some(RecordOutcome::Refused(_)), Fate::Refused)
                | (Some(RecordOutcome::AwaitsAttestation), Fate::AwaitsAttestation)
                | (Some(RecordOutcome::AwaitsParents), Fate::AwaitsParents)
        );
        if !agrees {
            let (outcome, fate) = (members.outcome(&record.id()), &model.fates[at]);
            return Some(format!("outcome of {at} {:?}: {outcome:?}, model {fate:?}", record.body()));
        }
        if matches!(model.fates[at], Fate::Valid(_)) {
            let view = members.view_at(&record.id()).unwrap();
            if let Some(difference) = view_differs(view, &model.view_at(at), model) {
                return Some(format!("view at {at} {:?}: {difference}", record.body()));
            }
        }
    }
    if *members.heads() != model.heads() {
        return Some("heads".to_owned());
    }
    view_differs(&members.view(), &model.view(), model).map(|difference| format!("view at all: {difference}"))
}

fn view_differs(view: &tombolo_protocol::membership::View, model: &model::View, all: &Model) -> Option<String> {
    let say = |what: &str, one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug| {
        Some(format!("{what}: {one:?}, model {other:?}"))
    };
    let roles: BTreeMap<UserId, Role> = view.members().collect();
    if roles != model.roles {
        return say("roles", &roles, &model.roles);
    }
    for user in roles.keys() {
        if view.expiry(user) != model.expiries.get(user).copied() {
            return say("expiry", &view.expiry(user), &model.expiries.get(user));
        }
        let decides = model.deciding.get(user).map(|at| all.records[*at].id());
        if view.decided_by(user) != decides {
            return say("deciding act", &view.decided_by(user), &decides);
        }
    }
    let devices: BTreeMap<DeviceId, (UserId, bool, bool)> =
        view.devices().map(|(id, device)| (id, (device.user, device.certified, device.is_active()))).collect();
    if devices != model.devices {
        return say("devices", &devices, &model.devices);
    }
    let invites: BTreeMap<RecordId, (bool, u32, UserId)> =
        view.invites().map(|(id, invite)| (id, (invite.ended, invite.used, invite.maker))).collect();
    let expected: BTreeMap<RecordId, (bool, u32, UserId)> =
        model.invites.iter().map(|(id, invite)| (*id, (invite.ended, invite.used, invite.maker))).collect();
    if invites != expected {
        return say("invites", &invites, &expected);
    }
    if view.epoch() != model.epoch || view.needs_healing() != model.needs_healing() {
        return say("epoch", &view.epoch(), &model.epoch);
    }
    for (at, record) in all.records.iter().enumerate() {
        let void = has(model.set, at) && has(model.void, at);
        if view.is_void(&record.id()) != void {
            return say("void", &record.body(), &void);
        }
        if let Some(rotation) = record.body().rotation()
            && view.knows_epoch(&rotation.epoch) != model.epochs.contains(&rotation.epoch)
        {
            return say("known epoch", &rotation.epoch, &at);
        }
    }
    let recipients: Vec<[u8; 32]> = view.recipients().into_iter().map(|(id, _)| id).collect();
    if recipients != model.recipients.iter().copied().collect::<Vec<_>>() {
        return say("recipients", &recipients, &model.recipients);
    }
    if view.policy() != model.policy.as_ref() {
        return say("policy", &view.policy(), &model.policy);
    }
    for (entry, verdict) in &model.verdicts {
        if view.verdict(entry) != Some(*verdict) {
            return say("verdict", &view.verdict(entry), verdict);
        }
    }
    for user in model.logs.keys() {
        if view.recovery_key(user) != model.recovery.get(user).copied() {
            return say("recovery", &view.recovery_key(user), &model.recovery.get(user));
        }
    }
    (0..3).map(|n| DocumentTag::from_bytes([n; 16])).find_map(|document| {
        let purged = model.purged.contains(&document);
        (view.is_purged(&document) != purged).then(|| format!("purged: model {purged}"))
    })
}

fn admission_differs(members: &Membership, model: &Model, history: &History) -> Option<String> {
    for (at, entry) in history.entries.iter().enumerate() {
        let said = members.admission(&entry.claim());
        let agrees = matches!(
            (said, model.right(entry)),
            (Admission::Admitted, Right::Own)
                | (Admission::BeyondPin { .. }, Right::Beyond)
                | (Admission::Excluded, Right::Excluded)
                | (Admission::RoleDenied, Right::Denied)
                | (Admission::UnknownRecord, Right::Unknown)
        );
        if !agrees {
            return Some(format!("entry {at} {entry:?}: {said:?}, model {:?}", model.right(entry)));
        }
    }
    None
}

/// Delivers records and attestations in some order; a share with every signature looked at.
fn deliver(history: &History, dice: &mut Dice, proven: bool) -> Membership {
    enum Item {
        Record(usize),
        Said(usize),
    }
    let mut items: Vec<Item> = (0..history.records.len()).map(Item::Record).collect();
    items.extend((0..history.attestations.len()).map(Item::Said));
    dice.shuffle(&mut items);
    let mut members = Membership::new(history.workspace);
    for item in items {
        match item {
            Item::Record(at) if proven => drop(members.insert_proven(history.records[at].clone())),
            Item::Record(at) => drop(members.insert(history.records[at].clone())),
            Item::Said(at) => drop(members.attest(history.attestations[at].clone())),
        }
    }
    members
}

fn parts(history: &History, replica: usize) -> Model {
    let (records, said) = &history.held[replica];
    let records: Vec<Record> = records.iter().map(|at| history.records[*at].clone()).collect();
    let said: Vec<_> = said.iter().map(|at| history.attestations[*at].clone()).collect();
    Model::new(&records, &said)
}

/// Everything that is asked of one history.
fn fails(history: &History, seed: u64) -> Result<Model, String> {
    let mut dice = Dice(seed ^ 0xde11);
    let model = Model::new(&history.records, &history.attestations);
    for round in 0..history::REPLICAS {
        let members = deliver(history, &mut dice, round > 0 || !seed.is_multiple_of(20));
        let difference = differs(&members, &model).or_else(|| admission_differs(&members, &model, history));
        if let Some(difference) = difference {
            return Err(format!("delivery {round}: {difference}"));
        }
    }
    if model.view().owners() == 0 {
        return Err("nobody owns the workspace".to_owned());
    }
    let replica = (seed % history::REPLICAS as u64) as usize;
    if let Some(difference) = differs(&history.grown[replica], &parts(history, replica)) {
        return Err(format!("replica {replica}: {difference}"));
    }
    Ok(model)
}

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
