//! Automerge's patches in the terms of the common model.
//!
//! A new container comes as an empty one, followed by the patches that fill it. Marks and conflict
//! flags are no part of the model.

use ::automerge::{
    Automerge, ObjId, ObjType, Patch as NativePatch, PatchAction as Native, PatchLog, Prop, ReadDoc,
    Value as NativeValue,
};

use super::read::scalar;
use crate::document::{Patch, PatchAction, PathStep, Value};

pub(super) fn from_log(document: &Automerge, log: &mut PatchLog) -> Vec<Patch> {
    document.make_patches(log).into_iter().filter_map(|patch| from_native(document, patch)).collect()
}

fn from_native(document: &Automerge, patch: NativePatch) -> Option<Patch> {
    let mut path: Vec<PathStep> = patch.path.into_iter().map(|(_, prop)| step(prop)).collect();
    let (last, action) = match patch.action {
        Native::PutMap { key, value, .. } => (PathStep::Key(key), put(value.0)),
        Native::PutSeq { index, value, .. } => (PathStep::Index(index), put(value.0)),
        Native::DeleteMap { key } => (PathStep::Key(key), PatchAction::Delete),
        Native::Increment { prop, value } => (step(prop), PatchAction::Increment { by: value }),
        Native::Insert { index, values } => {
            let values = values.iter().map(|(value, ..)| empty(value.clone())).collect();
            (PathStep::Index(index), PatchAction::Insert { values })
        }
        Native::SpliceText { index, value, .. } => {
            let action = PatchAction::SpliceText { index, removed: 0, inserted: value.make_string() };
            return Some(Patch { path, action });
        }
        Native::DeleteSeq { index, length } if is_text(document, &patch.obj) => {
            let action = PatchAction::SpliceText { index, removed: length, inserted: String::new() };
            return Some(Patch { path, action });
        }
        Native::DeleteSeq { index, length } => (PathStep::Index(index), PatchAction::Remove { count: length }),
        Native::Mark { .. } | Native::Conflict { .. } => return None,
    };
    path.push(last);
    Some(Patch { path, action })
}

/// The library reports deletions in texts and lists alike.
fn is_text(document: &Automerge, object: &ObjId) -> bool {
    matches!(document.object_type(object), Ok(ObjType::Text))
}

fn step(prop: Prop) -> PathStep {
    match prop {
        Prop::Map(key) => PathStep::Key(key),
        Prop::Seq(index) => PathStep::Index(index),
    }
}

fn put(value: NativeValue<'static>) -> PatchAction {
    PatchAction::Put { value: empty(value) }
}

/// A value as a patch carries it: containers without content.
fn empty(value: NativeValue<'static>) -> Value {
    match value {
        NativeValue::Scalar(native) => scalar(&native),
        NativeValue::Object(ObjType::Map | ObjType::Table) => Value::Map(Default::default()),
        NativeValue::Object(ObjType::List) => Value::List(Vec::new()),
        NativeValue::Object(ObjType::Text) => Value::Text(String::new()),
    }
}
