//! What must hold when all is quiet: nothing lost, everybody equal, nothing owed.
//!
//! Invariant: a judgement asks the devices through the same API as an app.

use std::collections::BTreeSet;

use tombolo::document::{Value, Version};
use tombolo::protocol::ids::DocumentId;

use crate::net::Net;
use crate::replica::Replica;

impl Net {
    /// Fails unless these replicas owe nothing, hold the same, and hold every word that was written.
    pub fn assert_converged<const N: usize>(&mut self, replicas: [Replica; N]) {
        self.assert_all_converged(&replicas);
    }

    /// As [`Net::assert_converged`], for any number of replicas.
    pub fn assert_all_converged(&mut self, replicas: &[Replica]) {
        for replica in replicas {
            let debt = replica.debt(self);
            let counted = self.state(*replica).all_counted();
            assert!(debt.is_settled(), "{} owes: {debt:?}; counted {counted:?}", self.state(*replica).name);
        }
        self.assert_equal(replicas);
        self.assert_nothing_lost(replicas);
    }

    /// Fails unless these replicas hold the same documents with the same content.
    pub fn assert_equal(&mut self, replicas: &[Replica]) {
        let Some((first, others)) = replicas.split_first() else { return };
        let expected = self.content(*first);
        for other in others {
            let content = self.content(*other);
            let names = (&self.state(*first).name, &self.state(*other).name);
            assert_eq!(expected.len(), content.len(), "{} and {} list other documents", names.0, names.1);
            for (left, right) in expected.iter().zip(&content) {
                assert_eq!(left.0, right.0, "{} and {} list other documents", names.0, names.1);
                assert_eq!(left.2, right.2, "{} and {} differ in {}", names.0, names.1, left.0.short());
                assert_eq!(left.1, right.1, "{} and {} differ in versions of {}", names.0, names.1, left.0.short());
            }
        }
    }

    /// Returns a device's documents in the order of their ids, with what they hold.
    ///
    /// # Panics
    /// If the device is down, or can not read what it lists.
    pub fn content(&mut self, replica: Replica) -> Vec<(DocumentId, Version, Value)> {
        let workspace = self.workspace();
        let listed = self.act(replica, |engine, now, tx| {
            let mut content = Vec::new();
            for summary in engine.documents(&workspace, tx)? {
                let version = engine.version(now, &summary.id, tx)?;
                let value = engine.read(now, &summary.id, |view| view.to_value(), tx)??;
                content.push((summary.id, version, value));
            }
            content.sort_by_key(|(id, ..)| *id);
            Ok(content)
        });
        listed.expect("the documents read").expect("the device lives")
    }

    /// Fails unless every replica holds every word that was written, and none that was not.
    fn assert_nothing_lost(&mut self, replicas: &[Replica]) {
        for replica in replicas {
            let mut held = BTreeSet::new();
            for document in self.documents() {
                let words = replica.words(self, document);
                held.extend(words.into_iter().map(|word| format!("{}/{word}", document.short())));
            }
            let lost: Vec<_> = self.written.difference(&held).collect();
            assert!(lost.is_empty(), "{} lost {lost:?}", self.state(*replica).name);
            let known: BTreeSet<_> = self.written.union(&self.unsure).cloned().collect();
            let strange: Vec<_> = held.difference(&known).collect();
            assert!(strange.is_empty(), "{} made up {strange:?}", self.state(*replica).name);
        }
    }
}
