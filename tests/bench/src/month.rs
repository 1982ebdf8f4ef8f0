//! The month of `compaction`: three members write into one document day by day, on a simulated net with the real engine,
//! relay and stores; what the relay and a device hold, and what a new device fetches, once without and once with deletion.
//!
//! Invariant: bytes are those of the files' pages that hold something, at the end of a day; the clock is simulated, but the
//! seconds of an opening are not.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tombolo::document::{Crdt, MapEdit};
use tombolo::protocol::ids::DocumentId;
use tombolo::protocol::record::Role;
use tombolo_testkit::{Chance, Net, RelayNode, Replica};

use crate::error::BenchError;
use crate::note;
use crate::report::{BYTES, Report, SECONDS, System};
use crate::scene::CRDTS;

const RELAY: RelayNode = RelayNode::FIRST;
const DAYS: usize = 30;
/// Days after which figures are taken.
const WEEK: usize = 7;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Time between two edits: each is an entry of its own.
const PAUSE: Duration = Duration::from_millis(400);
/// How long relay and devices keep what a snapshot stands for.
const RETENTION: Duration = Duration::from_secs(3 * 24 * 3600);
/// Parts of the whole month's entries from which a document is published.
const SNAPSHOTS: usize = 15;
/// How long all stay after the last edit of a day.
const EVENING: Duration = Duration::from_secs(2 * 3600);
/// How long what was written last may take to be everywhere.
const REST: Duration = Duration::from_secs(60);
const SEED: u64 = 30;
const WORD: &str = "word ";

/// Measures both CRDTs, without and with deletion.
pub(crate) fn run(entries: usize, report: &mut Report) -> Result<(), BenchError> {
    for (crdt, name) in CRDTS {
        for (deletes, how) in [(false, "kept"), (true, "deleted")] {
            let workload = |part: &str| format!("compaction/{name}-month-{how}-{part}/{entries}");
            Month::begin(crdt, entries, deletes).play(&workload, report)?;
        }
    }
    Ok(())
}

struct Month {
    net: Net,
    writers: [Replica; 3],
    document: DocumentId,
    /// Edits of a day, of all together.
    edits: usize,
    deletes: bool,
}

impl Month {
    fn begin(crdt: Crdt, entries: usize, deletes: bool) -> Self {
        let mut net = Net::seeded(SEED);
        if deletes {
            net.publish_all((entries / SNAPSHOTS).max(1));
        }
        let writers = net.replicas(["alice", "bob", "carol"]);
        if deletes {
            net.prune_after(RELAY, RETENTION);
            writers.into_iter().for_each(|writer| writer.compact_after(&mut net, RETENTION));
        }
        let document = writers[0].create(&mut net, crdt);
        net.share_document(document);
        net.run_until_quiet();
        Self { net, writers, document, edits: entries.div_ceil(DAYS), deletes }
    }

    fn play(mut self, workload: &dyn Fn(&str) -> String, report: &mut Report) -> Result<(), BenchError> {
        for day in 1..=DAYS {
            self.work()?;
            self.close_down();
            if day % WEEK == 0 || day == DAYS {
                let relay = used_bytes(&self.net.relay_folder(RELAY).join("log.sqlite"))?;
                let device = used_bytes(&self.writers[0].store_path(&self.net))?;
                report.add(&workload(&format!("relay-day-{day}")), System::Tombolo, BYTES, relay);
                report.add(&workload(&format!("device-day-{day}")), System::Tombolo, BYTES, device);
                note(&format_args!("{}: day {day} of {DAYS}, relay {relay} B, device {device} B", workload("bytes")));
            }
            self.open_up(day);
        }
        let letters = DAYS * self.edits * WORD.len();
        report.add(&workload("open"), System::Tombolo, SECONDS, self.open(self.writers[0], letters)?);
        let dora = self.net.device("dora");
        let fetched = count_bytes(&mut self.net, dora);
        self.net.join(self.writers[0], dora, Role::Writer);
        self.net.run_for(REST);
        report.add(&workload("newcomer"), System::Tombolo, BYTES, fetched.get() as f64);
        report.add(&workload("newcomer-open"), System::Tombolo, SECONDS, self.open(dora, letters)?);
        Ok(())
    }

    /// A working day: all write by turns.
    fn work(&mut self) -> Result<(), BenchError> {
        for nth in 0..self.edits {
            self.write(self.writers[nth % self.writers.len()])?;
            self.net.run_for(PAUSE);
        }
        // The relay looks once an hour.
        self.net.run_for(EVENING);
        if self.deletes {
            self.net.sweep(RELAY);
        }
        Ok(())
    }

    /// The end of a day: nobody holds the files.
    fn close_down(&mut self) {
        for writer in self.writers {
            writer.kill(&mut self.net);
        }
        self.net.stop_relay(RELAY);
    }

    /// The next morning: all begin anew.
    fn open_up(&mut self, day: usize) {
        let morning = DAY * u32::try_from(day).unwrap_or(u32::MAX);
        self.net.run_for(morning.saturating_sub(self.net.now().mono));
        self.net.start_relay(RELAY);
        for writer in self.writers {
            self.net.start(writer);
        }
        self.net.run_for(REST);
    }

    fn write(&mut self, writer: Replica) -> Result<(), BenchError> {
        let document = self.document;
        let at = self.net.chance().below(u64::MAX) as usize;
        let written = self.net.act(writer, |engine, now, tx| {
            let change = |edit: &mut MapEdit<'_>| {
                let mut body = edit.text("body")?;
                let place = at % (body.len_utf16() + 1);
                body.splice(place, 0, WORD)
            };
            engine.edit(now, &document, change, tx)
        });
        written.map(|_| ()).map_err(BenchError::from)
    }

    /// Opens a device's store anew and reads the document; returns how many seconds of this machine that took.
    fn open(&mut self, replica: Replica, letters: usize) -> Result<f64, BenchError> {
        replica.kill(&mut self.net);
        let (document, start) = (self.document, Instant::now());
        self.net.start(replica);
        let read = self.net.act(replica, |engine, now, tx| {
            engine.read(now, &document, |read| read.text("body").map(|text| text.map_or(0, |text| text.len())), tx)
        });
        let seconds = start.elapsed().as_secs_f64();
        match read? {
            Some(Ok(read)) if read == letters => Ok(seconds),
            _ => Err(BenchError::Wrong("the text that was typed")),
        }
    }
}

/// Counts what the relay sends to one device from now on.
fn count_bytes(net: &mut Net, reader: Replica) -> Rc<Cell<usize>> {
    let counted = Rc::new(Cell::new(0));
    let count = Rc::clone(&counted);
    let pass = move |to, bytes: Vec<u8>, _: &mut Chance| {
        if to == reader {
            count.set(count.get() + bytes.len());
        }
        vec![bytes]
    };
    net.lie(RELAY, Box::new(pass));
    counted
}

/// Bytes of a database that hold something: what was deleted leaves room in the file.
fn used_bytes(path: &Path) -> Result<f64, BenchError> {
    let file = rusqlite::Connection::open(path)?;
    let pragma = |name: &str| file.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    Ok(((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?) as f64)
}
