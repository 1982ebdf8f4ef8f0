//! The app itself: what it does to a document when somebody adds an item or strikes one off, and what it shows.
//!
//! Invariant: this is all that the real app would have; it knows nothing of the kit.

use std::collections::BTreeSet;

use tombolo::document::{EditError, MapEdit, ReadError, Value, View};

/// Under which key an item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// Under its name.
    ByName,
    /// Under the number of items there are. The mistake: two who add at the same time take one number, and so does
    /// who adds after something was struck off.
    ByCount,
}

/// Adds an item.
pub(crate) fn add(edit: &mut MapEdit<'_>, naming: Naming, item: &str) -> Result<(), EditError> {
    let key = match naming {
        Naming::ByName => item.to_owned(),
        Naming::ByCount => edit.len().to_string(),
    };
    edit.put(&key, item)
}

/// Strikes an item off.
pub(crate) fn strike(edit: &mut MapEdit<'_>, item: &str) -> Result<(), EditError> {
    for key in edit.keys() {
        if edit.get(&key)? == Some(Value::String(item.to_owned())) {
            edit.delete(&key)?;
        }
    }
    Ok(())
}

/// Returns what the list shows.
pub(crate) fn shown(view: &View<'_>) -> Result<BTreeSet<String>, ReadError> {
    let mut items = BTreeSet::new();
    for key in view.keys()? {
        if let Some(Value::String(item)) = view.get(&key)? {
            items.insert(item);
        }
    }
    Ok(items)
}
