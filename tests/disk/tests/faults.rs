//! Stories of the disk itself: it takes what was not synced and nothing else, and each fault is seen as what it is.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};
use tombolo_disk::{Disk, Fault, Lost, Operation, RebootError};

const SEEDS: u64 = 60;

#[cfg(test)]
mod bench {
    use super::*;

    pub(super) fn opened(folder: &Path, synchronous: &str) -> Connection {
        let file = Connection::open(folder.join("file")).unwrap();
        file.pragma_update(None, "journal_mode", "WAL").unwrap();
        file.pragma_update(None, "synchronous", synchronous).unwrap();
        file.pragma_update(None, "wal_autocheckpoint", 20).unwrap();
        file.execute_batch("CREATE TABLE IF NOT EXISTS word (word INTEGER PRIMARY KEY, filler BLOB)").unwrap();
        file
    }

    pub(super) fn write(file: &Connection, word: i64) -> rusqlite::Result<usize> {
        file.execute("INSERT INTO word VALUES (?1, randomblob(900))", [word])
    }

    pub(super) fn words(folder: &Path) -> Vec<i64> {
        let file = Connection::open(folder.join("file")).unwrap();
        let check: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let mut words = file.prepare("SELECT word FROM word ORDER BY word").unwrap();
        words.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Writes until the power fails in the given operation, and counts the acknowledged words that are gone.
    pub(super) fn lost_words(synchronous: &str, seed: u64, fault: Option<Fault>) -> (usize, Lost) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::mount(folder.path()).unwrap();
        let file = opened(folder.path(), synchronous);
        if let Some(fault) = fault {
            disk.fail(fault);
        }
        disk.fail(Fault::CutAt { operation: disk.operations() + 1 + seed * 7, seed });
        let acknowledged: Vec<i64> = (0..400).take_while(|word| write(&file, *word).is_ok()).collect();
        assert!(disk.is_cut());
        drop(file);
        let lost = disk.reboot().unwrap();
        let held = words(folder.path());
        (acknowledged.iter().filter(|word| !held.contains(word)).count(), lost)
    }
}

use bench::{lost_words, opened, words, write};

#[test]
fn with_full_syncs_a_power_cut_loses_no_acknowledged_row_and_does_take_what_was_not_synced() {
    let mut all = Lost::default();
    for seed in 0..SEEDS {
        let (gone, lost) = lost_words("FULL", seed, None);
        assert_eq!(gone, 0, "seed {seed}");
        all.unsynced += lost.unsynced;
        all.dropped += lost.dropped;
        all.torn += lost.torn;
        all.names += lost.names;
    }
    assert!(all.dropped > 20 && all.torn > 10 && all.unsynced > all.dropped + all.torn, "{all:?}");
}

#[test]
fn a_file_whose_making_is_cut_at_any_operation_is_there_in_part_or_not_and_can_be_made_again() {
    let (mut names, mut cuts) = (0, 0);
    for seed in 0..4 {
        for operation in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::mount(folder.path()).unwrap();
            disk.fail(Fault::CutAt { operation, seed: seed << 32 | operation });
            let made = std::panic::catch_unwind(|| write(&opened(folder.path(), "FULL"), 1).unwrap()).is_ok();
            if !disk.is_cut() {
                break;
            }
            names += disk.reboot().unwrap().names;
            cuts += 1;
            write(&opened(folder.path(), "FULL"), 2).unwrap();
            assert!(!made || words(folder.path()) == [1, 2], "operation {operation}");
        }
    }
    assert!(cuts > 60 && names > 10, "{cuts} cuts took back {names} names");
}

#[test]
fn without_syncs_or_with_syncs_that_lie_a_power_cut_loses_acknowledged_rows() {
    let lost = |fault: Option<Fault>, synchronous: &str| -> usize {
        (0..12).map(|seed| std::panic::catch_unwind(|| lost_words(synchronous, seed, fault).0).unwrap_or(1)).sum()
    };
    assert!(lost(None, "OFF") > 0);
    assert!(lost(None, "NORMAL") > 0);
    assert!(lost(Some(Fault::LyingSync), "FULL") > 0);
}

#[test]
fn a_recorded_run_can_be_cut_at_each_operation_and_a_checker_sees_syncs_that_lie() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path()).unwrap();
    let recorder = disk.record().unwrap();
    let file = opened(folder.path(), "FULL");
    let mut acknowledged = Vec::new();
    for word in 0..40 {
        write(&file, word).unwrap();
        acknowledged.push(disk.operations());
    }
    drop(file);
    let recording = recorder.end();
    for lying in [false, true] {
        let mut walk = if lying { recording.walk_lying() } else { recording.walk() };
        let (mut cuts, mut violations) = (0, 0);
        while let Some(operation) = walk.step() {
            let image = tempfile::tempdir().unwrap();
            walk.cut(operation).write_to(image.path()).unwrap();
            let safe = acknowledged.iter().filter(|at| **at <= operation).count() as i64;
            let held = std::panic::catch_unwind(|| words(image.path())).unwrap_or_default();
            violations += usize::from(safe > 0 && held.iter().filter(|word| **word < safe).count() < safe as usize);
            cuts += 1;
        }
        assert!(cuts > 150, "{cuts}");
        assert_eq!(violations > 0, lying, "{violations} of {cuts}");
    }
}

#[test]
fn the_same_seed_leaves_the_same_bytes() {
    let left = |seed| {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::mount(folder.path()).unwrap();
        let file = opened(folder.path(), "FULL");
        file.pragma_update(None, "synchronous", "NORMAL").unwrap();
        for word in 0..9 {
            file.execute("INSERT INTO word VALUES (?1, zeroblob(900))", [word]).unwrap();
        }
        disk.power_cut(seed);
        drop(file);
        let lost = disk.reboot().unwrap();
        let held = words(folder.path());
        (held, lost)
    };
    assert_eq!(left(3), left(3));
    assert!((0..20).any(|seed| left(seed) != left(3)));
}

#[test]
fn a_cut_ends_every_operation_until_the_reboot_which_waits_for_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path()).unwrap();
    let (file, other) = (opened(folder.path(), "FULL"), opened(folder.path(), "FULL"));
    write(&file, 1).unwrap();
    write(&other, 2).unwrap();
    disk.power_cut(5);
    assert_eq!(write(&file, 3).unwrap_err().sqlite_error_code(), Some(ErrorCode::SystemIoFailure));
    assert!(write(&other, 4).is_err());
    assert!(Connection::open(folder.path().join("another")).and_then(|file| write(&file, 1)).is_err());
    assert!(matches!(disk.reboot(), Err(RebootError::StillOpen { files }) if files >= 4));
    drop((file, other));
    disk.reboot().unwrap();
    assert_eq!(words(folder.path()), [1, 2]);
}

#[test]
fn a_full_disk_refuses_to_grow_and_goes_on_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path()).unwrap();
    let file = opened(folder.path(), "FULL");
    disk.fail(Fault::Full { bytes: 60_000 });
    let acknowledged = (0..1000).take_while(|word| write(&file, *word).is_ok()).count();
    assert!((5..200).contains(&acknowledged), "{acknowledged}");
    assert_eq!(write(&file, 1000).unwrap_err().sqlite_error_code(), Some(ErrorCode::DiskFull));
    disk.mend();
    write(&file, 1001).unwrap();
    drop(file);
    assert_eq!(words(folder.path()).len(), acknowledged + 1);
}

#[test]
fn an_operation_that_fails_is_told_and_the_next_one_goes_well() {
    let codes = [Operation::Write, Operation::Sync].map(|of| {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::mount(folder.path()).unwrap();
        let file = opened(folder.path(), "FULL");
        write(&file, 1).unwrap();
        disk.fail(Fault::ErrorAfter { of, others: 0 });
        let refused = write(&file, 2).unwrap_err().sqlite_error_code();
        write(&file, 3).unwrap();
        disk.power_cut(of as u64);
        drop(file);
        disk.reboot().unwrap();
        assert_eq!(words(folder.path()), [1, 3]);
        refused
    });
    assert_eq!(codes, [Some(ErrorCode::SystemIoFailure); 2]);
}

#[test]
fn errors_at_random_moments_lose_nothing_acknowledged_either() {
    for of in [Operation::Read, Operation::Write, Operation::Sync] {
        for seed in 0..SEEDS / 4 {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::mount(folder.path()).unwrap();
            let file = opened(folder.path(), "FULL");
            disk.fail(Fault::ErrorRate { of, one_in: 9, seed });
            let acknowledged: Vec<i64> = (0..60).filter(|word| write(&file, *word).is_ok()).collect();
            disk.power_cut(seed);
            drop(file);
            disk.reboot().unwrap();
            let held = words(folder.path());
            assert!(acknowledged.iter().all(|word| held.contains(word)), "{of:?}, seed {seed}");
        }
    }
}

#[test]
fn a_folder_that_is_not_mounted_is_left_alone() {
    let (mounted, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let disk = Disk::mount(mounted.path()).unwrap();
    disk.power_cut(1);
    let file = opened(elsewhere.path(), "FULL");
    write(&file, 1).unwrap();
    drop(file);
    assert_eq!(words(elsewhere.path()), [1]);
    assert_eq!(disk.operations(), 0);
    drop(disk);
    write(&opened(mounted.path(), "FULL"), 1).unwrap();
}
