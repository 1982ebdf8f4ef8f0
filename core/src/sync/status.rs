//! Status rows: telling the other members how far this device has come, and hearing how far they have.
//!
//! Invariant: a row is sent only when this device's place in a log has moved since its last one, by work of
//! others or by its own: what it appended must be known of it too, or a relay could hide it from the rest.
//! It is sent a moment after the place moved, and then at a distance that grows with the number of devices
//! (ADR 0005); an idle device sends nothing.

use std::time::Duration;

use tombolo_protocol::bytes::Reader;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::Status;
use tombolo_protocol::ids::{DeviceId, LogId, RelayId};
use tombolo_protocol::status::StatusRow;

use super::Fault;
use super::channel::Phase;
use super::reason::SetAsideReason;
use crate::engine::{Engine, Now};
use crate::store::{StoreError, Tx};

/// Wait for quiet before a status row is sent.
const STATUS_DELAY: Duration = Duration::from_millis(500);
/// Shortest time between two status rows on one channel, for each device of the workspace: so what a
/// member hears of all others together stays about the same however many there are.
const STATUS_INTERVAL_PER_DEVICE: Duration = Duration::from_secs(1);
/// Longest time between a change and the status row that tells of it.
const STATUS_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// Logs that one status row names.
const STATUS_LOGS_MAX: u16 = 16;
const LABEL: &str = "status";

/// A place in a log that a device has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) relay: RelayId,
    pub(crate) log: LogId,
    pub(crate) position: u64,
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
        if channel.frontier.length() > channel.status_position && channel.status_at.is_none() {
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
                    channel.status_sent = Some(now.mono);
                    channel.status_position = channel.frontier.length();
                    due.push((*row, *workspace, channel.number));
                }
            }
        }
        for (relay, workspace, channel) in due {
            if let Some(row) = self.own_status(now, workspace, tx)? {
                self.send(relay, Status { channel, row: row.encode().into() });
            }
        }
        Ok(())
    }

    fn own_status(&mut self, now: Now, workspace: i64, tx: &Tx<'_>) -> Result<Option<StatusRow>, StoreError> {
        let mut places = Vec::new();
        for (row, relay) in &self.relays {
            if let (Some(key), Some(log)) = (relay.key(), tx.log(*row, workspace)?) {
                places.push(Reached { relay: key, log: log.id, position: log.frontier.length() });
            }
        }
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(None);
        };
        let Some((_, keys)) = held.sealing() else {
            return Ok(None);
        };
        let nth = now.wall_ms.max(0).cast_unsigned();
        let (tag, device, epoch) = (held.tag, self.device.id(), keys.epoch());
        let key = self.device.sign_key();
        let header = StatusRow::sign(tag, device, nth, epoch, Vec::new(), key).header();
        let sealed = keys.seal_section(LABEL, &header, &encode(&places), self.entropy.as_mut());
        Ok(Some(StatusRow::sign(tag, device, nth, epoch, sealed, key)))
    }

    /// Keeps another device's status row.
    pub(super) fn take_status(&mut self, workspace: i64, bytes: &[u8], tx: &Tx<'_>) -> Result<(), Fault> {
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
        tx.set_status(workspace, &row.device, row.nth, bytes)?;
        Ok(())
    }

    /// Returns how far another device has come, as it said last.
    pub(crate) fn reached_by(
        &self,
        workspace: i64,
        device: &DeviceId,
        tx: &Tx<'_>,
    ) -> Result<Vec<Reached>, StoreError> {
        let Some(held) = self.workspaces.get(&workspace) else {
            return Ok(Vec::new());
        };
        let entry = tx.statuses(workspace)?.into_iter().find(|entry| entry.device == *device);
        let Some(row) = entry.and_then(|entry| StatusRow::decode(&entry.row).ok()) else {
            return Ok(Vec::new());
        };
        let Some(epoch) = held.epochs.get(&row.epoch) else {
            return Ok(Vec::new());
        };
        let opened = epoch.keys.open_section(LABEL, &row.header(), &row.sealed);
        Ok(opened.ok().and_then(|plaintext| decode(&plaintext)).unwrap_or_default())
    }
}

fn encode(places: &[Reached]) -> Vec<u8> {
    let places = places.get(..usize::from(STATUS_LOGS_MAX)).unwrap_or(places);
    let mut out = (places.len() as u16).to_be_bytes().to_vec();
    for place in places {
        out.extend_from_slice(place.relay.as_bytes());
        out.extend_from_slice(place.log.as_bytes());
        out.extend_from_slice(&place.position.to_be_bytes());
    }
    out
}

fn decode(bytes: &[u8]) -> Option<Vec<Reached>> {
    let mut reader = Reader::new(bytes);
    let count = reader.count("status logs", usize::from(STATUS_LOGS_MAX), 56).ok()?;
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let relay = RelayId::read(&mut reader).ok()?;
        places.push(Reached { relay, log: LogId::read(&mut reader).ok()?, position: reader.u64().ok()? });
    }
    Some(places)
}
