//! The evaluator against the slow model: what both make of one history, in any order of arrival.
//!
//! Invariant: every question that the rest of the product asks of a view is asked here of both.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use tombolo_protocol::ids::*;
use tombolo_protocol::membership::{Admission, Membership, RecordOutcome, View};
use tombolo_protocol::record::{Record, Role};

use super::history::{Dice, History, REPLICAS};
use super::model::admission::Right;
use super::model::graph::has;
use super::model::{Fate, Model};

/// Compares an evaluation with the model of the same set; the difference, if there is one, in words.
pub fn differs(members: &Membership, model: &Model) -> Option<String> {
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

fn view_differs(view: &View, model: &super::model::View, all: &Model) -> Option<String> {
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
pub fn deliver(history: &History, dice: &mut Dice, proven: bool) -> Membership {
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
pub fn fails(history: &History, seed: u64) -> Result<Model, String> {
    let mut dice = Dice(seed ^ 0xde11);
    let model = Model::new(&history.records, &history.attestations);
    for round in 0..REPLICAS {
        let members = deliver(history, &mut dice, round > 0 || !seed.is_multiple_of(20));
        let difference = differs(&members, &model).or_else(|| admission_differs(&members, &model, history));
        if let Some(difference) = difference {
            return Err(format!("delivery {round}: {difference}"));
        }
    }
    if model.view().owners() == 0 {
        return Err("nobody owns the workspace".to_owned());
    }
    let replica = (seed % REPLICAS as u64) as usize;
    if let Some(difference) = differs(&history.grown[replica], &parts(history, replica)) {
        return Err(format!("replica {replica}: {difference}"));
    }
    Ok(model)
}
