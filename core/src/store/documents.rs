//! Documents, their chains, and the local changes that no entry carries yet, as rows.

use rusqlite::OptionalExtension as _;
use tombolo_crypto::Entropy;
use tombolo_protocol::ids::{
    ChainId, ChainKey, DeviceId, DocumentId, DocumentTag, EntryHash, Incarnation, Instance, RecordId, Stream,
};

use super::pending::{DOCUMENTS_MAX, open_pending, seal_pending};
use super::sql::sql;
use super::{StoreError, Tx, exact};

/// What a document's first entry says of its creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) id: DocumentId,
    pub(crate) crdt: u8,
    /// In which life of its creator's store it was made.
    pub(crate) incarnation: Incarnation,
    pub(crate) random: [u8; 16],
    pub(crate) app_type: String,
}

/// A document's own row.
#[derive(Clone, Debug)]
pub(crate) struct DocumentRow {
    pub(crate) row: i64,
    pub(crate) workspace: i64,
    pub(crate) tag: DocumentTag,
    /// Unknown until the first entry was opened.
    pub(crate) about: Option<About>,
    /// Whether it was known, and the disk has changed it.
    pub(crate) damaged: bool,
}

/// A chain's own row.
#[derive(Clone, Debug)]
pub(crate) struct ChainRow {
    pub(crate) row: i64,
    pub(crate) head_seq: u64,
    pub(crate) head_hash: EntryHash,
}

/// The local changes of a document that no entry carries yet.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) rows: Vec<PendingRow>,
    /// Rows that the disk has changed: kept, and of no use.
    pub(crate) damaged: Vec<i64>,
}

/// One local change that no entry carries yet.
pub(crate) struct PendingRow {
    /// Its document's place, and which of its changes it is: the newest has the greatest.
    pub(crate) row: i64,
    pub(crate) instance: Instance,
    pub(crate) wall_ms: i64,
    pub(crate) change: Vec<u8>,
}

impl About {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.crdt];
        out.extend_from_slice(&self.incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.random);
        out.extend_from_slice(self.app_type.as_bytes());
        out
    }

    fn decode(id: DocumentId, bytes: &[u8]) -> Result<Self, StoreError> {
        const CORRUPT: StoreError = StoreError::Corrupt { table: "document" };
        let (crdt, rest) = bytes.split_first().ok_or(CORRUPT)?;
        let (incarnation, rest) = rest.split_first_chunk::<8>().ok_or(CORRUPT)?;
        let (random, app_type) = rest.split_first_chunk::<16>().ok_or(CORRUPT)?;
        let app_type = String::from_utf8(app_type.to_vec()).map_err(|_| CORRUPT)?;
        let incarnation = Incarnation(u64::from_be_bytes(*incarnation));
        Ok(Self { id, crdt: *crdt, incarnation, random: *random, app_type })
    }
}

impl Tx<'_> {
    /// Reads what is known of a document, and tells whether the disk has changed it.
    fn read_about(&self, id: Option<Vec<u8>>, sealed: Option<Vec<u8>>) -> (Option<About>, bool) {
        let (Some(id), Some(sealed)) = (id, sealed) else {
            return (None, false);
        };
        let about = self.open_value("document", "about", &id, &sealed).and_then(|bytes| {
            let id = DocumentId::from_bytes(exact("document", id)?);
            About::decode(id, &bytes)
        });
        let damaged = about.is_err();
        (about.ok(), damaged)
    }

    pub(crate) fn document_by_tag(&self, workspace: i64, tag: &DocumentTag) -> Result<Option<DocumentRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("document_by_tag"))?;
        let found = statement.query_row((workspace, tag.as_bytes()), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let Some((row, id, about)) = found.optional()? else {
            return Ok(None);
        };
        let (about, damaged) = self.read_about(id, about);
        Ok(Some(DocumentRow { row, workspace, tag: *tag, about, damaged }))
    }

    pub(crate) fn document_by_id(&self, id: &DocumentId) -> Result<Option<DocumentRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("document_by_id"))?;
        let found = statement
            .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?, row.get(3)?)));
        let Some((row, workspace, tag, about)) = found.optional()? else {
            return Ok(None);
        };
        let (about, damaged) = self.read_about(Some(id.as_bytes().to_vec()), about);
        let tag = DocumentTag::from_bytes(exact("document", tag)?);
        Ok(Some(DocumentRow { row, workspace, tag, about, damaged }))
    }

    pub(crate) fn document_by_row(&self, document: i64) -> Result<Option<DocumentRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("document_by_row"))?;
        let found = statement
            .query_row([document], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?, row.get(3)?)));
        let Some((workspace, tag, id, about)) = found.optional()? else {
            return Ok(None);
        };
        let tag = DocumentTag::from_bytes(exact("document", tag)?);
        let (about, damaged) = self.read_about(id, about);
        Ok(Some(DocumentRow { row: document, workspace, tag, about, damaged }))
    }

    /// Returns what is known of the documents of a workspace, oldest first, but for those that the disk has changed.
    pub(crate) fn documents(&self, workspace: i64) -> Result<Vec<About>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("documents"))?;
        let mut rows = statement.query([workspace])?;
        let mut documents = Vec::new();
        while let Some(row) = rows.next()? {
            documents.extend(self.read_about(row.get(0)?, row.get(1)?).0);
        }
        Ok(documents)
    }

    /// Returns the documents whose first entry was not opened yet.
    pub(crate) fn undescribed_documents(&self, workspace: i64) -> Result<Vec<DocumentRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("undescribed_documents"))?;
        let mut rows = statement.query([workspace])?;
        let mut documents = Vec::new();
        while let Some(row) = rows.next()? {
            let tag = DocumentTag::from_bytes(exact("document", row.get(1)?)?);
            documents.push(DocumentRow { row: row.get(0)?, workspace, tag, about: None, damaged: false });
        }
        Ok(documents)
    }

    pub(crate) fn insert_document(
        &self,
        workspace: i64,
        tag: &DocumentTag,
        about: Option<&About>,
        entropy: &mut dyn Entropy,
    ) -> Result<i64, StoreError> {
        let (id, sealed) = self.seal_about(about, entropy);
        let mut statement = self.transaction.prepare_cached(sql!("insert_document"))?;
        let document = statement.insert((workspace, tag.as_bytes(), id, sealed))?;
        // Its changes would lie where others' do.
        if document > DOCUMENTS_MAX {
            Err(rusqlite::Error::IntegralValueOutOfRange(0, document).into())
        } else {
            Ok(document)
        }
    }

    pub(crate) fn describe_document(
        &self,
        document: i64,
        about: &About,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let (id, sealed) = self.seal_about(Some(about), entropy);
        self.transaction.prepare_cached(sql!("describe_document"))?.execute((document, id, sealed))?;
        Ok(())
    }

    fn seal_about(&self, about: Option<&About>, entropy: &mut dyn Entropy) -> (Option<[u8; 16]>, Option<Vec<u8>>) {
        let id = about.map(|about| *about.id.as_bytes());
        let sealed =
            about.map(|about| self.cipher.seal("document", "about", about.id.as_bytes(), &about.encode(), entropy));
        (id, sealed)
    }

    pub(crate) fn chain_by_key(
        &self,
        document: i64,
        key: &ChainKey,
    ) -> Result<Option<(ChainRow, RecordId)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("chain_by_key"))?;
        let incarnation = key.incarnation.0.cast_signed();
        let found = statement.query_row((document, key.stream.0, key.device.as_bytes(), incarnation), |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?, row.get::<_, Vec<u8>>(3)?))
        });
        let Some((row, head_seq, head_hash, members_head)) = found.optional()? else {
            return Ok(None);
        };
        let chain = ChainRow {
            row,
            head_seq: head_seq.cast_unsigned(),
            head_hash: EntryHash::from_bytes(exact("chain", head_hash)?),
        };
        Ok(Some((chain, RecordId::from_bytes(exact("chain", members_head)?))))
    }

    pub(crate) fn chain_by_id(&self, workspace: i64, id: &ChainId) -> Result<Option<ChainRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("chain_by_id"))?;
        let found = statement.query_row((workspace, id.as_bytes()), |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        let Some((row, head_seq, head_hash)) = found.optional()? else {
            return Ok(None);
        };
        let head_hash = EntryHash::from_bytes(exact("chain", head_hash)?);
        Ok(Some(ChainRow { row, head_seq: head_seq.cast_unsigned(), head_hash }))
    }

    /// Returns a chain's key and its document's row.
    pub(crate) fn chain_key(&self, chain: i64) -> Result<Option<(ChainKey, i64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("chain_key"))?;
        let found = statement.query_row([chain], |row| {
            let (tag, stream, device): (Vec<u8>, u8, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((tag, stream, device, row.get::<_, i64>(3)?, row.get(5)?))
        });
        let Some((tag, stream, device, incarnation, document)) = found.optional()? else {
            return Ok(None);
        };
        let key = ChainKey {
            document: DocumentTag::from_bytes(exact("document", tag)?),
            stream: Stream(stream),
            device: DeviceId::from_bytes(exact("chain", device)?),
            incarnation: Incarnation(incarnation.cast_unsigned()),
        };
        Ok(Some((key, document)))
    }

    /// Returns row, device and last seq of each chain of a document.
    pub(crate) fn chains_of_document(&self, document: i64) -> Result<Vec<(i64, DeviceId, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("chains_of_document"))?;
        let mut rows = statement.query([document])?;
        let mut chains = Vec::new();
        while let Some(row) = rows.next()? {
            let device = DeviceId::from_bytes(exact("chain", row.get(1)?)?);
            chains.push((row.get(0)?, device, row.get::<_, i64>(2)?.cast_unsigned()));
        }
        Ok(chains)
    }

    /// Returns the chains of a document that other devices write, each with its last entry that counts.
    pub(crate) fn grounds_of_document(&self, document: i64, own: &DeviceId) -> Result<Vec<(i64, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("grounds_of_document"))?;
        let rows = statement.query_map((document, own.as_bytes()), |row| {
            Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned)))
        })?;
        let rows: Vec<(i64, Option<u64>)> = rows.collect::<Result<_, _>>()?;
        Ok(rows.into_iter().filter_map(|(chain, seq)| Some((chain, seq?))).collect())
    }

    pub(crate) fn insert_chain(
        &self,
        workspace: i64,
        document: i64,
        key: &ChainKey,
        head: (u64, EntryHash, RecordId),
    ) -> Result<i64, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("insert_chain"))?;
        Ok(statement.insert((
            workspace,
            document,
            key.stream.0,
            key.device.as_bytes(),
            key.incarnation.0.cast_signed(),
            key.id().as_bytes(),
            head.0.cast_signed(),
            head.1.as_bytes(),
            head.2.as_bytes(),
        ))?)
    }

    pub(crate) fn move_chain(&self, chain: i64, head: (u64, EntryHash, RecordId)) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("move_chain"))?;
        statement.execute((chain, head.0.cast_signed(), head.1.as_bytes(), head.2.as_bytes()))?;
        Ok(())
    }

    pub(crate) fn insert_pending(
        &self,
        stream: Stream,
        pending: &PendingRow,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::AckBeforeCommit.is_planted() && pending.wall_ms % 4 == 0 {
            return Ok(());
        }
        #[cfg(feature = "planted-bugs")]
        if tombolo_protocol::planted::Bug::ChangeInClear.is_planted() {
            self.trace(&pending.change)?;
        }
        let PendingRow { row, instance, wall_ms, ref change } = *pending;
        let sealed = seal_pending(self.cipher, (row, stream, instance.0, wall_ms), change, entropy);
        let mut statement = self.transaction.prepare_cached(sql!("insert_pending"))?;
        statement.execute((row, stream.0, instance.0.cast_signed(), wall_ms, sealed))?;
        Ok(())
    }

    pub(crate) fn pending_of_document(&self, document: i64, stream: Stream) -> Result<Pending, StoreError> {
        self.pending_after(document, stream, 0)
    }

    /// Returns the pending changes of a document behind a row, oldest first.
    pub(crate) fn pending_after(&self, document: i64, stream: Stream, after: i64) -> Result<Pending, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("pending_of_document"))?;
        let mut rows = statement.query((document, stream.0, after))?;
        let mut pending = Pending::default();
        while let Some(row) = rows.next()? {
            let (place, sealed): (i64, Vec<u8>) = (row.get(0)?, row.get(3)?);
            let (instance, wall_ms) = (row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?);
            match open_pending(self.cipher, (place, stream, instance, wall_ms), &sealed) {
                Some(change) => {
                    pending.rows.push(PendingRow { row: place, instance: Instance(instance), wall_ms, change });
                }
                None => pending.damaged.push(place),
            }
        }
        Ok(pending)
    }

    /// Returns which documents of a workspace have changes that no entry carries yet.
    pub(crate) fn pending_documents(&self, workspace: i64) -> Result<Vec<(i64, Stream)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("pending_documents"))?;
        let rows = statement.query_map([workspace], |row| Ok((row.get(0)?, Stream(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns how many changes of a document are pending, the oldest's time and the newest's row.
    pub(crate) fn pending_summary(&self, document: i64) -> Result<(u64, Option<i64>, Option<i64>), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("pending_summary"))?;
        Ok(statement
            .query_row([document], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?, row.get(2)?)))?)
    }

    pub(crate) fn delete_pending_row(&self, pending: i64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("delete_pending_row"))?.execute([pending])?;
        Ok(())
    }

    pub(crate) fn delete_pending(&self, document: i64, stream: Stream, up_to: i64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("delete_pending"))?.execute((document, stream.0, up_to))?;
        Ok(())
    }

    /// Stores rows in the place of pending changes that say the same.
    pub(crate) fn replace_pending(
        &self,
        stream: Stream,
        before: &[i64],
        pending: &[PendingRow],
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        before.iter().try_for_each(|row| self.delete_pending_row(*row))?;
        pending.iter().try_for_each(|row| self.insert_pending(stream, row, entropy))
    }

    /// Returns the other chains of a document stream that grew since `chain` last named them.
    pub(crate) fn dependencies_since(
        &self,
        chain: i64,
        document: i64,
        stream: Stream,
    ) -> Result<Vec<(ChainId, ChainRow)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("dependencies_since"))?;
        let mut rows = statement.query((chain, document, stream.0))?;
        let mut dependencies = Vec::new();
        while let Some(row) = rows.next()? {
            let id = ChainId::from_bytes(exact("chain", row.get(0)?)?);
            let head_hash = EntryHash::from_bytes(exact("chain", row.get(3)?)?);
            let head_seq = row.get::<_, i64>(2)?.cast_unsigned();
            dependencies.push((id, ChainRow { row: row.get(1)?, head_seq, head_hash }));
        }
        Ok(dependencies)
    }

    pub(crate) fn set_dependency(&self, chain: i64, other: i64, seq: u64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("set_dependency"))?.execute((chain, other, seq.cast_signed()))?;
        Ok(())
    }
}
