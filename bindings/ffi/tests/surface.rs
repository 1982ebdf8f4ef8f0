//! The surface as an app in another language has it: what needs no relay. The suites of the languages have the rest.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a story ends where it goes wrong")]

use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use tokio::sync::Notify;
use tombolo_ffi::cancellation::Cancellation;
use tombolo_ffi::document::Document;
use tombolo_ffi::edit::Edit;
use tombolo_ffi::error::{MisuseFault, StoreFault, TomboloError, Typed};
use tombolo_ffi::events::{DocumentEvent, DocumentListener};
use tombolo_ffi::options::{KeyPlace, OpenOptions};
use tombolo_ffi::replica::Replica;
use tombolo_ffi::values::{Crdt, Origin, PathStep, Value};
use tombolo_ffi::vault::{KeyVault, VaultError};

/// As the languages do it: the futures run on an executor that is not this library's.
fn story<R>(future: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn at(folder: &tempfile::TempDir, key: Option<KeyPlace>) -> OpenOptions {
    let path = folder.path().join("notes.tombolo").to_string_lossy().into_owned();
    OpenOptions {
        path,
        key,
        durability: None,
        memory_bytes: None,
        snapshot_entries: None,
        compact_after: None,
        app_type: None,
        trusted_roots: Vec::new(),
        offline: false,
    }
}

fn key(name: &str) -> PathStep {
    PathStep::Key { key: name.to_owned() }
}

fn put(name: &str, value: &str) -> Edit {
    Edit::Put { path: vec![key(name)], value: value.into() }
}

async fn document_in(replica: &Replica, crdt: Crdt) -> Arc<Document> {
    replica.create_workspace("Field notes".to_owned()).await.unwrap().create_document(crdt).await.unwrap()
}

#[test]
fn a_list_of_edits_is_one_change_or_none_on_both_crdts() {
    let folder = tempfile::tempdir().unwrap();
    story(async {
        let replica = Replica::open(at(&folder, None)).await.unwrap();
        for crdt in [Crdt::Automerge, Crdt::Yrs] {
            let document = document_in(&replica, crdt).await;
            let body = vec![key("body")];
            let tasks = vec![key("tasks")];
            let first = vec![key("tasks"), PathStep::Index { index: 0 }];
            let edits = vec![
                put("title", "Reef survey"),
                Edit::SpliceText { path: body.clone(), index: 0, removed: 0, inserted: "Low tide 🌊".to_owned() },
                Edit::AppendText { path: body.clone(), inserted: " at six.".to_owned() },
                Edit::Append { path: tasks.clone(), values: vec![Value::Map(Default::default()), "pack".into()] },
                Edit::Put { path: [first.clone(), vec![key("done")]].concat(), value: true.into() },
                Edit::Insert { path: tasks.clone(), index: 1, values: vec!["a".into(), "b".into()] },
                Edit::Remove { path: tasks.clone(), index: 1, count: 2 },
                Edit::Increment { path: vec![key("visits")], by: 3 },
            ];
            document.edit(edits).await.unwrap();
            let read = document.read_many(vec![body, tasks, vec![key("visits")], vec![key("none")]]).await.unwrap();
            assert_eq!(read[0], Some(Value::Text("Low tide 🌊 at six.".to_owned())));
            assert_eq!(read[1].as_ref().and_then(Value::as_list).map(<[Value]>::len), Some(2));
            assert_eq!((read[2].clone(), read[3].clone()), (Some(Value::Counter(3)), None));
            let before = document.version().await.unwrap();
            let beyond = Edit::Remove { path: vec![key("tasks")], index: 1, count: 9 };
            let error = document.edit(vec![put("title", "other"), beyond]).await.unwrap_err();
            assert!(matches!(error, TomboloError::Misuse { fault: MisuseFault::OutOfRange, .. }), "{error}");
            assert_eq!(document.version().await.unwrap(), before, "a list that fails changes nothing");
        }
        replica.shutdown().await.unwrap();
        assert!(matches!(replica.shutdown().await, Err(TomboloError::Closed { .. })));
    });
}

/// What a listener was told, and on which threads.
#[derive(Default)]
struct Heard {
    events: Mutex<Vec<DocumentEvent>>,
    threads: Mutex<Vec<ThreadId>>,
    ends: Mutex<u32>,
    told: Notify,
}

impl DocumentListener for Heard {
    fn on_events(&self, events: Vec<DocumentEvent>) {
        self.threads.lock().unwrap().push(std::thread::current().id());
        self.events.lock().unwrap().extend(events);
        self.told.notify_one();
        if self.events.lock().unwrap().len() == 2 {
            panic!("a listener that throws once");
        }
    }

    fn on_end(&self) {
        *self.ends.lock().unwrap() += 1;
        self.told.notify_one();
    }
}

impl Heard {
    /// Waits until the listener was told this many events, or of the end.
    async fn until(&self, count: usize) {
        let heard = async {
            while self.events.lock().unwrap().len() < count && *self.ends.lock().unwrap() == 0 {
                self.told.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), heard).await.expect("the listener is told");
    }
}

#[test]
fn listeners_hear_the_present_state_first_then_all_in_order_from_one_thread() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    runtime.block_on(async {
        let replica = Replica::open(at(&folder, None)).await.unwrap();
        let document = document_in(&replica, Crdt::Yrs).await;
        document.edit(vec![put("n", "before")]).await.unwrap();
        let (one, two) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
        let second = document.subscribe(Arc::clone(&two) as _).await.unwrap();
        two.until(1).await;
        second.cancel();
        let first = document.subscribe(Arc::clone(&one) as _).await.unwrap();
        for n in 0..20 {
            document.edit(vec![put("n", &n.to_string())]).await.unwrap();
        }
        one.until(21).await;
        let events = one.events.lock().unwrap().clone();
        assert!(matches!(&events[0], DocumentEvent::Current { value: Value::Map(map) } if map["n"] == "before".into()));
        for (n, event) in events[1..].iter().enumerate() {
            let DocumentEvent::Changed { patches, origin: Origin::Local, .. } = event else {
                panic!("{event:?}");
            };
            let text = format!("{patches:?}");
            assert!(text.contains(&format!("\"{n}\"")), "change {n} is not {text}");
        }
        let threads = one.threads.lock().unwrap().clone();
        assert!(threads.iter().all(|thread| *thread == threads[0] && *thread != std::thread::current().id()));
        assert!(second.is_ended() && two.events.lock().unwrap().len() < 3, "it was cancelled");
        replica.shutdown().await.unwrap();
        one.until(usize::MAX).await;
        let ended = async {
            while !first.is_ended() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the task ends behind its last call");
        assert_eq!((*one.ends.lock().unwrap(), *two.ends.lock().unwrap()), (1, 0));
    });
}

/// A vault of an app's.
#[derive(Default)]
struct Vault {
    key: Mutex<Option<Vec<u8>>>,
    locked: Mutex<bool>,
}

impl KeyVault for Vault {
    fn load(&self) -> Result<Option<Vec<u8>>, VaultError> {
        if *self.locked.lock().unwrap() {
            return Err(VaultError::Refused { code: -25308 });
        }
        Ok(self.key.lock().unwrap().clone())
    }

    fn save(&self, key: Vec<u8>) -> Result<(), VaultError> {
        *self.key.lock().unwrap() = Some(key);
        Ok(())
    }
}

#[test]
fn the_apps_own_vault_keeps_the_key_and_its_refusal_is_told() {
    let folder = tempfile::tempdir().unwrap();
    story(async {
        let vault = Arc::new(Vault::default());
        let place = || Some(KeyPlace::Vault { vault: Arc::clone(&vault) as _ });
        let replica = Replica::open(at(&folder, place())).await.unwrap();
        let identity = replica.identity().await.unwrap();
        let error = Replica::open(at(&folder, place())).await.unwrap_err();
        assert!(matches!(error, TomboloError::Store { fault: StoreFault::InUse, .. }), "{error}");
        replica.shutdown().await.unwrap();
        *vault.locked.lock().unwrap() = true;
        let error = Replica::open(at(&folder, place())).await.unwrap_err();
        assert!(matches!(error, TomboloError::Store { fault: StoreFault::Vault, .. }), "{error}");
        assert!(error.to_string().contains("-25308"), "{error}");
        *vault.locked.lock().unwrap() = false;
        let replica = Replica::open(at(&folder, place())).await.unwrap();
        assert_eq!(replica.identity().await.unwrap(), identity);
    });
}

#[test]
fn what_is_typed_wrong_and_what_takes_too_long_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    story(async {
        let replica = Replica::open(at(&folder, Some(KeyPlace::Memory))).await.unwrap();
        let error = replica.join("no invite".to_owned()).await.unwrap_err();
        assert!(matches!(error, TomboloError::Input { what: Typed::Invite, .. }), "{error}");
        let error = replica.dial("http://relay".to_owned(), false, None).await.unwrap_err();
        assert!(matches!(error, TomboloError::Input { what: Typed::Address, .. }), "{error}");
        replica.create_workspace("Alone".to_owned()).await.unwrap();
        let error = replica.sync_once(Duration::from_millis(50), None).await.unwrap_err();
        assert!(matches!(error, TomboloError::Deadline { .. }), "{error}");
        let given_up = Cancellation::new();
        given_up.cancel();
        let error = replica.sync_once(Duration::MAX, Some(given_up)).await.unwrap_err();
        assert!(matches!(error, TomboloError::Deadline { .. }), "{error}");
        replica.pause().await.unwrap();
        replica.resume().await.unwrap();
        let kit = replica.recovery_kit().await.unwrap();
        let back = tombolo_ffi::devices::RecoveryKit::from_words(&kit.words()).unwrap();
        assert_eq!(back.user(), replica.identity().await.unwrap().user);
        replica.confirm_kit(back).await.unwrap();
        assert!(matches!(replica.recovery_kit().await, Err(TomboloError::Denied { .. })));
    });
}
