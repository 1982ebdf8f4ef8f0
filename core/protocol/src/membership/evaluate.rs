//! The view at several heads: what each of them saw, and what of it counts beside the others.
//!
//! Invariant: the outcome is a function of the heads and their ancestors. Where all heads know the same
//! removals, a record counts or is void as any head that knows it says, so the view of one head is
//! carried on by what the others have more. Where they do not, all that is above the last record that
//! nothing runs beside is evaluated together; nothing below it is concurrent with anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::facts::{Facts, Target};
use super::{Membership, View};
use crate::ids::{RecordId, UserId};
use crate::record::{Record, RecordBody, Role};
use crate::void::{Act, void};

impl Membership {
    /// Returns the view at several admitted records together.
    pub(super) fn evaluate(&self, heads: &[RecordId]) -> Arc<View> {
        if let [head] = heads {
            return self.admitted(head).map(|(_, view)| Arc::clone(view)).unwrap_or_default();
        }
        let views = || heads.iter().filter_map(|head| Some((*head, self.view_at(head)?)));
        let Some((highest, view)) = views().max_by_key(|(head, _)| (self.generation_of(head), *head)) else {
            return Arc::default();
        };
        let mut view = if views().all(|(_, other)| other.decides_like(view)) {
            self.carried_on(highest, view, &views().collect::<Vec<_>>())
        } else {
            let heads: Vec<RecordId> = views().map(|(head, _)| head).collect();
            self.zone(&heads).map(|zone| zone.view()).unwrap_or_default()
        };
        self.rank_epochs(&mut view);
        Arc::new(view)
    }

    /// Finds out which of several newest epochs somebody may know who was shut out beside it.
    fn rank_epochs(&self, view: &mut View) {
        view.unrank_epochs();
        let rivals = view.rivals();
        for one in &rivals {
            for other in rivals.iter().filter(|other| *other != one) {
                let mut more = self.beside(*one, &[*other]).into_iter();
                if more.any(|id| !view.is_void(&id) && self.shuts_out(&id)) {
                    view.rank_epochs(other, one);
                }
            }
        }
    }

    /// Tells whether a record takes keys from somebody.
    fn shuts_out(&self, id: &RecordId) -> bool {
        let rotates = self.record(id).is_some_and(|record| record.body().rotation().is_some());
        self.facts_of(id).is_some_and(|facts| facts.departs || rotates && !facts.removes.is_empty())
    }

    /// Returns the view of one head with what the others saw besides.
    fn carried_on(&self, from: RecordId, view: &View, heads: &[(RecordId, &View)]) -> View {
        let mut view = view.clone();
        let others: Vec<RecordId> = heads.iter().map(|(head, _)| *head).filter(|head| *head != from).collect();
        for id in self.beside(from, &others) {
            let (Some(record), Some(facts)) = (self.record(&id), self.facts_of(&id)) else {
                continue;
            };
            let void = heads.iter().any(|(_, seen)| seen.is_void(&id));
            view.take(record, facts, &|older| self.descends(&id, older), void);
        }
        view
    }

    /// Returns the ancestors of others, themselves included, that are not of `from`, each behind its parents.
    fn beside(&self, from: RecordId, others: &[RecordId]) -> Vec<RecordId> {
        // The highest first: a record's descendants are met before it, so its mark is final then.
        let mut open: BTreeMap<(u64, RecordId), bool> = BTreeMap::new();
        let mut beside = Vec::new();
        let mut unshared = 0_usize;
        let mark = |open: &mut BTreeMap<(u64, RecordId), bool>, id: RecordId, shared: bool, unshared: &mut usize| {
            let held = open.entry((self.generation_of(&id), id)).or_insert_with(|| {
                *unshared += 1;
                false
            });
            if shared && !*held {
                *held = true;
                *unshared -= 1;
            }
        };
        mark(&mut open, from, true, &mut unshared);
        for other in others {
            mark(&mut open, *other, false, &mut unshared);
        }
        while unshared > 0 {
            let Some(((_, id), shared)) = open.pop_last() else {
                break;
            };
            if !shared {
                unshared -= 1;
                beside.push(id);
            }
            for parent in self.record(&id).into_iter().flat_map(Record::parents) {
                mark(&mut open, *parent, shared, &mut unshared);
            }
        }
        beside.reverse();
        beside
    }

    fn zone(&self, heads: &[RecordId]) -> Option<Zone<'_>> {
        let mut open: BTreeSet<(u64, RecordId)> = heads.iter().map(|head| (self.generation_of(head), *head)).collect();
        let mut above = Vec::new();
        while open.len() > 1 {
            let (_, id) = open.pop_last()?;
            above.push(id);
            let parents = self.record(&id).into_iter().flat_map(Record::parents);
            open.extend(parents.map(|parent| (self.generation_of(parent), *parent)));
        }
        let (_, base) = open.pop_last()?;
        let places = above.iter().rev().enumerate().map(|(at, id)| (*id, at)).collect();
        let of = |id: &RecordId| Some((self.record(id)?, self.facts_of(id)?));
        let records = above.iter().rev().map(of).collect::<Option<Vec<_>>>()?;
        let mut base = self.view_at(&base)?.clone();
        base.settle(heads.iter().filter_map(|head| self.view_at(head)).flat_map(View::settled));
        Some(Zone { members: self, base, records, places })
    }
}

/// The part of the graph in which records may be concurrent.
struct Zone<'a> {
    members: &'a Membership,
    /// The view below it.
    base: View,
    /// Its records, each behind its parents, in the one order.
    records: Vec<(&'a Record, &'a Facts)>,
    places: BTreeMap<RecordId, usize>,
}

impl Zone<'_> {
    /// If concurrent acts leave no owner, those that clash do not apply; what an owner has built on since
    /// stays decided, whoever became owner later.
    fn view(&self) -> View {
        let acts = self.acts();
        let mut spared: BTreeSet<usize> = self.base.settled().filter_map(|id| self.places.get(&id).copied()).collect();
        loop {
            let counted = void(&acts, &spared);
            let view = self.fold(&counted, &spared);
            if view.members().any(|(_, role)| role == Role::Owner) {
                return view;
            }
            let mut more = &(&spared | &self.clashes(&counted)) | &self.followers(&spared, &counted);
            if more == spared {
                more.extend(self.losses(&counted));
            }
            if more == spared {
                return view;
            }
            spared = more;
        }
    }

    fn fold(&self, void: &BTreeSet<usize>, spared: &BTreeSet<usize>) -> View {
        let mut view = self.base.clone();
        for (at, (record, facts)) in self.records.iter().enumerate() {
            // What is not in the zone is below all of it.
            let id = record.id();
            let below = |older: &RecordId| !self.places.contains_key(older) || self.members.descends(&id, older);
            view.take(record, facts, &below, void.contains(&at));
        }
        let spared = spared.iter().filter_map(|at| self.records.get(*at));
        view.spare(spared.map(|(record, _)| record.id()));
        view
    }

    fn acts(&self) -> Vec<Act<Target>> {
        let place = |id: &RecordId| self.places.get(id).copied();
        let act = |(record, facts): &(&Record, &Facts)| {
            let mut by = vec![Target::User(facts.user), Target::Device(record.author())];
            if let RecordBody::Join(join) = record.body() {
                by.push(Target::Invite(join.invite));
            }
            let floor = |role: Option<Role>| role.map_or(0, |role| role as u8);
            Act {
                parents: record.parents().iter().filter_map(place).collect(),
                rank: facts.rank,
                by,
                needs: facts.needs,
                removes: facts.removes.iter().map(|(target, role)| (*target, floor(*role))).collect(),
                rests_on: facts.rests_on.iter().filter_map(place).collect(),
            }
        };
        self.records.iter().map(act).collect()
    }

    /// Returns the acts that take ownership from somebody beside another that does, or that give somebody
    /// less than the ownership which another act gives beside it.
    fn clashes(&self, void: &BTreeSet<usize>) -> BTreeSet<usize> {
        let counting: Vec<usize> = (0..self.records.len()).filter(|at| !void.contains(at)).collect();
        let touches = |(record, facts): &&(&Record, &Facts)| {
            takes_ownership(record, facts) || lowers(record, facts).next().is_some()
        };
        let clashes = |at: &usize| {
            let Some((record, facts)) = self.records.get(*at).filter(touches) else {
                return false;
            };
            let others = counting.iter().filter_map(|at| self.records.get(*at));
            let mut beside = others.filter(|(other, _)| self.are_concurrent(record, other));
            let hands_over = matches!(record.body(), RecordBody::OwnerTransfer(_));
            beside.any(|(other, its)| {
                let both = takes_ownership(record, facts) && takes_ownership(other, its);
                both || lowers(record, facts).any(|user| makes_owner(its, user))
                    || hands_over && lowers(other, its).any(|user| makes_owner(facts, user))
            })
        };
        counting.iter().copied().filter(clashes).collect()
    }

    /// Returns the acts that lower somebody further whom a spared act lowered, and were judged when that counted.
    fn followers(&self, spared: &BTreeSet<usize>, void: &BTreeSet<usize>) -> BTreeSet<usize> {
        let spared: Vec<&(&Record, &Facts)> = spared.iter().filter_map(|at| self.records.get(*at)).collect();
        let follows = |at: &usize| {
            let Some((record, facts)) = self.records.get(*at) else {
                return false;
            };
            let id = record.id();
            let counted = |older: &RecordId| self.members.view_at(&id).is_some_and(|view| !view.is_void(older));
            lowers(record, facts).any(|user| {
                let mut stands_on = spared.iter().filter(|(_, its)| its.grants.iter().any(|grant| grant.user == user));
                stands_on.any(|(older, _)| counted(&older.id()) && self.members.descends(&id, &older.id()))
            })
        };
        (0..self.records.len()).filter(|at| !void.contains(at)).filter(follows).collect()
    }

    /// Returns, as a last resort, all acts beside others that take ownership, or lower whom a counting act makes
    /// owner: a revoked device may have voided what they were judged by.
    fn losses(&self, void: &BTreeSet<usize>) -> BTreeSet<usize> {
        let counting = (0..self.records.len()).filter(|at| !void.contains(at));
        let acts = counting.filter_map(|at| Some((at, *self.records.get(at)?)));
        let beside = |(_, (record, _)): &(usize, (&Record, &Facts))| {
            self.records.iter().any(|(other, _)| self.are_concurrent(record, other))
        };
        let acts: Vec<(usize, (&Record, &Facts))> = acts.filter(beside).collect();
        let made = |user: UserId| acts.iter().any(|(_, (_, facts))| makes_owner(facts, user));
        let loses = |record: &Record, facts: &Facts| takes_ownership(record, facts) || lowers(record, facts).any(made);
        acts.iter().filter(|(_, (record, facts))| loses(record, facts)).map(|(at, _)| *at).collect()
    }

    fn are_concurrent(&self, one: &Record, other: &Record) -> bool {
        !self.members.descends(&one.id(), &other.id()) && !self.members.descends(&other.id(), &one.id())
    }
}

/// Returns to whom a record gives less than ownership; a Join only ever raises.
fn lowers<'a>(record: &Record, facts: &'a Facts) -> impl Iterator<Item = UserId> + use<'a> {
    let joins = matches!(record.body(), RecordBody::Join(_));
    let lesser = facts.grants.iter().filter(move |grant| !joins && grant.role < Some(Role::Owner));
    lesser.map(|grant| grant.user)
}

fn makes_owner(facts: &Facts, user: UserId) -> bool {
    facts.grants.iter().any(|grant| grant.user == user && grant.role == Some(Role::Owner))
}

fn takes_ownership(record: &Record, facts: &Facts) -> bool {
    facts.removes_owner || matches!(record.body(), RecordBody::OwnerTransfer(_))
}
