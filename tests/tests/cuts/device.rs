//! Lives of a device's store: how it is made, how an old one is brought up to date, and a year of work with others.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tombolo::crypto::{KeyVault as _, MemoryVault, Secret32};
use tombolo::document::{Crdt, Value};
use tombolo::engine::{Engine, EngineConfig, Now};
use tombolo::protocol::ids::DocumentId;
use tombolo::protocol::record::Role;
use tombolo::{Durability, MembershipAct, Store, Tx, Unsent};
use tombolo_disk::Disk;
use tombolo_tests::{Chance, Net, RelayNode, Replica, Rogue};

use crate::life::{Commits, Cut, Life, image_folder};

pub(crate) const FILE: &str = "store.sqlite";
const NOW: Now = Now { mono: Duration::from_secs(9_000_000), wall_ms: 1_900_000_000_000 };

#[test]
fn a_power_cut_at_any_operation_of_a_year_of_work_leaves_what_was_committed() {
    let (life, vault) = year();
    life.cut(false, |cut| opens_and_goes_on(cut, &vault, cut.is_settled)).tell("a year");
}

#[test]
fn a_power_cut_at_any_operation_of_saving_documents_leaves_the_old_or_the_new() {
    let (life, vault) = saved();
    let opens = |cut: &Cut<'_>| {
        opens_and_goes_on(cut, &vault, cut.is_settled)?;
        if cut.seed >> 16 & 3 == 0 { reads_the_same_from_its_entries(cut, &vault) } else { Ok(()) }
    };
    life.cut(false, opens).tell("saving");
}

#[test]
fn a_store_that_is_cut_at_any_operation_of_giving_room_back_holds_what_it_held() {
    let folder = image_folder();
    let path = folder.path().join(FILE);
    let (disk, vault, commits) =
        (Arc::new(Disk::mount(folder.path()).unwrap()), MemoryVault::default(), Commits::default());
    let mut store = open(&path, &vault, 0).unwrap();
    let mut engine = load(&mut store, 0).unwrap();
    let mut made = None;
    for _ in 0..2 {
        let tx = store.begin(true).unwrap();
        let document = *made.get_or_insert_with(|| {
            let workspace = engine.create_workspace(NOW, "Diary", &tx).unwrap();
            engine.create_document(NOW, &workspace, Crdt::Yrs, &tx).unwrap()
        });
        for _ in 0..600 {
            engine.edit(NOW, &document, |edit| edit.text("body")?.push_str("rain "), &tx).unwrap();
        }
        engine.settle(NOW, &tx, true).unwrap();
        tx.commit().unwrap();
    }
    drop((engine, store));
    let (recorder, before) = (disk.record().unwrap(), fs::metadata(&path).unwrap().len());
    let mut witness = commits.witness(&disk, None);
    let mut store = open(&path, &vault, 1).unwrap();
    witness();
    store.checkpoint().unwrap();
    witness();
    drop(store);
    assert!(fs::metadata(&path).unwrap().len() < before, "it was {before} bytes");
    let life = Life::new(FILE, recorder.end(), &commits);
    let opens = |cut: &Cut<'_>| {
        opens_and_goes_on(cut, &vault, false)?;
        let words = texts(cut, &vault)?;
        if words == ["rain ".repeat(1200)] { Ok(()) } else { Err("words are missing".to_owned()) }
    };
    life.cut(false, opens).tell("giving room back");
}

#[test]
fn a_store_on_a_disk_whose_syncs_lie_is_caught() {
    let (life, vault) = year();
    let tally = life.cut(true, |cut| opens_and_goes_on(cut, &vault, cut.is_settled));
    assert!(tally.violations * 10 > tally.cuts, "{tally:?}");
}

#[test]
fn a_store_whose_making_is_cut_at_any_operation_can_be_made_again() {
    let folder = image_folder();
    let (disk, vault, commits) =
        (Arc::new(Disk::mount(folder.path()).unwrap()), MemoryVault::default(), Commits::default());
    let recorder = disk.record().unwrap();
    let path = folder.path().join(FILE);
    let mut witness = commits.witness(&disk, None);
    for nth in 0..3 {
        let mut store = Store::open(&path, &vault, Durability::Power, &mut Chance::new(nth, "store")).unwrap();
        let entropy = Box::new(Chance::new(nth, "engine"));
        drop(Engine::load(&mut store, entropy, EngineConfig::default()).unwrap());
        if nth == 2 {
            witness();
        }
    }
    let life = Life::new(FILE, recorder.end(), &commits);
    life.cut(false, |cut| opens_and_goes_on(cut, &vault, false)).tell("the making");
}

#[test]
fn an_old_store_whose_migration_is_cut_at_any_operation_is_migrated_the_next_time() {
    let folder = image_folder();
    let path = folder.path().join(FILE);
    let mut bytes = Vec::new();
    let packed: &[u8] = include_bytes!("../data/store-v1.gz");
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    fs::write(&path, bytes).unwrap();
    let vault = MemoryVault::default();
    vault.save(&Secret32::from_bytes(old_key())).unwrap();
    let (disk, commits) = (Arc::new(Disk::mount(folder.path()).unwrap()), Commits::default());
    let recorder = disk.record().unwrap();
    drop(open(&path, &vault, 0).unwrap());
    let life = Life::new(FILE, recorder.end(), &commits);
    let opens = |cut: &Cut<'_>| {
        opens_and_goes_on(cut, &vault, false)?;
        let texts = texts(cut, &vault)?;
        if texts == ["Sent. Not sent yet. "; 2] { Ok(()) } else { Err(format!("it reads {texts:?}")) }
    };
    life.cut(false, opens).tell("a migration");
}

fn texts(cut: &Cut<'_>, vault: &MemoryVault) -> Result<Vec<String>, String> {
    let mut store = open(&cut.path, vault, cut.seed)?;
    let mut engine = load(&mut store, cut.seed)?;
    let tx = store.begin(true).map_err(said)?;
    let documents = documents(&engine, &tx)?;
    let read = |document| {
        let text = engine.read(NOW, document, |view| view.text("body"), &tx).map_err(said)?;
        Ok(text.map_err(said)?.unwrap_or_default())
    };
    documents.iter().map(read).collect()
}

/// Reads every document from its saved form, and once more from its entries alone.
fn reads_the_same_from_its_entries(cut: &Cut<'_>, vault: &MemoryVault) -> Result<(), String> {
    let with = values(&cut.path, vault, cut.seed)?;
    let folder = image_folder();
    let path = folder.path().join(FILE);
    fs::copy(&cut.path, &path).map_err(said)?;
    rusqlite::Connection::open(&path).map_err(said)?.execute("DELETE FROM saved", []).map_err(said)?;
    let without = values(&path, vault, cut.seed)?;
    if with == without { Ok(()) } else { Err(format!("{with:?}, and of the entries {without:?}")) }
}

pub(crate) fn values(path: &Path, vault: &MemoryVault, seed: u64) -> Result<Vec<Value>, String> {
    let mut store = open(path, vault, seed)?;
    let mut engine = load(&mut store, seed)?;
    let tx = store.begin(true).map_err(said)?;
    let documents = documents(&engine, &tx)?;
    let read = |document| engine.read(NOW, &document, |view| view.to_value(), &tx).map_err(said)?.map_err(said);
    documents.into_iter().map(read).collect()
}

/// Two devices write by turns; one is restarted again and again, and saves its documents as it opens them.
fn saved() -> (Life, MemoryVault) {
    let mut net = Net::seeded(6);
    let alice = net.device("alice");
    let path = alice.store_path(&net);
    alice.kill(&mut net);
    alice.save_from(&mut net, 3);
    let (disk, commits) = (Arc::new(Disk::mount(path.parent().unwrap()).unwrap()), Commits::default());
    let recorder = disk.record().unwrap();
    net.witness(alice, commits.witness(&disk, Some(path.with_extension("sqlite.lock"))));
    net.start(alice);
    net.found(alice);
    let bob = net.device("bob");
    net.join(alice, bob, Role::Writer);
    for round in 0..6 {
        for word in 0..2 {
            alice.edit(&mut net, &format!("ebb {round} {word}"));
            net.run_until_quiet();
            bob.edit(&mut net, &format!("flow {round} {word}"));
            net.run_until_quiet();
        }
        alice.crash(&mut net);
    }
    alice.edit(&mut net, "slack");
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
    alice.kill(&mut net);
    let recording = recorder.end();
    let saved = "SELECT count(*) FROM saved WHERE entries > 10";
    let file = rusqlite::Connection::open(&path).unwrap();
    assert!(file.query_row(saved, [], |row| row.get::<_, u32>(0)).unwrap() > 0, "no document was saved");
    drop(file);
    (Life::new(FILE, recording, &commits), alice.vault(&net))
}

/// A device founds a workspace, others join, write and leave, a rogue among them; it types offline, restarts, turns away.
fn year() -> (Life, MemoryVault) {
    let mut net = Net::seeded(4);
    let alice = net.device("alice");
    let path = alice.store_path(&net);
    alice.kill(&mut net);
    let (disk, commits) = (Arc::new(Disk::mount(path.parent().unwrap()).unwrap()), Commits::default());
    let recorder = disk.record().unwrap();
    net.witness(alice, commits.witness(&disk, Some(path.with_extension("sqlite.lock"))));
    net.start(alice);
    let workspace = net.found(alice);
    let [bob, mallory] = ["bob", "mallory"].map(|name| net.device(name));
    net.join(alice, bob, Role::Writer);
    alice.edit(&mut net, "spring");
    bob.edit(&mut net, "sowing");
    net.run_until_quiet();
    alice.crash(&mut net);
    bring_poison(&mut net, alice, mallory);
    net.cut(alice);
    for word in 0..24 {
        alice.edit(&mut net, &format!("offline {word}"));
    }
    bob.edit(&mut net, "summer");
    alice.crash(&mut net);
    net.heal();
    net.run_until_quiet();
    let user = mallory.ids(&net).1;
    let removed = net.act(alice, |engine, now, tx| engine.act(now, &workspace, MembershipAct::Remove { user }, tx));
    removed.unwrap().unwrap();
    net.run_until_quiet();
    alice.edit(&mut net, "harvest");
    net.run_until_quiet();
    forget_another(&mut net, alice);
    alice.crash(&mut net);
    alice.edit(&mut net, "winter");
    net.run_until_quiet();
    net.assert_converged([alice, bob]);
    alice.kill(&mut net);
    (Life::new(FILE, recorder.end(), &commits), alice.vault(&net))
}

/// Somebody's program writes what nobody can read; it is set aside.
fn bring_poison(net: &mut Net, alice: Replica, mallory: Replica) {
    let link = alice.invite(net, Role::Writer);
    let twin = link.to_string().parse().unwrap();
    mallory.take_invite(net, link);
    net.run_until_quiet();
    let mut rogue = Rogue::of(net, mallory, &twin);
    let poison = rogue.seal(net.documents()[0], 1, b"no change of any CRDT");
    net.plant_entry(RelayNode::FIRST, &poison);
    net.run_until_quiet();
    alice.words(net, net.documents()[0]);
    assert_eq!(alice.debt(net).set_aside.len(), 1);
}

/// A workspace that is made and given up again.
fn forget_another(net: &mut Net, alice: Replica) {
    let made = net.act(alice, |engine, now, tx| {
        let workspace = engine.create_workspace(now, "A mistake", tx)?;
        let document = engine.create_document(now, &workspace, Crdt::Yrs, tx)?;
        engine.edit(now, &document, |edit| edit.put("word", Value::I64(1)), tx)?;
        Ok(workspace)
    });
    let workspace = made.unwrap().unwrap();
    net.run_until_quiet();
    let gone = net.act(alice, |engine, now, tx| engine.forget_workspace(now, &workspace, Unsent::Discard, tx));
    gone.unwrap().unwrap();
    net.run_until_quiet();
}

/// The key of the stored old file: what follows the name of its kind.
fn old_key() -> [u8; 32] {
    let file = include_bytes!("../data/store-v1.key");
    *file.last_chunk().unwrap()
}

/// Opens what is left as a device does after a reboot, checks every value of it, and now and then goes on working.
pub(crate) fn opens_and_goes_on(cut: &Cut<'_>, vault: &MemoryVault, is_settled: bool) -> Result<(), String> {
    if is_settled {
        put_beside(cut);
    }
    let mut store = open(&cut.path, vault, cut.seed)?;
    if is_settled && store.fresh_incarnation() {
        return Err("it takes itself for a copy".to_owned());
    }
    read_all(&mut store, cut.seed)?;
    drop(store);
    if cut.seed >> 16 & 7 != 0 {
        return Ok(());
    }
    let folder = image_folder();
    let path = folder.path().join(FILE);
    fs::copy(&cut.path, &path).map_err(said)?;
    let mut store = open(&path, vault, cut.seed)?;
    write_one(&mut store, cut.seed)?;
    read_all(&mut store, cut.seed)
}

/// Gives the image the file that stands beside a store, as it was at the last commit; the image is another file.
fn put_beside(cut: &Cut<'_>) {
    let file = fs::metadata(&cut.path).unwrap();
    let (generation, _) = cut.beside.split_once(" file ").unwrap();
    let beside = format!("{generation} file {}:{}\n", file.dev(), file.ino());
    fs::write(cut.path.with_extension("sqlite.lock"), beside).unwrap();
}

fn open(path: &Path, vault: &MemoryVault, seed: u64) -> Result<Store, String> {
    Store::open(path, vault, Durability::Power, &mut Chance::new(seed, "reboot")).map_err(said)
}

fn load(store: &mut Store, seed: u64) -> Result<Engine, String> {
    Engine::load(store, Box::new(Chance::new(seed, "engine")), EngineConfig::default()).map_err(said)
}

/// Checks every value of a store and reads every document of its engine; returns the documents' keys.
fn read_all(store: &mut Store, seed: u64) -> Result<(), String> {
    let report = store.integrity().map_err(said)?;
    if !report.is_sound() {
        return Err(format!("{report:?}"));
    }
    let mut engine = load(store, seed)?;
    let tx = store.begin(true).map_err(said)?;
    for document in documents(&engine, &tx)? {
        engine.read(NOW, &document, |view| view.keys(), &tx).map_err(said)?.map_err(said)?;
    }
    Ok(())
}

fn write_one(store: &mut Store, seed: u64) -> Result<(), String> {
    let mut engine = load(store, seed)?;
    let tx = store.begin(true).map_err(said)?;
    if let Some(document) = documents(&engine, &tx)?.first() {
        engine.edit(NOW, document, |edit| edit.put("after", Value::I64(1)), &tx).map_err(said)?;
    }
    engine.settle(NOW, &tx, true).map_err(said)?;
    tx.commit().map_err(said)
}

fn documents(engine: &Engine, tx: &Tx<'_>) -> Result<Vec<DocumentId>, String> {
    let mut documents = Vec::new();
    for workspace in engine.workspaces() {
        documents.extend(engine.documents(&workspace.id, tx).map_err(said)?.iter().map(|summary| summary.id));
    }
    Ok(documents)
}

pub(crate) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
