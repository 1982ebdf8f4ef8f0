//! Who may what, at the record's parents.

use std::collections::BTreeSet;

use tombolo_protocol::ids::{RecordId, RelayId, UserId};
use tombolo_protocol::record::{Devices, Join, Policy, RecordBody, Role, Rotation, Standing};

use super::{Fate, Model, View, Who, Word, devices};

type Verdict = Option<Word>;

fn word(user: UserId, role: Option<Role>, needs: Role, rests: Vec<usize>) -> Word {
    Word {
        user,
        rank: role.map_or(0, |role| 4 * role as u8),
        needs: needs as u8,
        rests,
        hits: Vec::new(),
        gives: Vec::new(),
        adds_pins_to: None,
        was_owner: false,
        departs: false,
        nth: 0,
    }
}

/// The author's user and role.
struct Author {
    user: UserId,
    role: Role,
    rests: Vec<usize>,
}

impl Author {
    fn word(&self, needs: Role) -> Verdict {
        (self.role >= needs).then(|| word(self.user, Some(self.role), needs, self.rests.clone()))
    }
}

impl View {
    fn counts_for(&self, named: RelayId, signer: RelayId) -> bool {
        let mut reached = BTreeSet::from([named]);
        loop {
            let next: Vec<RelayId> =
                self.successions.iter().filter(|(old, _)| reached.contains(old)).map(|(_, new)| *new).collect();
            let before = reached.len();
            reached.extend(next);
            if reached.len() == before {
                return reached.contains(&signer);
            }
        }
    }
}

impl Model {
    pub(super) fn judge(&self, at: usize) -> Fate {
        let view = self.eval(self.anc[at]);
        let record = &self.records[at];
        let verdict = match record.body() {
            RecordBody::Genesis(genesis) => {
                let user = UserId::derive(&genesis.root.to_bytes());
                let mut word = word(user, Some(Role::Owner), Role::Owner, vec![]);
                word.gives.push((user, Some(Role::Owner), None));
                (record.author() == genesis.device.id()).then_some(word)
            }
            RecordBody::Join(join) => match self.judge_join(at, &view, join) {
                Ok(verdict) => verdict,
                Err(()) => return Fate::AwaitsAttestation,
            },
            RecordBody::Devices(devices) => self.judge_devices(at, &view, devices),
            _ => self.author(at, &view).and_then(|author| self.judge_act(at, &view, &author)),
        };
        verdict.map_or(Fate::Refused, Fate::Valid)
    }

    /// What else stands against a record that was found valid so far: its epoch, then its level.
    pub(super) fn second_look(&self, at: usize) -> Option<Fate> {
        let Fate::Valid(word) = &self.fates[at] else { return None };
        let (view, record) = (self.eval(self.anc[at]), &self.records[at]);
        match record.body().rotation() {
            Some(rotation) if !self.rotates_well(at, &view, rotation) => Some(Fate::Refused),
            _ if !self.is_seen_at_level(at, &view, word) => Some(Fate::AwaitsAttestation),
            _ => None,
        }
    }

    fn author(&self, at: usize, view: &View) -> Option<Author> {
        let (user, _, active) = view.devices.get(&self.records[at].author())?;
        let role = view.role(user).filter(|_| *active)?;
        Some(Author { user: *user, role, rests: view.deciding.get(user).copied().into_iter().collect() })
    }

    fn judge_act(&self, at: usize, view: &View, author: &Author) -> Verdict {
        match self.records[at].body() {
            RecordBody::Standing(standing) => self.judge_standing(view, author, standing),
            RecordBody::Rotate(_) => author.word(Role::Commenter),
            RecordBody::InviteCreate(invite) => {
                let needs = if invite.role == Role::Admin { Role::Owner } else { Role::Admin };
                let fits = invite.role != Role::Owner && view.epoch == Some(invite.epoch);
                author.word(needs).filter(|_| fits)
            }
            RecordBody::InviteRevoke(revoke) => {
                let invite = view.invites.get(&revoke.invite).filter(|invite| !invite.ended)?;
                let needs = if invite.maker == author.user { Role::Carrier } else { Role::Admin };
                let mut word = author.word(needs).filter(|_| !invite.is_keyed() || revoke.rotation.is_some())?;
                word.hits.push((Who::Invite(revoke.invite), None));
                Some(word)
            }
            RecordBody::Rewrap(rewrap) => {
                let own = |id: &[u8; 32]| {
                    let device =
                        view.devices.iter().any(|(device, (user, ..))| device.as_bytes() == id && *user == author.user);
                    device || author.user.as_bytes() == id
                };
                let all_own = rewrap.wraps.iter().all(|wrap| own(&wrap.recipient));
                let writes = author.role >= Role::Writer;
                let to_members = rewrap.wraps.iter().all(|wrap| view.recipients.contains(&wrap.recipient));
                let fits = view.epochs.contains(&rewrap.epoch) && to_members && (writes || all_own);
                author.word(if writes { Role::Writer } else { Role::Reader }).filter(|_| fits)
            }
            RecordBody::Policy(_) => author.word(Role::Owner),
            RecordBody::OwnerTransfer(to) => {
                let mut word = author.word(Role::Owner)?;
                word.gives = vec![(*to, Some(Role::Owner), None), (author.user, Some(Role::Admin), None)];
                (*to != author.user && view.role(to).is_some()).then_some(word)
            }
            RecordBody::Admit(_) | RecordBody::Exclude(_) | RecordBody::Purge(_) | RecordBody::RelaySuccession(_) => {
                author.word(Role::Admin)
            }
            // The root's signature is looked at by the tests of the evaluator.
            RecordBody::RecoverySet(_) => author.word(Role::Reader),
            _ => None,
        }
    }

    fn judge_standing(&self, view: &View, author: &Author, standing: &Standing) -> Verdict {
        let (subject, after) = (standing.subject, standing.role);
        let before = view.role(&subject);
        let lowers = after < before;
        let needs = if let Some(proof) = &standing.proof {
            let expiry = view.expiries.get(&subject).filter(|_| after.is_none())?;
            let receipt = proof.verify().ok()?;
            let late = receipt.workspace == self.workspace && receipt.time_ms > expiry.expires_ms;
            (late && view.counts_for(expiry.relay, receipt.relay)).then_some(Role::Writer)?
        } else if subject == author.user && lowers {
            Role::Carrier
        } else if after.is_none() && before <= Some(Role::Admin) || after.max(before) <= Some(Role::Writer) {
            Role::Admin
        } else {
            Role::Owner
        };
        let last_owner = before == Some(Role::Owner) && view.owners() == 1 && lowers;
        let mut ended: Vec<RecordId> = Vec::new();
        for (id, invite) in view.invites.iter().filter(|(_, invite)| lowers && !invite.ended) {
            let multiple = invite.create.uses != 1;
            // What one could not offer any more, or could come back by.
            let offers_no_more = match (invite.create.role, after) {
                (_, None) => true,
                (Role::Admin, Some(role)) => role != Role::Owner,
                (_, Some(role)) => !matches!(role, Role::Owner | Role::Admin),
            };
            let came_by = after.is_none() && view.joined.contains(&(subject, *id));
            if came_by || multiple && Some(invite.create.role) > after || invite.maker == subject && offers_no_more {
                ended.push(*id);
            }
        }
        let loses_keys = before >= Some(Role::Reader) && after < Some(Role::Reader);
        let loses_keys =
            loses_keys || before.is_some() && after.is_none() || ended.iter().any(|id| view.invites[id].is_keyed());
        let departs = loses_keys && subject == author.user && after < Some(Role::Reader);
        // Somebody has to begin an epoch, and it can not be who leaves.
        if last_owner || loses_keys && standing.rotation.is_some() == departs {
            return None;
        }
        let mut word = author.word(needs)?;
        word.departs = departs;
        // Over a former owner others have a right only as long as the loss of ownership counts.
        if author.role < Role::Owner && author.user != subject {
            word.rests.extend(view.deciding.get(&subject).filter(|at| self.took_ownership(**at, &subject)));
        }
        if lowers {
            word.hits.push((Who::User(subject), after));
            word.was_owner = before == Some(Role::Owner);
        }
        if before.is_none() && after.is_none() {
            word.adds_pins_to = Some(subject);
            return Some(word);
        }
        word.hits.extend(ended.into_iter().map(|id| (Who::Invite(id), None)));
        word.gives.push((subject, after, standing.expiry.filter(|_| after.is_some())));
        Some(word)
    }

    fn took_ownership(&self, at: usize, from: &UserId) -> bool {
        let word = self.word(at);
        word.was_owner || matches!(self.records[at].body(), RecordBody::OwnerTransfer(_)) && word.user == *from
    }

    fn judge_devices(&self, at: usize, view: &View, said: &Devices) -> Verdict {
        let log = &said.identity;
        if !devices::holds(log) {
            return None;
        }
        let user = log.user();
        let mut all = view.logs.get(&user).cloned().unwrap_or_default();
        all.extend(devices::statements(log));
        let meaning = devices::meaning(&all);
        if meaning.known.iter().any(|device| view.devices.get(device).is_some_and(|(owner, ..)| *owner != user)) {
            return None;
        }
        let role = view.role(&user)?;
        let author = if meaning.active.contains(&self.records[at].author()) {
            Author { user, role, rests: view.deciding.get(&user).copied().into_iter().collect() }
        } else {
            self.author(at, view)?
        };
        let active_before = |device: &&_| view.devices.get(*device).is_some_and(|(.., active)| *active);
        let revoked: Vec<_> = meaning.known.difference(&meaning.active).filter(active_before).copied().collect();
        let own_reader = author.user == user && role >= Role::Reader && !revoked.is_empty();
        let may_rotate = author.role >= Role::Commenter || own_reader;
        let loses_keys = !revoked.is_empty() && role >= Role::Reader;
        let departs = loses_keys && revoked.contains(&self.records[at].author());
        if said.rotation.is_some() && !may_rotate || loses_keys && said.rotation.is_some() == departs {
            return None;
        }
        let mut word = author.word(Role::Carrier)?;
        word.departs = departs;
        if !revoked.is_empty() {
            word.rank += if revoked.iter().all(|device| meaning.revoked_by_root.contains(device)) { 2 } else { 1 };
        }
        word.hits = revoked.into_iter().map(|device| (Who::Device(device), None)).collect();
        Some(word)
    }

    /// `Err` while no relay that counts has attested.
    fn judge_join(&self, at: usize, view: &View, join: &Join) -> Result<Verdict, ()> {
        let Some(invite) = view.invites.get(&join.invite).filter(|invite| !invite.ended) else { return Ok(None) };
        let author = self.records[at].author();
        let user = join.identity.user();
        let meaning = devices::meaning(&devices::statements(&join.identity));
        let foreign = meaning.known.iter().any(|device| view.devices.get(device).is_some_and(|(of, ..)| *of != user));
        let given_up = view.devices.get(&author).is_some_and(|(_, certified, active)| *certified && !active);
        if join.verify(&invite.create.sign_public).is_err()
            || !devices::holds(&join.identity)
            || !meaning.active.contains(&author)
            || foreign
            || given_up
        {
            return Ok(None);
        }
        let id = self.records[at].id();
        let counting = self.words.values().filter(|said| said.subject == id);
        let counting: Vec<_> = counting.filter(|said| view.counts_for(invite.create.relay, said.relay)).collect();
        let within = counting.iter().filter(|said| {
            let create = &invite.create;
            let in_time = create.expires_ms == 0 || said.time_ms <= create.expires_ms;
            said.nth > 0 && in_time && (create.uses == 0 || said.nth <= create.uses)
        });
        let Some(nth) = within.map(|said| said.nth).min() else {
            return if counting.is_empty() { Err(()) } else { Ok(None) };
        };
        let mut word = word(user, None, Role::Carrier, vec![self.at[&join.invite]]);
        word.nth = nth;
        if view.role(&user) < Some(invite.create.role) {
            word.gives.push((user, Some(invite.create.role), None));
        }
        Ok(Some(word))
    }

    fn rotates_well(&self, at: usize, view: &View, rotation: &Rotation) -> bool {
        let named: BTreeSet<_> = rotation.previous.iter().map(|previous| previous.epoch).collect();
        if view.epochs.contains(&rotation.epoch) || !view.to_follow.is_subset(&named) {
            return false;
        }
        if view.to_follow.is_empty() && !named.is_empty() {
            return false;
        }
        // As if the record counted: nothing is concurrent with it.
        let after = self.effects(self.below_and(at), view.void, view.forced);
        after.recipients == rotation.wraps.iter().map(|wrap| wrap.recipient).collect()
    }

    fn is_seen_at_level(&self, at: usize, view: &View, word: &Word) -> bool {
        let Some(policy) = &view.policy else { return true };
        let level = level_needed(self.records[at].body(), policy, word);
        let id = self.records[at].id();
        level <= 1
            || self.words.values().any(|said| {
                let counts = |named: &RelayId| view.counts_for(*named, said.relay);
                said.subject == id && said.level >= level && policy.relays.iter().any(counts)
            })
    }
}

fn level_needed(body: &RecordBody, policy: &Policy, word: &Word) -> u8 {
    match body {
        RecordBody::Standing(standing) if standing.role.is_none() && standing.subject == word.user => 0,
        RecordBody::Standing(_)
        | RecordBody::Devices(_)
        | RecordBody::InviteRevoke(_)
        | RecordBody::OwnerTransfer(_)
        | RecordBody::Policy(_) => policy.levels.membership,
        RecordBody::InviteCreate(_) => policy.levels.invite,
        _ => 0,
    }
}
