//! The notes of a store: which there are, in which workspaces, and how a person names one.
//!
//! A note is a document with a string `title` and a text `body`. Invariant: a name that fits several is
//! never guessed at.

use std::collections::BTreeMap;

use tombolo::document::{Crdt, Version};
use tombolo::protocol::ids::DocumentId;
use tombolo::protocol::record::Role;
use tombolo::{Document, Replica, Workspace, WorkspaceState, WorkspaceSummary};

use crate::failure::Failure;
use crate::page;

/// The root key of a note's title.
pub(crate) const TITLE: &str = "title";
/// The root key of a note's text.
pub(crate) const BODY: &str = "body";
/// The name of the workspace that is made when there is none.
const FIRST_WORKSPACE: &str = "Notes";

/// One note in a list.
pub(crate) struct Note {
    pub(crate) id: DocumentId,
    pub(crate) title: String,
    pub(crate) crdt: Crdt,
}

/// Returns a workspace's name for people.
pub(crate) fn workspace_name(summary: &WorkspaceSummary) -> String {
    let unknown = || format!("workspace {}", summary.id.short());
    summary.name.as_deref().map_or_else(unknown, page::plain)
}

/// Lists the notes of a workspace, oldest first.
pub(crate) async fn notes(replica: &Replica, workspace: &Workspace) -> Result<Vec<Note>, Failure> {
    let mut notes = Vec::new();
    for summary in workspace.documents().await? {
        let title = replica.document(summary.id).read(|view| view.text(TITLE)).await;
        let title = match title {
            Ok(title) => title.filter(|title| !title.is_empty()).unwrap_or_else(|| "(untitled)".to_owned()),
            Err(error) => format!("(can not be read: {error})"),
        };
        notes.push(Note { id: summary.id, title: page::plain(&title), crdt: summary.crdt });
    }
    Ok(notes)
}

/// Returns the version of each note that can be read, to see later which have changed.
pub(crate) async fn versions(replica: &Replica) -> Result<BTreeMap<DocumentId, Version>, Failure> {
    let mut versions = BTreeMap::new();
    for summary in replica.workspaces().await? {
        for document in replica.workspace(summary.id).documents().await? {
            if let Ok(version) = replica.document(document.id).version().await {
                versions.insert(document.id, version);
            }
        }
    }
    Ok(versions)
}

/// Finds the one note of this title, or whose id or title begins so.
pub(crate) async fn find_note(replica: &Replica, wanted: &str) -> Result<(Document, String), Failure> {
    let mut all = Vec::new();
    for summary in replica.workspaces().await? {
        all.extend(notes(replica, &replica.workspace(summary.id)).await?);
    }
    let by_title = |note: &&Note| note.title == wanted;
    let by_folded_title = |note: &&Note| note.title.to_lowercase() == wanted.to_lowercase();
    let by_id = |note: &&Note| !wanted.is_empty() && note.id.to_string().starts_with(&wanted.to_lowercase());
    let by_beginning =
        |note: &&Note| !wanted.is_empty() && note.title.to_lowercase().starts_with(&wanted.to_lowercase());
    let ways: [&dyn Fn(&&Note) -> bool; 4] = [&by_title, &by_folded_title, &by_id, &by_beginning];
    for way in ways {
        let found: Vec<&Note> = all.iter().filter(way).collect();
        match found.as_slice() {
            [] => {}
            [note] => return Ok((replica.document(note.id), note.title.clone())),
            many => {
                let ids = many.iter().map(|note| note.id.short()).collect();
                return Err(Failure::ManyNotes { wanted: wanted.to_owned(), ids });
            }
        }
    }
    Err(Failure::NoNote { wanted: wanted.to_owned() })
}

/// Finds the workspace of this name; without one the newest, which is made if there is none.
pub(crate) async fn find_workspace(replica: &Replica, wanted: Option<&str>) -> Result<WorkspaceSummary, Failure> {
    let all = replica.workspaces().await?;
    let Some(wanted) = wanted else {
        if let Some(newest) = all.last() {
            return Ok(newest.clone());
        }
        return make_workspace(replica, FIRST_WORKSPACE).await;
    };
    let by_name = |summary: &&WorkspaceSummary| workspace_name(summary) == wanted;
    let by_id = |summary: &&WorkspaceSummary| summary.id.to_string().starts_with(&wanted.to_lowercase());
    let ways: [&dyn Fn(&&WorkspaceSummary) -> bool; 2] = [&by_name, &by_id];
    for way in ways {
        let found: Vec<&WorkspaceSummary> = all.iter().filter(way).collect();
        match found.as_slice() {
            [] => {}
            [summary] => return Ok((*summary).clone()),
            many => {
                let ids = many.iter().map(|summary| summary.id.short()).collect();
                return Err(Failure::ManyWorkspaces { wanted: wanted.to_owned(), ids });
            }
        }
    }
    Err(Failure::NoWorkspace { wanted: wanted.to_owned() })
}

/// Makes a workspace of one's own.
pub(crate) async fn make_workspace(replica: &Replica, name: &str) -> Result<WorkspaceSummary, Failure> {
    let made = replica.create_workspace(name).await?;
    Ok(WorkspaceSummary {
        id: made.id(),
        name: Some(name.to_owned()),
        role: Some(Role::Owner),
        state: WorkspaceState::Member,
    })
}

/// Refuses in words what a role does not allow.
pub(crate) fn require(summary: &WorkspaceSummary, least: Role, action: &'static str) -> Result<(), Failure> {
    match summary.role {
        None => Err(Failure::StillJoining),
        Some(role) if role >= least => Ok(()),
        Some(role) => {
            Err(Failure::NotAllowed { workspace: workspace_name(summary), role: page::role_name(role), action })
        }
    }
}
