//! Two devices, one workspace, one relay: where most networked workloads begin.
//!
//! Invariant: when the scene stands, both devices are members and in step with the relay.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tombolo::document::{Crdt, EditError, MapEdit};
use tombolo::protocol::record::Role;
use tombolo::{Document, Replica, Workspace};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::relay::Relay;

/// What an edit appends, wherever the design does not say otherwise.
pub(crate) const WORDS: &str = "the quick brown fox ";
/// Both CRDTs, with the names that figures carry.
pub(crate) const CRDTS: [(Crdt, &str); 2] = [(Crdt::Automerge, "automerge"), (Crdt::Yrs, "yrs")];

/// Two devices and a relay.
pub(crate) struct Scene {
    pub(crate) alice: Replica,
    pub(crate) bob: Replica,
    pub(crate) workspace: Workspace,
    pub(crate) theirs: Workspace,
    pub(crate) relay: Relay,
    pub(crate) folder: TempDir,
}

impl Scene {
    /// Builds it.
    pub(crate) async fn build() -> Result<Self, BenchError> {
        let folder = tempfile::tempdir()?;
        let relay = Relay::start(&folder.path().join("relay"))?;
        let alice = Replica::open(folder.path().join("alice")).await?;
        let bob = Replica::open(folder.path().join("bob")).await?;
        let workspace = alice.create_workspace("Field notes").await?;
        alice.dial(&relay.address()).await?;
        awaited("alice in step", workspace.settled()).await?;
        let invite = workspace.invite(Role::Writer).create().await?;
        let theirs = bob.join(&invite.to_string()).await?;
        awaited("bob a member", theirs.ready()).await?;
        awaited("bob in step", theirs.settled()).await?;
        Ok(Self { alice, bob, workspace, theirs, relay, folder })
    }

    /// Lets one more device join, and close; returns where its store is.
    pub(crate) async fn join_and_leave(&self, name: &str) -> Result<std::path::PathBuf, BenchError> {
        let path = self.folder.path().join(name);
        let invite = self.workspace.invite(Role::Writer).create().await?;
        let replica = Replica::open(&path).await?;
        let theirs = replica.join(&invite.to_string()).await?;
        awaited("one more member", theirs.ready()).await?;
        awaited("one more in step", theirs.settled()).await?;
        replica.close().await?;
        Ok(path)
    }

    /// Where Bob's store is.
    pub(crate) fn bobs_path(&self) -> std::path::PathBuf {
        bobs_path(self.folder.path())
    }
}

fn bobs_path(folder: &Path) -> std::path::PathBuf {
    folder.join("bob")
}

/// Begins an edit that replaces part of the text `text`.
pub(crate) fn splice(
    document: &Document,
    at: usize,
    removed: usize,
    inserted: &str,
) -> impl Future<Output = Result<(), tombolo::Error>> + Send + 'static {
    let (document, inserted) = (document.clone(), inserted.to_owned());
    let change = move |e: &mut MapEdit<'_>| -> Result<(), EditError> { e.text("text")?.splice(at, removed, &inserted) };
    async move { document.edit(change).await }
}

/// Waits until a document's text `text` is this long on a device.
pub(crate) async fn text_of_length(document: &Document, length: usize) -> Result<(), BenchError> {
    loop {
        let read = document.read(|view| view.text("text")).await;
        if read.ok().flatten().is_some_and(|text| text.len() == length) {
            return Ok(());
        }
        // waits: the workload's clock runs; a poll a millisecond is finer than what it measures.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
