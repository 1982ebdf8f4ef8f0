//! Automerge's patches in the terms of the common model.
//!
//! A new container comes as an empty one, followed by the patches that fill it. Marks and conflict
//! flags are no part of the model.

use std::collections::BTreeSet;

use ::automerge::{
    Automerge, ObjId, ObjType, Patch as NativePatch, PatchAction as Native, PatchLog, Prop, ReadDoc, ScalarValue,
    Value as NativeValue,
};

use super::read::scalar;
use crate::document::{Patch, PatchAction, PathStep, Value};

pub(super) fn from_log(document: &Automerge, log: &mut PatchLog) -> Vec<Patch> {
    let mut native = document.make_patches(log);
    settle_counters(document, &mut native);
    native.into_iter().filter_map(|patch| from_native(document, patch)).collect()
}

/// Of a counter that two devices made under one key, the library may tell the value of the one that does not count:
/// where a counter is put, what the document says in the end is told, and no more.
fn settle_counters(document: &Automerge, patches: &mut Vec<NativePatch>) {
    let mut settled = BTreeSet::new();
    for patch in patches.iter_mut() {
        if let Native::PutMap { key, value, .. } = &mut patch.action
            && is_counter(&value.0)
            && let Ok(Some((now, id))) = document.get(&patch.obj, key.as_str())
            && is_counter(&now)
        {
            *value = (now.into_owned(), id);
            settled.insert((patch.obj.clone(), key.clone()));
        }
    }
    patches.retain(|patch| match &patch.action {
        Native::Increment { prop: Prop::Map(key), .. } => !settled.contains(&(patch.obj.clone(), key.clone())),
        _ => true,
    });
}

fn is_counter(value: &NativeValue<'_>) -> bool {
    matches!(value, NativeValue::Scalar(scalar) if matches!(scalar.as_ref(), ScalarValue::Counter(_)))
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
