//! States of published snapshots: the same for whoever makes them, and what each encoder must come to for ever.
//!
//! The histories are those of `tests/vectors/convergence.json`, whose changes never change. `TOMBOLO_BLESS=1` writes
//! what is missing in `states.json`, and never changes what is there: other bytes are another encoder.

use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::document::state::Encoder;

const CRDTS: [(Crdt, &str); 2] = [(Crdt::Automerge, "automerge"), (Crdt::Yrs, "yrs")];

fn vectors(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

fn read(name: &str) -> Json {
    std::fs::read(vectors(name)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn changes(history: &Json, name: &str) -> Vec<Vec<u8>> {
    let changes = history[name]["changes"].as_array().unwrap();
    changes.iter().map(|change| BASE64.decode(change.as_str().unwrap().as_bytes()).unwrap()).collect()
}

fn state(crdt: Crdt, base: Option<&[u8]>, changes: &[Vec<u8>]) -> Vec<u8> {
    let changes: Vec<_> = changes.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
    Encoder::of(crdt).encode(base, &changes).unwrap().unwrap()
}

fn told(bytes: &[u8]) -> String {
    HEXLOWER.encode(&tombolo_protocol::hash::sha256(&[bytes]))
}

/// Makes the states of a history: of all at once, and of its second half on the state of its first.
fn states(crdt: Crdt, changes: &[Vec<u8>]) -> [Vec<u8>; 2] {
    let (first, rest) = changes.split_at(changes.len() / 2);
    let base = state(crdt, None, first);
    [state(crdt, None, changes), state(crdt, Some(&base), rest)]
}

#[test]
fn the_states_are_those_that_were_published() {
    let mut kept: Map<String, Json> = read("states.json").as_object().cloned().unwrap_or_default();
    let histories = read("convergence.json");
    for history in histories.as_array().unwrap() {
        let name = history["name"].as_str().unwrap();
        for (crdt, library) in CRDTS {
            let key = format!("{} {name}", Encoder::of(crdt).as_u8());
            let [whole, on_base] = states(crdt, &changes(history, library));
            let made = json!({ "whole": told(&whole), "on_base": told(&on_base) });
            let missing = std::env::var_os("TOMBOLO_BLESS").is_some() && !kept.contains_key(&key);
            if missing {
                kept.insert(key.clone(), made.clone());
            }
            assert_eq!(kept.get(&key), Some(&made), "{key}: another state needs another encoder");
        }
    }
    if std::env::var_os("TOMBOLO_BLESS").is_some() {
        std::fs::write(vectors("states.json"), serde_json::to_string_pretty(&kept).unwrap() + "\n").unwrap();
    }
    assert!(kept.len() >= 36);
}

fn a_state_reads_as_the_changes_that_it_was_made_of_and_goes_on(crdt: Crdt) {
    let [mut one, mut two] = [Writer::new(crdt, 1), Writer::new(crdt, 2)];
    one.edit(|edit| edit.text("body")?.push_str("calm sea 🌊"));
    two.receive(&one.changes.clone());
    two.edit(|edit| edit.text("body")?.splice(0, 4, "rough"));
    one.edit(|edit| edit.counter("count")?.increment(7));
    one.receive(&two.changes[1..]);
    let bytes: Vec<_> = one.changes.iter().map(|(_, bytes)| bytes.clone()).collect();
    let [whole, on_base] = states(crdt, &bytes);
    assert_eq!(states(crdt, &bytes), [whole.clone(), on_base.clone()]);
    for state in [whole, on_base] {
        let mut opened = Encoder::of(crdt).decode(&state, actor(3)).unwrap();
        assert_eq!(opened.read().to_value().unwrap(), one.value());
        assert_eq!(opened.version(), one.document.version());
        // What it holds already, once more, and what comes after it.
        let again: Vec<_> = bytes.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
        opened.apply(&again, PatchMode::Off).unwrap();
        let edited = opened.edit(0, PatchMode::Off, |edit| edit.text("body")?.splice(12, 0, "!")).unwrap();
        let mut three = Writer::new(crdt, 4);
        three.receive(&one.changes);
        three.receive(&[(actor(3), edited.change.unwrap().bytes)]);
        assert_eq!(three.value(), opened.read().to_value().unwrap());
    }
}

fn what_waits_has_no_state(crdt: Crdt) {
    let mut one = Writer::new(crdt, 1);
    one.edit(|edit| edit.put("first", Value::I64(1)));
    one.edit(|edit| edit.put("second", Value::I64(2)));
    let change = ForeignChange { bytes: &one.changes[1].1, actor: None };
    assert_eq!(Encoder::of(crdt).encode(None, &[change]), Ok(None));
}

fn a_state_that_was_changed_is_refused_or_read_and_never_panics(crdt: Crdt) {
    let mut one = Writer::new(crdt, 1);
    for _ in 0..20 {
        one.edit(|edit| edit.text("body")?.push_str("tide "));
    }
    let bytes: Vec<_> = one.changes.iter().map(|(_, bytes)| bytes.clone()).collect();
    let state = state(crdt, None, &bytes);
    for at in 0..state.len() {
        assert!(Encoder::of(crdt).decode(&state[..at], actor(2)).is_err(), "{at}");
        let mut flipped = state.clone();
        flipped[at] ^= 0x41;
        drop(Encoder::of(crdt).decode(&flipped, actor(2)));
    }
}

on_both!(
    a_state_reads_as_the_changes_that_it_was_made_of_and_goes_on,
    what_waits_has_no_state,
    a_state_that_was_changed_is_refused_or_read_and_never_panics,
);
