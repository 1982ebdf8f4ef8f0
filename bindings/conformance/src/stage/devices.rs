//! Steps about devices, and the kit that survives the loss of all of them.

use tombolo::crypto::RecoveryKit;
use tombolo::{LinkWay, Replica};

use super::{Stage, number, until};
use crate::fault::Fault;

impl Stage {
    /// Plays a step about devices; says whether it was one.
    pub(super) async fn of_devices(&mut self, words: &[&str]) -> Result<bool, Fault> {
        match words {
            ["link", new, old] => self.link(new, old).await?,
            ["devices", who, count] => {
                let replica = self.replica(who)?;
                let there = async || Ok(replica.devices().await?.iter().filter(|device| !device.revoked).count());
                let mut events = replica.events();
                until(number(count)?, there, async || events.next().await.map(drop)).await?;
            }
            ["revoke", who, whom] => {
                let (device, _) = self.replica(whom)?.identity().await?;
                self.replica(who)?.revoke_device(device).await?;
            }
            ["kit", who] => {
                let made = self.replica(who)?.recovery_kit().await?;
                let read = || RecoveryKit::from_words(&made.kit().words());
                self.replica(who)?.confirm_kit(read()?).await?;
                self.kit = Some(read()?);
            }
            ["recover", who] => {
                let kit = self.kit.take().ok_or_else(|| Fault::otherwise("there is no kit"))?;
                let replica = Replica::recover(kit, self.store(who)).await?;
                self.replicas.insert((*who).to_owned(), replica);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn link(&self, new: &str, old: &str) -> Result<(), Fault> {
        let mut request = self.replica(new)?.request_link(&self.address, LinkWay::Scan).await?;
        let mut approval = self.replica(old)?.approve_link(request.text()).await?;
        let digits = request.digits().await?;
        approval.asked().await?;
        approval.confirm(&digits.to_string()).await?;
        let (_, user) = self.replica(old)?.identity().await?;
        if request.linked().await? != user {
            return Err(Fault::otherwise(format!("{new} is a device of somebody else")));
        }
        Ok(())
    }
}
