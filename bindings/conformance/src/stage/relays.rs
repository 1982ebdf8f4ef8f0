//! Steps about the relay, and what is owed to it.

use std::time::Duration;

use tombolo::{Error, Milestone};

use super::{Stage, number, until};
use crate::fault::Fault;
use crate::relay::Relay;
use crate::scenario::plain;

impl Stage {
    /// Plays a step about a relay; says whether it was one.
    pub(super) async fn of_relays(&mut self, words: &[&str]) -> Result<bool, Fault> {
        match words {
            ["relay"] => {
                let relay = Relay::start(self.program.clone(), self.folder.join("relay")).await?;
                self.name("relay", "relay", relay.address().to_owned())?;
                self.relay = Some(relay);
            }
            ["cut"] => self.relay.as_mut().ok_or_else(no_relay)?.kill().await?,
            ["mend"] => {
                if let Some(relay) = &mut self.relay {
                    relay.start_again().await?;
                }
                for replica in self.replicas.values() {
                    replica.notify_network().await?;
                }
            }
            ["dial", who] => self.replica(who)?.dial(&self.address).await?,
            ["dial-at", who, address] => {
                let address = plain(address)?;
                self.replica(who)?.dial(address.as_str().unwrap_or_default()).await?;
            }
            ["same", name, one, other] => {
                let (one, other) = (self.document(one, name)?, self.document(other, name)?);
                let (mut here, mut there) = (one.subscribe().await?, other.subscribe().await?);
                let happened =
                    async || tokio::select! { event = here.next() => event, event = there.next() => event }.map(drop);
                until(true, async || Ok(one.version().await? == other.version().await?), happened).await?;
            }
            words => return self.of_debts(words).await,
        }
        Ok(true)
    }

    async fn of_debts(&self, words: &[&str]) -> Result<bool, Fault> {
        match words {
            ["settled", who, name] => self.workspace(who, name)?.settled().await?,
            ["owed", who, name] => {
                let debt = self.workspace(who, name)?.sync_debt().await?;
                if debt.is_settled() || debt.documents.is_empty() && debt.records == 0 {
                    return Err(Fault::otherwise(format!("nothing is owed: {debt:?}")));
                }
            }
            ["only", who, name, documents @ ..] => {
                let mut ids = Vec::new();
                for document in documents {
                    ids.push(self.document(who, document)?.id());
                }
                let workspace = self.workspace(who, name)?;
                workspace.sync_only(ids.clone()).await?;
                if workspace.synced_only().await? != Some(ids.into_iter().collect()) {
                    return Err(Fault::otherwise("other documents are asked for".to_owned()));
                }
            }
            ["all", who, name] => self.workspace(who, name)?.sync_all().await?,
            ["durable", who, name] => self.document(who, name)?.wait_for(Milestone::RelayDurable).await?,
            ["pause", who] => self.replica(who)?.pause().await?,
            ["resume", who] => self.replica(who)?.resume().await?,
            ["sync", who, seconds] => {
                let deadline = Duration::from_secs_f64(number(seconds)?);
                self.replica(who)?.sync_once(deadline).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn no_relay() -> Fault {
    Fault::from(Error::NoRelay)
}
