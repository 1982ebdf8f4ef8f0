//! Reading scenarios: blocks of lines, each a verb and its words.

use serde_json::Value as Json;
use tombolo::document::Value;

use crate::fault::Fault;

/// What all languages run.
pub const SCENARIOS: &str = include_str!("../scenarios.txt");
/// What devices of several languages run together.
pub const TOGETHER: &str = include_str!("../together.txt");

/// One scenario, for one CRDT.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// Its steps, each a verb and its words.
    pub steps: Vec<Vec<String>>,
}

/// Reads scenarios; one for each CRDT where it says so.
#[must_use]
pub fn read(text: &str) -> Vec<Scenario> {
    let mut blocks: Vec<(Vec<String>, Vec<Vec<String>>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words = words(line);
        match (words.first().map(String::as_str), blocks.last_mut()) {
            (None, _) => {}
            (Some("scenario"), _) => blocks.push((words[1..].to_vec(), Vec::new())),
            (Some(_), Some((_, steps))) => steps.push(words),
            (Some(_), None) => {}
        }
    }
    blocks.into_iter().flat_map(|(head, steps)| of_block(&head, &steps)).collect()
}

fn of_block(head: &[String], steps: &[Vec<String>]) -> Vec<Scenario> {
    let name = head.first().cloned().unwrap_or_default();
    if !head.iter().any(|word| word == "each-crdt") {
        return vec![Scenario { name, steps: steps.to_vec() }];
    }
    let with = |crdt: &str| {
        let word = |word: &String| if word == "CRDT" { crdt.to_owned() } else { word.clone() };
        let steps = steps.iter().map(|step| step.iter().map(word).collect()).collect();
        Scenario { name: format!("{name} {crdt}"), steps }
    };
    vec![with("automerge"), with("yrs")]
}

/// Cuts a line into words: bare ones, and JSON, whose strings may hold spaces.
#[must_use]
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for character in line.trim().chars() {
        if character == ' ' && !quoted {
            words.push(std::mem::take(&mut word));
            continue;
        }
        word.push(character);
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Takes a word of JSON for a value.
///
/// # Errors
/// [`Fault`] if it is no JSON.
pub fn plain(word: &str) -> Result<Value, Fault> {
    Ok(of_json(serde_json::from_str(word)?))
}

fn of_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::I64(whole),
            None => Value::F64(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(text),
        Json::Array(values) => Value::List(values.into_iter().map(of_json).collect()),
        Json::Object(entries) => Value::Map(entries.into_iter().map(|(key, value)| (key, of_json(value))).collect()),
    }
}

/// Takes texts, counters and moments for the strings and numbers that the scenarios have for them.
#[must_use]
pub fn bare(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::String(text),
        Value::Counter(number) | Value::Timestamp(number) => Value::I64(number),
        Value::List(values) => Value::List(values.into_iter().map(bare).collect()),
        Value::Map(entries) => Value::Map(entries.into_iter().map(|(key, value)| (key, bare(value))).collect()),
        value => value,
    }
}
