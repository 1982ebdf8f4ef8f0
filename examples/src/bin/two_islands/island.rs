//! One island: a person's device, with a whole copy of the survey in both CRDTs.
//!
//! Invariant: [`Survey`] is read through the public API alone; islands are equal if all they read and
//! the versions are.

use std::path::Path;
use std::time::{Duration, Instant};

use tombolo::document::{Crdt, Value, Version};
use tombolo::engine::Event;
use tombolo::protocol::ids::{DocumentId, RelayId, WorkspaceId};
use tombolo::{DebtReason, Document, Milestone, Replica, ReplicaEvents, Workspace};

use crate::failure::{Failure, within};

/// Both CRDTs, by the names that are printed.
pub(crate) const CRDTS: [(Crdt, &str); 2] = [(Crdt::Automerge, "automerge"), (Crdt::Yrs, "yrs")];

/// What one person writes with nobody in reach.
pub(crate) struct Typed {
    /// Goes in front of the title, word by word.
    pub(crate) title_before: &'static str,
    /// Goes behind the body, word by word.
    pub(crate) body_after: &'static str,
    /// Goes in front of the body, word by word.
    pub(crate) body_before: &'static str,
    /// Is added to the list.
    pub(crate) sighting: &'static str,
    /// Is added to the counter.
    pub(crate) seals: i64,
}

/// One document as it reads on one island.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) sightings: Vec<String>,
    pub(crate) seals: i64,
    /// Equal versions mean equal content.
    pub(crate) version: Version,
}

/// What an island still owes.
pub(crate) struct Owed {
    pub(crate) documents: usize,
    pub(crate) changes: u64,
    pub(crate) reason: DebtReason,
}

/// A person's device.
pub(crate) struct Island {
    pub(crate) replica: Replica,
}

impl Island {
    /// Opens a person's device, in a file of its own.
    pub(crate) async fn open(folder: &Path, person: &str) -> Result<Self, Failure> {
        let path = folder.join(person).with_extension("tombolo");
        Ok(Self { replica: within("open a store", Replica::open(path)).await? })
    }

    /// Joins by a link, and returns how long it took to become a member.
    pub(crate) async fn join(&self, link: &str) -> Result<(Workspace, Duration), Failure> {
        let began = Instant::now();
        let workspace = within("accept the invite", self.replica.join(link)).await?;
        within("become a member by the invite", workspace.ready()).await?;
        Ok((workspace, began.elapsed()))
    }

    /// Cuts the cable.
    pub(crate) async fn cut_off(&self) -> Result<(), Failure> {
        within("go offline", self.replica.pause()).await
    }

    /// Mends the cable.
    pub(crate) async fn reconnect(&self) -> Result<(), Failure> {
        within("go online", self.replica.resume()).await
    }

    /// Types with many small edits, as a person does; returns how many.
    pub(crate) async fn write(&self, document: DocumentId, typed: &Typed) -> Result<usize, Failure> {
        let document = self.replica.document(document);
        let mut edits = 2;
        edits += type_words(&document, "title", true, typed.title_before).await?;
        edits += type_words(&document, "body", true, typed.body_before).await?;
        edits += type_words(&document, "body", false, typed.body_after).await?;
        let (sighting, seals) = (typed.sighting, typed.seals);
        within("add to a list", document.edit(move |e| e.list("sightings")?.push(sighting))).await?;
        within("add to a counter", document.edit(move |e| e.counter("seals")?.increment(seals))).await?;
        Ok(edits)
    }

    /// Reads one document.
    pub(crate) async fn survey(&self, document: DocumentId) -> Result<Survey, Failure> {
        let document = self.replica.document(document);
        let read = document
            .read(|view| Ok((view.text("title")?, view.text("body")?, view.get("sightings")?, view.get("seals")?)));
        let (title, body, sightings, seals) = within("read a document", read).await?;
        let sightings = sightings.as_ref().and_then(Value::as_list).unwrap_or_default();
        Ok(Survey {
            title: title.unwrap_or_default(),
            body: body.unwrap_or_default(),
            sightings: sightings.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
            seals: seals.as_ref().and_then(Value::as_i64).unwrap_or_default(),
            version: within("read a version", document.version()).await?,
        })
    }

    /// Waits until a relay has signed that it keeps all that was written into these documents.
    pub(crate) async fn receipts(&self, documents: &[DocumentId]) -> Result<(), Failure> {
        for document in documents {
            let document = self.replica.document(*document);
            within("get the relay's receipt", document.wait_for(Milestone::RelayDurable)).await?;
        }
        Ok(())
    }

    /// Waits until nothing is owed.
    pub(crate) async fn settled(&self, workspace: WorkspaceId) -> Result<(), Failure> {
        within("come into step with the relay", self.replica.workspace(workspace).settled()).await
    }

    /// Returns what is owed, if anything is.
    pub(crate) async fn owes(&self, workspace: WorkspaceId) -> Result<Option<Owed>, Failure> {
        let debt = within("read the sync debt", self.replica.workspace(workspace).sync_debt()).await?;
        let Some(reason) = debt.documents.first().map(|document| document.reason) else {
            return Ok(None);
        };
        let changes = debt.documents.iter().map(|owed| owed.pending_changes + owed.unplaced_entries).sum();
        Ok(Some(Owed { documents: debt.documents.len(), changes, reason }))
    }
}

/// Types a text word by word, each an edit of its own; returns how many.
async fn type_words(
    document: &Document,
    key: &'static str,
    in_front: bool,
    words: &'static str,
) -> Result<usize, Failure> {
    let (mut edits, mut typed) = (0, 0);
    for word in words.split_inclusive(' ') {
        let edit = document.edit(move |e| {
            let mut text = e.text(key)?;
            let index = if in_front { typed } else { text.len_utf16() };
            text.splice(index, 0, word)
        });
        within("type a word", edit).await?;
        typed += word.encode_utf16().count();
        edits += 1;
    }
    Ok(edits)
}

/// Waits until a device notices that the relay it knew is another one now; returns both keys.
pub(crate) async fn replaced(events: &mut ReplicaEvents) -> Result<(RelayId, RelayId), Failure> {
    let replaced = async {
        while let Some(event) = events.next().await {
            if let Event::RelayReplaced { old, new, .. } = event {
                return Ok((old, new));
            }
        }
        Err(Failure::Untrue("a device tells when its relay was replaced"))
    };
    within("notice that the relay was replaced", replaced).await
}

/// A reason as people read it.
pub(crate) fn reason(reason: DebtReason) -> &'static str {
    match reason {
        DebtReason::NoRelay => "no relay was ever reached",
        DebtReason::Offline => "no relay is reached",
        DebtReason::CatchingUp => "still catching up",
        DebtReason::UnderWay => "under way",
        DebtReason::NeedsToken => "the relay wants a token",
        DebtReason::Refused(_) => "the relay refused it",
        _ => "something else is missing",
    }
}
