//! What stories say: who is there, who writes what, who crashes.
//!
//! Invariant: every word that is written is distinct, so that a loss names the edit.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo::crypto::{DeviceSecrets, InviteLink, MemoryVault};
use tombolo::document::Crdt;
use tombolo::engine::{Engine, Event};
use tombolo::protocol::ids::{DocumentId, WorkspaceId};
use tombolo::protocol::record::Role;
use tombolo::{Error, IntegrityReport, InviteTerms, SetAsideReason, SyncDebt};

use super::Net;
use crate::replica::{CrashAt, Replica, Witness};
use crate::station::RelayNode;

impl Net {
    /// Makes devices that share a workspace and a document of each CRDT; the first founds it.
    pub fn replicas<const N: usize>(&mut self, names: [&str; N]) -> [Replica; N] {
        let replicas = names.map(|name| self.device(name));
        let Some((founder, others)) = replicas.split_first() else { return replicas };
        self.found(*founder);
        for other in others {
            self.join(*founder, *other, Role::Writer);
        }
        self.run_until_quiet();
        replicas
    }

    /// Founds the shared workspace, at the first relay.
    pub fn found_empty(&mut self, founder: Replica) -> WorkspaceId {
        self.dial_relay(founder, RelayNode(0));
        let made = self.act(founder, |engine, now, tx| engine.create_workspace(now, "Field notes", tx));
        let workspace = made.expect("a workspace is founded").expect("the founder lives");
        self.workspace = Some(workspace);
        workspace
    }

    /// Founds the shared workspace and its documents, and brings them to the first relay.
    pub fn found(&mut self, founder: Replica) -> WorkspaceId {
        let workspace = self.found_empty(founder);
        for crdt in [Crdt::Automerge, Crdt::Yrs] {
            let document = founder.create(self, crdt);
            self.documents.push(document);
        }
        self.run_until_quiet();
        workspace
    }

    /// Lets a device join the shared workspace by an invite.
    pub fn join(&mut self, host: Replica, guest: Replica, role: Role) {
        let link = host.invite(self, role);
        guest.take_invite(self, link);
        self.run_until_quiet();
    }

    /// Lets a device dial a relay.
    pub fn dial_relay(&mut self, replica: Replica, relay: RelayNode) {
        let address = self.station(relay).address.clone();
        let dialled = self.act(replica, move |engine, now, tx| engine.dial(now, &address, false, None, tx));
        dialled.expect("the address is good");
    }

    /// Returns the workspace that the replicas share.
    #[must_use]
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace.expect("a workspace was founded")
    }

    /// Returns the shared documents: automerge, then yrs.
    #[must_use]
    pub fn documents(&self) -> Vec<DocumentId> {
        self.documents.clone()
    }

    /// Starts a device that is down.
    pub fn start(&mut self, replica: Replica) {
        self.state_mut(replica).start();
        // Engines dial on their first tick.
        self.act(replica, |_, _, _| Ok(())).expect("the engine settles");
    }

    /// Has a witness told of each commit of a device.
    pub fn witness(&mut self, replica: Replica, witness: Witness) {
        self.state_mut(replica).witness = Some(witness);
    }

    /// Has a witness told of each commit of a relay, before any receipt of it arrives.
    pub fn witness_relay(&mut self, relay: RelayNode, witness: Witness) {
        self.station_mut(relay).witness = Some(witness);
    }

    /// Returns where a relay keeps its log.
    #[must_use]
    pub fn relay_folder(&self, relay: RelayNode) -> std::path::PathBuf {
        self.station(relay).folder().to_owned()
    }

    /// Lets every device that is added from now on publish a document once so many entries stand behind its newest
    /// snapshot, vouch for others', and save one of so many entries.
    pub fn publish_all(&mut self, entries: usize) {
        self.publishes_from = Some(entries);
    }

    /// Lets every second device that is added from now on give up what a snapshot stands for once it has had enough words
    /// for so long.
    pub fn compact_some(&mut self, time: Duration) {
        self.compacts_after = Some(time);
    }

    /// Makes a device whose store is a copy of another's, and starts it.
    pub fn copy_store(&mut self, of: Replica, name: &str) -> Replica {
        let root = self.root();
        let copy = self.state(of).copy(name, &root);
        let replica = self.push_device(copy);
        self.start(replica);
        replica
    }
}

impl Replica {
    /// Creates a document in the shared workspace, with the text that edits go to.
    pub fn create(self, net: &mut Net, crdt: Crdt) -> DocumentId {
        let workspace = net.workspace();
        let made = net.act(self, |engine, now, tx| {
            let document = engine.create_document(now, &workspace, crdt, tx)?;
            engine.edit(now, &document, |edit| edit.text("body").map(|_| ()), tx)?;
            Ok(document)
        });
        made.expect("a document is made").expect("its device lives")
    }

    /// Asks relays for these documents of the shared workspace only.
    ///
    /// # Errors
    /// What the engine answers.
    pub fn sync_only(self, net: &mut Net, documents: &[DocumentId]) -> Result<(), Error> {
        let (workspace, documents) = (net.workspace(), documents.iter().copied().collect());
        net.act(self, |engine, now, tx| engine.sync_only(now, &workspace, documents, tx)).map(drop)
    }

    /// Asks relays for all documents of the shared workspace again.
    pub fn sync_all(self, net: &mut Net) {
        let workspace = net.workspace();
        net.act(self, |engine, now, tx| engine.sync_all(now, &workspace, tx)).expect("the workspace is here");
    }

    /// Tells whether a document is here and holds a word.
    pub fn knows(self, net: &mut Net, document: DocumentId, word: &str) -> bool {
        let read = net.act(self, |engine, now, tx| engine.read(now, &document, |view| view.keys(), tx));
        matches!(read, Ok(Some(Ok(keys))) if keys.iter().any(|held| held == word))
    }

    /// Writes a word into every shared document.
    pub fn edit(self, net: &mut Net, word: &str) {
        for document in net.documents() {
            self.try_edit(net, document, word).expect("the edit is taken");
        }
    }

    /// As [`Replica::edit`], unless the device is down.
    pub fn edit_if_up(self, net: &mut Net, word: &str) {
        if self.is_up(net) {
            self.edit(net, word);
        }
    }

    /// Writes a word into one document; it counts as written if the device lived to say so.
    ///
    /// # Errors
    /// What the engine answers.
    pub fn try_edit(self, net: &mut Net, document: DocumentId, word: &str) -> Result<(), Error> {
        let name = format!("{}/{word}", document.short());
        let text = format!("{word} ");
        let place = net.chance().below(u64::MAX);
        let key = word.to_owned();
        let edited = net.act(self, |engine, now, tx| {
            engine.edit(
                now,
                &document,
                |edit| {
                    edit.put(&key, 1)?;
                    let mut body = edit.text("body")?;
                    let at = place as usize % (body.len_utf16() + 1);
                    body.splice(at, 0, &text)
                },
                tx,
            )
        })?;
        match edited {
            Some(()) => net.written.insert(name),
            None => net.unsure.insert(name),
        };
        Ok(())
    }

    /// Makes an invite to the shared workspace.
    pub fn invite(self, net: &mut Net, role: Role) -> InviteLink {
        let workspace = net.workspace();
        let terms = InviteTerms { role, expires_ms: None, uses: Some(1) };
        let made = net.act(self, |engine, now, tx| engine.invite(now, &workspace, terms, tx));
        let link = made.expect("an invite is made").expect("its device lives");
        net.run_until_quiet();
        link
    }

    /// Accepts an invite; the next relay that is reached makes it a membership.
    pub fn take_invite(self, net: &mut Net, link: InviteLink) {
        net.act(self, |engine, now, tx| engine.join(now, link, tx)).expect("the invite is kept");
    }

    /// Dies at once, and starts again.
    pub fn crash(self, net: &mut Net) {
        self.kill(net);
        net.start(self);
    }

    /// Saves a document anew once it is opened with so many entries behind its saved form, from the next start on.
    pub fn save_from(self, net: &mut Net, entries: usize) {
        net.state_mut(self).tail_entries = Some(entries);
    }

    /// Publishes a document once it is opened with so many entries behind its newest snapshot, from the next start on.
    pub fn publish_from(self, net: &mut Net, entries: usize) {
        net.state_mut(self).snapshot_entries = Some(entries);
    }

    /// Gives up what a snapshot stands for once it has had enough words for so long, from the next start on.
    pub fn compact_after(self, net: &mut Net, time: Duration) {
        net.state_mut(self).compact_after = Some(time);
    }

    /// Dies at once, and stays down.
    pub fn kill(self, net: &mut Net) {
        net.state_mut(self).kill();
        net.disconnect_all(self.0);
    }

    /// Dies at the n-th commit from now, and stays down.
    pub fn crash_at_commit(self, net: &mut Net, nth: u64, at: CrashAt) {
        let device = net.state_mut(self);
        device.crash_at = Some((device.commits + nth, at));
    }

    /// Calls off a crash that was planned.
    pub fn spare(self, net: &mut Net) {
        net.state_mut(self).crash_at = None;
    }

    /// Tells whether the device is up.
    #[must_use]
    pub fn is_up(self, net: &Net) -> bool {
        net.state(self).is_up()
    }

    /// Returns how many commits the device has made.
    #[must_use]
    pub fn commits(self, net: &Net) -> u64 {
        net.state(self).commits
    }

    /// Copies the device's files, to be put back by [`Replica::restore`].
    pub fn back_up(self, net: &Net) {
        net.state(self).back_up();
    }

    /// Puts the device's files back as they were; with `lock` also what tells that they are old.
    pub fn restore(self, net: &mut Net, lock: bool) {
        self.kill(net);
        net.state_mut(self).restore(lock);
        net.start(self);
    }

    /// Brings the whole machine back to where [`Replica::back_up`] saw it: nothing there can tell.
    pub fn rewind(self, net: &mut Net) {
        self.kill(net);
        net.state_mut(self).rewind();
        net.start(self);
    }

    /// Returns where the device's store is.
    #[must_use]
    pub fn store_path(self, net: &Net) -> std::path::PathBuf {
        net.state(self).store_path()
    }

    /// Returns the vault that holds the key of the device's store.
    #[must_use]
    pub fn vault(self, net: &Net) -> MemoryVault {
        net.state(self).vault()
    }

    /// Returns the secrets of the device: what its owner could extract.
    #[must_use]
    pub fn secrets(self, net: &Net) -> DeviceSecrets {
        net.state(self).secrets()
    }

    /// Returns what the device told its app so far.
    #[must_use]
    pub fn events(self, net: &Net) -> &[Event] {
        &net.state(self).events
    }

    /// Tells whether the device told its app of such an event.
    pub fn was_told(self, net: &Net, such: impl Fn(&Event) -> bool) -> bool {
        self.events(net).iter().any(such)
    }

    /// Returns how often a reason was counted in all of the device's lives.
    #[must_use]
    pub fn counted(self, net: &Net, reason: SetAsideReason) -> u64 {
        net.state(self).counted(reason)
    }

    /// Fails unless the rows of the device's store agree with each other.
    pub fn assert_sound(self, net: &Net) {
        let report = net.state(self).integrity();
        assert!(report.is_sound(), "{}: {report:?}", net.state(self).name);
    }

    /// Returns how many documents the device has in memory.
    #[must_use]
    pub fn open_documents(self, net: &Net) -> usize {
        net.state(self).engine().map_or(0, Engine::open_documents)
    }

    /// Returns what the device owes the shared workspace.
    pub fn debt(self, net: &mut Net) -> SyncDebt {
        let workspace = net.workspace();
        let debt = net.act(self, |engine, _, tx| engine.sync_debt(&workspace, tx));
        debt.expect("the workspace is here").expect("the device lives")
    }

    /// Tells whether the device is up and owes the shared workspace nothing.
    pub fn is_settled(self, net: &mut Net) -> bool {
        let workspace = net.workspace();
        let settled = net.act(self, |engine, _, tx| {
            let settled = engine.is_settled(&workspace, tx)?;
            assert_eq!(settled, engine.sync_debt(&workspace, tx)?.is_settled(), "the short answer is the long one");
            Ok(settled)
        });
        matches!(settled, Ok(Some(true)))
    }

    /// Compares the rows of the device's store with each other.
    #[must_use]
    pub fn integrity(self, net: &Net) -> IntegrityReport {
        net.state(self).integrity()
    }

    /// Returns how often each reason was counted in all of the device's lives.
    #[must_use]
    pub fn all_counted(self, net: &Net) -> BTreeMap<SetAsideReason, u64> {
        net.state(self).all_counted()
    }

    /// Returns the device's engine, if it is up.
    #[must_use]
    pub fn engine(self, net: &Net) -> Option<&Engine> {
        net.state(self).engine()
    }

    /// Returns the words of a document.
    pub fn words(self, net: &mut Net, document: DocumentId) -> Vec<String> {
        let read = net.act(self, |engine, now, tx| engine.read(now, &document, |view| view.keys(), tx));
        let keys = read.expect("the document is here").expect("the device lives").expect("it reads");
        keys.into_iter().filter(|key| key != "body").collect()
    }

    /// Tells whether a document holds a word.
    pub fn has(self, net: &mut Net, document: DocumentId, word: &str) -> bool {
        self.words(net, document).iter().any(|held| held == word)
    }
}
