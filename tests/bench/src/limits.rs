//! The denominators: what SQLite, the disk and the primitives can do by themselves on this machine.
//!
//! Invariant: SQLite is set up as the store sets it up (WAL, page size, cache), with rows of the size of
//! a sealed one-character edit.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tombolo::SystemEntropy;
use tombolo::crypto::{DeviceSecrets, Secret32, StoreCipher};
use tombolo::protocol::keys::VerifyKey;

use crate::error::BenchError;
use crate::report::{PER_SECOND, Report, SECONDS, System};

/// Bytes of a pending change's row: a small change, its nonce and its tag.
const ROW_BYTES: usize = 120;
/// Bytes that are sealed and signed: a small entry.
const MESSAGE_BYTES: usize = 200;
/// How long one rate is measured.
const SPAN: Duration = Duration::from_millis(400);

/// Measures all limits once.
pub(crate) fn run(report: &mut Report) -> Result<(), BenchError> {
    for full in [true, false] {
        for rows in [1, 100] {
            let mode = if full { "full" } else { "normal" };
            report.add(&format!("limits/sqlite-{mode}-{rows}"), System::Limit, PER_SECOND, sqlite(full, rows)?);
        }
    }
    report.add("limits/fsync", System::Limit, SECONDS, fsync()?);
    primitives(report)
}

/// Returns how many rows a second SQLite takes with this many a commit.
pub(crate) fn sqlite(full: bool, rows: usize) -> Result<f64, BenchError> {
    let folder = tempfile::tempdir()?;
    let connection = Connection::open(folder.path().join("limit.sqlite"))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })?;
    connection.pragma_update(None, "cache_size", -8192)?;
    connection
        .execute_batch("CREATE TABLE pending (pending INTEGER PRIMARY KEY, document INTEGER, change BLOB) STRICT")?;
    let change = [7_u8; ROW_BYTES];
    rate(|| {
        connection.execute_batch("BEGIN")?;
        for _ in 0..rows {
            connection
                .prepare_cached("INSERT INTO pending (document, change) VALUES (1, ?1)")?
                .execute([&change[..]])?;
        }
        connection.execute_batch("COMMIT")?;
        Ok(rows)
    })
}

/// Returns how many seconds a flush of one written page takes on average.
pub(crate) fn fsync() -> Result<f64, BenchError> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("flushed"))?;
    let page = [7_u8; 4096];
    let flushes = rate(|| {
        file.write_all(&page)?;
        file.sync_data()?;
        Ok(1)
    })?;
    Ok(1.0 / flushes)
}

const REFUSED: BenchError = BenchError::Wrong("a primitive refuses what it made");

/// Returns how many signatures a second one core verifies.
pub(crate) fn verifies() -> Result<f64, BenchError> {
    let device = DeviceSecrets::generate(&mut SystemEntropy::new());
    let message = [7_u8; MESSAGE_BYTES];
    let signature = device.sign_key().sign("tombolo/limit", &message);
    let key = VerifyKey::parse(&device.sign_key().public()).map_err(|_| REFUSED)?;
    rate(|| key.verify("tombolo/limit", &message, &signature).map(|()| 1).map_err(|_| REFUSED))
}

fn primitives(report: &mut Report) -> Result<(), BenchError> {
    let mut entropy = SystemEntropy::new();
    let cipher = StoreCipher::new(Secret32::generate(&mut entropy));
    let message = [7_u8; MESSAGE_BYTES];
    let sealed = cipher.seal("limit", "value", b"key", &message, &mut entropy);
    let seals = rate(|| Ok(usize::from(!cipher.seal("limit", "value", b"key", &message, &mut entropy).is_empty())))?;
    let opens = rate(|| cipher.open("limit", "value", b"key", &sealed).map(|_| 1).map_err(|_| REFUSED))?;
    let device = DeviceSecrets::generate(&mut entropy);
    let signs = rate(|| {
        std::hint::black_box(device.sign_key().sign("tombolo/limit", &message));
        Ok(1)
    })?;
    for (name, value) in [("seal", seals), ("open", opens), ("sign", signs), ("verify", verifies()?)] {
        report.add(&format!("limits/{name}"), System::Limit, PER_SECOND, value);
    }
    Ok(())
}

/// Repeats some work for [`SPAN`] and says how much was done a second.
fn rate(mut work: impl FnMut() -> Result<usize, BenchError>) -> Result<f64, BenchError> {
    let start = Instant::now();
    let mut finished = 0;
    while start.elapsed() < SPAN {
        finished += work()?;
    }
    Ok(finished as f64 / start.elapsed().as_secs_f64())
}
