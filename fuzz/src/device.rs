//! A device with one workspace and one document; what its relay says comes from the fuzzer.
//!
//! Invariant: it is the same in every run, so that a kept input means what it meant.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use tombolo::crypto::{DeviceSecrets, MemoryVault};
use tombolo::document::Crdt;
use tombolo::engine::{Connection, Effect, Engine, EngineConfig, Input, Now};
use tombolo::protocol::ids::DocumentId;
use tombolo::{Durability, Store};
use tombolo_protocol::auth::{Binding, PROTOCOL_VERSION, Transcript};
use tombolo_protocol::frame::{Challenge, Frame, TlsMode, Welcome};
use tombolo_protocol::identity::DeviceKeys;
use tombolo_protocol::ids::RelayId;
use tombolo_protocol::keys::SignKey;

use crate::{Counter, NOW};

/// The host that the device dials.
pub const HOST: &str = "127.0.0.1:1";

/// One device.
pub struct Device {
    store: Store,
    engine: Engine,
    connection: Connection,
    document: DocumentId,
    secrets: DeviceSecrets,
    now: Now,
    // Behind the store, which lives in it.
    _folder: tempfile::TempDir,
}

impl Device {
    /// Founds the workspace, edits the document, and dials.
    #[must_use]
    pub fn dialled() -> Self {
        let folder = crate::relay::folder();
        let mut entropy = Counter(0);
        let vault = MemoryVault::default();
        let store = Store::open(&folder.path().join("store"), &vault, Durability::Process, &mut entropy);
        // The first that the engine draws.
        let secrets = DeviceSecrets::generate(&mut entropy.clone());
        let mut store = store.expect("a new store");
        let mut engine = Engine::load(&mut store, Box::new(entropy), EngineConfig::default()).expect("an engine");
        let tx = store.begin(false).expect("a transaction");
        let workspace = engine.create_workspace(NOW, "fuzzed", &tx).expect("a workspace");
        let document = engine.create_document(NOW, &workspace, Crdt::Yrs, &tx).expect("a document");
        engine.edit(NOW, &document, |edit| edit.put("n", 1), &tx).expect("an edit");
        tx.commit().expect("a commit");
        let connection = dial(&mut store, &mut engine);
        Self { store, engine, connection, document, secrets, now: NOW, _folder: folder }
    }

    /// Starts on a store that is put into its folder, and dials a relay that it does not know.
    pub(crate) fn back(prepare: impl FnOnce(&Path), vault: &MemoryVault, document: DocumentId) -> Self {
        let folder = crate::relay::folder();
        prepare(folder.path());
        let mut entropy = Counter(0);
        let opened = Store::open(&folder.path().join("store.sqlite"), vault, Durability::Process, &mut entropy);
        let mut store = opened.expect("the store");
        let secrets = DeviceSecrets::generate(&mut entropy.clone());
        let mut engine = Engine::load(&mut store, Box::new(entropy), EngineConfig::default()).expect("an engine");
        let connection = dial(&mut store, &mut engine);
        Self { store, engine, connection, document, secrets, now: NOW, _folder: folder }
    }

    /// Dials, and proves itself to a relay that this function plays.
    #[must_use]
    pub fn connected() -> Self {
        let mut device = Self::dialled();
        let sent = device.reach();
        let Some(Frame::Hello(hello)) = sent.first() else { panic!("it says {sent:?}") };
        let keys = DeviceKeys::parse(&hello.sign_public, &hello.box_public).expect("its keys");
        let (key, nonce) = (relay_key(), [7; 32]);
        let (relay, tls, features) = (RelayId::from_bytes(key.public()), TlsMode::Plain, Vec::new());
        device.take(&Frame::from(Challenge { version: PROTOCOL_VERSION, relay, nonce, tls, features }).encode());
        let (host, binding) = (HOST.to_owned(), Binding::None);
        let transcript = Transcript { relay, host, device_nonce: hello.nonce, relay_nonce: nonce, binding };
        let proof = transcript.sign_as_relay(&keys, &key);
        let welcome = Welcome { proof, credit_bytes: 1 << 20, time_ms: NOW.wall_ms, ping_ms: 20_000 };
        let sent = device.take(&Frame::from(welcome).encode());
        assert!(sent.iter().any(|frame| matches!(frame, Frame::Open(_))), "it says {sent:?}");
        device
    }

    /// Tells the device that its connection stands.
    pub fn reach(&mut self) -> Vec<Frame> {
        let (connection, host, binding) = (self.connection, HOST.to_owned(), Binding::None);
        self.handle(Input::Connected { connection, host, binding, loopback: true })
    }

    /// Takes one frame, as a driver would; trouble with the store is a finding.
    pub fn take(&mut self, frame: &[u8]) -> Vec<Frame> {
        self.handle(Input::Frame { connection: self.connection, bytes: frame.to_vec() })
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: u32) -> Vec<Frame> {
        self.now.mono += Duration::from_secs(u64::from(seconds));
        self.now.wall_ms += i64::from(seconds) * 1000;
        self.handle(Input::Tick)
    }

    /// Edits the document.
    pub fn edit(&mut self) -> Vec<Frame> {
        let tx = self.store.begin(false).expect("a transaction");
        self.engine.edit(self.now, &self.document, |edit| edit.put("n", 2), &tx).expect("an edit");
        tx.commit().expect("a commit");
        self.handle(Input::Tick)
    }

    fn handle(&mut self, input: Input) -> Vec<Frame> {
        let tx = self.store.begin(false).expect("a transaction");
        self.engine.handle(self.now, input, &tx).expect("the store is well");
        self.engine.settle(self.now, &tx, true).expect("the store is well");
        tx.commit().expect("a commit");
        let mut frames = Vec::new();
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Send { bytes, .. } = effect {
                frames.push(Frame::decode(&bytes).expect("it sends what can be read"));
            }
        }
        frames
    }
}

/// Dials the relay that everybody here talks to.
fn dial(store: &mut Store, engine: &mut Engine) -> Connection {
    let (tx, relay) = (store.begin(false).expect("a transaction"), format!("ws://{HOST}"));
    engine.dial(NOW, &relay, false, None, &tx).expect("an address");
    engine.handle(NOW, Input::Tick, &tx).expect("a tick");
    tx.commit().expect("a commit");
    let dialled = |effect| match effect {
        Effect::Dial { connection, address } if address == relay => Some(connection),
        _ => None,
    };
    std::iter::from_fn(|| engine.poll_effect()).find_map(dialled).expect("it dials")
}

/// The key of the relay that everybody here talks to.
#[must_use]
pub fn relay_key() -> SignKey {
    SignKey::from_seed(&[9; 32])
}

/// Returns the secrets of the device: what its owner could extract.
#[must_use]
pub fn secrets() -> &'static DeviceSecrets {
    static SECRETS: LazyLock<DeviceSecrets> = LazyLock::new(|| {
        let mut device = Device::dialled();
        let sent = device.reach();
        let Some(Frame::Hello(hello)) = sent.first() else { panic!("it says {sent:?}") };
        assert_eq!(hello.sign_public, device.secrets.sign_key().public(), "the engine draws its secrets first");
        device.secrets
    });
    &SECRETS
}
