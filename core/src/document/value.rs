//! A plain value: what an app puts into a document and reads from it.
//!
//! A value holds no link to the document it came from. Containers are owned copies, nested at most
//! [`DEPTH_MAX`](super::DEPTH_MAX) deep when they were read from a document.

use std::collections::BTreeMap;

/// A value of the common document model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    I64(i64),
    /// A floating-point number; NaN and infinities are kept.
    F64(f64),
    /// A string that is replaced as a whole.
    String(String),
    /// Bytes that are replaced as a whole.
    Bytes(Vec<u8>),
    /// Milliseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// A number that concurrent increments add up in.
    Counter(i64),
    /// A string that is edited character by character.
    Text(String),
    /// Values by key.
    Map(BTreeMap<String, Value>),
    /// Values in order.
    List(Vec<Value>),
}

/// What a value is, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Any value that is replaced as a whole.
    Scalar,
    /// A counter.
    Counter,
    /// A text.
    Text,
    /// A map.
    Map,
    /// A list.
    List,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scalar => "a plain value",
            Self::Counter => "a counter",
            Self::Text => "a text",
            Self::Map => "a map",
            Self::List => "a list",
        })
    }
}

impl Value {
    /// Returns what this value is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Text(_) => Kind::Text,
            Self::Map(_) => Kind::Map,
            Self::List(_) => Kind::List,
            _ => Kind::Scalar,
        }
    }

    /// Returns what it says in bytes: keys, strings and bytes at their length, eight for a number, one for a truth value.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::I64(_) | Self::F64(_) | Self::Timestamp(_) | Self::Counter(_) => 8,
            Self::String(string) | Self::Text(string) => string.len() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Map(map) => map.iter().map(|(key, value)| key.len() as u64 + value.bytes()).sum(),
            Self::List(list) => list.iter().map(Self::bytes).sum(),
        }
    }

    /// Returns the string of a string or a text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(string) | Self::Text(string) => Some(string),
            _ => None,
        }
    }

    /// Returns the number of a whole number, a counter or a timestamp.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::I64(number) | Self::Counter(number) | Self::Timestamp(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the number of a floating-point number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F64(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the entries of a map.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the elements of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns the value as JSON for people and tools; bytes become base64, and a number JSON has
    /// no word for becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(truth) => (*truth).into(),
            Self::I64(number) | Self::Timestamp(number) | Self::Counter(number) => (*number).into(),
            Self::F64(number) => (*number).into(),
            Self::String(string) | Self::Text(string) => string.as_str().into(),
            Self::Bytes(bytes) => data_encoding::BASE64.encode(bytes).into(),
            Self::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
            Self::List(elements) => elements.iter().map(Self::to_json).collect(),
        }
    }

    /// Returns what writing this value itself adds to a change, without what it contains.
    pub(super) fn own_bytes(&self) -> usize {
        match self {
            Self::String(string) | Self::Text(string) => string.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

value_from! {
    bool => Bool, i64 => I64, i32 => I64, u32 => I64, f64 => F64, &str => String, String => String,
    Vec<u8> => Bytes, &[u8] => Bytes, BTreeMap<String, Value> => Map, Vec<Value> => List,
}
