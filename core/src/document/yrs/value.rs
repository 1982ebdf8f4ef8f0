//! How values lie in yrs, and reading them.
//!
//! Scalars are `Any` values. What `Any` cannot tell apart is a map of one tagged entry:
//! `{"$timestamp": 8 bytes}` and, because a large number would become a float, `{"$i64": 8 bytes}`.
//! A counter is a shared map with the entry [`COUNTER`] and one sum per actor. Keys of the app that
//! begin with `$` get another `$` in front.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use ::yrs::branch::{Branch, BranchPtr};
use ::yrs::types::text::YChange;
use ::yrs::{Any, Array, GetString, Map, MapRef, Number, Out, ReadTxn, Text, TextRef, Transaction};

use crate::document::{DEPTH_MAX, PathStep, ReadError, Value};

pub(in crate::document) struct YrsView<'d> {
    transaction: Transaction<'d>,
    root: MapRef,
}

impl<'d> YrsView<'d> {
    pub(super) fn new(transaction: Transaction<'d>, root: &MapRef) -> Self {
        Self { transaction, root: root.clone() }
    }

    pub(in crate::document) fn keys(&self) -> Vec<String> {
        keys(&self.transaction, &self.root)
    }

    pub(in crate::document) fn at(&self, path: &[PathStep]) -> Result<Option<Value>, ReadError> {
        let mut found = Out::YMap(self.root.clone());
        for step in path {
            let next = match (&found, step) {
                (Out::YMap(map), PathStep::Key(key)) if !is_counter(&self.transaction, map) => {
                    map.get(&self.transaction, &escaped(key))
                }
                (Out::YArray(list), PathStep::Index(index)) => {
                    u32::try_from(*index).ok().and_then(|index| list.get(&self.transaction, index))
                }
                _ => None,
            };
            let Some(next) = next else { return Ok(None) };
            found = next;
        }
        value(&self.transaction, &found, path.len()).map(Some)
    }
}

/// The sorted keys of a map, as the app knows them.
pub(super) fn keys<T: ReadTxn>(transaction: &T, map: &MapRef) -> Vec<String> {
    let mut keys: Vec<String> = map.keys(transaction).map(|key| unescaped(key).to_owned()).collect();
    keys.sort_unstable();
    keys
}

/// Copies a value with all it contains.
pub(super) fn value<T: ReadTxn>(transaction: &T, out: &Out, depth: usize) -> Result<Value, ReadError> {
    if depth > DEPTH_MAX {
        return Err(ReadError::TooDeep);
    }
    Ok(match out {
        Out::Any(any) => scalar(any, depth)?,
        Out::YText(text) => Value::Text(text.get_string(transaction)),
        Out::YMap(map) if is_counter(transaction, map) => Value::Counter(sum(transaction, map)),
        Out::YMap(map) => {
            let entries = map
                .iter(transaction)
                .map(|(key, out)| Ok((unescaped(key).to_owned(), value(transaction, &out, depth + 1)?)));
            Value::Map(entries.collect::<Result<_, _>>()?)
        }
        Out::YArray(list) => {
            let elements = list.iter(transaction).map(|out| value(transaction, &out, depth + 1));
            Value::List(elements.collect::<Result<_, _>>()?)
        }
        // Types only the native escape hatch writes are no part of the model.
        _ => Value::Null,
    })
}

/// The common form of an `Any`.
fn scalar(any: &Any, depth: usize) -> Result<Value, ReadError> {
    if depth > DEPTH_MAX {
        return Err(ReadError::TooDeep);
    }
    Ok(match any {
        Any::Null | Any::Undefined => Value::Null,
        Any::Bool(truth) => Value::Bool(*truth),
        Any::Number(Number::Int(number)) => Value::I64(*number),
        Any::Number(Number::Float(number)) => Value::F64(*number),
        Any::String(string) => Value::String(string.to_string()),
        Any::Buffer(bytes) => Value::Bytes(bytes.to_vec()),
        Any::Array(elements) => {
            Value::List(elements.iter().map(|any| scalar(any, depth + 1)).collect::<Result<_, _>>()?)
        }
        Any::Map(entries) => match tagged(entries) {
            Some(value) => value,
            None => {
                let entries = entries.iter().map(|(key, any)| Ok((key.clone(), scalar(any, depth + 1)?)));
                Value::Map(entries.collect::<Result<_, _>>()?)
            }
        },
    })
}

fn tagged(entries: &HashMap<String, Any>) -> Option<Value> {
    let (tag, Any::Buffer(bytes)) = entries.iter().next()? else {
        return None;
    };
    let number = i64::from_be_bytes(bytes.as_ref().try_into().ok()?);
    match (tag.as_str(), entries.len()) {
        (TIMESTAMP, 1) => Some(Value::Timestamp(number)),
        (LARGE, 1) => Some(Value::I64(number)),
        _ => None,
    }
}

/// The `Any` form of a scalar; containers have none.
pub(super) fn any(scalar: &Value) -> Option<Any> {
    Some(match scalar {
        Value::Null => Any::Null,
        Value::Bool(truth) => Any::Bool(*truth),
        Value::I64(number) => number_any(*number),
        Value::F64(number) => Any::Number(Number::Float(*number)),
        Value::String(string) => Any::String(Arc::from(string.as_str())),
        Value::Bytes(bytes) => Any::Buffer(Arc::from(bytes.as_slice())),
        Value::Timestamp(ms) => tag(TIMESTAMP, *ms),
        Value::Counter(_) | Value::Text(_) | Value::Map(_) | Value::List(_) => return None,
    })
}

/// The encoding keeps a number of at most 31 bits a whole number.
pub(super) fn number_any(number: i64) -> Any {
    if number.unsigned_abs() <= PLAIN_MAX { Any::Number(Number::Int(number)) } else { tag(LARGE, number) }
}

fn tag(tag: &str, number: i64) -> Any {
    let bytes: Arc<[u8]> = Arc::from(number.to_be_bytes());
    Any::Map(Arc::new(HashMap::from([(tag.to_owned(), Any::Buffer(bytes))])))
}

pub(super) fn is_counter<T: ReadTxn>(transaction: &T, map: &MapRef) -> bool {
    map.contains_key(transaction, COUNTER)
}

/// The sum of a counter: wrapping, so that the order of additions cannot matter.
pub(super) fn sum<T: ReadTxn>(transaction: &T, counter: &MapRef) -> i64 {
    let sums = counter.iter(transaction).filter(|(key, _)| *key != COUNTER);
    sums.fold(0, |sum, (_, out)| sum.wrapping_add(number(&out)))
}

/// The number of an actor's sum; whatever else is there counts nothing.
pub(super) fn number(out: &Out) -> i64 {
    match out {
        Out::Any(any) => scalar(any, 0).ok().and_then(|value| value.as_i64()).unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn escaped(key: &str) -> Cow<'_, str> {
    if key.starts_with(ESCAPE) { Cow::Owned(format!("{ESCAPE}{key}")) } else { Cow::Borrowed(key) }
}

pub(super) fn unescaped(key: &str) -> &str {
    match key.strip_prefix(ESCAPE) {
        Some(rest) if rest.starts_with(ESCAPE) => rest,
        _ => key,
    }
}

/// How deep containers nest, roots being at depth 0; whatever their types, for a hostile change may
/// put entries into a list and elements into a map.
pub(super) fn deepest<T: ReadTxn>(transaction: &T) -> usize {
    let mut deepest = 0;
    let mut open: Vec<(BranchPtr, usize)> = Vec::new();
    open.extend(transaction.root_refs().filter_map(|(_, out)| Some((branch(&out)?, 0))));
    while let Some((branch_ptr, depth)) = open.pop() {
        deepest = deepest.max(depth);
        let entries = MapRef::from(branch_ptr);
        open.extend(entries.iter(transaction).filter_map(|(_, out)| Some((branch(&out)?, depth + 1))));
        // The list iterator does not end on a string with surrogate pairs; the text's does.
        let elements = TextRef::from(branch_ptr).diff(transaction, YChange::identity);
        let containers = elements.iter().filter_map(|element| branch(&element.insert));
        open.extend(containers.map(|container| (container, depth + 1)));
    }
    deepest
}

fn branch(out: &Out) -> Option<BranchPtr> {
    out.try_branch().map(|branch: &Branch| BranchPtr::from(branch))
}

/// The entry that makes a shared map a counter.
pub(super) const COUNTER: &str = "$counter";

const TIMESTAMP: &str = "$timestamp";
const LARGE: &str = "$i64";
const ESCAPE: char = '$';

/// The largest magnitude that the v1 encoding keeps as a whole number.
const PLAIN_MAX: u64 = 0x7FFF_FFFF;
