//! Stories of relays that are killed, or lost with all they kept, and of the devices that give it back.
//!
//! A relay that is killed is a process of its own: this very test program, started again.

use std::time::Duration;

use island::{Island, body, member, reads, refused, replaced, soon};
use relay::RelayProcess;
use tombolo::Milestone;
use tombolo::document::Crdt;
use tombolo::protocol::record::Role;

const BOTH: [Crdt; 2] = [Crdt::Automerge, Crdt::Yrs];

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_relay_is_healed_by_both_devices() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = RelayProcess::start(&folder.path().join("relay"), "127.0.0.1:0");
    let alice = Island::open(folder.path(), "alice").await;
    let bob = Island::open(folder.path(), "bob").await;
    let workspace = alice.found(&relay.address).await;
    let theirs = member(&bob, &workspace).await;
    let mut documents = Vec::new();
    for crdt in BOTH {
        let document = workspace.create_document(crdt).await.unwrap();
        document.edit(|e| body(e, "Before.")).await.unwrap();
        soon("at the relay", document.wait_for(Milestone::RelayDurable)).await.unwrap();
        reads(&bob, document.id(), "Before.").await;
        documents.push(document);
    }
    let (mut hers, mut his) = (alice.replica.events(), bob.replica.events());
    let old = relay.wipe();
    for document in &documents {
        document.edit(|e| body(e, " Alice alone.")).await.unwrap();
        bob.replica.document(document.id()).edit(|e| e.text("body")?.splice(0, 0, "Bob alone. ")).await.unwrap();
    }
    assert!(!workspace.sync_debt().await.unwrap().is_settled(), "nothing can be at a relay that is gone");
    relay = old.start_again();
    let (was, is) = replaced(&mut hers).await;
    assert_eq!(replaced(&mut his).await, (was, is));
    assert_ne!(was, is);
    for document in &documents {
        reads(&alice, document.id(), "Bob alone. Before. Alice alone.").await;
        reads(&bob, document.id(), "Bob alone. Before. Alice alone.").await;
    }
    soon("alice owes nothing", workspace.settled()).await.unwrap();
    soon("bob owes nothing", theirs.settled()).await.unwrap();
    assert!(workspace.sync_debt().await.unwrap().set_aside.is_empty());
    drop(relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_from_before_the_wipe_still_lets_a_third_user_in_and_a_used_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let relay = RelayProcess::start(&folder.path().join("relay"), "127.0.0.1:0");
    let alice = Island::open(folder.path(), "alice").await;
    let bob = Island::open(folder.path(), "bob").await;
    let workspace = alice.found(&relay.address).await;
    let used = workspace.invite(Role::Writer).create().await.unwrap().to_string();
    let spare = workspace.invite(Role::Writer).create().await.unwrap().to_string();
    let theirs = bob.replica.join(&used).await.unwrap();
    soon("bob is a member", theirs.ready()).await.unwrap();
    let document = workspace.create_document(Crdt::Yrs).await.unwrap();
    document.edit(|e| body(e, "Low tide at six.")).await.unwrap();
    soon("at the relay", document.wait_for(Milestone::RelayDurable)).await.unwrap();
    soon("alice is in step", workspace.settled()).await.unwrap();
    let mut hers = alice.replica.events();
    let relay = relay.wipe().start_again();
    replaced(&mut hers).await;
    soon("alice owes nothing", workspace.settled()).await.unwrap();
    soon("bob owes nothing", theirs.settled()).await.unwrap();

    let carol = Island::open(folder.path(), "carol").await;
    let joined = carol.replica.join(&spare).await.unwrap();
    soon("carol is a member", joined.ready()).await.unwrap();
    reads(&carol, document.id(), "Low tide at six.").await;
    assert_eq!(joined.members().await.unwrap().len(), 3);

    for (name, link) in [("mallory", &used), ("trudy", &spare)] {
        let mallory = Island::open(folder.path(), name).await;
        let mut events = mallory.replica.events();
        let workspace = mallory.replica.join(link).await.unwrap();
        refused(&mut events, workspace.id()).await;
        mallory.replica.close().await.unwrap();
    }
    drop(relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_alone_heals_a_wiped_relay_and_the_owner_then_opens_its_invites() {
    let folder = tempfile::tempdir().unwrap();
    let relay = RelayProcess::start(&folder.path().join("relay"), "127.0.0.1:0");
    let alice = Island::open(folder.path(), "alice").await;
    let bob = Island::open(folder.path(), "bob").await;
    let workspace = alice.found(&relay.address).await;
    let theirs = member(&bob, &workspace).await;
    let spare = workspace.invite(Role::Writer).create().await.unwrap().to_string();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    document.edit(|e| body(e, "By Alice.")).await.unwrap();
    soon("at the relay", document.wait_for(Milestone::RelayDurable)).await.unwrap();
    soon("alice is in step", workspace.settled()).await.unwrap();
    reads(&bob, document.id(), "By Alice.").await;
    alice.replica.pause().await.unwrap();
    document.edit(|e| body(e, " And offline.")).await.unwrap();
    let mut his = bob.replica.events();
    let relay = relay.wipe().start_again();
    replaced(&mut his).await;
    soon("bob owes nothing", theirs.settled()).await.unwrap();
    assert!(relay.items() > 0, "bob gave back what alice wrote, too");

    alice.replica.resume().await.unwrap();
    reads(&bob, document.id(), "By Alice. And offline.").await;
    soon("alice owes nothing", workspace.settled()).await.unwrap();
    let carol = Island::open(folder.path(), "carol").await;
    let joined = carol.replica.join(&spare).await.unwrap();
    soon("carol is a member", joined.ready()).await.unwrap();
    reads(&carol, document.id(), "By Alice. And offline.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_and_started_again_keeps_everything_it_signed_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = RelayProcess::start(&folder.path().join("relay"), "127.0.0.1:0");
    let alice = Island::open(folder.path(), "alice").await;
    let workspace = alice.found(&relay.address).await;
    let spare = workspace.invite(Role::Writer).create().await.unwrap().to_string();
    let document = workspace.create_document(Crdt::Automerge).await.unwrap();
    let mut expected = String::new();
    soon("alice is in step", workspace.settled()).await.unwrap();
    for nth in 0..5 {
        let words = format!("Tide {nth}. ");
        expected.push_str(&words);
        document.edit(move |e| body(e, &words)).await.unwrap();
        soon("signed for", document.wait_for(Milestone::RelayDurable)).await.unwrap();
        relay = relay.kill().start_again();
    }
    // Nobody is there to give anything back: the relay has it by itself.
    alice.replica.close().await.unwrap();
    let bob = Island::open(folder.path(), "bob").await;
    let mut events = bob.replica.events();
    let joined = bob.replica.join(&spare).await.unwrap();
    soon("bob is a member", joined.ready()).await.unwrap();
    reads(&bob, document.id(), &expected).await;
    soon("bob owes nothing", joined.settled()).await.unwrap();
    bob.replica.close().await.unwrap();
    drop((bob, joined));
    while let Some(event) = events.next().await {
        let kept = !matches!(event, tombolo::engine::Event::RelayReplaced { .. });
        assert!(kept, "the relay has the key it had");
    }
}

/// Is the relay of the other stories, where the environment says so.
#[test]
fn a_relay_is_this_program_started_again() {
    relay::serve_if_asked();
}

#[cfg(test)]
mod island {
    use std::path::Path;

    use tombolo::document::{EditError, MapEdit};
    use tombolo::engine::Event;
    use tombolo::protocol::ids::{DocumentId, RelayId, WorkspaceId};
    use tombolo::protocol::record::Role;
    use tombolo::{Replica, ReplicaEvents, Workspace};

    use super::Duration;

    pub(crate) struct Island {
        pub(crate) replica: Replica,
    }

    impl Island {
        pub(crate) async fn open(folder: &Path, name: &str) -> Self {
            Self { replica: Replica::open(folder.join(name)).await.unwrap() }
        }

        pub(crate) async fn found(&self, address: &str) -> Workspace {
            let workspace = self.replica.create_workspace("Tides").await.unwrap();
            self.replica.dial(address).await.unwrap();
            soon("in step", workspace.settled()).await.unwrap();
            workspace
        }
    }

    pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
        let done = tokio::time::timeout(Duration::from_secs(20), future).await;
        done.unwrap_or_else(|_| panic!("not within 20 s: {what}"))
    }

    pub(crate) fn body(edit: &mut MapEdit<'_>, words: &str) -> Result<(), EditError> {
        edit.text("body")?.push_str(words)
    }

    pub(crate) async fn member(island: &Island, workspace: &Workspace) -> Workspace {
        let invite = workspace.invite(Role::Writer).create().await.unwrap().to_string();
        let joined = island.replica.join(&invite).await.unwrap();
        soon("a member", joined.ready()).await.unwrap();
        joined
    }

    pub(crate) async fn reads(island: &Island, document: DocumentId, expected: &str) {
        let document = island.replica.document(document);
        soon("the document is known", async {
            let mut events = island.replica.events();
            while document.version().await.is_err() {
                events.next().await.unwrap();
            }
        })
        .await;
        let mut events = document.subscribe().await.unwrap();
        let mut last = None;
        let read = async {
            loop {
                last = document.read(|view| view.text("body")).await.unwrap();
                if last.as_deref() == Some(expected) {
                    return;
                }
                events.next().await.unwrap();
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert!(done.is_ok(), "not within 20 s: {expected:?}; it reads {last:?}");
    }

    pub(crate) async fn replaced(events: &mut ReplicaEvents) -> (RelayId, RelayId) {
        soon("the relay was replaced", async {
            loop {
                if let Event::RelayReplaced { old, new, .. } = events.next().await.unwrap() {
                    return (old, new);
                }
            }
        })
        .await
    }

    pub(crate) async fn refused(events: &mut ReplicaEvents, workspace: WorkspaceId) {
        soon("the invite is refused", async {
            loop {
                match events.next().await.unwrap() {
                    Event::JoinRefused { workspace: refused, .. } if refused == workspace => return,
                    Event::Joined { .. } => panic!("a used invite lets nobody in"),
                    _ => {}
                }
            }
        })
        .await;
    }
}

#[cfg(test)]
mod relay {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpStream;
    use std::path::{Path, PathBuf};
    use std::process::{Child, ChildStdout, Command, Stdio};

    const FOLDER: &str = "HEAL_RELAY_FOLDER";
    const LISTEN: &str = "HEAL_RELAY_LISTEN";

    /// A relay that runs, until it is killed or dropped.
    pub(crate) struct RelayProcess {
        process: Child,
        _stdout: BufReader<ChildStdout>,
        folder: PathBuf,
        metrics: String,
        pub(crate) address: String,
    }

    /// Where a relay was.
    pub(crate) struct Place {
        folder: PathBuf,
        address: String,
    }

    pub(crate) fn serve_if_asked() {
        let (Some(folder), Some(listen)) = (std::env::var_os(FOLDER), std::env::var_os(LISTEN)) else {
            return;
        };
        std::thread::spawn(|| {
            // The pipe ends with the parent: the relay does not outlive the stories.
            let ended = std::io::stdin().read(&mut [0]);
            std::process::exit(i32::from(ended.is_err()));
        });
        let args = ["tombolo-relay", "serve", "--admin-listen", "127.0.0.1:0", "--log-level", "error", "--data"];
        let args = args.map(Into::into).into_iter().chain([folder, "--listen".into(), listen]);
        tombolo_relay::main_with(args);
    }

    impl RelayProcess {
        pub(crate) fn start(folder: &Path, listen: &str) -> Self {
            let mut process = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "a_relay_is_this_program_started_again", "--nocapture"])
                .env(FOLDER, folder)
                .env(LISTEN, listen)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdout = BufReader::new(process.stdout.take().unwrap());
            let address = announced(&mut stdout, "listening on ");
            let metrics = announced(&mut stdout, "metrics on http://").replace("/metrics", "");
            Self { process, _stdout: stdout, folder: folder.to_owned(), metrics, address }
        }

        pub(crate) fn kill(mut self) -> Place {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
            Place { folder: self.folder.clone(), address: self.address.clone() }
        }

        pub(crate) fn wipe(self) -> Place {
            let place = self.kill();
            std::fs::remove_dir_all(&place.folder).unwrap();
            place
        }

        /// Returns how many entries and records it keeps.
        pub(crate) fn items(&self) -> u64 {
            let mut stream = TcpStream::connect(&self.metrics).unwrap();
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("tombolo_relay_items_appended_total "));
            line.unwrap().parse().unwrap()
        }
    }

    impl Drop for RelayProcess {
        fn drop(&mut self) {
            if self.process.kill().is_ok() {
                drop(self.process.wait());
            }
        }
    }

    impl Place {
        pub(crate) fn start_again(self) -> RelayProcess {
            RelayProcess::start(&self.folder, self.address.trim_start_matches("ws://"))
        }
    }

    fn announced(stdout: &mut BufReader<ChildStdout>, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "the relay says where it listens");
            if let Some((_, rest)) = line.split_once(beginning) {
                return rest.trim().to_owned();
            }
        }
    }
}
