//! What a relay signed against itself, as rows.

use tombolo_protocol::ids::{LogId, RelayId};

use super::sql::sql;
use super::{StoreError, Tx, exact};

/// How a relay's words contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// It signed two heads of one log and one length: two histories.
    Fork,
    /// It signed a head below one that it had signed for another device before: it keeps something back.
    Withheld,
}

/// Two words of one relay that do not go together; both are signed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayEvidence {
    /// The relay's key.
    pub relay: RelayId,
    /// The log.
    pub log: LogId,
    /// The length that the other device was shown.
    pub position: u64,
    /// How they contradict each other.
    pub kind: EvidenceKind,
    /// The receipt or head that this device was given; absent if it was given none of that log yet.
    pub ours: Option<Vec<u8>>,
    /// The one that another member's device was given, and told of.
    pub theirs: Vec<u8>,
    /// Since when it is known, milliseconds since 1970.
    pub since_ms: i64,
}

impl Tx<'_> {
    /// Keeps evidence, unless there is some on that place already, or as much as is kept.
    pub(crate) fn insert_evidence(&self, workspace: i64, evidence: &RelayEvidence) -> Result<(), StoreError> {
        let kind = match evidence.kind {
            EvidenceKind::Fork => 0,
            EvidenceKind::Withheld => 1,
        };
        let (relay, log) = (evidence.relay.as_bytes(), evidence.log.as_bytes());
        let mut statement = self.transaction.prepare_cached(sql!("insert_evidence"))?;
        statement.execute(rusqlite::params![
            workspace,
            relay,
            log,
            evidence.position.cast_signed(),
            kind,
            evidence.ours,
            evidence.theirs,
            evidence.since_ms,
            EVIDENCE_MAX
        ])?;
        Ok(())
    }

    /// Returns what is kept of the relays' contradictions in a workspace, oldest first.
    pub(crate) fn evidence(&self, workspace: i64) -> Result<Vec<RelayEvidence>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("evidence"))?;
        let mut rows = statement.query([workspace])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(RelayEvidence {
                relay: RelayId::from_bytes(exact("evidence", row.get(0)?)?),
                log: LogId::from_bytes(exact("evidence", row.get(1)?)?),
                position: row.get::<_, i64>(2)?.cast_unsigned(),
                kind: match row.get::<_, i64>(3)? {
                    0 => EvidenceKind::Fork,
                    1 => EvidenceKind::Withheld,
                    _ => return Err(StoreError::Corrupt { table: "evidence" }),
                },
                ours: row.get(4)?,
                theirs: row.get(5)?,
                since_ms: row.get(6)?,
            });
        }
        Ok(found)
    }
}

/// Contradictions kept of one workspace: one proves the case, and a relay that lies on must not fill the
/// store.
const EVIDENCE_MAX: i64 = 64;
