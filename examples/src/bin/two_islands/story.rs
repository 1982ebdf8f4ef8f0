//! The story itself, section by section: met online, written apart, merged, searched, lost and healed.
//!
//! Invariant: each claim is checked before it is printed, and every wait has an end.

mod healing;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tombolo::document::Crdt;
use tombolo::engine::Origin;
use tombolo::protocol::ids::{DocumentId, WorkspaceId};
use tombolo::protocol::record::Role;
use tombolo::{DocumentEvent, DocumentEvents};

use crate::failure::{Failure, check, within};
use crate::island::{CRDTS, Island, Survey, Typed, reason};
use crate::page::{Page, bytes, time};
use crate::relay::Relay;
use crate::search::{needles, plant, search};

const WORKSPACE: &str = "Skerry tide survey";
const TITLE: &str = "reef diary";
const BODY: &str = "Low tide at six.";
const FIRST_SIGHTING: &str = "grey seal asleep";
const ALICE: Typed = Typed {
    title_before: "Northern ",
    body_before: "Monday, first light. ",
    body_after: "",
    sighting: "two oystercatchers",
    seals: 3,
};
const BOB: Typed = Typed {
    title_before: "",
    body_before: "",
    body_after: " Wind from the west \u{1f30a}",
    sighting: "a drifting buoy",
    seals: 2,
};
const MERGED_TITLE: &str = "Northern reef diary";
const MERGED_BODY: &str = "Monday, first light. Low tide at six. Wind from the west \u{1f30a}";
const MERGED_SEALS: i64 = 6;
/// What is written while the relay is gone.
const LAST_WORDS: [&str; 2] = [" Alice: no relay today.", " Bob: none here either."];
/// What nobody but the islands may be able to read.
const SECRETS: [&str; 10] = [
    WORKSPACE,
    TITLE,
    BODY,
    FIRST_SIGHTING,
    "first light",
    "oystercatchers",
    "from the west",
    "drifting buoy",
    "no relay today",
    "none here either",
];
/// Live edits, half of them in each CRDT and half of them by each island.
const LIVE_EDITS: usize = 60;

/// All that the sections share.
struct Story {
    page: Page,
    folder: PathBuf,
    alice: Island,
    bob: Island,
    workspace: WorkspaceId,
    documents: [DocumentId; 2],
    spare_link: String,
}

/// Tells the story.
pub(crate) async fn tell() -> Result<(), Failure> {
    let began = Instant::now();
    let folder = tempfile::Builder::new().prefix("two-islands-").tempdir().map_err(Failure::io("make a folder"))?;
    let page = Page::begin(
        "Two islands",
        "Alice and Bob write in the same documents with no network at all.\n\
         What joins them is a relay that can read nothing, and that may be lost.",
    )?;
    let (mut story, relay) = Story::meet(page, folder.path()).await?;
    story.write_apart().await?;
    story.merge(&relay).await?;
    story.live().await?;
    story.search(&relay).await?;
    story.lose_and_heal(relay).await?;
    story.page.line("took", format_args!("{:.1} s", began.elapsed().as_secs_f64()))?;
    story.page.end("two islands: converged")
}

impl Story {
    /// Both are online once, so that Bob can become a member.
    async fn meet(mut page: Page, folder: &Path) -> Result<(Self, Relay), Failure> {
        page.section("They meet")?;
        let relay = Relay::start(&folder.join("relay")).await?;
        page.line("relay", format_args!("{}, another process with an empty folder", relay.address()))?;
        let alice = Island::open(folder, "alice").await?;
        let bob = Island::open(folder, "bob").await?;
        let workspace = within("found a workspace", alice.replica.create_workspace(WORKSPACE)).await?;
        page.line("Alice", format_args!("founds “{WORKSPACE}”, and only then dials the relay"))?;
        within("dial the relay", alice.replica.dial(relay.address())).await?;
        alice.settled(workspace.id()).await?;
        let documents = [found_document(&workspace, CRDTS[0].0).await?, found_document(&workspace, CRDTS[1].0).await?];
        alice.receipts(&documents).await?;
        let link = within("invite Bob", workspace.invite(Role::Writer).create()).await?.to_string();
        let spare = within("invite Carol", workspace.invite(Role::Writer).create()).await?.to_string();
        page.line("", "invites Bob, and keeps another link for Carol; each is good for one use")?;
        alice.settled(workspace.id()).await?;
        let (theirs, took) = bob.join(&link).await?;
        bob.settled(theirs.id()).await?;
        check("Bob learns the workspace's name", theirs.name().await.ok().flatten().as_deref() == Some(WORKSPACE))?;
        page.line("Bob", format_args!("another user: a member {} after opening his link", time(took)))?;
        let workspace = workspace.id();
        let story = Self { page, folder: folder.to_owned(), alice, bob, workspace, documents, spare_link: spare };
        for (document, (_, name)) in story.documents.into_iter().zip(CRDTS) {
            let survey = story.equal(document).await?;
            story.page.line(name, format_args!("“{}”, “{}”, on both islands", survey.title, survey.body))?;
        }
        Ok((story, relay))
    }

    /// Neither reaches anything, and both go on.
    async fn write_apart(&mut self) -> Result<(), Failure> {
        self.page.section("High tide: both are cut off, and both write")?;
        self.alice.cut_off().await?;
        self.bob.cut_off().await?;
        for (name, island, typed) in [("Alice", &self.alice, &ALICE), ("Bob", &self.bob, &BOB)] {
            let (mut edits, began) = (0, Instant::now());
            for document in self.documents {
                edits += island.write(document, typed).await?;
            }
            let took = began.elapsed();
            let survey = island.survey(self.documents[0]).await?;
            self.page.line(name, format_args!("title  {}", survey.title))?;
            self.page.line("", format_args!("body   {}", survey.body))?;
            self.page.line("", format_args!("seen   {}", survey.sightings.join(", ")))?;
            self.page.line("", format_args!("seals  {}", survey.seals))?;
            let each = took / u32::try_from(edits).unwrap_or(u32::MAX);
            self.page.line("", format_args!("{edits} edits in two CRDTs, each on disk in {} (mean)", time(each)))?;
            let owed = island.owes(self.workspace).await?;
            let owed = owed.ok_or(Failure::Untrue("what was written offline is owed"))?;
            check("all edits are owed", owed.documents == 2 && owed.changes > 0)?;
            let (documents, why) = (owed.documents, reason(owed.reason));
            self.page.line("", format_args!("owes {} changes in {documents} documents: {why}", owed.changes))?;
        }
        Ok(())
    }

    /// The tide falls.
    async fn merge(&mut self, relay: &Relay) -> Result<(), Failure> {
        self.page.section("Low tide: the relay is reached")?;
        let before = relay.counted().await?;
        let began = Instant::now();
        self.alice.reconnect().await?;
        self.bob.reconnect().await?;
        for (name, island) in [("Alice", &self.alice), ("Bob", &self.bob)] {
            island.receipts(&self.documents).await?;
            let took = time(began.elapsed());
            self.page.line(name, format_args!("the relay signed that it keeps all of it, after {took}"))?;
        }
        self.alice.settled(self.workspace).await?;
        self.bob.settled(self.workspace).await?;
        let mut merged = Vec::new();
        for (document, (_, name)) in self.documents.into_iter().zip(CRDTS) {
            merged.push((name, self.agree(document, |survey| survey.seals == MERGED_SEALS).await?));
        }
        let took = began.elapsed();
        for island in [&self.alice, &self.bob] {
            check("nothing is owed any more", island.owes(self.workspace).await?.is_none())?;
        }
        self.page.line("both", format_args!("owe nothing, and read the same, after {}", time(took)))?;
        let after = relay.counted().await?;
        let (received, sent) = (after.received - before.received, after.sent - before.sent);
        self.page.line("moved", format_args!("{} to the relay, {} from it", bytes(received), bytes(sent)))?;
        for (name, survey) in merged {
            check_merged(&survey)?;
            self.page.line(name, format_args!("title  {}", survey.title))?;
            self.page.line("", format_args!("body   {}", survey.body))?;
            self.page.line("", format_args!("seen   {}", survey.sightings.join(", ")))?;
            self.page.line("", format_args!("seals  {}", survey.seals))?;
        }
        Ok(())
    }

    /// Both are online: how long until the other sees an edit?
    async fn live(&mut self) -> Result<(), Failure> {
        self.page.section("Live: from an edit here to the other island (all on this machine)")?;
        let islands = [&self.alice, &self.bob];
        for (document, (_, name)) in self.documents.into_iter().zip(CRDTS) {
            let mut times = Vec::new();
            for (writer, reader) in [(0, 1), (1, 0)] {
                let watched = islands[reader].replica.document(document);
                let mut events = within("watch a document", watched.subscribe()).await?;
                let written = islands[writer].replica.document(document);
                for _ in 0..LIVE_EDITS / 4 {
                    let began = Instant::now();
                    let edit = written.edit(|e| e.counter("seals")?.increment(1));
                    within("edit", edit).await?;
                    within("see the other's edit", from_elsewhere(&mut events)).await?;
                    times.push(began.elapsed());
                }
            }
            times.sort();
            let (median, max) = (at(&times, times.len() / 2), at(&times, times.len() - 1));
            let count = times.len();
            self.page.line(name, format_args!("{count} edits: median {}, longest {}", time(median), time(max)))?;
        }
        for document in self.documents {
            let expected = MERGED_SEALS + i64::try_from(LIVE_EDITS / 2).unwrap_or_default();
            check("no live edit was lost or counted twice", self.equal(document).await?.seals == expected)?;
        }
        self.page.line("", "each: on disk here, sealed, on disk at the relay, opened, merged, shown")
    }

    /// The relay has it all, and knows nothing.
    async fn search(&mut self, relay: &Relay) -> Result<(), Failure> {
        self.page.section("What the relay knows")?;
        let counted = relay.counted().await?;
        self.page.line("it keeps", format_args!("{} sealed entries and signed records", counted.items))?;
        self.look(&self.folder.join("relay"))?;
        let plain = self.folder.join("plain");
        std::fs::create_dir(&plain).map_err(Failure::io("make a folder"))?;
        let needles = needles(&SECRETS);
        plant(&plain.join("notes"), &needles)?;
        let found = search(&plain, &needles)?;
        check("the search finds what is there", found.needles == needles.len())?;
        let count = needles.len();
        self.page.line("control", format_args!("the same search of a plain file with them in it: {count} of {count}"))
    }

    /// Searches the relay's files.
    fn look(&self, folder: &Path) -> Result<(), Failure> {
        let needles = needles(&SECRETS);
        let found = search(folder, &needles)?;
        check("the relay has files to search", found.files > 0 && found.bytes > 0)?;
        check("none of the text, the titles or the workspace's name is in the relay's files", found.needles == 0)?;
        let (files, size) = (found.files, bytes(found.bytes));
        self.page
            .line("searched", format_args!("its {files} files ({size}) for {} phrases: 0 found", SECRETS.len()))?;
        self.page.line("", format_args!("as text, UTF-16, hex and base64: {} forms in all", needles.len()))
    }

    /// Waits until both islands read a document the same, with all that it should hold.
    async fn agree(&self, document: DocumentId, whole: impl Fn(&Survey) -> bool) -> Result<Survey, Failure> {
        let (hers, his) = (self.alice.replica.document(document), self.bob.replica.document(document));
        let mut alice_sees = within("watch a document", hers.subscribe()).await?;
        let mut bob_sees = within("watch a document", his.subscribe()).await?;
        let agreed = async {
            loop {
                let (hers, his) = (self.alice.survey(document).await?, self.bob.survey(document).await?);
                if hers == his && whole(&hers) {
                    return Ok::<_, Failure>(hers);
                }
                let told = tokio::select! {
                    told = alice_sees.next() => told,
                    told = bob_sees.next() => told,
                };
                check("a watched document tells of its changes", told.is_some())?;
            }
        };
        within("read the same on both islands", agreed).await
    }

    /// Reads a document on both islands, and checks that it is the same.
    async fn equal(&self, document: DocumentId) -> Result<Survey, Failure> {
        let (hers, his) = (self.alice.survey(document).await?, self.bob.survey(document).await?);
        check("both islands read the same", hers == his)?;
        Ok(hers)
    }
}

async fn found_document(workspace: &tombolo::Workspace, crdt: Crdt) -> Result<DocumentId, Failure> {
    let document = within("create a document", workspace.create_document(crdt)).await?;
    let edit = document.edit(|e| {
        e.text("title")?.push_str(TITLE)?;
        e.text("body")?.push_str(BODY)?;
        e.list("sightings")?.push(FIRST_SIGHTING)?;
        e.counter("seals")?.increment(1)
    });
    within("write the first words", edit).await?;
    Ok(document.id())
}

fn check_merged(survey: &Survey) -> Result<(), Failure> {
    check("the titles merge", survey.title == MERGED_TITLE)?;
    check("the bodies merge", survey.body == MERGED_BODY)?;
    let all = [FIRST_SIGHTING, ALICE.sighting, BOB.sighting];
    let each = all.iter().all(|sighting| survey.sightings.iter().any(|seen| seen == sighting));
    check("the lists merge", each && survey.sightings.len() == all.len())?;
    check("the counters add up", survey.seals == MERGED_SEALS)
}

/// Waits for a change by another device.
async fn from_elsewhere(events: &mut DocumentEvents) -> Result<(), Failure> {
    loop {
        match events.next().await {
            Some(DocumentEvent::Changed { origin: Origin::Remote, .. }) => return Ok(()),
            Some(_) => {}
            None => return Err(Failure::Untrue("a watched document tells of its changes")),
        }
    }
}

fn at(times: &[Duration], index: usize) -> Duration {
    times.get(index).copied().unwrap_or_default()
}
