//! How nets, relays, processes, disks and clocks fail: what a class of the fault matrix does to one device and one relay.
//!
//! Invariant: [`Mishaps::calm`] ends whatever disturbs; what is down stays down, and clocks stay wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::fault::Fault;
use crate::lies::{self, Lie};
use crate::net::{DiskFault, Net, WALL_MS};
use crate::replica::{CrashAt, Replica};
use crate::station::RelayNode;

const DAY_MS: i64 = 86_400_000;

/// What disturbs at present.
#[derive(Default)]
pub struct Mishaps {
    lying: BTreeSet<RelayNode>,
    stalled: BTreeSet<(Replica, RelayNode)>,
}

impl Mishaps {
    /// Tells whether any relay lies at present.
    #[must_use]
    pub fn anybody_lies(&self) -> bool {
        !self.lying.is_empty()
    }

    /// Lets a class of the network strike between a device and a relay.
    pub fn weather(&mut self, net: &mut Net, fault: Fault, between: (Replica, RelayNode), how: u64) {
        let (replica, relay) = between;
        match fault {
            Fault::Latency => {
                let slow = (Duration::from_millis(200), Duration::from_secs(4));
                let quick = (Duration::from_micros(10), Duration::from_micros(50));
                net.set_latency(Some(if how.is_multiple_of(3) { quick } else { slow }));
            }
            Fault::Reset => net.reset(replica),
            Fault::Partition if how.is_multiple_of(3) => net.cut_from(replica, relay),
            Fault::Partition => net.cut(replica),
            Fault::OneWay => net.half_open(replica, relay, how.is_multiple_of(2)),
            _ => {
                net.stall(replica, relay, true);
                self.stalled.insert((replica, relay));
            }
        }
    }

    /// Lets a class of the relays strike; tells whether it did, for a rollback needs a copy first.
    pub fn trouble_relay(&mut self, net: &mut Net, fault: Fault, relay: RelayNode, how: u64) -> bool {
        match fault {
            Fault::Repeat => self.lie(net, relay, lies::repeat_items(3)),
            Fault::Reorder => self.lie(net, relay, lies::reorder_items()),
            Fault::Lie => {
                let lie = match how % 7 {
                    0 => lies::withhold("Received"),
                    1 => lies::withhold("Items"),
                    2 => lies::drop_items(),
                    3 => lies::truncate(),
                    4 => lies::flip_bits(20),
                    5 => lies::break_receipts(),
                    _ => lies::old_heads(),
                };
                self.lie(net, relay, lie);
            }
            Fault::RelayRestart if how.is_multiple_of(3) => net.stop_relay(relay),
            Fault::RelayRestart => net.restart_relay(relay),
            Fault::RelayWipe => net.wipe_relay(relay),
            Fault::LogLost => net.lose_log(relay),
            _ if how.is_multiple_of(3) || relay != RelayNode::FIRST => {
                net.back_up_relay(relay);
                return false;
            }
            _ => net.roll_back_relay(relay),
        }
        true
    }

    fn lie(&mut self, net: &mut Net, relay: RelayNode, lie: Lie) {
        net.lie(relay, lie);
        self.lying.insert(relay);
    }

    /// Lets a process end, or its disk fail; tells whether it is to be started again at once.
    #[must_use]
    pub fn trouble_process(net: &mut Net, fault: Fault, replica: Replica, how: u64) -> bool {
        match fault {
            Fault::Crash => {
                replica.kill(net);
                return !how.is_multiple_of(3);
            }
            Fault::CrashAtCommit => {
                let at = if how.is_multiple_of(2) { CrashAt::BeforeCommit } else { CrashAt::AfterCommit };
                replica.crash_at_commit(net, 1 + how % 7, at);
            }
            Fault::PowerCut if how.is_multiple_of(3) => {
                net.fail(replica, DiskFault::PowerCut { seed: how });
                return true;
            }
            Fault::PowerCut => net.fail(replica, DiskFault::CutAfter { operations: 1 + how % 40, seed: how }),
            _ if how.is_multiple_of(2) => net.fail(replica, DiskFault::WriteFails { others: how % 30 }),
            _ if Self::fills_the_disk(how) => net.fail(replica, DiskFault::Full { bytes: how % 40_000 }),
            _ => net.fail(replica, DiskFault::SyncFails { others: how % 10 }),
        }
        false
    }

    /// Tells whether a fault of the disk is that it is full.
    #[must_use]
    pub fn fills_the_disk(how: u64) -> bool {
        how % 4 == 1
    }

    /// Sets a device's wall clock: some days off, to 1970, to 2040, or right.
    pub fn trouble_clock(net: &mut Net, replica: Replica, how: u64) {
        let by = i64::try_from(how % 180).unwrap_or(0) - 90;
        let skew_ms = match how % 6 {
            0 => -WALL_MS,
            1 => 17 * 365 * DAY_MS,
            2 => 0,
            _ => by * DAY_MS,
        };
        net.set_clock(replica, skew_ms);
    }

    /// Lets 10 to 90 days pass: those who are `away` are off, the others have ten minutes to come to rest.
    pub fn months_pass(&mut self, net: &mut Net, away: &[Replica], here: &[Replica], how: u64) {
        self.calm(net);
        away.iter().for_each(|replica| replica.kill(net));
        net.run_for(Duration::from_secs(600));
        // Who does not come to rest in peace would dial every minute for months.
        for replica in here {
            if !replica.is_settled(net) {
                replica.kill(net);
            }
        }
        net.run_for(Duration::from_secs(86_400) * u32::try_from(10 + how % 81).unwrap_or(10));
    }

    /// Ends what disturbs the net and the relays; devices that are down stay down.
    pub fn calm(&mut self, net: &mut Net) {
        net.set_latency(None);
        for (replica, relay) in std::mem::take(&mut self.stalled) {
            net.stall(replica, relay, false);
        }
        for relay in std::mem::take(&mut self.lying) {
            net.honest(relay);
        }
        net.start_relays();
        net.heal();
    }
}
