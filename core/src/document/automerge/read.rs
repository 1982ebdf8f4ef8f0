//! Reading values out of automerge, from a document or from inside an edit.

use ::automerge::{Automerge, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, Value as NativeValue};

use crate::document::{DEPTH_MAX, PathStep, ReadError, Value};

pub(in crate::document) struct AutomergeView<'d>(&'d Automerge);

impl<'d> AutomergeView<'d> {
    pub(super) fn new(document: &'d Automerge) -> Self {
        Self(document)
    }

    pub(in crate::document) fn keys(&self) -> Vec<String> {
        self.0.keys(ROOT).collect()
    }

    pub(in crate::document) fn at(&self, path: &[PathStep]) -> Result<Option<Value>, ReadError> {
        let mut found = (NativeValue::map(), ROOT);
        for step in path {
            let next = match (&found.0, step) {
                (NativeValue::Object(ObjType::Map | ObjType::Table), PathStep::Key(key)) => {
                    self.0.get(&found.1, key.as_str())
                }
                (NativeValue::Object(ObjType::List), PathStep::Index(index)) => self.0.get(&found.1, *index),
                _ => return Ok(None),
            };
            let Ok(Some(next)) = next else {
                return Ok(None);
            };
            found = next;
        }
        value(self.0, &found.0, &found.1, path.len()).map(Some)
    }
}

/// Copies a value with all it contains.
pub(super) fn value<R: ReadDoc>(
    document: &R,
    native: &NativeValue<'_>,
    object: &ObjId,
    depth: usize,
) -> Result<Value, ReadError> {
    if depth > DEPTH_MAX {
        return Err(ReadError::TooDeep);
    }
    Ok(match native {
        NativeValue::Scalar(scalar) => self::scalar(scalar),
        NativeValue::Object(ObjType::Text) => Value::Text(document.text(object).unwrap_or_default()),
        NativeValue::Object(ObjType::Map | ObjType::Table) => {
            let entries = document.map_range(object, ..).map(|item| {
                let child = value(document, &item.value.clone().into(), &item.id(), depth + 1)?;
                Ok((item.key.to_string(), child))
            });
            Value::Map(entries.collect::<Result<_, _>>()?)
        }
        NativeValue::Object(ObjType::List) => {
            let elements = document
                .list_range(object, ..)
                .map(|item| value(document, &item.value.clone().into(), &item.id(), depth + 1));
            Value::List(elements.collect::<Result<_, _>>()?)
        }
    })
}

/// The common form of a scalar. An unsigned number that does not fit becomes a floating-point one
/// and a scalar of a later automerge its bytes; the edit surface writes neither.
pub(super) fn scalar(scalar: &ScalarValue) -> Value {
    match scalar {
        ScalarValue::Null => Value::Null,
        ScalarValue::Boolean(truth) => Value::Bool(*truth),
        ScalarValue::Int(number) => Value::I64(*number),
        ScalarValue::Uint(number) => i64::try_from(*number).map_or(Value::F64(*number as f64), Value::I64),
        ScalarValue::F64(number) => Value::F64(*number),
        ScalarValue::Str(string) => Value::String(string.to_string()),
        ScalarValue::Bytes(bytes) | ScalarValue::Unknown { bytes, .. } => Value::Bytes(bytes.clone()),
        ScalarValue::Counter(counter) => Value::Counter(i64::from(counter)),
        ScalarValue::Timestamp(ms) => Value::Timestamp(*ms),
    }
}

/// The sum of a counter, if the scalar is one.
pub(super) fn counter(scalar: &ScalarValue) -> Option<i64> {
    match scalar {
        ScalarValue::Counter(counter) => Some(i64::from(counter)),
        _ => None,
    }
}
