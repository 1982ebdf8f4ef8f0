//! The secrets that a device keeps in its store: read from a copy of the file, as whoever has the vault's key could.
//!
//! Invariant: what is read here was opened with the store's own key, at the very place where the product seals it.

use rusqlite::{Connection, OptionalExtension as _};
use tombolo::crypto::{DeviceSecrets, KeyVault, Secret32, StoreCipher};

use super::stage::World;
use crate::net::Net;
use crate::replica::Replica;

/// What a store keeps of secrets.
struct Kept {
    /// The device's keys, the user's root where it is here, and what names documents at relays.
    own: Vec<Vec<u8>>,
    /// Those of epochs.
    epochs: Vec<Vec<u8>>,
}

impl World {
    /// Hides what a device begins with.
    pub(super) fn hide_beginner(&mut self, replica: Replica) {
        self.net.hide(key_of(&self.net, replica).as_bytes());
        keys_in(&replica.secrets(&self.net).encode()).iter().for_each(|key| self.net.hide(key));
    }

    /// Hides all that devices keep by now.
    pub(super) fn hide_what_is_kept(&mut self) {
        (0..self.actors.len()).for_each(|actor| self.hide_kept_by(actor));
    }

    /// Hides what one device keeps by now: what it was linked with, its user's root, the epochs that it has learnt.
    pub(super) fn hide_kept_by(&mut self, actor: usize) {
        let kept = read(&self.file_of(actor), key_of(&self.net, self.actors[actor].replica));
        if self.was_linked(actor) {
            self.census.saw("the keys of a linked device were hidden");
        }
        self.census.saw_times("the secret of an epoch was hidden", kept.epochs.len() as u64);
        kept.own.iter().chain(&kept.epochs).for_each(|secret| self.net.hide(secret));
    }
}

/// Returns the keys of a device as they are now: who is linked gets others than those it began with.
#[must_use]
pub fn device_secrets(net: &Net, replica: Replica) -> DeviceSecrets {
    let file = Connection::open(net.copy_file(replica)).expect("a copy of the store opens");
    let sealed: Vec<u8> =
        file.query_row("SELECT value FROM meta WHERE key = 'device'", [], |row| row.get(0)).expect("it reads");
    let opened = StoreCipher::new(key_of(net, replica)).open("meta", "value", b"device", &sealed);
    DeviceSecrets::decode(&opened.expect("what the store sealed opens")).expect("it is a device's")
}

/// Returns the key of a device's store.
fn key_of(net: &Net, replica: Replica) -> Secret32 {
    replica.vault(net).load().expect("a vault in memory").expect("a store has a key")
}

fn read(file: &Connection, key: Secret32) -> Kept {
    let mut own = Vec::new();
    let cipher = StoreCipher::new(key);
    let open = |table: &str, column: &str, key: &[u8], sealed: Vec<u8>| {
        cipher.open(table, column, key, &sealed).expect("what the store sealed opens")
    };
    for name in ["device", "root"] {
        let sealed = file.query_row("SELECT value FROM meta WHERE key = ?1", [name], |row| row.get(0));
        let sealed: Option<Vec<u8>> = sealed.optional().expect("it reads");
        let value = sealed.map(|sealed| open("meta", "value", name.as_bytes(), sealed));
        own.extend(value.into_iter().flat_map(|value| if name == "device" { keys_in(&value) } else { vec![value] }));
    }
    let blindings = rows(file, "SELECT id, blinding_sealed FROM workspace WHERE blinding_sealed IS NOT NULL");
    own.extend(blindings.into_iter().map(|(id, sealed)| open("workspace", "blinding", &id, sealed)));
    let epochs = rows(file, "SELECT id, secret_sealed FROM epoch");
    let epochs = epochs.into_iter().map(|(id, sealed)| open("epoch", "secret", &id, sealed)).collect();
    Kept { own, epochs }
}

/// Takes the three keys of a device out of their one encoding, behind its version.
fn keys_in(encoded: &[u8]) -> Vec<Vec<u8>> {
    DeviceSecrets::decode(encoded).expect("it is a device's");
    encoded[1..].chunks_exact(32).map(<[u8]>::to_vec).collect()
}

fn rows(file: &Connection, query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut query = file.prepare(query).expect("the query is good");
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("it reads");
    rows.map(|row| row.expect("it reads")).collect()
}
