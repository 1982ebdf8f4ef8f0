//! Workspaces, their records, attestations and epoch secrets, as rows.

use rusqlite::Row;
use tombolo_crypto::{BlindingKey, Entropy, EpochSecret};
use tombolo_protocol::ids::{EpochId, WorkspaceId};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::Record;

use super::sql::sql;
use super::{StoreError, Tx, exact};

/// How far this device has come with a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkspaceState {
    /// It holds an invite and waits for a relay to take it.
    Joining,
    /// It is a member.
    Member,
}

/// A workspace's own row.
pub(crate) struct WorkspaceRow {
    pub(crate) id: WorkspaceId,
    pub(crate) state: WorkspaceState,
    pub(crate) name: Option<String>,
    /// The invite link of a join that is under way.
    pub(crate) join: Option<String>,
    pub(crate) blinding: Option<BlindingKey>,
    /// Whether the disk has changed one of them; it is `None` then.
    pub(crate) damaged: bool,
}

/// Rows that could be read, and how many the disk has changed.
pub(crate) struct Salvaged<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) damaged: usize,
}

impl<T> Salvaged<T> {
    fn take(&mut self, row: Option<T>) {
        match row {
            Some(row) => self.rows.push(row),
            None => self.damaged += 1,
        }
    }
}

impl Tx<'_> {
    pub(crate) fn workspaces(&self) -> Result<Vec<(i64, WorkspaceRow)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("workspaces"))?;
        let mut rows = statement.query([])?;
        let mut workspaces = Vec::new();
        while let Some(row) = rows.next()? {
            workspaces.push((row.get(0)?, self.read_workspace(row)?));
        }
        Ok(workspaces)
    }

    fn read_workspace(&self, row: &Row<'_>) -> Result<WorkspaceRow, StoreError> {
        let id = WorkspaceId::from_bytes(exact("workspace", row.get(1)?)?);
        let mut damaged = false;
        let mut open = |column, index| -> Result<Option<Vec<u8>>, StoreError> {
            let opened = self.open_optional("workspace", column, id.as_bytes(), row.get(index)?);
            damaged |= opened.is_err();
            Ok(opened.ok().flatten())
        };
        let (name, join, blinding) = (open("name", 3)?, open("join", 4)?, open("blinding", 5)?);
        Ok(WorkspaceRow {
            id,
            state: if row.get::<_, i64>(2)? == 0 { WorkspaceState::Joining } else { WorkspaceState::Member },
            name: name.and_then(|bytes| String::from_utf8(bytes).ok()),
            join: join.and_then(|bytes| String::from_utf8(bytes).ok()),
            blinding: blinding.and_then(|bytes| bytes.try_into().ok()).map(BlindingKey::from_bytes),
            damaged,
        })
    }

    pub(crate) fn insert_workspace(&self, row: &WorkspaceRow, entropy: &mut dyn Entropy) -> Result<i64, StoreError> {
        let (name, join, blinding) = self.seal_workspace(row, entropy);
        let mut statement = self.transaction.prepare_cached(sql!("insert_workspace"))?;
        Ok(statement.insert((row.id.as_bytes(), row.state as i64, name, join, blinding))?)
    }

    pub(crate) fn update_workspace(
        &self,
        workspace: i64,
        row: &WorkspaceRow,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let (name, join, blinding) = self.seal_workspace(row, entropy);
        let mut statement = self.transaction.prepare_cached(sql!("update_workspace"))?;
        statement.execute((workspace, row.state as i64, name, join, blinding))?;
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "the three sealed columns of one row")]
    fn seal_workspace(
        &self,
        row: &WorkspaceRow,
        entropy: &mut dyn Entropy,
    ) -> (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>) {
        let mut seal = |column, value: Option<&[u8]>| {
            value.map(|value| self.cipher.seal("workspace", column, row.id.as_bytes(), value, entropy))
        };
        let name = seal("name", row.name.as_deref().map(str::as_bytes));
        let join = seal("join", row.join.as_deref().map(str::as_bytes));
        let blinding = seal("blinding", row.blinding.as_ref().map(|key| key.as_bytes().as_slice()));
        (name, join, blinding)
    }

    pub(crate) fn insert_record(
        &self,
        workspace: i64,
        record: &Record,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let id = record.id();
        let sealed = self.cipher.seal("record", "bytes", id.as_bytes(), &record.encode(), entropy);
        self.transaction.prepare_cached(sql!("insert_record"))?.execute((workspace, id.as_bytes(), sealed))?;
        Ok(())
    }

    pub(crate) fn records(&self, workspace: i64) -> Result<Salvaged<Record>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("records"))?;
        let mut rows = statement.query([workspace])?;
        let mut records = Salvaged { rows: Vec::new(), damaged: 0 };
        while let Some(row) = rows.next()? {
            let (id, sealed): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let bytes = self.open_value("record", "bytes", &id, &sealed).ok();
            records.take(bytes.and_then(|bytes| Record::decode(&bytes).ok()));
        }
        Ok(records)
    }

    pub(crate) fn insert_attestation(
        &self,
        workspace: i64,
        attestation: &Signed<Attestation>,
    ) -> Result<(), StoreError> {
        let hash = attestation.item_hash().to_leaf();
        let mut statement = self.transaction.prepare_cached(sql!("insert_attestation"))?;
        statement.execute((workspace, hash, attestation.encode()))?;
        Ok(())
    }

    pub(crate) fn attestations(&self, workspace: i64) -> Result<Salvaged<Signed<Attestation>>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("attestations"))?;
        let mut rows = statement.query([workspace])?;
        let mut attestations = Salvaged { rows: Vec::new(), damaged: 0 };
        while let Some(row) = rows.next()? {
            let (hash, bytes): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let attestation = Signed::<Attestation>::decode(&bytes).ok();
            // The name covers statement and signature, so what has its name is as it was verified.
            attestations.take(attestation.filter(|read| read.item_hash().to_leaf() == *hash));
        }
        Ok(attestations)
    }

    pub(crate) fn insert_epoch(
        &self,
        workspace: i64,
        epoch: &EpochId,
        secret: &EpochSecret,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let sealed = self.cipher.seal("epoch", "secret", epoch.as_bytes(), secret.as_bytes(), entropy);
        self.transaction.prepare_cached(sql!("insert_epoch"))?.execute((workspace, epoch.as_bytes(), sealed))?;
        Ok(())
    }

    pub(crate) fn epochs(&self, workspace: i64) -> Result<Salvaged<(EpochId, EpochSecret)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("epochs"))?;
        let mut rows = statement.query([workspace])?;
        let mut epochs = Salvaged { rows: Vec::new(), damaged: 0 };
        while let Some(row) = rows.next()? {
            let id = EpochId::from_bytes(exact("epoch", row.get(0)?)?);
            let sealed: Vec<u8> = row.get(1)?;
            let secret = self.open_value("epoch", "secret", id.as_bytes(), &sealed).ok();
            let secret = secret.and_then(|bytes| bytes.try_into().ok()).map(EpochSecret::from_bytes);
            epochs.take(secret.map(|secret| (id, secret)));
        }
        Ok(epochs)
    }

    pub(crate) fn place_record(&self, relay: i64, workspace: i64, item: &ItemHash) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("place_record"))?;
        statement.execute((relay, workspace, item.to_leaf()))?;
        Ok(())
    }

    /// Returns the records and attestations that a relay's log is known to hold, as leaves.
    pub(crate) fn placed_records(
        &self,
        relay: i64,
        workspace: i64,
    ) -> Result<std::collections::BTreeSet<[u8; 33]>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("placed_records"))?;
        let mut rows = statement.query([relay, workspace])?;
        let mut placed = std::collections::BTreeSet::new();
        while let Some(row) = rows.next()? {
            placed.insert(exact("placed_record", row.get(0)?)?);
        }
        Ok(placed)
    }
}
