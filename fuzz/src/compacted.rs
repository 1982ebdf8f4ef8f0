//! A device that was away while its relay deleted what snapshots stand for: what it asks for is gone there.
//!
//! Invariant: up to the relay's first Pruned all is an honest conversation, the same in every run; from there on the
//! fuzzer speaks, in the relay's own words, put together anew, or in any others.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use tombolo::crypto::MemoryVault;
use tombolo::protocol::ids::{ChainId, DocumentId};
use tombolo_protocol::frame::{Fetched, Frame, Pruned};
use tombolo_testkit::{Net, RelayNode};

use crate::device::Device;
use crate::relay::Desk;
use crate::{Conversation, talk};

const RELAY: RelayNode = RelayNode::FIRST;
/// How long the relay keeps what a snapshot stands for.
const RETENTION: Duration = Duration::from_secs(600);
/// From how many entries on the others publish.
const FEW: usize = 4;
/// A number that stands for the greatest there is.
const GREATEST: u8 = u8::MAX;

/// What lies on both disks when the device comes back.
struct Ground {
    store: Vec<File>,
    vault: MemoryVault,
    document: DocumentId,
    log: Vec<File>,
}

/// A file's name and bytes.
type File = (std::ffi::OsString, Vec<u8>);

/// What the honest relay says when the device comes back.
pub struct Gone {
    /// Up to its first Pruned.
    before: Vec<Vec<u8>>,
    /// From there on.
    pub after: Vec<Vec<u8>>,
    channel: u32,
    /// The chains that it speaks of from there on, and the entries that it sends of them.
    chains: Vec<ChainId>,
    entries: Vec<Vec<u8>>,
}

static GROUND: LazyLock<Ground> = LazyLock::new(compact);

/// What is said then, held once.
pub static GONE: LazyLock<Gone> = LazyLock::new(|| {
    let (mut device, mut desk) = (dialled(), Desk::on(|folder| write(&GROUND.log, folder)));
    let mut said = Conversation { device: Vec::new(), relay: Vec::new() };
    let frames = device.reach();
    talk(&mut device, &mut desk, frames, &mut said);
    let names: Vec<_> = said.relay.iter().map(|bytes| decoded(bytes).name()).collect();
    let first = names.iter().position(|name| *name == "Pruned");
    let after = said.relay.split_off(first.unwrap_or_else(|| panic!("nothing is gone: {names:?}")));
    let mut gone = Gone { before: said.relay, after, channel: 0, chains: Vec::new(), entries: Vec::new() };
    for frame in gone.after.iter().map(|bytes| decoded(bytes)) {
        match frame {
            Frame::Pruned(pruned) => {
                gone.channel = pruned.channel;
                gone.chains.extend([pruned.chain, pruned.snapshot]);
            }
            Frame::Fetched(fetched) => {
                gone.chains.push(fetched.chain);
                gone.entries.extend(fetched.entries.into_iter().map(Vec::from));
            }
            _ => {}
        }
    }
    gone.chains.sort_unstable();
    gone.chains.dedup();
    assert!(!gone.entries.is_empty(), "no snapshot is sent: {names:?}");
    gone
});

/// Plays what the fuzzer says: first that something is gone, then whatever the pieces say, each by its first byte.
pub fn play<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) {
    let mut device = dialled();
    device.reach();
    for frame in &GONE.before {
        device.take(frame);
    }
    let mut pieces = pieces.into_iter();
    device.take(&gone(pieces.next().unwrap_or_default()));
    for piece in pieces {
        let (kind, rest) = piece.split_first().unwrap_or((&0, &[]));
        match kind % 5 {
            0 => drop(device.take(rest)),
            1 => drop(device.take(&gone(rest))),
            2 => drop(device.take(&fetched(rest))),
            3 => {
                for frame in rest.iter().map(|nth| pick(&GONE.after, *nth)) {
                    device.take(frame);
                }
            }
            _ => drop(device.pass(rest.iter().copied().map(u32::from).sum())),
        }
    }
}

/// Says that a chain is gone: which one, the snapshot's chain, and the run of that.
fn gone(numbers: &[u8]) -> Vec<u8> {
    let number = |nth: usize| numbers.get(nth).copied().unwrap_or(1);
    let seq = |nth| if number(nth) == GREATEST { u64::MAX } else { u64::from(number(nth)) };
    let (chain, snapshot) = (*pick(&GONE.chains, number(0)), *pick(&GONE.chains, number(1)));
    let (from_seq, to_seq) = (seq(2), seq(3));
    Frame::from(Pruned { channel: GONE.channel, chain, snapshot, from_seq, to_seq }).encode()
}

/// Sends entries that the honest relay sends, of a chain, in any order.
fn fetched(numbers: &[u8]) -> Vec<u8> {
    let (chain, entries) = numbers.split_first().unwrap_or((&0, &[]));
    let entries = entries.iter().map(|nth| pick(&GONE.entries, *nth).clone().into()).collect();
    Frame::from(Fetched { channel: GONE.channel, chain: *pick(&GONE.chains, *chain), entries }).encode()
}

fn pick<T>(list: &[T], nth: u8) -> &T {
    &list[usize::from(nth) % list.len()]
}

/// Returns the pieces that say what the honest relay says.
#[must_use]
pub fn honest() -> Vec<Vec<u8>> {
    let nth = |wanted: &ChainId| GONE.chains.iter().position(|chain| chain == wanted).expect("a chain of it") as u8;
    let mut pieces = Vec::new();
    for (at, bytes) in GONE.after.iter().enumerate() {
        match decoded(bytes) {
            Frame::Pruned(it) => {
                let numbers = [nth(&it.chain), nth(&it.snapshot), it.from_seq as u8, it.to_seq as u8];
                let kind: &[u8] = if pieces.is_empty() { &[] } else { &[1] };
                pieces.push([kind, &numbers].concat());
            }
            Frame::Fetched(it) => {
                let of = |entry: &[u8]| GONE.entries.iter().position(|sent| sent == entry).expect("it was sent") as u8;
                let entries = it.entries.iter().map(|entry| of(entry));
                pieces.push([2, nth(&it.chain)].into_iter().chain(entries).collect());
            }
            _ => pieces.push(vec![3, u8::try_from(at).expect("few frames")]),
        }
    }
    pieces
}

fn dialled() -> Device {
    Device::back(|folder| write(&GROUND.store, folder), &GROUND.vault, GROUND.document)
}

/// Three write, publish and vouch while the fourth is away; then the relay deletes.
fn compact() -> Ground {
    let mut net = Net::seeded(1);
    let [alice, bob, carol, dora] = net.replicas(["alice", "bob", "carol", "dora"]);
    dora.kill(&mut net);
    for word in 0..8 {
        alice.edit(&mut net, &format!("word {word}"));
        net.run_until_quiet();
        if word % 3 == 0 {
            bob.edit(&mut net, &format!("answer {word}"));
            net.run_until_quiet();
        }
    }
    for replica in [alice, bob, carol] {
        replica.publish_from(&mut net, FEW);
        replica.crash(&mut net);
        net.run_until_quiet();
        net.documents().into_iter().for_each(|document| drop(replica.words(&mut net, document)));
        net.run_until_quiet();
    }
    alice.edit(&mut net, "behind it");
    net.prune_after(RELAY, RETENTION);
    for _ in 0..4 {
        net.run_for(RETENTION);
        net.sweep(RELAY);
    }
    net.stop_relay(RELAY);
    let document = *net.documents().first().expect("a document");
    let store = read(dora.store_path(&net).parent().expect("a folder"));
    Ground { store, vault: dora.vault(&net), document, log: read(&net.relay_folder(RELAY)) }
}

fn read(folder: &Path) -> Vec<File> {
    let files = std::fs::read_dir(folder).expect("a folder").flatten();
    files.map(|file| (file.file_name(), std::fs::read(file.path()).expect("a file"))).collect()
}

fn write(files: &[File], folder: &Path) {
    files.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).expect("a file"));
}

fn decoded(bytes: &[u8]) -> Frame {
    Frame::decode(bytes).expect("it says what can be read")
}
