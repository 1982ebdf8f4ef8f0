//! Two people who really wrote together: each a device with its own store, each editing from the very states that the
//! recording says, exchanging only through relays, with long offline stretches.
//!
//! Each friend has a relay of their own to upload to, and looks into the other's only as far as the recording says that
//! they had seen.

mod islands;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tombolo::document::{Crdt, MapEdit};

use islands::World;

/// What was recorded.
pub struct Recording {
    /// In an order in which each comes after what it stands on.
    pub transactions: Vec<Transaction>,
    /// The text in the end.
    pub end: String,
}

/// What a friend wrote at once.
pub struct Transaction {
    /// Which of the two, 0 or 1.
    pub agent: usize,
    /// Where, how many characters go, and what comes.
    pub patches: Vec<(usize, usize, String)>,
    /// How many transactions of each agent its state holds, itself included.
    pub seen: [usize; 2],
    /// Whether it joins two states.
    pub merges: bool,
}

/// What became of it.
pub struct Played {
    /// How often a friend looked into the other's relay.
    pub looks: usize,
    /// The text that each friend ends with.
    pub texts: [String; 2],
    /// Items of the first friend's relay: entries, and the membership's.
    pub items: u64,
    /// Bytes of the first friend's store, and of their relay's log.
    pub bytes: [u64; 2],
}

impl Recording {
    /// Where it is looked for: the folder `TOMBOLO_TRACES` names, or the shared data beside the repository.
    #[must_use]
    pub fn folder() -> PathBuf {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
        std::env::var_os("TOMBOLO_TRACES").map_or_else(|| PathBuf::from(beside), PathBuf::from)
    }

    /// Reads it, if it is here.
    ///
    /// # Panics
    /// If the file is another than the one that is meant.
    #[must_use]
    pub fn load() -> Option<Self> {
        let file = std::fs::File::open(Self::folder().join("friendsforever.json.gz")).ok()?;
        let read = serde_json::from_reader(flate2::read::GzDecoder::new(file));
        let json: serde_json::Value = read.expect("the recording is JSON");
        let mut transactions: Vec<Transaction> = Vec::new();
        for entry in list(&json["txns"]) {
            let agent = number(&entry["agent"]);
            let parents: Vec<usize> = list(&entry["parents"]).iter().map(number).collect();
            let mut seen = [0, 0];
            for parent in &parents {
                for (count, held) in seen.iter_mut().zip(transactions[*parent].seen) {
                    *count = held.max(*count);
                }
            }
            seen[agent] += 1;
            let patch = |patch: &serde_json::Value| (number(&patch[0]), number(&patch[1]), text(&patch[2]));
            let patches = list(&entry["patches"]).iter().map(patch).collect();
            transactions.push(Transaction { agent, patches, seen, merges: parents.len() > 1 });
        }
        Some(Self { transactions, end: text(&json["endContent"]) })
    }

    /// Returns, for each friend, after how many of their transactions the other will look, and so they upload.
    fn looked_at(&self) -> [BTreeSet<usize>; 2] {
        let mut looked_at = [BTreeSet::new(), BTreeSet::new()];
        for transaction in &self.transactions {
            let other = 1 - transaction.agent;
            looked_at[other].insert(transaction.seen[other]);
        }
        looked_at
    }

    /// Plays it: each friend's device edits, uploads and looks as it was.
    ///
    /// # Panics
    /// If an engine, a store or a relay fails.
    #[must_use]
    pub fn play(&self, crdt: Crdt, seed: u64) -> Played {
        let looked_at = self.looked_at();
        let mut world = World::new(seed);
        let document = world.meet(crdt);
        let (mut written, mut taken, mut looks) = ([0, 0], [0, 0], 0);
        let mut uploaded: [BTreeMap<usize, u64>; 2] = Default::default();
        for transaction in &self.transactions {
            let (me, other) = (transaction.agent, 1 - transaction.agent);
            assert_eq!(transaction.seen[me], written[me] + 1, "a friend always stands on their own work");
            if transaction.seen[other] > taken[me] {
                let until = uploaded[other][&transaction.seen[other]];
                world.visit((me, other), Some(until));
                taken[me] = transaction.seen[other];
                looks += 1;
            }
            let edit = |e: &mut MapEdit<'_>| {
                let mut text = e.text("text")?;
                transaction.patches.iter().try_for_each(|(at, gone, come)| text.splice(*at, *gone, come))
            };
            world.turn(me, |engine, now, tx| engine.edit(now, &document, edit, tx));
            written[me] += 1;
            if looked_at[me].contains(&written[me]) {
                world.visit((me, me), None);
                uploaded[me].insert(written[me], world.length[me]);
            }
        }
        for at in [(0, 0), (1, 1), (0, 1), (1, 0), (0, 0), (1, 1)] {
            world.visit(at, None);
        }
        let texts = [world.text(0, document), world.text(1, document)];
        Played { looks, texts, items: world.length[0], bytes: world.bytes() }
    }
}

fn list(json: &serde_json::Value) -> &[serde_json::Value] {
    json.as_array().expect("a list in the recording")
}

fn number(json: &serde_json::Value) -> usize {
    let number = json.as_u64().and_then(|number| usize::try_from(number).ok());
    number.expect("a number in the recording")
}

fn text(json: &serde_json::Value) -> String {
    json.as_str().expect("a text in the recording").to_owned()
}
