//! The life of a relay's log: devices that write, a member who joins, and restarts.

use std::path::Path;
use std::sync::Arc;

use tombolo::protocol::record::Role;
use tombolo_disk::Disk;
use tombolo_relay::log::Log as _;
use tombolo_relay::log::sqlite::SqliteLog;
use tombolo_tests::{Net, RelayNode};

use crate::life::{Commits, Cut, Life};

pub(crate) const FILE: &str = "log.sqlite";
const RELAY: RelayNode = RelayNode::FIRST;

#[test]
fn a_power_cut_of_a_relay_at_any_operation_leaves_everything_that_has_a_receipt() {
    life().cut(false, opens).tell("a relay");
}

#[test]
fn a_relay_on_a_disk_whose_syncs_lie_is_caught() {
    let tally = life().cut(true, opens);
    assert!(tally.violations * 10 > tally.cuts, "{tally:?}");
}

fn life() -> Life {
    let mut net = Net::seeded(5);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    net.stop_relay(RELAY);
    let (disk, commits) = (Arc::new(Disk::mount(&net.relay_folder(RELAY)).unwrap()), Commits::default());
    let recorder = disk.record().unwrap();
    net.witness_relay(RELAY, commits.witness(&disk, None));
    net.start_relay(RELAY);
    for season in ["spring", "summer"] {
        for day in 0..12 {
            alice.edit(&mut net, &format!("{season} {day} by alice"));
            bob.edit(&mut net, &format!("{season} {day} by bob"));
            net.run_until_quiet();
        }
        net.restart_relay(RELAY);
        net.run_until_quiet();
    }
    let carol = net.device("carol");
    net.join(alice, carol, Role::Writer);
    carol.edit(&mut net, "autumn");
    net.run_until_quiet();
    net.assert_converged([alice, bob, carol]);
    net.stop_relay(RELAY);
    Life::new(FILE, recorder.end(), &commits)
}

/// Opens what is left as a relay does after a reboot.
pub(crate) fn opens(cut: &Cut<'_>) -> Result<(), String> {
    let log = SqliteLog::open(&cut.path).map_err(said)?;
    log.last_row().map_err(said)?;
    drop(log);
    let sound = is_sound(&cut.path).map_err(said)?;
    if sound { Ok(()) } else { Err("SQLite finds a page that is wrong".to_owned()) }
}

fn is_sound(path: &Path) -> rusqlite::Result<bool> {
    let file = rusqlite::Connection::open(path)?;
    let answer: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    Ok(answer == "ok")
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
