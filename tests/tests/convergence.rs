//! The histories of `tests/vectors/convergence.json`: what every version, on every platform, must come to.
//!
//! Each history is a script of edits by several people, and for each CRDT the changes that the version
//! which wrote it made of them, what they come to, and the version of the document then. Later versions
//! replay the changes in any order and must come to the same; and typing the script anew must read the same.
//! `TOMBOLO_BLESS=1` fills in what is missing of new histories, and never changes what is there.

#![cfg(test)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value as Json, json};
use tombolo::document::{
    Actor, Crdt, EditError, ForeignChange, ListEdit, MapEdit, OpenDocument, PatchMode, TextEdit, Value,
};
use tombolo_tests::Chance;

const WALL_MS: i64 = 1_700_000_000_000;
const CRDTS: [(Crdt, &str); 2] = [(Crdt::Automerge, "automerge"), (Crdt::Yrs, "yrs")];
/// Orders of arrival that each history is replayed in.
const ORDERS: u64 = 12;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/convergence.json")
}

fn histories() -> Vec<Json> {
    serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap()
}

fn list(json: &Json) -> &[Json] {
    json.as_array().unwrap()
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap()
}

fn number(json: &Json) -> usize {
    usize::try_from(json.as_u64().unwrap()).unwrap()
}

fn actor(name: &str) -> Actor {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes().cycle()).for_each(|(byte, letter)| *byte = letter);
    Actor::from_bytes(bytes)
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => (*truth).into(),
        Json::Number(number) => number.as_i64().map_or_else(|| number.as_f64().unwrap().into(), Value::I64),
        Json::String(string) => string.as_str().into(),
        Json::Array(elements) => Value::List(elements.iter().map(value).collect()),
        Json::Object(entries) => match entries.iter().next().map(|(key, inner)| (key.as_str(), inner)) {
            Some(("counter", inner)) => Value::Counter(inner.as_i64().unwrap()),
            Some(("time", inner)) => Value::Timestamp(inner.as_i64().unwrap()),
            Some(("bytes", inner)) => Value::Bytes(BASE64.decode(text(inner).as_bytes()).unwrap()),
            _ => Value::Map(entries.iter().map(|(key, inner)| (key.clone(), value(inner))).collect()),
        },
    }
}

fn in_map(map: &mut MapEdit<'_>, path: &[Json], act: &[Json]) -> Result<(), EditError> {
    let key = text(&path[0]);
    match path.get(1) {
        Some(Json::Number(_)) => in_list(&mut map.list(key)?, &path[1..], act),
        Some(_) => in_map(&mut map.map(key)?, &path[1..], act),
        None => match text(&act[0]) {
            "put" => map.put(key, value(&act[2])),
            "delete" => map.delete(key).map(drop),
            "splice" => splice(&mut map.text(key)?, act),
            "add" => map.counter(key)?.increment(act[2].as_i64().unwrap()),
            other => panic!("no map does {other}"),
        },
    }
}

fn in_list(list: &mut ListEdit<'_>, path: &[Json], act: &[Json]) -> Result<(), EditError> {
    let index = number(&path[0]);
    match path.get(1) {
        Some(Json::Number(_)) => in_list(&mut list.list(index)?, &path[1..], act),
        Some(_) => in_map(&mut list.map(index)?, &path[1..], act),
        None => match text(&act[0]) {
            "put" => list.put(index, value(&act[2])),
            "insert" => list.insert(index, value(&act[2])),
            "delete" => list.delete(index),
            other => panic!("no list does {other}"),
        },
    }
}

fn splice(edit: &mut TextEdit<'_>, act: &[Json]) -> Result<(), EditError> {
    edit.splice(number(&act[2]), number(&act[3]), text(&act[4]))
}

/// Returns what the author of a step has before it: what it names, the author's own, and what those had.
fn seen_by(steps: &[Json], at: usize) -> BTreeSet<usize> {
    let own = (0..at).filter(|earlier| steps[*earlier]["by"] == steps[at]["by"]);
    let direct = list(&steps[at]["sees"]).iter().map(number).chain(own);
    direct.flat_map(|earlier| seen_by(steps, earlier).into_iter().chain([earlier])).collect()
}

/// Types a script; returns a change for each step.
fn typed(crdt: Crdt, steps: &[Json]) -> Vec<Vec<u8>> {
    let mut changes: Vec<Vec<u8>> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let author = actor(text(&step["by"]));
        let before: Vec<_> = seen_by(steps, at).into_iter().map(|seen| foreign(&changes, steps, seen)).collect();
        let mut document = OpenDocument::load(crdt, author, &before).unwrap();
        let does = list(&step["does"]);
        let edited = document.edit(WALL_MS, PatchMode::Off, |root| {
            does.iter().try_for_each(|act| in_map(root, list(&act[1]), list(act)))
        });
        changes.push(edited.unwrap().change.unwrap().bytes);
    }
    changes
}

fn foreign<'a>(changes: &'a [Vec<u8>], steps: &[Json], at: usize) -> ForeignChange<'a> {
    ForeignChange { bytes: &changes[at], actor: Some(actor(text(&steps[at]["by"]))) }
}

/// Loads changes in an order, some at once and some one by one.
fn loaded(crdt: Crdt, changes: &[Vec<u8>], steps: &[Json], order: &[usize], at_once: usize) -> OpenDocument {
    let all: Vec<_> = order.iter().map(|at| foreign(changes, steps, *at)).collect();
    let (first, rest) = all.split_at(at_once.min(all.len()));
    let mut document = OpenDocument::load(crdt, actor("reader"), first).unwrap();
    for change in rest {
        document.apply(&[*change], PatchMode::Off).unwrap();
    }
    document.verify().unwrap();
    document
}

fn read(document: &OpenDocument) -> Json {
    document.read().to_value().unwrap().to_json()
}

fn made(crdt: Crdt, steps: &[Json]) -> Json {
    let changes = typed(crdt, steps);
    let order: Vec<_> = (0..steps.len()).collect();
    let document = loaded(crdt, &changes, steps, &order, 0);
    json!({
        "changes": changes.iter().map(|change| BASE64.encode(change)).collect::<Vec<_>>(),
        "value": read(&document),
        "version": HEXLOWER.encode(document.version().as_bytes()),
    })
}

fn kept_changes(kept: &Json) -> Vec<Vec<u8>> {
    list(&kept["changes"]).iter().map(|change| BASE64.decode(text(change).as_bytes()).unwrap()).collect()
}

#[test]
fn histories_of_earlier_versions_come_to_what_they_came_to_then() {
    let mut histories = histories();
    if std::env::var_os("TOMBOLO_BLESS").is_some() {
        for history in &mut histories {
            for (crdt, name) in CRDTS {
                if history.get(name).is_none() {
                    history[name] = made(crdt, list(&history["steps"]));
                }
            }
        }
        std::fs::write(path(), serde_json::to_string_pretty(&histories).unwrap() + "\n").unwrap();
    }
    assert!(histories.len() >= 18, "histories are added, never taken away");
    let mut chance = Chance::new(1, "orders");
    for history in &histories {
        let steps = list(&history["steps"]);
        for (crdt, name) in CRDTS {
            let kept = &history[name];
            let changes = kept_changes(kept);
            let mut order: Vec<_> = (0..steps.len()).collect();
            for round in 0..ORDERS {
                let document = loaded(crdt, &changes, steps, &order, chance.index(steps.len() + 1));
                let what = format!("{}, {name}, order {round}: {order:?}", history["name"]);
                assert_eq!(read(&document), kept["value"], "{what}");
                assert_eq!(HEXLOWER.encode(document.version().as_bytes()), text(&kept["version"]), "{what}");
                for at in (1..order.len()).rev() {
                    order.swap(at, chance.index(at + 1));
                }
            }
        }
    }
}

#[test]
fn scripts_that_are_typed_anew_read_as_they_did() {
    for history in histories() {
        for (crdt, name) in CRDTS {
            assert_eq!(
                made(crdt, list(&history["steps"]))["value"],
                history[name]["value"],
                "{}, {name}",
                history["name"]
            );
        }
        if history["same_on_both"] == json!(true) {
            assert_eq!(history["automerge"]["value"], history["yrs"]["value"], "{}", history["name"]);
        }
    }
}
