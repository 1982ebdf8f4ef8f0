//! Reading a document: copies of its values, taken at one point.
//!
//! A view borrows the document, so nothing changes while it is open. What it returns is owned.

use super::automerge::AutomergeView;
use super::yrs::YrsView;
use super::{PathStep, ReadError, Value};

/// A document open for reading.
pub struct View<'d>(pub(super) Inner<'d>);

pub(super) enum Inner<'d> {
    Automerge(AutomergeView<'d>),
    Yrs(YrsView<'d>),
    /// The document must be loaded again first.
    Damaged,
}

impl View<'_> {
    /// Returns what is under a key of the root, with all it contains.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, key: &str) -> Result<Option<Value>, ReadError> {
        self.at(&[PathStep::Key(key.to_owned())])
    }

    /// Returns what is at a path, with all it contains.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn at(&self, path: &[PathStep]) -> Result<Option<Value>, ReadError> {
        match &self.0 {
            Inner::Automerge(view) => view.at(path),
            Inner::Yrs(view) => view.at(path),
            Inner::Damaged => Err(ReadError::ReloadRequired),
        }
    }

    /// Returns the keys of the root in order.
    ///
    /// # Errors
    /// [`ReadError::ReloadRequired`].
    pub fn keys(&self) -> Result<Vec<String>, ReadError> {
        match &self.0 {
            Inner::Automerge(view) => Ok(view.keys()),
            Inner::Yrs(view) => Ok(view.keys()),
            Inner::Damaged => Err(ReadError::ReloadRequired),
        }
    }

    /// Returns the string of the text or string under a key of the root.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn text(&self, key: &str) -> Result<Option<String>, ReadError> {
        Ok(match self.get(key)? {
            Some(Value::Text(string) | Value::String(string)) => Some(string),
            _ => None,
        })
    }

    /// Returns the whole document as a map.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn to_value(&self) -> Result<Value, ReadError> {
        Ok(self.at(&[])?.unwrap_or_else(|| Value::Map(Default::default())))
    }
}

impl From<&str> for PathStep {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for PathStep {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}
