//! How members come, change and go, while everything else goes on.
//!
//! Invariant: the founder states what is stated about members; what somebody wrote that the founder did not hold
//! when it was stated may never count, and is excused.

use std::time::Duration;

use tombolo::protocol::ids::UserId;
use tombolo::protocol::record::Role;
use tombolo::{ActOutcome, InviteTerms, LinkWay, MembershipAct};

use super::fault::Fault;
use super::script::Planned;
use super::stage::{Standing, User, World};
use crate::invariant::Violation;

/// Most devices of one history.
const ACTORS_MAX: usize = 11;

impl World {
    pub(super) fn change_people(&mut self, planned: &Planned, fault: Fault) -> Result<bool, Violation> {
        if !self.is_up(0) {
            return Ok(false);
        }
        Ok(match fault {
            Fault::Join => self.let_join(planned),
            Fault::RoleChange => self.change_role(planned),
            Fault::Removal => self.remove(planned),
            Fault::Link => self.link(planned),
            Fault::Revoke => self.revoke(planned),
            _ => self.rotate(),
        })
    }

    fn let_join(&mut self, planned: &Planned) -> bool {
        if self.actors.len() >= ACTORS_MAX {
            return false;
        }
        let workspace = self.net.workspace();
        let terms = InviteTerms { role: Role::Writer, expires_ms: None, uses: Some(1) };
        let founder = self.actors[0].replica;
        let made = self.net.act(founder, |engine, now, tx| engine.invite(now, &workspace, terms, tx));
        let Ok(Some(link)) = made else { return false };
        self.users.push(User { role: Role::Writer, troubled: false });
        let guest = self.enter(self.users.len() - 1, Standing::Guest);
        self.actors[guest].replica.take_invite(&mut self.net, link);
        if planned.how.is_multiple_of(4) {
            self.actors[guest].replica.kill(&mut self.net);
        }
        true
    }

    /// Returns the users but the founder who still are members.
    fn others(&self) -> Vec<usize> {
        let of =
            |user: &usize| self.actors.iter().any(|actor| actor.user == *user && actor.standing == Standing::Member);
        (1..self.users.len()).filter(of).collect()
    }

    /// Finds a user's id, as the founder knows it.
    fn user_id(&mut self, user: usize) -> Option<UserId> {
        let devices: Vec<_> = self.actors.iter().filter(|actor| actor.user == user).map(|actor| actor.device).collect();
        let members = self.members()?;
        members.into_iter().find(|(_, _, known)| known.iter().any(|device| devices.contains(device))).map(|(id, ..)| id)
    }

    /// States something about members; tells whether it stands, or will.
    fn state(&mut self, act: MembershipAct) -> bool {
        let workspace = self.net.workspace();
        let founder = self.actors[0].replica;
        let outcome = self.net.act(founder, move |engine, now, tx| engine.act(now, &workspace, act, tx));
        match outcome {
            Ok(Some(ActOutcome::Intended)) => {
                self.census.saw("an act waited for a session");
                true
            }
            Ok(Some(_)) => true,
            // It died in it: what was to be stated may stand or not.
            Ok(None) => true,
            Err(_) => false,
        }
    }

    fn change_role(&mut self, planned: &Planned) -> bool {
        let Some(user) = Self::pick(&self.others(), planned.who) else { return false };
        let Some(id) = self.user_id(user) else { return false };
        let role = [Role::Reader, Role::Writer, Role::Carrier, Role::Admin, Role::Writer][(planned.how % 5) as usize];
        self.doubt(user);
        if self.state(MembershipAct::SetRole { user: id, role, expires_ms: None }) {
            self.users[user].role = role;
        }
        true
    }

    fn remove(&mut self, planned: &Planned) -> bool {
        let others = self.others();
        let Some(user) = Self::pick(&others, planned.who).filter(|_| others.len() > 1) else { return false };
        let Some(id) = self.user_id(user) else { return false };
        self.doubt(user);
        if !self.state(MembershipAct::Remove { user: id }) {
            return false;
        }
        for actor in self.actors.iter_mut().filter(|actor| actor.user == user && actor.standing == Standing::Member) {
            actor.standing = Standing::Removed;
        }
        self.census.saw("a member was removed");
        true
    }

    /// What a user has written may be missing from now on, but what the founder holds.
    fn doubt(&mut self, user: usize) {
        self.users[user].troubled = true;
        for actor in 0..self.actors.len() {
            if self.actors[actor].user == user {
                self.excuse_unless_held(actor, &[0], false);
            }
        }
    }

    fn link(&mut self, planned: &Planned) -> bool {
        let Some(old) = Self::pick(&self.present(), planned.who).filter(|_| self.actors.len() < ACTORS_MAX) else {
            return false;
        };
        let user = self.actors[old].user;
        let new = self.enter(user, Standing::Guest);
        self.actors[new].linker = Some(old);
        let (old, new) = (self.actors[old].replica, self.actors[new].replica);
        let way = if planned.how.is_multiple_of(2) { LinkWay::Scan } else { LinkWay::Code };
        let text = new.ask_to_be_linked(&mut self.net, way);
        self.net.run_for(Duration::from_secs(1 + planned.how % 3));
        if old.take_up(&mut self.net, &text).is_err() {
            return false;
        }
        self.net.run_for(Duration::from_secs(3));
        let Some(digits) = new.digits(&self.net) else { return false };
        let confirmed = old.confirm(&mut self.net, &digits.to_string()).is_ok();
        self.net.run_for(Duration::from_secs(5));
        confirmed
    }

    fn revoke(&mut self, planned: &Planned) -> bool {
        let present = self.present();
        let pairs: Vec<(usize, usize)> = present
            .iter()
            .filter(|by| **by != self.unlucky)
            .flat_map(|by| self.those(Standing::Member).into_iter().map(move |lost| (*by, lost)))
            .filter(|(by, lost)| by != lost && *lost > 0 && self.actors[*by].user == self.actors[*lost].user)
            .collect();
        let Some((by, lost)) = Self::pick(&pairs, planned.who) else { return false };
        self.excuse_unless_held(lost, &[0, by], false);
        let (replica, device) = (self.actors[by].replica, self.actors[lost].device);
        let done = self.net.act(replica, move |engine, _, tx| engine.revoke_device(&device, tx));
        if done.is_err() {
            return false;
        }
        self.actors[lost].standing = Standing::Revoked;
        self.census.saw("a device was given up");
        self.void_linked(by, lost);
        true
    }

    /// What a device linked is out with it, where the one that gave it up had not heard of the link.
    fn void_linked(&mut self, by: usize, lost: usize) {
        // A device that is linked has an id of its own from then on.
        self.hear();
        let replica = self.actors[by].replica;
        let Ok(Some(known)) = self.net.act(replica, |engine, _, _| Ok(engine.devices())) else { return };
        let mut open = vec![lost];
        while let Some(linker) = open.pop() {
            for at in 0..self.actors.len() {
                let actor = &self.actors[at];
                let in_time = known.iter().any(|device| device.id == actor.device && !device.revoked);
                if actor.linker != Some(linker) || in_time || actor.standing == Standing::Gone {
                    continue;
                }
                self.excuse_unless_held(at, &[0, by], false);
                self.actors[at].standing = Standing::Revoked;
                open.push(at);
            }
        }
    }

    fn rotate(&mut self) -> bool {
        let workspace = self.net.workspace();
        let founder = self.actors[0].replica;
        let terms = InviteTerms { role: Role::Reader, expires_ms: None, uses: Some(1) };
        let made = self.net.act(founder, |engine, now, tx| engine.invite(now, &workspace, terms, tx));
        let Ok(Some(link)) = made else { return false };
        self.net.run_for(Duration::from_secs(1));
        self.is_up(0) && self.state(MembershipAct::RevokeInvite { invite: link.invite })
    }
}
