//! The relay is lost with all it kept, and the islands give it back.
//!
//! Invariant: the new relay starts with an empty folder at the old address, and nobody is told but by it.

use std::time::Instant;

use super::{LAST_WORDS, Story};
use crate::failure::{Failure, check, within};
use crate::island::{CRDTS, Island, replaced};
use crate::page::time;
use crate::relay::Relay;

impl Story {
    /// Kills the relay, wipes its folder, starts another in its place, and lets Carol in.
    pub(super) async fn lose_and_heal(&mut self, relay: Relay) -> Result<(), Failure> {
        self.page.section("The relay is lost")?;
        let (address, folder) = (relay.address().to_owned(), self.folder.join("relay"));
        let mut hers = self.alice.replica.events();
        let mut his = self.bob.replica.events();
        self.alice.receipts(&self.documents).await?;
        relay.kill().await?;
        std::fs::remove_dir_all(&folder).map_err(Failure::io("wipe the relay's folder"))?;
        self.page.line("relay", "kill -9 right after a receipt; its folder is wiped")?;
        for (island, words) in [&self.alice, &self.bob].into_iter().zip(LAST_WORDS) {
            for document in self.documents {
                let document = island.replica.document(document);
                within("write without a relay", document.edit(move |e| e.text("body")?.push_str(words))).await?;
            }
        }
        self.page.line("both", "go on writing")?;
        let relay = Relay::start_again(&folder, &address).await?;
        let began = Instant::now();
        self.page.line("relay", "a new one at the same address: empty, and with another key")?;
        for (name, events) in [("Alice", &mut hers), ("Bob", &mut his)] {
            let (old, new) = replaced(events).await?;
            self.page.line(name, format_args!("notices: the relay was {}, and is {}", old.short(), new.short()))?;
        }
        self.settle_after_loss(began).await?;
        let counted = relay.counted().await?;
        self.page.line("", format_args!("the new relay was given {} entries and records", counted.items))?;
        self.carol().await?;
        self.look(&folder)?;
        for island in [&self.alice, &self.bob] {
            within("close a store", island.replica.close()).await?;
        }
        relay.kill().await
    }

    async fn settle_after_loss(&self, began: Instant) -> Result<(), Failure> {
        for island in [&self.alice, &self.bob] {
            island.receipts(&self.documents).await?;
            island.settled(self.workspace).await?;
        }
        // Each may have settled before the other's last words came.
        for island in [&self.alice, &self.bob] {
            island.settled(self.workspace).await?;
            check("nothing is owed to the new relay", island.owes(self.workspace).await?.is_none())?;
        }
        for document in self.documents {
            self.agree(document, |survey| LAST_WORDS.iter().all(|words| survey.body.contains(words))).await?;
        }
        self.page.line("both", format_args!("owe nothing again, and read the same, after {}", time(began.elapsed())))
    }

    /// A third user comes, with a link that is older than the relay.
    async fn carol(&mut self) -> Result<(), Failure> {
        self.page.section("Carol comes late, with the link from before the loss")?;
        let carol = Island::open(&self.folder, "carol").await?;
        let (workspace, took) = carol.join(&self.spare_link).await?;
        self.page.line("Carol", format_args!("a third user: a member after {}", time(took)))?;
        carol.settled(workspace.id()).await?;
        for (document, (_, name)) in self.documents.into_iter().zip(CRDTS) {
            let survey = carol.survey(document).await?;
            check("Carol reads what Alice and Bob read", survey == self.equal(document).await?)?;
            self.page.line(name, &survey.body)?;
        }
        within("close a store", carol.replica.close()).await
    }
}
