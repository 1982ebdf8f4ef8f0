//! Steps about members: invites, roles, removals.

use tombolo::protocol::record::Role;

use super::{Stage, number, until};
use crate::fault::Fault;
use crate::scenario::plain;

impl Stage {
    /// Plays a step about members; says whether it was one.
    pub(super) async fn of_people(&mut self, words: &[&str]) -> Result<bool, Fault> {
        match words {
            ["invite", who, name, role] => {
                let invite = self.workspace(who, name)?.invite(role_of(role)?).create().await?;
                self.name("invite", name, invite.to_string())?;
            }
            ["accept", who, invite] => {
                let invite = plain(invite)?;
                self.replica(who)?.join(invite.as_str().unwrap_or_default()).await?;
            }
            ["join", who, name] => {
                let invite = self.invites.get(*name).ok_or_else(|| Fault::otherwise("there is no invite"))?;
                self.replica(who)?.join(invite).await?.ready().await?;
            }
            ["has", who, name] => self.has(who, name).await?,
            ["role", who, name, whom, role] => {
                let (_, user) = self.replica(whom)?.identity().await?;
                self.workspace(who, name)?.set_role(user, role_of(role)?).await?;
            }
            ["remove", who, name, whom] => {
                let (_, user) = self.replica(whom)?.identity().await?;
                self.workspace(who, name)?.remove_member(user).await?;
            }
            ["members", who, name, count] => {
                let workspace = self.workspace(who, name)?;
                let mut events = self.replica(who)?.events();
                let happened = async || events.next().await.map(drop);
                until(number(count)?, async || Ok(workspace.members().await?.len()), happened).await?;
            }
            ["becomes", who, name, role] => self.becomes(who, name, role).await?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn becomes(&self, who: &str, name: &str, role: &str) -> Result<(), Fault> {
        let wanted = if role == "none" { None } else { Some(role_of(role)?) };
        let (replica, id) = (self.replica(who)?, self.workspace(who, name)?.id());
        let held = async || {
            let held = replica.workspaces().await?.into_iter().find(|held| held.id == id);
            Ok(held.and_then(|held| held.role))
        };
        let mut events = replica.events();
        until(wanted, held, async || events.next().await.map(drop)).await
    }

    async fn has(&self, who: &str, name: &str) -> Result<(), Fault> {
        let (replica, id) = (self.replica(who)?, self.document(who, name)?.id());
        let listed = async || {
            for held in replica.workspaces().await? {
                if replica.workspace(held.id).documents().await?.iter().any(|found| found.id == id) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let mut events = replica.events();
        until(true, listed, async || events.next().await.map(drop)).await
    }
}

fn role_of(name: &str) -> Result<Role, Fault> {
    Ok(match name {
        "carrier" => Role::Carrier,
        "reader" => Role::Reader,
        "commenter" => Role::Commenter,
        "writer" => Role::Writer,
        "admin" => Role::Admin,
        "owner" => Role::Owner,
        _ => return Err(Fault::otherwise(format!("there is no {name}"))),
    })
}
