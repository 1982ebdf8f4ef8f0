//! What the stories of the store share: a replica with notes, a relay, and a look at the file underneath.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tombolo::crypto::FileVault;
use tombolo::document::Crdt;
use tombolo::{Document, Durability, Error, Replica, Store, StoreError, SystemEntropy, Workspace};

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap_or_else(|_| panic!("not within 20 s: {what}"))
}

/// Starts a relay that ends with the test.
pub(crate) async fn relay(folder: &Path) -> String {
    relay_until(folder, std::future::pending()).await
}

/// Starts a relay that ends when it is told.
pub(crate) async fn relay_until(folder: &Path, end: impl Future<Output = ()> + Send + 'static) -> String {
    let config = tombolo_relay::Config::on_loopback(&folder.join("relay")).unwrap();
    let relay = tombolo_relay::serve(config, end).await.unwrap();
    format!("ws://{}", relay.address)
}

/// A new replica at a relay, with one workspace.
pub(crate) async fn founded(path: &Path, relay: &str) -> (Replica, Workspace) {
    let replica = Replica::open(path).await.unwrap();
    let workspace = replica.create_workspace("Field notes").await.unwrap();
    replica.dial(relay).await.unwrap();
    soon("in step", workspace.settled()).await.unwrap();
    (replica, workspace)
}

/// Writes a note of its own.
pub(crate) async fn noted(workspace: &Workspace, crdt: Crdt, text: &'static str) -> Document {
    let document = workspace.create_document(crdt).await.unwrap();
    write(&document, text).await.unwrap();
    document
}

/// Puts text in front of a note.
pub(crate) async fn write(document: &Document, text: &'static str) -> Result<(), Error> {
    document.edit(move |edit| edit.text("body")?.splice(0, 0, text)).await
}

/// Reads a note.
pub(crate) async fn text(document: &Document) -> Result<String, Error> {
    Ok(document.read(|view| view.text("body")).await?.unwrap_or_default())
}

/// The name of a file that stands beside a store.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// Opens a store without an engine.
pub(crate) fn open_store(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, &FileVault::new(beside(path, ".key")), Durability::Power, &mut SystemEntropy::new())
}

/// Opens a store's file as SQLite sees it.
pub(crate) fn open_file(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// Flips one bit of a stored value, `offset` bytes into it.
pub(crate) fn flip(path: &Path, table: &str, column: &str, row: i64, offset: usize) {
    let file = open_file(path);
    let query = format!("SELECT {column} FROM {table} WHERE rowid = ?1");
    let mut bytes: Vec<u8> = file.query_row(&query, [row], |row| row.get(0)).unwrap();
    bytes[offset] ^= 0x10;
    file.execute(&format!("UPDATE {table} SET {column} = ?2 WHERE rowid = ?1"), (row, bytes)).unwrap();
}

/// The last entry of a document: its row and its length.
pub(crate) fn last_entry(path: &Path, document: i64) -> (i64, usize) {
    entry(path, document, "DESC")
}

/// The first entry of a document: its row and its length.
pub(crate) fn first_entry(path: &Path, document: i64) -> (i64, usize) {
    entry(path, document, "ASC")
}

fn entry(path: &Path, document: i64, order: &str) -> (i64, usize) {
    let query = format!(
        "SELECT arrival, length(bytes) FROM entry JOIN chain USING (chain)
         WHERE document = ?1 ORDER BY arrival {order} LIMIT 1"
    );
    let query = query.as_str();
    open_file(path).query_row(query, [document], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize))).unwrap()
}
