//! Status rows: telling the other members how far this device has come, and hearing how far they have.
//!
//! Invariant: a row is sent only when this device's place in a log has moved since its last one, by work of
//! others or by its own: what it appended must be known of it too, or a relay could hide it from the rest.
//! It names a place only if all before it was taken: what waits, came spoilt or was kept back is not passed by.
//! It is sent a moment after the place moved, and then at a distance that grows with the number of devices
//! (ADR 0005); an idle device sends nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_protocol::bytes::Reader;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::Status;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{DeviceId, DocumentTag, LogId, RelayId, WorkspaceId};
use tombolo_protocol::status::StatusRow;

use super::Fault;
use super::channel::Phase;
use super::reason::SetAsideReason;
use crate::engine::{Engine, Now};
use crate::store::{StoreError, Tx};
use crate::workspace::{Fellow, Workspace};

/// Wait for quiet before a status row is sent.
const STATUS_DELAY: Duration = Duration::from_millis(500);
/// Shortest time between two status rows on one channel, for each device of the workspace: so what a
/// member hears of all others together stays about the same however many there are.
const STATUS_INTERVAL_PER_DEVICE: Duration = Duration::from_secs(1);
/// Longest time between a change and the status row that tells of it.
const STATUS_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// Logs that one status row names.
const STATUS_LOGS_MAX: u16 = 16;
/// Documents that one status row names, of a device that asks for some only.
const STATUS_DOCUMENTS_MAX: usize = 64;
const LABEL: &str = "status";

/// A place in a log that a device has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) relay: RelayId,
    pub(crate) log: LogId,
    pub(crate) position: u64,
    /// The head of the log at that position, as the device computed it from the items that it was given.
    pub(crate) head: Digest,
    /// The newest receipt or head that the relay gave it, signed.
    pub(crate) receipt: Option<Vec<u8>>,
}

impl Engine {
    /// Plans a status row, if this device has come further than its last one says.
    pub(super) fn plan_status(&mut self, now: Now, at: (i64, i64)) {
        let devices = self.workspaces.get(&at.1).map_or(1, |held| held.view.devices().count());
        let interval = STATUS_INTERVAL_PER_DEVICE
            .saturating_mul(u32::try_from(devices).unwrap_or(u32::MAX))
            .min(STATUS_INTERVAL_MAX);
        let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
            return;
        };
        if channel.course.length() > channel.status_position && channel.status_at.is_none() {
            let earliest = channel.status_sent.map_or(Duration::ZERO, |sent| sent + interval);
            channel.status_at = Some((now.mono + STATUS_DELAY).max(earliest));
        }
    }

    pub(super) fn send_statuses(&mut self, now: Now, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.retry_due(now);
        let mut due = Vec::new();
        for (row, relay) in &mut self.relays {
            let Some(live) = relay.live_mut() else {
                continue;
            };
            for (workspace, channel) in &mut live.channels {
                if channel.phase == Phase::Level && channel.status_at.is_some_and(|at| at <= now.mono) {
                    channel.status_at = None;
                    due.push((*row, *workspace));
                }
            }
        }
        for at in due {
            if !self.is_all_asked(at) {
                // It would name no place; once it has compared, it says how far it has come.
                continue;
            }
            let taken = self.taken_of(at, tx)?;
            let Some(channel) = self.relays.get_mut(&at.0).and_then(|relay| relay.channel_mut(at.1)) else {
                continue;
            };
            if taken <= channel.status_position {
                continue;
            }
            (channel.status_sent, channel.status_position) = (Some(now.mono), taken);
            let channel = channel.number;
            if let Some(row) = self.own_status(now, at.1, tx)? {
                self.send(at.0, Status { channel, row: row.encode().into() });
            }
        }
        Ok(())
    }

    fn own_status(&mut self, now: Now, workspace: i64, tx: &Tx<'_>) -> Result<Option<StatusRow>, StoreError> {
        let mut places = Vec::new();
        // What can not be opened is not seen.
        let readable = self.keyless(workspace, tx)? == 0;
        let name = self.workspaces.get(&workspace).and_then(|held| held.wanted_name());
        for (row, relay) in self.relays.iter().filter(|_| readable) {
            let taken = self.taken_of((*row, workspace), tx)?;
            let log = tx.log(*row, workspace)?.filter(|log| log.wanted == name);
            if let (Some(key), Some(log)) = (relay.key(), log)
                && let Some(head) = self.own_head((*row, workspace), (&log.id, taken), tx)?.filter(|_| taken > 0)
            {
                places.push(Reached { relay: key, log: log.id, position: taken, head, receipt: log.receipt });
            }
        }
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(None);
        };
        let Some((_, keys)) = held.sealing() else {
            return Ok(None);
        };
        let (tag, device, epoch) = (held.tag, self.device.id(), keys.epoch());
        let last = tx.statuses(workspace)?.into_iter().find(|entry| entry.device == device);
        let last = last.and_then(|entry| StatusRow::decode(&entry.row).ok()).map_or(0, |row| row.nth);
        // A clock that went back must not make this row older than the last one.
        let nth = now.wall_ms.max(0).cast_unsigned().max(last.saturating_add(1));
        let header = StatusRow::header_of(&tag, &device, nth, &epoch);
        let said = Said { places, wanted: held.wanted_tags().cloned() };
        let sealed = keys.seal_section(LABEL, &header, &encode(&said), self.entropy.as_mut());
        let row = StatusRow::sign(tag, device, nth, epoch, sealed, self.device.sign_key());
        tx.set_status(workspace, &device, nth, &row.encode())?;
        Ok(Some(row))
    }

    /// Keeps another device's status row, and compares what it says with what this device has.
    pub(super) fn take_status(&mut self, now: Now, workspace: i64, bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
        let row =
            StatusRow::decode(bytes).map_err(|_| Fault::Session(CloseCode::Misbehaved, SetAsideReason::Malformed))?;
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(());
        };
        let view = &held.view;
        let signed = view.device(&row.device).is_some_and(|device| row.verify(&device.keys.sign).is_ok());
        if !signed || row.workspace != held.tag {
            self.counters.count(SetAsideReason::BadSignature);
            return Ok(());
        }
        let said = said_of(held, bytes);
        let (places, wanted) = match said {
            Some(Said { places, wanted }) => (places, Some(wanted)),
            None => (Vec::new(), None),
        };
        // What can not be, as the items here say, is not kept: somebody was given another log.
        let believed = row.device == self.device.id() || !self.disbelieves(now, workspace, &places, tx)?;
        if believed {
            tx.set_status(workspace, &row.device, row.nth, bytes)?;
        }
        if row.device == self.device.id() {
            return Ok(());
        }
        if let Some(wanted) = wanted
            && self.note_fellow(workspace, &row, wanted, tx)?
            && !believed
        {
            // What is stored says what it asked for before.
            tx.forget_status(workspace, &row.device)?;
        }
        Ok(self.compare_places(now, workspace, row.device, places, tx)?)
    }

    /// Notes which documents another device asks for, and tells whether that is new; what it was known to have seen it has
    /// said of others.
    fn note_fellow(
        &mut self,
        workspace: i64,
        row: &StatusRow,
        wanted: Option<BTreeSet<DocumentTag>>,
        tx: &Tx<'_>,
    ) -> Result<bool, StoreError> {
        let Some(held) = self.workspaces.get_mut(&workspace) else {
            return Ok(false);
        };
        let known = held.fellows.get(&row.device);
        if known.is_some_and(|known| known.nth > row.nth) {
            return Ok(false);
        }
        let is_new = known.is_none_or(|known| known.wanted != wanted);
        held.fellows.insert(row.device, Fellow { nth: row.nth, wanted });
        if !is_new {
            return Ok(false);
        }
        for relay in self.relays.values_mut() {
            if let Some(channel) = relay.channel_mut(workspace) {
                channel.heads.forget(&row.device);
            }
        }
        tx.forget_agreed_of(workspace, &row.device)?;
        Ok(true)
    }

    /// Takes from the status rows in the store which documents other devices ask for. Of one that can not be read it is not
    /// known, and nothing is believed of it.
    pub(crate) fn load_fellows(&mut self, workspace: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
        let Some(held) = self.workspaces.get_mut(&workspace) else {
            return Ok(());
        };
        for entry in tx.statuses(workspace)? {
            let (row, said) = (StatusRow::decode(&entry.row), said_of(held, &entry.row));
            if let (Ok(StatusRow { nth, .. }), Some(Said { wanted, .. })) = (row, said)
                && held.fellows.get(&entry.device).is_none_or(|known| known.nth < nth)
            {
                held.fellows.insert(entry.device, Fellow { nth, wanted });
            }
        }
        Ok(())
    }

    /// Returns how far each other device has come, as it said last.
    pub(super) fn told_places(&self, workspace: i64, tx: &Tx<'_>) -> Result<Vec<(DeviceId, Vec<Reached>)>, StoreError> {
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(Vec::new());
        };
        let own = self.device.id();
        let others = tx.statuses(workspace)?.into_iter().filter(|entry| entry.device != own);
        Ok(others.map(|entry| (entry.device, said_of(held, &entry.row).unwrap_or_default().places)).collect())
    }
}

/// What a status row says.
#[derive(Default, Debug, PartialEq, Eq)]
struct Said {
    places: Vec<Reached>,
    /// The documents that the device asks for, if not for all; of many only some are said.
    wanted: Option<BTreeSet<DocumentTag>>,
}

/// Opens what a status row holds; a row of a key that is not here says nothing.
fn said_of(held: &Workspace, bytes: &[u8]) -> Option<Said> {
    let row = StatusRow::decode(bytes).ok()?;
    let epoch = held.epochs.get(&row.epoch)?;
    let plaintext = epoch.keys.open_section(LABEL, &row.header(), &row.sealed).ok()?;
    decode(&plaintext, &held.id)
}

fn encode(said: &Said) -> Vec<u8> {
    let places = said.places.get(..usize::from(STATUS_LOGS_MAX)).unwrap_or(&said.places);
    let mut out = (places.len() as u16).to_be_bytes().to_vec();
    for place in places {
        out.extend_from_slice(place.relay.as_bytes());
        out.extend_from_slice(place.log.as_bytes());
        out.extend_from_slice(&place.position.to_be_bytes());
        out.extend_from_slice(&place.head);
        match place.receipt.as_deref().and_then(|receipt| receipt.get(RECEIPT_OPENING_BYTES..)) {
            Some(rest) if rest.len() == RECEIPT_REST_BYTES => {
                out.push(1);
                out.extend_from_slice(rest);
            }
            _ => out.push(0),
        }
    }
    if let Some(wanted) = &said.wanted {
        let room = SAID_BYTES_MAX.saturating_sub(out.len() + 2) / DocumentTag::BYTES;
        let count = wanted.len().min(room).min(STATUS_DOCUMENTS_MAX);
        out.extend_from_slice(&(count as u16).to_be_bytes());
        wanted.iter().take(count).for_each(|tag| out.extend_from_slice(tag.as_bytes()));
    }
    out
}

fn decode(bytes: &[u8], workspace: &WorkspaceId) -> Option<Said> {
    let mut reader = Reader::new(bytes);
    let count = reader.count("status logs", usize::from(STATUS_LOGS_MAX), PLACE_BYTES_MIN).ok()?;
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let relay = RelayId::read(&mut reader).ok()?;
        let (log, position) = (LogId::read(&mut reader).ok()?, reader.u64().ok()?);
        let head: Digest = reader.array().ok()?;
        let receipt = match reader.u8().ok()? {
            0 => None,
            _ => {
                let rest: [u8; RECEIPT_REST_BYTES] = reader.array().ok()?;
                let opening = [b"TBP1".as_slice(), relay.as_bytes(), workspace.as_bytes(), log.as_bytes()];
                Some([opening.concat().as_slice(), &rest].concat())
            }
        };
        places.push(Reached { relay, log, position, head, receipt });
    }
    if reader.remaining() == 0 {
        return Some(Said { places, wanted: None });
    }
    let count = reader.count("status documents", STATUS_DOCUMENTS_MAX, DocumentTag::BYTES).ok()?;
    let mut wanted = BTreeSet::new();
    for _ in 0..count {
        wanted.insert(DocumentTag::read(&mut reader).ok()?);
    }
    Some(Said { places, wanted: Some(wanted) })
}

/// Bytes of a place without a receipt: relay, log, position, head, and that there is none.
const PLACE_BYTES_MIN: usize = 32 + 16 + 8 + 32 + 1;
/// Bytes of a signed receipt that the row says already: magic, relay, workspace, log; and of the rest.
const RECEIPT_OPENING_BYTES: usize = 84;
const RECEIPT_REST_BYTES: usize = 144;
/// What a row of the greatest length holds once it is sealed and padded.
const SAID_BYTES_MAX: usize = 3840;

#[cfg(test)]
mod tests {
    use tombolo_protocol::keys::SignKey;
    use tombolo_protocol::limits::STATUS_BYTES_MAX;
    use tombolo_protocol::receipt::{Receipt, Signed};

    use super::*;

    fn place(nth: u8, receipt: bool) -> Reached {
        let key = SignKey::from_seed(&[nth; 32]);
        let (relay, log) = (RelayId::from_bytes(key.public()), LogId::from_bytes([nth; 16]));
        let said = Receipt {
            relay,
            workspace: WORKSPACE,
            log,
            position: 7,
            head: [8; 32],
            time_ms: 9,
            acknowledged: [10; 32],
        };
        let receipt = receipt.then(|| Signed::sign(said, &key).encode());
        Reached { relay, log, position: 11, head: [nth; 32], receipt }
    }

    const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([1; 32]);

    #[test]
    fn a_row_of_as_many_logs_as_it_may_name_fits_and_comes_back_with_its_receipts() {
        let places: Vec<Reached> = (0..16).map(|nth| place(nth, nth != 3)).collect();
        let said = Said { places, wanted: None };
        let bytes = encode(&said);
        assert_eq!(decode(&bytes, &WORKSPACE), Some(said));
        // Header and signature 156, salt and tag 32, and the padding to the next PADMÉ length.
        assert!(bytes.len().next_multiple_of(128) + 156 + 32 <= STATUS_BYTES_MAX, "{}", bytes.len());
        assert_eq!(decode(&bytes[..bytes.len() - 1], &WORKSPACE), None);
    }

    #[test]
    fn of_the_documents_that_a_device_asks_for_a_row_names_as_many_as_there_is_room_for() {
        let wanted: BTreeSet<DocumentTag> = (0..100).map(|nth| DocumentTag::from_bytes([nth; 16])).collect();
        for (logs, named) in [(0, 64), (1, 64), (16, 6)] {
            let places: Vec<Reached> = (0..logs).map(|nth| place(nth, true)).collect();
            let bytes = encode(&Said { places: places.clone(), wanted: Some(wanted.clone()) });
            assert!(bytes.len() <= SAID_BYTES_MAX, "{}", bytes.len());
            let read = decode(&bytes, &WORKSPACE).expect("it was just made");
            assert_eq!((read.places, read.wanted), (places, Some(wanted.iter().take(named).copied().collect())));
        }
        let none = Said { places: Vec::new(), wanted: Some(BTreeSet::new()) };
        assert_eq!(decode(&encode(&none), &WORKSPACE), Some(none));
    }
}
