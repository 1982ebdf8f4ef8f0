//! What rests in the clear: entries, chains, what waits, and what relays and other devices have signed.
//!
//! Invariant: each row is compared with what its own bytes say, and with a signature where there is one. An entry
//! is authentic by the law of docs/protocol.md §3: by its own signature, or by an authentic one that names it.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Row;
use tombolo_crypto::BlindingKey;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::{
    ChainKey, DeviceId, DocumentId, DocumentTag, EntryHash, Incarnation, LogId, RelayId, Stream, WorkspaceId,
};
use tombolo_protocol::keys::VerifyKey;
use tombolo_protocol::log::{Frontier, LogOrigin};
use tombolo_protocol::membership::Membership;
use tombolo_protocol::receipt::{Receipt, Signed};
use tombolo_protocol::status::StatusRow;

use super::IntegrityReport;
use crate::store::sql::sql;
use crate::store::{StoreError, Tx, exact};
use crate::sync::reason::SetAsideReason;

/// What is known of a workspace, to compare its rows with.
struct Known {
    id: WorkspaceId,
    blinding: Option<BlindingKey>,
    keys: BTreeMap<DeviceId, VerifyKey>,
}

impl Tx<'_> {
    pub(super) fn check_plain(&self, report: &mut IntegrityReport) -> Result<(), StoreError> {
        let mut known = BTreeMap::new();
        for (row, workspace) in self.workspaces()? {
            let mut membership = Membership::new(workspace.id);
            let (records, attestations) = (self.records(row)?, self.attestations(row)?);
            report.judge("record", records.damaged == 0);
            report.judge("attestation", attestations.damaged + self.attests(row)?.damaged == 0);
            for record in records.rows {
                membership.insert(record);
            }
            for attestation in attestations.rows {
                membership.attest(attestation);
            }
            let view = membership.view();
            let keys = view.devices().map(|(id, standing)| (id, standing.keys.sign)).collect();
            known.insert(row, Known { id: workspace.id, blinding: workspace.blinding, keys });
        }
        self.each(sql!("documents_to_check"), report, ("document", |row| document_is_sound(row, &known)))?;
        self.each(sql!("chains_to_check"), report, ("chain", chain_is_sound))?;
        self.check_entries(&known, report)?;
        self.each(sql!("held_to_check"), report, ("held", aside_is_sound))?;
        self.each(sql!("quarantine_to_check"), report, ("quarantine", aside_is_sound))?;
        self.each(sql!("logs_to_check"), report, ("log", |row| log_is_sound(row, &known)))?;
        self.each(sql!("statuses_to_check"), report, ("status", |row| status_is_sound(row, &known)))
    }

    fn each(
        &self,
        query: &str,
        report: &mut IntegrityReport,
        judge: (&'static str, impl Fn(&Row<'_>) -> Result<bool, StoreError>),
    ) -> Result<(), StoreError> {
        let (table, is_sound) = judge;
        let mut statement = self.transaction.prepare_cached(query)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            report.judge(table, is_sound(row)?);
        }
        Ok(())
    }

    fn check_entries(&self, known: &BTreeMap<i64, Known>, report: &mut IntegrityReport) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("entries_to_check"))?;
        let mut rows = statement.query([])?;
        let mut unsigned = Vec::new();
        while let Some(row) = rows.next()? {
            report.entries += 1;
            let hash = EntryHash::from_bytes(exact("entry", row.get(3)?)?);
            match judge_entry(row, known)? {
                Judged::Sound => {}
                Judged::Unsigned => unsigned.push((row.get::<_, i64>(5)?, row.get::<_, i64>(2)?.cast_unsigned(), hash)),
                Judged::Damaged => report.damaged_entries.push(hash),
            }
        }
        self.check_unsigned(unsigned, report)
    }

    /// Divides entries whose own signature does not fit into those that a later one proves, and damaged ones.
    fn check_unsigned(
        &self,
        mut unsigned: Vec<(i64, u64, EntryHash)>,
        report: &mut IntegrityReport,
    ) -> Result<(), StoreError> {
        // From the end of each chain on: what is behind an entry is judged before it.
        unsigned.sort_unstable_by(|one, other| other.cmp(one));
        let places: BTreeSet<(i64, u64)> = unsigned.iter().map(|(chain, seq, _)| (*chain, *seq)).collect();
        let mut proven = BTreeSet::new();
        for (chain, seq, hash) in unsigned {
            let next = (chain, seq + 1);
            let is_named = match self.entry(chain, seq + 1)? {
                Some(entry) if !places.contains(&next) || proven.contains(&next) => entry.header().prev == hash,
                _ => false,
            };
            if is_named {
                proven.insert((chain, seq));
                report.proven_by_later.push(hash);
            } else {
                report.damaged_entries.push(hash);
            }
        }
        Ok(())
    }
}

/// What an entry's own row says of it.
enum Judged {
    Sound,
    /// All fits but its signature.
    Unsigned,
    Damaged,
}

/// A document's tag is computed from its id.
fn document_is_sound(row: &Row<'_>, known: &BTreeMap<i64, Known>) -> Result<bool, StoreError> {
    let (workspace, tag, id): (i64, Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let blinding = known.get(&workspace).and_then(|known| known.blinding.as_ref());
    let (Some(blinding), Some(id)) = (blinding, id) else {
        return Ok(known.contains_key(&workspace));
    };
    Ok(blinding.document_tag(&DocumentId::from_bytes(exact("document", id)?)).as_bytes() == &*tag)
}

/// A chain's name is computed from its key, and its head is an entry.
fn chain_is_sound(row: &Row<'_>) -> Result<bool, StoreError> {
    let incarnation: i64 = row.get(3)?;
    let key = ChainKey {
        document: DocumentTag::from_bytes(exact("document", row.get(0)?)?),
        stream: Stream(row.get::<_, i64>(1)? as u8),
        device: DeviceId::from_bytes(exact("chain", row.get(2)?)?),
        incarnation: Incarnation(incarnation.cast_unsigned()),
    };
    let (id, members_head): (Vec<u8>, Vec<u8>) = (row.get(4)?, row.get(5)?);
    let head: Option<Vec<u8>> = row.get(6)?;
    // A damaged head is the entry's trouble.
    let fits = head.and_then(|bytes| Entry::decode(&bytes).ok());
    let fits = fits.is_none_or(|entry| entry.header().members_head.as_bytes() == &*members_head);
    Ok(fits && key.id().as_bytes() == &*id)
}

fn judge_entry(row: &Row<'_>, known: &BTreeMap<i64, Known>) -> Result<Judged, StoreError> {
    let (workspace, chain, seq): (i64, Vec<u8>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (hash, bytes): (Vec<u8>, Vec<u8>) = (row.get(3)?, row.get(4)?);
    let Ok(entry) = Entry::decode(&bytes) else {
        return Ok(Judged::Damaged);
    };
    let header = entry.header();
    let author = known.get(&workspace).and_then(|known| known.keys.get(&header.chain.device));
    let fits = entry.hash().as_bytes() == &*hash && header.seq == seq.cast_unsigned();
    let named = [header.chain, header.chain.branch()].iter().any(|key| key.id().as_bytes() == &*chain);
    Ok(match author {
        _ if !fits || !named => Judged::Damaged,
        Some(key) if entry.verify(key).is_err() => Judged::Unsigned,
        _ => Judged::Sound,
    })
}

/// What waits or was set aside says in its columns what its bytes say.
fn aside_is_sound(row: &Row<'_>) -> Result<bool, StoreError> {
    let (document, chain, device): (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>) =
        (row.get(0)?, row.get(1)?, row.get(2)?);
    let (seq, hash): (i64, Vec<u8>) = (row.get(3)?, row.get(4)?);
    let (reason, bytes): (i64, Vec<u8>) = (row.get(5)?, row.get(6)?);
    let known = u8::try_from(reason).is_ok_and(|code| SetAsideReason::from_code(code).code() == code);
    if !known || bytes.is_empty() {
        // The bytes of a damaged entry stay in its own row, which is checked; those of one that is kept out
        // for now are read from there.
        return Ok(known && reason == i64::from(SetAsideReason::Damaged.code()));
    }
    let Ok(entry) = Entry::decode(&bytes) else {
        return Ok(false);
    };
    let header = entry.header();
    let named = chain.is_none_or(|chain| header.chain.id().as_bytes() == &*chain);
    let named = named && device.is_none_or(|device| header.chain.device.as_bytes() == &*device);
    let placed = header.seq == seq.cast_unsigned() && header.chain.document.as_bytes() == &*document;
    Ok(named && placed && entry.hash().as_bytes() == &*hash)
}

/// A place in a log is signed by its relay, as far as the receipt reaches.
fn log_is_sound(row: &Row<'_>, known: &BTreeMap<i64, Known>) -> Result<bool, StoreError> {
    let (key, workspace): (Option<Vec<u8>>, i64) = (row.get(0)?, row.get(1)?);
    let log = LogId::from_bytes(exact("log", row.get(2)?)?);
    let (frontier, receipt): (Vec<u8>, Option<Vec<u8>>) = (row.get(3)?, row.get(4)?);
    let (Ok(frontier), Some(known)) = (Frontier::decode(&frontier), known.get(&workspace)) else {
        return Ok(false);
    };
    let Some(receipt) = receipt else { return Ok(true) };
    let Ok(receipt) = Signed::<Receipt>::decode(&receipt) else {
        return Ok(false);
    };
    let Ok(receipt) = receipt.verify() else {
        return Ok(false);
    };
    let relay = key.map(|key| exact("relay", key).map(RelayId::from_bytes)).transpose()?;
    let named = receipt.log == log && receipt.workspace == known.id && relay.is_none_or(|relay| relay == receipt.relay);
    let head = frontier.head(&LogOrigin::new(&receipt.relay, &log, &known.id));
    Ok(named && (receipt.position != frontier.length() || receipt.head == head))
}

fn status_is_sound(row: &Row<'_>, known: &BTreeMap<i64, Known>) -> Result<bool, StoreError> {
    let (workspace, device, nth): (i64, Vec<u8>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let bytes: Vec<u8> = row.get(3)?;
    let Ok(status) = StatusRow::decode(&bytes) else {
        return Ok(false);
    };
    let key = known.get(&workspace).and_then(|known| known.keys.get(&status.device));
    let named = status.device.as_bytes() == &*device && status.nth == nth.cast_unsigned();
    Ok(named && key.is_none_or(|key| status.verify(key).is_ok()))
}
