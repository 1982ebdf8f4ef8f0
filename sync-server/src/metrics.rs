//! What the relay counts, and its Prometheus text.
//!
//! Invariant: counters only; nothing here names a device, a workspace or a payload.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tombolo_protocol::frame::RefusalReason;

use crate::log::NewItem;

/// Upper bounds of the commit histogram, in microseconds.
const COMMIT_BUCKETS_US: [u64; 10] = [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000];

const FRAME_TYPES: [(u8, &str); 34] = [
    (1, "hello"),
    (2, "challenge"),
    (3, "auth"),
    (4, "welcome"),
    (5, "close"),
    (10, "open"),
    (11, "opened"),
    (12, "not_found"),
    (13, "shut"),
    (14, "seed"),
    (15, "enter"),
    (16, "ground"),
    (20, "append"),
    (21, "received"),
    (22, "refused"),
    (25, "items"),
    (26, "head"),
    (30, "fetch"),
    (31, "fetched"),
    (32, "pruned"),
    (35, "reconcile"),
    (36, "summary"),
    (40, "status"),
    (6, "step_up"),
    (7, "step_up_challenge"),
    (8, "step_up_proof"),
    (9, "stepped_up"),
    (27, "mfa_required"),
    (17, "claim"),
    (18, "claimed"),
    (19, "return"),
    (70, "meet"),
    (71, "pass"),
    (72, "part"),
];
const REFUSALS: [(RefusalReason, &str); 22] = [
    (RefusalReason::Malformed, "malformed"),
    (RefusalReason::BadSignature, "bad_signature"),
    (RefusalReason::UnknownAuthor, "unknown_author"),
    (RefusalReason::RoleDenied, "role_denied"),
    (RefusalReason::Gap, "gap"),
    (RefusalReason::Fork, "fork"),
    (RefusalReason::UnknownRecord, "unknown_record"),
    (RefusalReason::UnknownDeclaration, "unknown_declaration"),
    (RefusalReason::RecordRefused, "record_refused"),
    (RefusalReason::InviteNotValid, "invite_not_valid"),
    (RefusalReason::QuotaExceeded, "quota_exceeded"),
    (RefusalReason::MembershipRegression, "membership_regression"),
    (RefusalReason::EpochMismatch, "epoch_mismatch"),
    (RefusalReason::DeviceRevoked, "device_revoked"),
    (RefusalReason::ExpiredGrant, "expired_grant"),
    (RefusalReason::MfaRequired, "mfa_required"),
    (RefusalReason::DocumentPurged, "document_purged"),
    (RefusalReason::LastOwner, "last_owner"),
    (RefusalReason::RotationMissing, "rotation_missing"),
    (RefusalReason::RecipientSetMismatch, "recipient_set_mismatch"),
    (RefusalReason::RewrapToNonMember, "rewrap_to_non_member"),
    (RefusalReason::ExpiryNotProven, "expiry_not_proven"),
];
/// Returns the word for a reason, as metrics and the access log have it.
pub(crate) fn refusal_name(reason: RefusalReason) -> &'static str {
    REFUSALS.iter().find(|(known, _)| *known == reason).map_or("unknown", |(_, name)| name)
}

const SCALARS: [(&str, &str, &str); 17] = [
    ("sessions", "gauge", "Sessions that are open."),
    ("sessions_total", "counter", "Sessions that began."),
    ("closes_total", "counter", "Sessions the relay ended."),
    ("received_bytes_total", "counter", "Bytes of frames in."),
    ("sent_bytes_total", "counter", "Bytes of frames out."),
    ("items_appended_total", "counter", "Items that are durable."),
    ("stored_bytes_total", "counter", "Bytes of those items."),
    ("freed_bytes_total", "counter", "Bytes of items that a snapshot stands for, and that are gone."),
    (
        "floors_taken_total",
        "counter",
        "Chains of which the log lacked what a snapshot stands for, and that go on behind it.",
    ),
    ("fan_out_bytes_total", "counter", "Bytes queued for readers."),
    ("commits_failed_total", "counter", "Commits that failed."),
    ("enters_total", "counter", "Invites that were shown and held."),
    ("enters_refused_total", "counter", "Invites that were shown and did not."),
    ("cut_off_total", "counter", "Open workspaces taken from sessions whose rights ended."),
    ("not_found_total", "counter", "Workspaces asked for that are not there for the device."),
    ("step_ups_total", "counter", "Second factors that were taken."),
    ("step_ups_refused_total", "counter", "Second factors that were not."),
];
const FRAME_NUMBERS: usize = 80;

/// All counters of one relay.
pub struct Metrics {
    sessions: AtomicU64,
    sessions_total: AtomicU64,
    frames_in: [AtomicU64; FRAME_NUMBERS],
    frames_out: [AtomicU64; FRAME_NUMBERS],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    items_appended: AtomicU64,
    item_bytes: AtomicU64,
    freed_bytes: AtomicU64,
    floors_taken: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    fan_out_bytes: AtomicU64,
    commits: [AtomicU64; COMMIT_BUCKETS_US.len() + 1],
    commit_us: AtomicU64,
    commits_failed: AtomicU64,
    closes: AtomicU64,
    enters: AtomicU64,
    enters_refused: AtomicU64,
    cut_off: AtomicU64,
    not_found: AtomicU64,
    step_ups: AtomicU64,
    step_ups_refused: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            sessions: AtomicU64::default(),
            sessions_total: AtomicU64::default(),
            frames_in: std::array::from_fn(|_| AtomicU64::default()),
            frames_out: std::array::from_fn(|_| AtomicU64::default()),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            items_appended: AtomicU64::default(),
            item_bytes: AtomicU64::default(),
            freed_bytes: AtomicU64::default(),
            floors_taken: AtomicU64::default(),
            refused: std::array::from_fn(|_| AtomicU64::default()),
            fan_out_bytes: AtomicU64::default(),
            commits: std::array::from_fn(|_| AtomicU64::default()),
            commit_us: AtomicU64::default(),
            commits_failed: AtomicU64::default(),
            closes: AtomicU64::default(),
            enters: AtomicU64::default(),
            enters_refused: AtomicU64::default(),
            cut_off: AtomicU64::default(),
            not_found: AtomicU64::default(),
            step_ups: AtomicU64::default(),
            step_ups_refused: AtomicU64::default(),
        }
    }
}

impl Metrics {
    /// Notes that a session began.
    pub fn session_began(&self) {
        self.sessions.fetch_add(1, Relaxed);
        self.sessions_total.fetch_add(1, Relaxed);
    }

    /// Notes that a session ended.
    pub fn session_ended(&self) {
        self.sessions.fetch_sub(1, Relaxed);
    }

    /// Notes that the relay closed a session for a reason of its own.
    pub fn closed(&self) {
        self.closes.fetch_add(1, Relaxed);
    }

    /// Counts an invite that was shown, and whether it was one to enter by.
    pub fn entered(&self, held: bool) {
        let counter = if held { &self.enters } else { &self.enters_refused };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a workspace that was taken from a session.
    pub fn cut_off(&self) {
        self.cut_off.fetch_add(1, Relaxed);
    }

    /// Counts a workspace that is not there for a device.
    pub fn not_found(&self) {
        self.not_found.fetch_add(1, Relaxed);
    }

    /// Counts a second factor.
    pub fn stepped_up(&self, taken: bool) {
        let counter = if taken { &self.step_ups } else { &self.step_ups_refused };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts an encoded frame that arrived.
    pub fn frame_in(&self, frame: &[u8]) {
        count(&self.frames_in, frame);
        self.bytes_in.fetch_add(frame.len() as u64, Relaxed);
    }

    /// Counts an encoded frame that was sent.
    pub fn frame_out(&self, frame: &[u8]) {
        count(&self.frames_out, frame);
        self.bytes_out.fetch_add(frame.len() as u64, Relaxed);
    }

    /// Counts items that were committed.
    pub fn items_appended(&self, items: &[NewItem]) {
        let bytes: usize = items.iter().map(|item| item.bytes.len()).sum();
        self.items_appended.fetch_add(items.len() as u64, Relaxed);
        self.item_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes of items that are gone.
    pub fn freed(&self, bytes: u64) {
        self.freed_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts chains that go on behind what a snapshot stands for.
    pub fn floors_taken(&self, chains: u64) {
        self.floors_taken.fetch_add(chains, Relaxed);
    }

    /// Counts an item that was not taken.
    pub fn refused(&self, reason: RefusalReason) {
        let slot = REFUSALS.iter().zip(&self.refused).find(|((known, _), _)| *known == reason);
        if let Some((_, counter)) = slot {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Counts bytes handed to one reader.
    pub fn fanned_out(&self, bytes: usize) {
        self.fan_out_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a commit and its time.
    pub fn committed(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = COMMIT_BUCKETS_US.iter().take_while(|bound| us > **bound).count();
        if let Some(counter) = self.commits.get(bucket) {
            counter.fetch_add(1, Relaxed);
        }
        self.commit_us.fetch_add(us, Relaxed);
    }

    /// Counts a commit that failed.
    pub fn commit_failed(&self) {
        self.commits_failed.fetch_add(1, Relaxed);
    }

    /// Writes everything as Prometheus text.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut out = String::new();
        for ((name, kind, help), value) in SCALARS.iter().zip(self.scalars()) {
            heading(&mut out, name, kind, help);
            line(&mut out, name, "", value.load(Relaxed));
        }
        self.write_frames(&mut out);
        heading(&mut out, "refused_total", "counter", "Items that were not taken.");
        for ((_, name), counter) in REFUSALS.iter().zip(&self.refused) {
            let labels = format!("{{reason=\"{name}\"}}");
            line(&mut out, "refused_total", &labels, counter.load(Relaxed));
        }
        self.write_commits(&mut out);
        out
    }

    /// The counters of [`SCALARS`], in its order.
    fn scalars(&self) -> [&AtomicU64; SCALARS.len()] {
        [
            &self.sessions,
            &self.sessions_total,
            &self.closes,
            &self.bytes_in,
            &self.bytes_out,
            &self.items_appended,
            &self.item_bytes,
            &self.freed_bytes,
            &self.floors_taken,
            &self.fan_out_bytes,
            &self.commits_failed,
            &self.enters,
            &self.enters_refused,
            &self.cut_off,
            &self.not_found,
            &self.step_ups,
            &self.step_ups_refused,
        ]
    }

    fn write_frames(&self, out: &mut String) {
        heading(out, "frames_total", "counter", "Frames by direction and type.");
        for (direction, counters) in [("in", &self.frames_in), ("out", &self.frames_out)] {
            for (number, name) in FRAME_TYPES {
                let counter = counters.get(usize::from(number));
                let value = counter.map_or(0, |counter| counter.load(Relaxed));
                let labels = format!("{{direction=\"{direction}\",type=\"{name}\"}}");
                line(out, "frames_total", &labels, value);
            }
        }
    }

    fn write_commits(&self, out: &mut String) {
        heading(out, "commit_seconds", "histogram", "Time of a group commit.");
        let mut below = 0;
        let bounds = COMMIT_BUCKETS_US.iter().map(|us| (*us as f64 / 1e6).to_string());
        for (bound, counter) in bounds.chain(["+Inf".to_owned()]).zip(&self.commits) {
            below += counter.load(Relaxed);
            line(out, "commit_seconds_bucket", &format!("{{le=\"{bound}\"}}"), below);
        }
        let seconds = self.commit_us.load(Relaxed) as f64 / 1e6;
        line(out, "commit_seconds_sum", "", seconds);
        line(out, "commit_seconds_count", "", below);
    }
}

fn count(counters: &[AtomicU64; FRAME_NUMBERS], frame: &[u8]) {
    let number = frame.first().copied().map_or(0, usize::from);
    if let Some(counter) = counters.get(number) {
        counter.fetch_add(1, Relaxed);
    }
}

fn heading(out: &mut String, name: &str, kind: &str, help: &str) {
    append(out, format_args!("# HELP tombolo_relay_{name} {help}\n# TYPE tombolo_relay_{name} {kind}\n"));
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    append(out, format_args!("tombolo_relay_{name}{labels} {value}\n"));
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a String takes every character");
}
