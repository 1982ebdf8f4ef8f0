//! What the common model costs over the bare library; printed, because a machine's speed is no story.

use std::time::Duration;

use ::automerge::transaction::Transactable;
use ::automerge::{Automerge, ROOT, TextEncoding};
use ::yrs::{ClientID, Doc, Map, OffsetKind, Options, Text, TextPrelim, Transact};

use super::*;

const EDITS: usize = 20_000;

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn timed(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}

fn common(crdt: Crdt, mode: PatchMode) -> Duration {
    let mut document = OpenDocument::new(crdt, actor(1));
    timed(|| {
        for at in 0..EDITS {
            let edited = document.edit(0, mode, |root| root.text("t")?.splice(at, 0, "x")).unwrap();
            assert!(edited.change.is_some());
        }
    })
}

fn bare_automerge() -> Duration {
    let mut document = Automerge::new_with_encoding(TextEncoding::Utf16CodeUnit);
    timed(|| {
        let mut transaction = document.transaction();
        let text = transaction.put_object(ROOT, "t", ::automerge::ObjType::Text).unwrap();
        transaction.commit();
        for at in 0..EDITS {
            let mut transaction = document.transaction();
            transaction.splice_text(&text, at, 0, "x").unwrap();
            transaction.commit();
            assert!(!document.get_last_local_change().unwrap().raw_bytes().is_empty());
        }
    })
}

fn bare_yrs() -> Duration {
    let mut options = Options::with_client_id(ClientID::new(1));
    options.offset_kind = OffsetKind::Utf16;
    let document = Doc::with_options(options);
    let root = document.get_or_insert_map("root");
    let text = root.insert(&mut document.transact_mut(), "t", TextPrelim::new(""));
    timed(|| {
        for at in 0..EDITS {
            let mut transaction = document.transact_mut();
            text.insert(&mut transaction, at as u32, "x");
            assert!(!transaction.encode_update_v1().is_empty());
        }
    })
}

#[test]
fn typing_costs_little_more_than_the_bare_library() {
    for (crdt, bare) in [(Crdt::Automerge, bare_automerge as fn() -> Duration), (Crdt::Yrs, bare_yrs)] {
        let (bare, off, on) = (bare(), common(crdt, PatchMode::Off), common(crdt, PatchMode::On));
        let ratio = off.as_secs_f64() / bare.as_secs_f64();
        println!("{crdt:?}: bare {bare:?}, edit {off:?} ({ratio:.2}x), with patches {on:?}");
    }
}

#[test]
fn a_long_history_loads_in_one_go() {
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let mut document = OpenDocument::new(crdt, actor(1));
        let mut changes = Vec::new();
        for at in 0..EDITS {
            let edited = document.edit(0, PatchMode::Off, |root| root.text("t")?.splice(at / 2, 0, "x")).unwrap();
            changes.push(edited.change.unwrap().bytes);
        }
        let forward: Vec<_> = changes.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
        let backward: Vec<_> = forward.iter().rev().copied().collect();
        for (order, changes) in [("forward", forward), ("backward", backward)] {
            let elapsed = timed(|| {
                let loaded = OpenDocument::load(crdt, actor(2), &changes).unwrap();
                assert_eq!(loaded.version(), document.version());
            });
            println!("{crdt:?}: {EDITS} changes load {order} in {elapsed:?}");
        }
    }
}

#[test]
fn foreign_work_is_looked_into_at_a_fraction_of_a_load() {
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let mut document = OpenDocument::new(crdt, actor(1));
        let mut changes = Vec::new();
        for at in 0..EDITS {
            let edited = document.edit(0, PatchMode::Off, |root| root.text("t")?.splice(at / 2, 0, "x")).unwrap();
            changes.push(edited.change.unwrap().bytes);
        }
        let verify = timed(|| document.verify().unwrap());
        let trials = timed(|| {
            for change in &changes {
                trial(crdt, change, Some(actor(1))).unwrap();
            }
        });
        let one = trials / EDITS as u32;
        println!("{crdt:?}: {EDITS} changes, one verification {verify:?}, trials {trials:?}, each {one:?}");
    }
}
