//! Workspaces, their records, attestations and epoch secrets, as rows.

use rusqlite::Row;
use tombolo_crypto::{BlindingKey, Entropy, EpochSecret};
use tombolo_protocol::ids::{DeviceId, EpochId, RecordId, WorkspaceId};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::Record;

use super::sql::sql;
use super::{StoreError, Tx, exact};

/// How far this device has come with a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkspaceState {
    /// It holds an invite and waits for a relay to take it.
    Joining,
    /// It is a member.
    Member,
    /// Its user is a member; the workspace may not know this device yet.
    Returning,
    /// Its invite was refused for good.
    Refused(JoinRefusal),
}

/// Why an invite was refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// As many as it allows have joined by it.
    UsedUp,
    /// Its time is over.
    Expired,
    /// A record of the workspace ended it.
    Ended,
}

impl std::fmt::Display for JoinRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UsedUp => "the invite was used by as many as it allows",
            Self::Expired => "the invite's time is over",
            Self::Ended => "the invite was ended",
        })
    }
}

impl WorkspaceState {
    fn code(self) -> i64 {
        match self {
            Self::Joining => 0,
            Self::Member => 1,
            Self::Refused(JoinRefusal::UsedUp) => 2,
            Self::Refused(JoinRefusal::Expired) => 3,
            Self::Refused(JoinRefusal::Ended) => 4,
            Self::Returning => 5,
        }
    }

    /// Recognises a code; what the disk has made of others is learnt again from the records.
    fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Member,
            2 => Self::Refused(JoinRefusal::UsedUp),
            3 => Self::Refused(JoinRefusal::Expired),
            4 => Self::Refused(JoinRefusal::Ended),
            5 => Self::Returning,
            _ => Self::Joining,
        }
    }
}

/// A workspace's own row.
pub(crate) struct WorkspaceRow {
    pub(crate) id: WorkspaceId,
    pub(crate) state: WorkspaceState,
    pub(crate) name: Option<String>,
    /// The invite link of a join that is under way.
    pub(crate) join: Option<String>,
    pub(crate) blinding: Option<BlindingKey>,
    /// What its chains of this device differ by from those of an earlier stay in it.
    pub(crate) life: u64,
    /// Whether the disk has changed one of them; it is `None` then.
    pub(crate) damaged: bool,
}

/// Rows that could be read, and how many the disk has changed.
pub(crate) struct Salvaged<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) damaged: usize,
}

impl<T> Salvaged<T> {
    pub(super) fn take(&mut self, row: Option<T>) {
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
            state: WorkspaceState::from_code(row.get(2)?),
            name: name.and_then(|bytes| String::from_utf8(bytes).ok()),
            join: join.and_then(|bytes| String::from_utf8(bytes).ok()),
            blinding: blinding.and_then(|bytes| bytes.try_into().ok()).map(BlindingKey::from_bytes),
            life: self.read_life(&id, row.get(6)?),
            damaged,
        })
    }

    /// Reads a workspace's life; one that the disk has changed becomes another, which was never used.
    fn read_life(&self, id: &WorkspaceId, sealed: Option<Vec<u8>>) -> u64 {
        let Some(sealed) = sealed else {
            return 0;
        };
        let opened = self.open_value("workspace", "life", id.as_bytes(), &sealed);
        let bytes = opened.as_ref().unwrap_or(&sealed);
        bytes.first_chunk().copied().map_or(1, u64::from_be_bytes)
    }

    pub(crate) fn insert_workspace(&self, row: &WorkspaceRow, entropy: &mut dyn Entropy) -> Result<i64, StoreError> {
        let (name, join, blinding) = self.seal_workspace(row, entropy);
        let mut statement = self.transaction.prepare_cached(sql!("insert_workspace"))?;
        let life = (row.life != 0)
            .then(|| self.cipher.seal("workspace", "life", row.id.as_bytes(), &row.life.to_be_bytes(), entropy));
        Ok(statement.insert((row.id.as_bytes(), row.state.code(), name, join, blinding, life))?)
    }

    pub(crate) fn update_workspace(
        &self,
        workspace: i64,
        row: &WorkspaceRow,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let (name, join, blinding) = self.seal_workspace(row, entropy);
        let mut statement = self.transaction.prepare_cached(sql!("update_workspace"))?;
        statement.execute((workspace, row.state.code(), name, join, blinding))?;
        Ok(())
    }

    /// Deletes everything that is held of a workspace.
    pub(crate) fn forget_workspace(&self, workspace: i64) -> Result<(), StoreError> {
        // What refers to others goes before them.
        for statement in [
            sql!("forget_all_declarations"),
            sql!("forget_all_placed"),
            sql!("forget_all_owed"),
            sql!("forget_all_placed_records"),
            sql!("forget_all_logs"),
            sql!("forget_all_agreed"),
            sql!("forget_successions"),
            sql!("forget_statuses"),
            sql!("forget_dependencies"),
            sql!("forget_entries"),
            sql!("forget_pending"),
            sql!("forget_horizons"),
            sql!("forget_vouched"),
            sql!("forget_wanted"),
            sql!("forget_partial"),
            sql!("forget_floors"),
            sql!("forget_chains"),
            sql!("forget_held"),
            sql!("forget_evidence"),
            sql!("forget_quarantine"),
            sql!("forget_saved"),
            sql!("forget_documents"),
            sql!("forget_epochs"),
            sql!("forget_attestations"),
            sql!("forget_records"),
            sql!("forget_workspace"),
        ] {
            self.transaction.prepare_cached(statement)?.execute([workspace])?;
        }
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

    pub(crate) fn delete_record(&self, workspace: i64, id: &RecordId) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("delete_record"))?.execute((workspace, id.as_bytes()))?;
        Ok(())
    }

    pub(crate) fn records(&self, workspace: i64) -> Result<Salvaged<Record>, StoreError> {
        self.salvage(sql!("records"), workspace, |id, sealed| {
            let bytes = self.open_value("record", "bytes", id, sealed).ok()?;
            Record::decode(&bytes).ok()
        })
    }

    /// Reads the values of a workspace that stand beside their names, as far as the disk has left them.
    pub(super) fn salvage<T>(
        &self,
        query: &str,
        workspace: i64,
        read: impl Fn(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Salvaged<T>, StoreError> {
        let mut statement = self.transaction.prepare_cached(query)?;
        let mut rows = statement.query([workspace])?;
        let mut salvaged = Salvaged { rows: Vec::new(), damaged: 0 };
        while let Some(row) = rows.next()? {
            let (name, value): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            salvaged.take(read(&name, &value));
        }
        Ok(salvaged)
    }

    /// Stores a statement under its leaf, which covers the signature too.
    pub(super) fn insert_statement(&self, workspace: i64, name: &ItemHash, bytes: &[u8]) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("insert_attestation"))?;
        statement.execute((workspace, name.to_leaf(), bytes))?;
        Ok(())
    }

    pub(crate) fn insert_attestation(
        &self,
        workspace: i64,
        attestation: &Signed<Attestation>,
    ) -> Result<(), StoreError> {
        self.insert_statement(workspace, &attestation.item_hash(), &attestation.encode())
    }

    pub(crate) fn attestations(&self, workspace: i64) -> Result<Salvaged<Signed<Attestation>>, StoreError> {
        self.salvage(sql!("attestations"), workspace, |name, bytes| {
            let attestation = Signed::<Attestation>::decode(bytes).ok()?;
            // The name covers statement and signature, so what has its name is as it was verified.
            (attestation.item_hash().to_leaf() == name).then_some(attestation)
        })
    }

    pub(crate) fn insert_epoch(
        &self,
        workspace: i64,
        epoch: &EpochId,
        secret: &EpochSecret,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::EpochInClear.is_planted() {
            self.trace(secret.as_bytes())?;
        }
        let sealed = self.cipher.seal("epoch", "secret", epoch.as_bytes(), secret.as_bytes(), entropy);
        self.transaction.prepare_cached(sql!("insert_epoch"))?.execute((workspace, epoch.as_bytes(), sealed))?;
        Ok(())
    }

    pub(crate) fn epochs(&self, workspace: i64) -> Result<Salvaged<(EpochId, EpochSecret)>, StoreError> {
        self.salvage(sql!("epochs"), workspace, |id, sealed| {
            let secret = self.open_value("epoch", "secret", id, sealed).ok()?;
            Some((EpochId::from_bytes(id.try_into().ok()?), EpochSecret::from_bytes(secret.try_into().ok()?)))
        })
    }

    pub(crate) fn place_record(&self, relay: i64, workspace: i64, item: &ItemHash) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("place_record"))?;
        statement.execute((relay, workspace, item.to_leaf()))?;
        Ok(())
    }

    /// Counts the entries of a device that no relay's log is known to hold.
    pub(crate) fn unsent_entries(&self, workspace: i64, device: &DeviceId) -> Result<u64, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("unsent_entries"))?;
        Ok(statement.query_row((workspace, device.as_bytes()), |row| row.get::<_, i64>(0))?.max(0).cast_unsigned())
    }

    /// Tells whether some relay's log is known to hold a record.
    pub(crate) fn is_record_placed(&self, workspace: i64, item: &ItemHash) -> Result<bool, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("is_record_placed"))?;
        Ok(statement.query_row((workspace, item.to_leaf()), |row| row.get(0))?)
    }

    /// Returns the records and attestations that a relay's log is known to hold, as leaves in order.
    pub(crate) fn placed_records(&self, relay: i64, workspace: i64) -> Result<Vec<[u8; 33]>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("placed_records"))?;
        let mut rows = statement.query([relay, workspace])?;
        let mut placed = Vec::new();
        while let Some(row) = rows.next()? {
            placed.push(exact("placed_record", row.get(0)?)?);
        }
        placed.sort_unstable();
        Ok(placed)
    }
}
