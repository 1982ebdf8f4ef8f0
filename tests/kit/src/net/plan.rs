//! What is under way: dials, frames, losses and commits, each at its moment.
//!
//! Invariant: a connection's frames keep their order; a cut path carries nothing more, and both of its
//! ends are told, each at a moment of its own within [`NOTICE_MAX`].

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo::engine::Connection;
use tombolo::protocol::close::CloseCode;

use super::{Net, Path};
use crate::replica::Replica;
use crate::station::{Line, RelayNode, Said};

/// How long a peer may go on without noticing that the other is gone.
const NOTICE_MAX: Duration = Duration::from_secs(30);

/// Something that will happen.
pub(super) enum Happening {
    Stands { line: Line },
    ToRelay { line: Line, bytes: Vec<u8> },
    ToDevice { line: Line, bytes: Vec<u8> },
    Breaks { line: Line },
    DeviceLoses { line: Line, code: Option<CloseCode> },
    RelayLoses { relay: usize, line: Line },
    Commit { relay: usize },
}

/// What will happen, by time and then by the order of planning.
#[derive(Default)]
pub(super) struct Plan {
    at: BTreeMap<(Duration, u64), Happening>,
    planned: u64,
}

impl Plan {
    pub(super) fn add(&mut self, at: Duration, happening: Happening) {
        self.planned += 1;
        self.at.insert((at, self.planned), happening);
    }

    pub(super) fn next_at(&self) -> Option<Duration> {
        self.at.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn take(&mut self) -> Option<Happening> {
        self.at.pop_first().map(|(_, happening)| happening)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

impl Net {
    pub(super) fn dial(&mut self, device: usize, connection: Connection, address: &str) {
        let line = self.line(device, connection);
        let found = self.stations.iter().position(|station| station.address == address);
        let at = self.now + self.latency();
        match found.filter(|relay| self.is_reachable(device, *relay)) {
            Some(relay) => {
                self.paths.insert(line, (relay, Path { up_at: at, down_at: at }));
                self.plan.add(at, Happening::Stands { line });
            }
            None => self.plan.add(at, Happening::DeviceLoses { line, code: None }),
        }
    }

    fn line(&self, device: usize, connection: Connection) -> Line {
        Line { device, boot: self.devices[device].boots, connection }
    }

    pub(super) fn send_up(&mut self, device: usize, connection: Connection, bytes: Vec<u8>) {
        let frames = match self.patches.get_mut(&device) {
            Some(patch) => patch(Replica(device), bytes, &mut self.chance),
            None => vec![bytes],
        };
        let latency = self.latency();
        let line = self.line(device, connection);
        let Some((relay, path)) = self.paths.get_mut(&line) else { return };
        path.up_at = path.up_at.max(self.now + latency);
        let (relay, at) = (*relay, path.up_at);
        if self.muted.contains(&(device, relay, true)) {
            return;
        }
        for bytes in frames {
            self.watch_frame(&bytes);
            self.plan.add(at, Happening::ToRelay { line, bytes });
        }
    }

    pub(super) fn hang_up(&mut self, device: usize, connection: Connection) {
        let latency = self.latency();
        let line = self.line(device, connection);
        self.standing.remove(&line);
        if let Some((relay, path)) = self.paths.remove(&line) {
            let at = path.up_at.max(self.now + latency);
            self.plan.add(at, Happening::RelayLoses { relay, line });
        }
    }

    /// Sends what a relay has to say.
    pub(super) fn after_relay(&mut self, relay: usize) {
        for said in self.stations[relay].take_said() {
            match said {
                Said::Frame(line, bytes) => self.send_down(relay, line, bytes),
                Said::Ended(line, code) => {
                    let latency = self.latency();
                    if let Some((_, path)) = self.paths.get_mut(&line) {
                        let at = path.down_at.max(self.now + latency);
                        self.plan.add(at, Happening::DeviceLoses { line, code: Some(code) });
                    }
                }
            }
        }
    }

    /// Plans the commit of what a relay took in.
    pub(super) fn plan_commit(&mut self, relay: usize) {
        if !std::mem::replace(&mut self.stations[relay].commit_planned, true) {
            let wait = self.chance.between(Duration::from_micros(100), Duration::from_millis(6));
            self.plan.add(self.now + wait, Happening::Commit { relay });
        }
    }

    fn send_down(&mut self, relay: usize, line: Line, bytes: Vec<u8>) {
        self.watch_frame(&bytes);
        self.watch_receipt(relay, &bytes);
        let frames = match self.lies.get_mut(&relay) {
            Some(lie) => lie(Replica(line.device), bytes, &mut self.chance),
            None => vec![bytes],
        };
        let latency = self.latency();
        let Some((_, path)) = self.paths.get_mut(&line) else { return };
        path.down_at = path.down_at.max(self.now + latency);
        let at = path.down_at;
        if self.muted.contains(&(line.device, relay, false)) {
            return;
        }
        for bytes in frames {
            self.plan.add(at, Happening::ToDevice { line, bytes });
        }
    }

    /// Cuts a device from every relay.
    pub fn cut(&mut self, replica: Replica) {
        for relay in 0..self.stations.len() {
            self.cut_from(replica, RelayNode(relay));
        }
    }

    /// Cuts a device from one relay.
    pub fn cut_from(&mut self, replica: Replica, relay: RelayNode) {
        self.cuts.insert((replica.0, relay.0));
        self.lose_paths(|line, to| line.device == replica.0 && to == relay.0);
    }

    /// Mends all cuts; the relays that are down stay down.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.unmute();
        self.trace.note(self.now, "the net is whole".to_owned(), &[]);
    }

    /// Mends the cut between a device and one relay.
    pub fn heal_to(&mut self, replica: Replica, relay: RelayNode) {
        self.cuts.remove(&(replica.0, relay.0));
    }

    pub(super) fn lose_paths(&mut self, lost: impl Fn(Line, usize) -> bool) {
        let gone = self.paths.iter().filter(|(line, (relay, _))| lost(**line, *relay));
        let gone: Vec<(Line, usize)> = gone.map(|(line, (relay, _))| (*line, *relay)).collect();
        for (line, relay) in gone {
            self.paths.remove(&line);
            let at = self.now + self.chance.between(Duration::ZERO, NOTICE_MAX);
            self.plan.add(at, Happening::DeviceLoses { line, code: None });
            let at = self.now + self.chance.between(Duration::ZERO, NOTICE_MAX);
            self.plan.add(at, Happening::RelayLoses { relay, line });
        }
    }

    /// Ends all connections of a device that died.
    pub(super) fn disconnect_all(&mut self, device: usize) {
        self.lose_paths(|line, _| line.device == device);
    }

    /// Stops a relay, so that what it had not committed is lost and its sessions end.
    pub fn stop_relay(&mut self, relay: RelayNode) {
        self.trace.note(self.now, format!("relay {} stops", relay.0), &[]);
        self.down.insert(relay.0);
        self.stations[relay.0].stop();
        self.lose_paths(|_, to| to == relay.0);
    }

    /// Starts a relay again.
    pub fn start_relay(&mut self, relay: RelayNode) {
        self.trace.note(self.now, format!("relay {} starts", relay.0), &[]);
        self.down.remove(&relay.0);
        self.stations[relay.0].start();
    }

    /// Starts every relay that is down.
    pub fn start_relays(&mut self) {
        (0..self.stations.len()).for_each(|relay| self.start_relay(RelayNode(relay)));
    }

    /// Stops a relay and starts it again.
    pub fn restart_relay(&mut self, relay: RelayNode) {
        self.stop_relay(relay);
        self.start_relay(relay);
    }

    /// Lets a relay delete what a snapshot stands for that has had enough words for so long.
    pub fn prune_after(&mut self, relay: RelayNode, retention: Duration) {
        self.stations[relay.0].retention = Some(retention);
        self.restart_relay(relay);
    }

    /// Lets a relay look for what may go, if it is time to.
    pub fn sweep(&mut self, relay: RelayNode) {
        self.stations[relay.0].commit();
        self.after_relay(relay.0);
    }

    /// Replaces a relay by an empty one with another key.
    pub fn wipe_relay(&mut self, relay: RelayNode) {
        self.stop_relay(relay);
        self.stations[relay.0].wipe(true);
        self.start_relay(relay);
    }

    /// Makes a relay forget its log, but not its key.
    pub fn lose_log(&mut self, relay: RelayNode) {
        self.stop_relay(relay);
        self.stations[relay.0].wipe(false);
        self.start_relay(relay);
    }

    /// Copies a relay's files, to be put back by [`Net::roll_back_relay`].
    pub fn back_up_relay(&mut self, relay: RelayNode) {
        self.stations[relay.0].back_up();
    }

    /// Puts a relay's files back as they were when they were copied.
    pub fn roll_back_relay(&mut self, relay: RelayNode) {
        self.stop_relay(relay);
        self.stations[relay.0].roll_back();
        self.start_relay(relay);
    }
}
