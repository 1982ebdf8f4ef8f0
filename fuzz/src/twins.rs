//! One document on automerge and on yrs: the same edits on both must read the same, or be refused on both.
//!
//! Invariant: of one writer alone, for what two write at the same time may go to either.

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use tombolo::document::{Actor, Crdt, EditError, ForeignChange, ListEdit, MapEdit, OpenDocument, PatchMode, Value};

/// Something to do in a map.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// Puts a value.
    Put(Key, Plain),
    /// Deletes a key.
    Delete(Key),
    /// Splices a text.
    Text(Key, Splice),
    /// Counts.
    Count(Key, i64),
    /// Does something in a map.
    Map(Key, Box<Step>),
    /// Does something in a list.
    List(Key, Turn),
}

/// Something to do in a list.
#[derive(Arbitrary, Debug)]
pub enum Turn {
    /// Inserts a value.
    Insert(u8, Plain),
    /// Deletes an element.
    Delete(u8),
    /// Inserts a text and writes into it.
    InsertText(u8, Splice),
    /// Inserts a map and does something in it.
    InsertMap(u8, Box<Step>),
    /// Splices a text.
    Text(u8, Splice),
    /// Does something in a map.
    Map(u8, Box<Step>),
    /// Does something in a list.
    List(u8, Box<Turn>),
    /// Counts.
    Count(u8, i64),
}

/// Few keys, so that they meet, and one that looks like a tag.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Key {
    /// Plain.
    A,
    /// Plain.
    B,
    /// Not of ASCII.
    Reef,
    /// As values are tagged on yrs.
    Tag,
}

/// A value without its containers.
#[derive(Arbitrary, Debug)]
pub enum Plain {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Word(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A time.
    Time(i64),
    /// A counter.
    Counter(i64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Plain>),
    /// A map of one.
    Map(Key, Box<Plain>),
}

/// Where, how much goes, and what comes.
#[derive(Arbitrary, Debug)]
pub struct Splice {
    at: u8,
    removed: u8,
    inserted: String,
}

/// Takes the steps, one change each, on both; fails where they differ.
///
/// # Panics
/// If they do.
pub fn compare(steps: &[Step]) {
    let [mut one, mut other] = [Crdt::Automerge, Crdt::Yrs].map(|crdt| (OpenDocument::new(crdt, actor()), Vec::new()));
    for step in steps {
        let (left, right) = (take(&mut one, step), take(&mut other, step));
        assert_eq!(left, right, "{step:?}");
        assert_eq!(same(&one.0), same(&other.0), "{step:?}");
    }
    for (document, changes) in [one, other] {
        let foreign: Vec<_> = changes.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
        let again = OpenDocument::load(document.crdt(), Actor::from_bytes([2; 16]), &foreign).expect("its own changes");
        assert_eq!(same(&again), same(&document), "loaded again");
    }
}

fn actor() -> Actor {
    Actor::from_bytes([1; 16])
}

/// Takes a step; answers how it was refused.
fn take((document, changes): &mut (OpenDocument, Vec<Vec<u8>>), step: &Step) -> Option<String> {
    match document.edit(0, PatchMode::Off, |root| map_step(root, step)) {
        Ok(edited) => {
            changes.extend(edited.change.map(|change| change.bytes));
            None
        }
        Err(error) => Some(format!("{error:?}")),
    }
}

/// Floats are compared as they print: what is not a number is not equal to itself.
fn same(document: &OpenDocument) -> String {
    format!("{:?}", document.read().to_value().expect("it reads"))
}

fn map_step(map: &mut MapEdit<'_>, step: &Step) -> Result<(), EditError> {
    match step {
        Step::Put(key, value) => map.put(key.text(), value.value()),
        Step::Delete(key) => map.delete(key.text()).map(drop),
        Step::Text(key, splice) => {
            let mut text = map.text(key.text())?;
            let (at, removed) = splice.within(text.len_utf16());
            text.splice(at, removed, &splice.inserted)
        }
        Step::Count(key, by) => map.counter(key.text())?.increment(*by),
        Step::Map(key, step) => map_step(&mut map.map(key.text())?, step),
        Step::List(key, turn) => list_turn(&mut map.list(key.text())?, turn),
    }
}

fn list_turn(list: &mut ListEdit<'_>, turn: &Turn) -> Result<(), EditError> {
    // One place beyond the end now and then.
    let place = |at: &u8| usize::from(*at) % (list.len() + 2);
    match turn {
        Turn::Insert(at, value) => list.insert(place(at), value.value()),
        Turn::Delete(at) => list.delete(place(at)),
        Turn::InsertText(at, splice) => list.insert_text(place(at))?.push_str(&splice.inserted),
        Turn::InsertMap(at, step) => map_step(&mut list.insert_map(place(at))?, step),
        Turn::Text(at, splice) => {
            let mut text = list.text(place(at))?;
            let (at, removed) = splice.within(text.len_utf16());
            text.splice(at, removed, &splice.inserted)
        }
        Turn::Map(at, step) => map_step(&mut list.map(place(at))?, step),
        Turn::List(at, turn) => list_turn(&mut list.list(place(at))?, turn),
        Turn::Count(at, by) => list.counter(place(at))?.increment(*by),
    }
}

impl Key {
    fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Reef => "r\u{e9}ef \u{1f30a}",
            Self::Tag => "$",
        }
    }
}

impl Splice {
    fn within(&self, length: usize) -> (usize, usize) {
        let at = usize::from(self.at) % (length + 2);
        (at, usize::from(self.removed) % (length.saturating_sub(at) + 2))
    }
}

impl Plain {
    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::I64(*value),
            Self::Float(value) => Value::F64(*value),
            Self::Word(value) => Value::String(value.clone()),
            Self::Bytes(value) => Value::Bytes(value.clone()),
            Self::Time(value) => Value::Timestamp(*value),
            Self::Counter(value) => Value::Counter(*value),
            Self::Text(value) => Value::Text(value.clone()),
            Self::List(values) => Value::List(values.iter().map(Self::value).collect()),
            Self::Map(key, value) => Value::Map([(key.text().to_owned(), value.value())].into()),
        }
    }
}
