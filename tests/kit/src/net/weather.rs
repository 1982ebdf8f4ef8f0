//! Bad weather beyond plain cuts: slow and one-way paths, connections that break, readers that stall, wrong clocks.
//!
//! Invariant: a frame that was lost takes its connection with it, as TCP does: no session goes on over a gap.

use std::time::Duration;

use tombolo_disk::{Fault, Operation};

use super::Net;
use super::plan::Happening;
use crate::replica::{Device, Replica};
use crate::station::RelayNode;

/// How long a frame is under way, unless a story says otherwise.
pub(super) const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(120));
/// A connection that carries nothing is given up within this: the runtime's ping and its patience.
const HALF_OPEN_MAX: Duration = Duration::from_secs(30);

/// How a device's disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The power is cut now: of what was not synced the seed decides.
    PowerCut {
        /// Decides what is left.
        seed: u64,
    },
    /// The power is cut in the midst of a write or sync to come.
    CutAfter {
        /// How many go well first.
        operations: u64,
        /// Decides what is left.
        seed: u64,
    },
    /// A write to come fails.
    WriteFails {
        /// How many go well first.
        others: u64,
    },
    /// A sync to come fails.
    SyncFails {
        /// How many go well first.
        others: u64,
    },
    /// The disk is full, until the device starts anew.
    Full {
        /// How many bytes there is room for still.
        bytes: u64,
    },
}

impl Net {
    /// Sets how long frames are under way; `None` for the usual.
    pub fn set_latency(&mut self, bounds: Option<(Duration, Duration)>) {
        self.latency = bounds.unwrap_or(LATENCY);
    }

    /// Puts a device's store on a disk that can fail; to be called before it first starts.
    pub fn device_on_disk(&mut self, name: &str) -> Replica {
        let root = self.root();
        let mut device = Device::new(name, &root, self.seed);
        device.mount();
        let replica = self.push_device(device);
        self.start(replica);
        replica
    }

    /// Ends a device as a failing disk or a power cut does; says what of un-synced writes is gone.
    pub fn fail(&mut self, replica: Replica, fault: DiskFault) {
        let device = self.state_mut(replica);
        match fault {
            DiskFault::PowerCut { seed } => device.power_cut(seed),
            DiskFault::CutAfter { operations, seed } => {
                device.fail_disk(|so_far| Fault::CutAt { operation: so_far + operations, seed });
                return;
            }
            DiskFault::WriteFails { others } => {
                device.fail_disk(|_| Fault::ErrorAfter { of: Operation::Write, others });
                return;
            }
            DiskFault::SyncFails { others } => {
                device.fail_disk(|_| Fault::ErrorAfter { of: Operation::Sync, others });
                return;
            }
            DiskFault::Full { bytes } => {
                device.fail_disk(|_| Fault::Full { bytes });
                return;
            }
        }
        self.disconnect_all(replica.0);
    }

    /// Breaks all connections of a device; it may dial again at once.
    pub fn reset(&mut self, replica: Replica) {
        self.lose_paths(|line, _| line.device == replica.0);
    }

    /// Lets one way between a device and a relay carry nothing: neither end is told before its patience ends.
    pub fn half_open(&mut self, replica: Replica, relay: RelayNode, up: bool) {
        self.muted.insert((replica.0, relay.0, up));
        let of = |(line, (to, _)): (&crate::station::Line, &(usize, super::Path))| {
            (line.device == replica.0 && *to == relay.0).then_some(*line)
        };
        let lines: Vec<_> = self.paths.iter().filter_map(of).collect();
        for line in lines {
            let at = self.now + self.chance.between(Duration::from_secs(1), HALF_OPEN_MAX);
            self.plan.add(at, Happening::Breaks { line });
        }
    }

    /// Ends one-way cuts; connections that lost something break.
    pub(super) fn unmute(&mut self) {
        for (device, relay, _) in std::mem::take(&mut self.muted) {
            self.lose_paths(|line, to| line.device == device && to == relay);
        }
    }

    /// Lets a device read nothing of what a relay has for it, or read on.
    pub fn stall(&mut self, replica: Replica, relay: RelayNode, stalls: bool) {
        let station = &mut self.stations[relay.0];
        if stalls {
            station.stalled.insert(replica.0);
        } else if station.stalled.remove(&replica.0) {
            station.pump();
            self.after_relay(relay.0);
        }
    }

    /// Sets by how much a device's wall clock is wrong.
    pub fn set_clock(&mut self, replica: Replica, skew_ms: i64) {
        self.state_mut(replica).skew_ms = skew_ms;
    }

    /// Tells whether a device believes that it has a connection.
    #[must_use]
    pub fn has_session(&self, replica: Replica) -> bool {
        let boots = self.state(replica).boots;
        self.standing.iter().any(|line| line.device == replica.0 && line.boot == boots)
    }
}
