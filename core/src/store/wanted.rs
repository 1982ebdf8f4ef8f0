//! The documents that this device asks relays for, as rows.
//!
//! Invariant: what is read back is a set of documents, whatever the disk has made of it; a place in a log names the set that
//! it was taken with.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{ChainId, DocumentId, DocumentTag};

use super::sql::sql;
use super::{StoreError, Tx};

impl Tx<'_> {
    /// Returns the documents of a workspace that are asked for; `None` for all.
    pub(crate) fn wanted(&self, workspace: i64) -> Result<Option<BTreeSet<DocumentId>>, StoreError> {
        if !self.transaction.prepare_cached(sql!("is_partial"))?.exists([workspace])? {
            return Ok(None);
        }
        let mut statement = self.transaction.prepare_cached(sql!("wanted"))?;
        let mut rows = statement.query([workspace])?;
        let mut documents = BTreeSet::new();
        while let Some(row) = rows.next()? {
            if let Value::Blob(bytes) = row.get(0)?
                && let Ok(id) = bytes.try_into()
            {
                documents.insert(DocumentId::from_bytes(id));
            }
        }
        Ok(Some(documents))
    }

    /// Keeps the documents of a workspace that are asked for.
    pub(crate) fn set_wanted(
        &self,
        workspace: i64,
        documents: Option<&BTreeSet<DocumentId>>,
    ) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("forget_wanted"))?.execute([workspace])?;
        self.transaction.prepare_cached(sql!("forget_partial"))?.execute([workspace])?;
        let Some(documents) = documents else {
            return Ok(());
        };
        self.transaction.prepare_cached(sql!("set_partial"))?.execute([workspace])?;
        documents.iter().try_for_each(|document| self.insert_wanted(workspace, document))
    }

    /// Asks for one more document.
    pub(crate) fn insert_wanted(&self, workspace: i64, document: &DocumentId) -> Result<(), StoreError> {
        let mut insert = self.transaction.prepare_cached(sql!("insert_wanted"))?;
        insert.execute((workspace, document.as_bytes()))?;
        Ok(())
    }

    /// Gives places in the logs of a workspace a name under which nothing is wanted.
    pub(crate) fn doubt_wanted(&self, workspace: i64, nobodys: &Digest) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("doubt_wanted"))?.execute((workspace, nobodys))?;
        Ok(())
    }

    /// Lets places in the logs of a workspace that were taken with one set of documents count for another.
    pub(crate) fn rename_wanted(
        &self,
        workspace: i64,
        (before, after): (Option<&Digest>, Option<&Digest>),
    ) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("rename_wanted"))?;
        statement.execute((workspace, before, after))?;
        Ok(())
    }

    /// Lets go what waits for one reason, of other documents than these; tells whether there was something.
    pub(crate) fn release_besides(
        &self,
        workspace: i64,
        reason: u8,
        documents: &BTreeSet<DocumentTag>,
    ) -> Result<bool, StoreError> {
        let mut released = false;
        let mut statement = self.transaction.prepare_cached(sql!("documents_of_held"))?;
        let found = statement.query_map((workspace, reason), |row| row.get(0))?;
        for tag in found.collect::<Result<Vec<Vec<u8>>, _>>()? {
            if documents.iter().all(|document| document.as_bytes().as_slice() != tag) {
                self.transaction.prepare_cached(sql!("release_of_document"))?.execute((workspace, reason, tag))?;
                released = true;
            }
        }
        Ok(released)
    }

    /// Returns the chains of a workspace that are of other documents than these.
    pub(crate) fn chains_besides(
        &self,
        workspace: i64,
        documents: &BTreeSet<DocumentTag>,
    ) -> Result<Vec<ChainId>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("chains_with_documents"))?;
        let mut rows = statement.query([workspace])?;
        let mut chains = Vec::new();
        while let Some(row) = rows.next()? {
            let document = DocumentTag::from_bytes(super::exact("document", row.get(1)?)?);
            if !documents.contains(&document) {
                chains.push(ChainId::from_bytes(super::exact("chain", row.get(0)?)?));
            }
        }
        Ok(chains)
    }
}
