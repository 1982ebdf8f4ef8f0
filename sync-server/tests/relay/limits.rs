//! What the relay bounds, at its limit and one over it, without any socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::{TempDir, tempdir};
use tombolo_protocol::auth::{Binding, Transcript};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Append, Auth, Frame, Seed, TlsMode};
use tombolo_protocol::ids::{LogId, WorkspaceId};
use tombolo_protocol::keys::SignKey;
use tombolo_protocol::limits::{CHALLENGE_MS_MAX, OPEN_WORKSPACES_MAX, RECORD_SECRET_BYTES_MAX};
use tombolo_protocol::record::{Draft, Record};
use tombolo_relay::admission::Admission;
use tombolo_relay::fanout::{Closing, OUTBOX_BYTES_MAX, Outbox, SessionId};
use tombolo_relay::log::sqlite::SqliteLog;
use tombolo_relay::log::{Backlog, Log as _, Write};
use tombolo_relay::relay::{NoEntropy, PROBE_BYTES_MAX, ROWS_MAX, Relay, Surroundings, Terms};
use tombolo_relay::session::{Peer, Session};
use tombolo_relay::workspace::{Verdicts, Workspace};
use tombolo_relay::writer::{
    self, AppendJob, BYTES_PER_COMMIT_MAX, JOBS_PER_COMMIT_MAX, Job, JobQueue, SHARE_BYTES_MAX, SHARE_ITEMS_MAX,
    WAITING_BYTES_MAX,
};

use super::client::Client;
use super::people::{Person, found, workspace};
use super::process::RelayProcess;

/// Bytes of one seed; the relay keeps the number to itself.
const SEED_BYTES_MAX: usize = 16 << 20;
/// Bytes of a request's head, likewise.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A clock that is set by hand, and randomness that counts.
struct ByHand(Arc<AtomicU64>, AtomicU64);

impl Surroundings for ByHand {
    fn now_ms(&self) -> i64 {
        1_000
    }

    fn steady_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        let count = self.1.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, number) in bytes.iter_mut().zip(count.iter().rev().cycle()) {
            *byte = *number;
        }
        Ok(())
    }
}

/// A relay, its clock, and one session.
struct Desk {
    relay: Arc<Relay>,
    clock: Arc<AtomicU64>,
    session: Session,
    outbox: Arc<Outbox>,
    _folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let log = Box::new(SqliteLog::open(&folder.path().join("log.sqlite")).unwrap());
        let terms = Terms {
            credit_bytes: 1 << 20,
            ping_ms: 20_000,
            tls: TlsMode::Plain,
            quota_bytes: None,
            items_per_second: 100,
            bytes_per_second: 1 << 20,
        };
        let (key, clock) = (SignKey::from_seed(&[42; 32]), Arc::new(AtomicU64::new(0)));
        let by_hand = Box::new(ByHand(Arc::clone(&clock), AtomicU64::new(0)));
        let relay = Arc::new(Relay::new(key, log, by_hand, terms, Admission::Open).unwrap());
        let outbox = relay.new_outbox();
        let peer = Peer { host: "sim".to_owned(), binding: Binding::None };
        let session = Session::new(Arc::clone(&relay), Arc::clone(&outbox), peer);
        Self { relay, clock, session, outbox, _folder: folder }
    }

    /// A session whose device has proven its key.
    fn proven(who: &Person) -> Self {
        let mut desk = Self::new();
        desk.prove(who, 0).unwrap();
        desk
    }

    /// Proves the device's key, this long after the challenge.
    fn prove(&mut self, who: &Person, wait_ms: u64) -> Result<(), Closing> {
        let said = self.say(Client::hello(who, None))?;
        let Some(Frame::Challenge(challenge)) = said.first() else { panic!("expected Challenge, got {said:?}") };
        let transcript = Transcript {
            relay: challenge.relay,
            host: "sim".to_owned(),
            device_nonce: [9; 32],
            relay_nonce: challenge.nonce,
            binding: Binding::None,
        };
        self.clock.store(wait_ms, Ordering::Relaxed);
        let proof = transcript.sign_as_device(&who.keys, &who.sign_key());
        let said = self.say(Auth { proof })?;
        assert!(matches!(said.as_slice(), [Frame::Welcome(_)]), "{said:?}");
        Ok(())
    }

    fn say(&mut self, frame: impl Into<Frame>) -> Result<Vec<Frame>, Closing> {
        self.session.handle(&frame.into().encode())?;
        writer::commit(&self.relay, self.relay.queue().take());
        self.session.deliver(self.outbox.take())?;
        while self.session.wants_to_read() {
            self.session.read_on()?;
        }
        Ok(self.session.take_output().iter().map(|frame| Frame::decode(frame).unwrap()).collect())
    }
}

fn seed(workspace: WorkspaceId, records: &[Record], more: bool) -> Seed {
    let records = records.iter().map(|record| record.encode().into()).collect();
    Seed { workspace, records, attestations: Vec::new(), more, documents: None }
}

#[test]
fn a_challenge_is_answered_in_time_or_in_vain() {
    let alice = Person::new(1);
    Desk::new().prove(&alice, CHALLENGE_MS_MAX).unwrap();
    let late = Desk::new().prove(&alice, CHALLENGE_MS_MAX + 1);
    assert_eq!(late, Err(CloseCode::AuthTimeout.into()));
}

#[test]
fn a_session_opens_as_many_workspaces_as_its_limit() {
    let alice = Person::new(1);
    let mut desk = Desk::proven(&alice);
    let founded = |desk: &mut Desk, number: usize| {
        let ground = found_many(&alice, number);
        desk.say(seed(workspace(&ground), &ground, false))
    };
    for number in 0..OPEN_WORKSPACES_MAX {
        let said = founded(&mut desk, number).unwrap();
        assert!(matches!(said.first(), Some(Frame::Opened(_))), "{number}: {said:?}");
    }
    assert_eq!(founded(&mut desk, OPEN_WORKSPACES_MAX).map(|said| said.len()), Err(CloseCode::RateLimited.into()));
}

/// Grounds of more workspaces than a byte can number.
fn found_many(founder: &Person, number: usize) -> Vec<Record> {
    let first = found(founder, (number % 256) as u8);
    if number < 256 {
        return first;
    }
    let [genesis, devices] = first.as_slice() else { panic!("two records") };
    let again = |record: &Record, workspace, parents| Draft {
        workspace,
        generation: record.generation(),
        time_ms: number as i64,
        author: founder.id(),
        parents,
        body: record.body().clone(),
        secret: Vec::new(),
    };
    let genesis = Record::sign(again(genesis, Record::NO_WORKSPACE, Vec::new()), &founder.sign_key()).unwrap();
    let devices = again(devices, genesis.workspace(), vec![genesis.id()]);
    vec![genesis, Record::sign(devices, &founder.sign_key()).unwrap()]
}

#[test]
fn a_seed_has_no_more_bytes_than_its_limit() {
    let alice = Person::new(1);
    let ground = found(&alice, 1);
    let filler = |secret| {
        let draft = Draft {
            workspace: workspace(&ground),
            generation: 1,
            time_ms: 0,
            author: alice.id(),
            parents: vec![ground[0].id()],
            body: ground[1].body().clone(),
            secret: vec![0; secret],
        };
        Record::sign(draft, &alice.sign_key()).unwrap()
    };
    let (large, small) = (filler(RECORD_SECRET_BYTES_MAX), filler(0).encode().len());
    let (count, rest) = (SEED_BYTES_MAX / large.encode().len(), SEED_BYTES_MAX % large.encode().len());
    let mut desk = Desk::proven(&alice);
    for _ in 0..count {
        desk.say(seed(workspace(&ground), std::slice::from_ref(&large), true)).unwrap();
    }
    // One more byte than what is left over, in records that are otherwise good.
    assert!(rest > small && rest - small < RECORD_SECRET_BYTES_MAX, "{rest} left, {small} needed");
    let mut over = Desk::proven(&alice);
    for _ in 0..count {
        over.say(seed(workspace(&ground), std::slice::from_ref(&large), true)).unwrap();
    }
    desk.say(seed(workspace(&ground), &[filler(rest - small)], true)).unwrap();
    let refused = over.say(seed(workspace(&ground), &[filler(rest - small + 1)], true));
    assert_eq!(refused.map(|said| said.len()), Err(CloseCode::RateLimited.into()));
}

#[test]
fn an_outbox_holds_its_limit_and_marks_who_is_behind_it() {
    let outbox = Outbox::new(SessionId(1));
    let half = Bytes::from(vec![0; OUTBOX_BYTES_MAX / 2]);
    assert!(outbox.push_items(1, (1, 1), &half));
    assert!(outbox.push_items(1, (2, 2), &half));
    assert!(!outbox.push_items(2, (1, 1), &Bytes::from_static(b"x")), "one byte too many");
    outbox.push_latest(Bytes::from_static(b"x"));
    let taken = outbox.take();
    assert_eq!((taken.queue.len(), taken.behind.into_iter().collect::<Vec<_>>()), (2, vec![2]));
    assert!(outbox.push_items(2, (1, 1), &half), "what was taken makes room");
}

/// A job of a workspace, by its number, with so many bytes.
fn job_of(desk: &Desk, row: u8, credit_bytes: usize) -> Job {
    let (id, log) = (WorkspaceId::from_bytes([row; 32]), LogId::from_bytes([1; 16]));
    Job::Append(AppendJob {
        workspace: Workspace::begin(desk.relay.id(), u32::from(row), id, log),
        outbox: Arc::clone(&desk.outbox),
        batch: Some(1),
        credit_bytes,
        verdicts: Verdicts::default(),
    })
}

fn rows(jobs: &[Job]) -> Vec<u32> {
    let append = |job: &Job| if let Job::Append(append) = job { append.workspace.row() } else { 0 };
    jobs.iter().map(append).collect()
}

#[test]
fn a_commit_takes_its_limit_of_jobs_and_ends_with_the_one_that_fills_its_bytes() {
    let (queue, desk) = (JobQueue::default(), Desk::new());
    let full = JOBS_PER_COMMIT_MAX / SHARE_ITEMS_MAX;
    for row in 0..=full {
        for _ in 0..SHARE_ITEMS_MAX {
            queue.push(job_of(&desk, u8::try_from(row).unwrap(), 0));
        }
    }
    assert_eq!((queue.take().len(), queue.take().len(), queue.take().len()), (JOBS_PER_COMMIT_MAX, SHARE_ITEMS_MAX, 0));
    for row in 0..4 {
        queue.push(job_of(&desk, row, BYTES_PER_COMMIT_MAX / 2));
    }
    assert_eq!((queue.take().len(), queue.take().len()), (3, 1), "two fill it, and the third goes over");
}

#[test]
fn a_quiet_workspace_is_in_the_next_commit_however_much_a_noisy_one_has_waiting() {
    let (queue, desk) = (JobQueue::default(), Desk::new());
    for _ in 0..3 * SHARE_ITEMS_MAX {
        queue.push(job_of(&desk, 1, 100));
    }
    queue.push(job_of(&desk, 2, 100));
    let first = rows(&queue.take());
    assert_eq!((first.len(), first.last()), (SHARE_ITEMS_MAX + 1, Some(&2)), "a share, and the quiet one");
    // What is left of the flood goes on where it was, and a few great items are a share as well as many small ones.
    queue.push(job_of(&desk, 3, SHARE_BYTES_MAX));
    queue.push(job_of(&desk, 3, SHARE_BYTES_MAX));
    let counts = |jobs: Vec<Job>| [1, 3].map(|row| rows(&jobs).into_iter().filter(|other| *other == row).count());
    assert_eq!(counts(queue.take()), [SHARE_ITEMS_MAX, 1]);
    assert_eq!(counts(queue.take()), [SHARE_ITEMS_MAX, 1]);
    assert!(queue.take().is_empty());
}

#[test]
fn a_workspace_that_writes_alone_is_given_more_and_more_until_another_comes() {
    let (queue, desk) = (JobQueue::default(), Desk::new());
    for _ in 0..100 * SHARE_ITEMS_MAX {
        queue.push(job_of(&desk, 1, 0));
    }
    let take = || {
        let taken = queue.take().len();
        queue.note(Duration::from_millis(4));
        taken
    };
    let shares: Vec<usize> = (0..7).map(|_| take() / SHARE_ITEMS_MAX).collect();
    assert_eq!(shares, [1, 2, 4, 8, 16, 16, 16]);
    queue.push(job_of(&desk, 2, 0));
    assert_eq!((take(), take()), (SHARE_ITEMS_MAX + 1, SHARE_ITEMS_MAX));
}

/// Plays a writer whose transactions take a flush and so long for each item; returns how long, at the 99th percentile,
/// one waits who writes an item now and then: alone, or beside one who has always more.
fn wait_of_the_quiet(flush: Duration, item: Duration, beside_a_flood: bool) -> Duration {
    let (queue, desk) = (JobQueue::default(), Desk::new());
    let (mut now, mut next, mut flood) = (Duration::ZERO, Duration::ZERO, 0);
    let (mut waiting, mut waits) = (Vec::new(), Vec::new());
    for nth in 0..3_000_u32 {
        while beside_a_flood && flood < 16 * SHARE_ITEMS_MAX {
            queue.push(job_of(&desk, 1, 0));
            flood += 1;
        }
        while next <= now {
            queue.push(job_of(&desk, 2, 0));
            waiting.push(next);
            // So many flushes later that the two are not in step.
            next += flush * (3 + nth * 7 % 11) + flush * (nth % 5) / 5;
        }
        let taken = rows(&queue.take());
        let took = flush + item * u32::try_from(taken.len()).unwrap();
        now += took;
        queue.note(took);
        let quiet = taken.iter().filter(|row| **row == 2).count();
        flood -= taken.len() - quiet;
        waits.extend(waiting.drain(..quiet).map(|came| now - came));
    }
    waits.sort_unstable();
    waits[waits.len() * 99 / 100]
}

#[test]
fn a_flood_hardly_delays_who_writes_now_and_then_on_a_quick_disk_and_on_a_slow_one() {
    let item = Duration::from_micros(6);
    for (flush_us, times) in [(200, 10.0), (500, 5.0), (4_000, 2.0), (20_000, 2.0)] {
        let flush = Duration::from_micros(flush_us);
        let [alone, beside] = [false, true].map(|flood| wait_of_the_quiet(flush, item, flood));
        let ratio = beside.as_secs_f64() / alone.as_secs_f64();
        assert!(ratio <= times, "{flush_us} us a flush: {alone:?} alone, {beside:?} beside a flood, {ratio:.2} times");
    }
}

#[test]
fn appends_are_turned_away_with_a_wait_while_too_much_waits_for_the_disk() {
    let alice = Person::new(1);
    let ground = found(&alice, 1);
    let mut desk = Desk::proven(&alice);
    let said = desk.say(seed(workspace(&ground), &ground, false)).unwrap();
    let Some(Frame::Opened(opened)) = said.first() else { panic!("expected Opened, got {said:?}") };
    desk.relay.queue().push(job_of(&desk, 7, WAITING_BYTES_MAX - 1));
    assert!(!desk.relay.queue().is_full());
    desk.relay.queue().push(job_of(&desk, 7, 1));
    assert!(desk.relay.queue().is_full());
    let append = Append { channel: opened.channel, batch: 1, items: Vec::new() };
    let closing = desk.session.handle(&Frame::from(append).encode()).unwrap_err();
    assert_eq!(closing.code, CloseCode::Overloaded);
    assert!(closing.retry_after_ms.is_some_and(|wait| (2_000..8_000).contains(&wait)), "{closing:?}");
    assert_eq!(desk.relay.queue().take().len(), 1, "the first is more than a commit takes");
    assert!(!desk.relay.queue().is_full());
}

#[test]
fn what_is_committed_is_moved_to_where_it_stays_before_a_commit_has_to_do_it() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log.sqlite");
    let log = SqliteLog::open(&path).unwrap();
    let write = |pages: u64| log.commit(&[Write::Probe { time_ms: 1, filler_bytes: pages * 4096 }]).unwrap();
    write(100);
    assert_eq!(log.backlog().unwrap(), Backlog::Little);
    write(350);
    assert_eq!(log.backlog().unwrap(), Backlog::Much);
    // Somebody reads meanwhile, so that what is written next does not begin the WAL anew.
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM probe;").unwrap();
    log.move_backlog().unwrap();
    assert_eq!(log.backlog().unwrap(), Backlog::Little);
    write(100);
    assert_eq!(log.backlog().unwrap(), Backlog::Rest);
    reader.execute_batch("COMMIT").unwrap();
    log.move_backlog().unwrap();
    assert_eq!(log.backlog().unwrap(), Backlog::Little);
    write(100);
    assert_eq!(log.backlog().unwrap(), Backlog::Little, "the WAL began anew");
}

#[test]
fn a_relay_begins_as_many_workspaces_as_it_can_number() {
    let desk = Desk::new();
    let begins = |row, seed| {
        let id = WorkspaceId::from_bytes([seed; 32]);
        desk.relay.begin(&Workspace::begin(desk.relay.id(), row, id, LogId::from_bytes([1; 16])))
    };
    assert!(begins(ROWS_MAX, 1));
    assert!(!begins(ROWS_MAX + 1, 2));
}

#[test]
fn a_relay_that_could_not_write_probes_with_no_more_than_its_limit() {
    let desk = Desk::new();
    desk.relay.note_commit(false, PROBE_BYTES_MAX);
    assert_eq!(desk.relay.failed_bytes(), PROBE_BYTES_MAX);
    desk.relay.note_commit(false, PROBE_BYTES_MAX + 1);
    assert_eq!(desk.relay.failed_bytes(), PROBE_BYTES_MAX);
    desk.relay.note_commit(true, PROBE_BYTES_MAX);
    assert_eq!(desk.relay.failed_bytes(), 0);
}

#[test]
fn the_head_of_a_request_is_bounded() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let ask = |padding: usize| {
        let mut stream = TcpStream::connect(relay.address).unwrap();
        let padding = "x".repeat(padding);
        let head = format!("GET /healthz HTTP/1.1\r\nhost: relay\r\nconnection: close\r\nx-filler: {padding}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // What was not read of a head that is too long comes back as a reset, behind the answer or before it.
        let read = stream.read_to_end(&mut answer);
        (read.is_ok(), String::from_utf8_lossy(&answer).into_owned())
    };
    let (_, within) = ask(HEAD_BYTES_MAX - 256);
    assert!(within.starts_with("HTTP/1.1 200"), "{within}");
    let (_, over) = ask(HEAD_BYTES_MAX);
    assert!(!over.starts_with("HTTP/1.1 200"), "{over}");
}
