//! How a member who means harm attacks: with the help of a relay that puts what it is given past its own judge.
//!
//! Invariant: each attack is noted by its hash, so that what became of it can be asked of every device.

use tombolo::SetAsideReason;
use tombolo::document::Crdt;

use super::fault::Fault;
use super::script::Planned;
use super::stage::World;
use crate::rogue::Rogue;
use crate::station::RelayNode;

/// Decodes and applies, then every later encode of the document panics in yrs 0.28.1.
const YRS_POISON: [u8; 20] = [1, 2, 1, 0, 0xf2, 0x47, 1, 2, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0x18, 1, 1];
/// No automerge change, though it begins like one.
const AUTOMERGE_POISON: [u8; 20] = [0x85, 0x6f, 0x4a, 0x83, 3, 3, 3, 3, 1, 9, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3];

impl World {
    /// Lets the rogue attack, if the first relay stands and still knows it.
    pub(super) fn harm(&mut self, planned: &Planned, fault: Fault) -> bool {
        let relay = RelayNode::FIRST;
        let known = self.net.durable_chains(relay).is_some_and(|chains| !chains.is_empty());
        let Some(mut harm) = self.harm.take().filter(|_| known) else { return false };
        let done = self.attack(planned, fault, &mut harm.rogue);
        self.harm = Some(harm);
        done
    }

    fn attack(&mut self, planned: &Planned, fault: Fault, rogue: &mut Rogue) -> bool {
        let relay = RelayNode::FIRST;
        let membership = self.net.membership(relay);
        let (Some(head), Some(epoch)) = (membership.head(), membership.view().epoch()) else { return false };
        if membership.view().role_of_device(&rogue.device()).is_none() {
            return false;
        }
        rogue.stand_on(head);
        if fault != Fault::OldEpoch {
            rogue.learn_epochs(&membership);
        }
        if (rogue.keys().epoch() == epoch) == (fault == Fault::OldEpoch) {
            return false;
        }
        let numbers: Vec<usize> = (0..self.documents.len()).collect();
        let Some(document) = Self::pick(&numbers, planned.how) else { return false };
        let id = self.documents[document];
        // Nobody knows the name of a document before its first entry.
        let tag = rogue.tag(&id);
        if !self.net.entries(relay).iter().any(|entry| entry.header().chain.document == tag) {
            return false;
        }
        let crdt = if planned.how.is_multiple_of(2) { Crdt::Automerge } else { Crdt::Yrs };
        let draft = rogue.draft(id);
        let mut entries = Vec::new();
        for nth in 0..=usize::from(fault == Fault::Fork) {
            let poison = if crdt == Crdt::Yrs { YRS_POISON } else { AUTOMERGE_POISON };
            let body = Rogue::body(crdt.as_u8(), &vec![poison.to_vec(); 1 + nth]);
            entries.push(rogue.seal_draft(draft.clone(), &body));
        }
        for entry in &entries {
            self.net.plant_entry(relay, entry);
            let reason = (fault == Fault::OldEpoch).then_some(SetAsideReason::EpochMismatch);
            self.planted.push((entry.hash(), reason));
        }
        self.relay_moved();
        true
    }
}
