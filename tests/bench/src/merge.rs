//! `merge`: two people who really wrote together, each a device, offline by turns; and the same with the CRDT alone.
//!
//! Invariant: both ways, each edits from the very states that the recording says, and both end with one text. Ours has no
//! socket in it, but all else: stores, relays, signatures, sealing.

use automerge::transaction::Transactable as _;
use automerge::{ActorId, Automerge, ObjId, ObjType, ROOT, ReadDoc as _};
use tombolo::document::Crdt;
use tombolo_tests::friends::{Recording, Transaction};
use yrs::updates::decoder::Decode as _;
use yrs::{GetString as _, Map as _, ReadTxn as _, Text as _, Transact as _};

use crate::error::BenchError;
use crate::measure::timed;
use crate::report::{BYTES, MESSAGES, Report, SECONDS, System};
use crate::scene::CRDTS;

/// With it the names order the friends as the recording's did.
const SEED: u64 = 1;
const OTHERWISE: BenchError = BenchError::Wrong("the text of two who wrote together");

/// Measures both CRDTs once.
pub(crate) fn run(report: &mut Report) -> Result<(), BenchError> {
    let recording = Recording::load().ok_or(BenchError::NoTraces)?;
    for (crdt, name) in CRDTS {
        let (texts, alone) = timed(|| match crdt {
            Crdt::Automerge => alone::<AutomergeFriend>(&recording),
            Crdt::Yrs => alone::<YrsFriend>(&recording),
            _ => Err(BenchError::Crdt("one that has no measure here")),
        })?;
        let (played, ours) = timed(|| Ok(recording.play(crdt, SEED)))?;
        let same = |[one, other]: &[String; 2]| one == other;
        if !same(&texts) || !same(&played.texts) || played.texts.first() != Some(&recording.end) {
            return Err(OTHERWISE);
        }
        report.compare(&format!("merge/{name}"), SECONDS, ours, alone);
        report.add(&format!("merge/{name}-log"), System::Tombolo, MESSAGES, played.items as f64);
        for (part, bytes) in ["store", "log"].into_iter().zip(played.bytes) {
            report.add(&format!("merge/{name}-{part}"), System::Tombolo, BYTES, bytes as f64);
        }
    }
    Ok(())
}

/// One of the two, with nothing but the CRDT.
trait Friend: Sized {
    /// What one gives the other of a transaction.
    type Change: Clone;

    /// Both, in the state that has the empty text.
    fn pair() -> Result<[Self; 2], BenchError>;
    fn write(&mut self, patches: &[(usize, usize, String)]) -> Result<Self::Change, BenchError>;
    fn take(&mut self, changes: &[Self::Change]) -> Result<(), BenchError>;
    fn text(&self) -> Result<String, BenchError>;
}

fn alone<F: Friend>(recording: &Recording) -> Result<[String; 2], BenchError> {
    let [mut first, mut second] = F::pair()?;
    let mut given: [Vec<F::Change>; 2] = [Vec::new(), Vec::new()];
    let mut taken = [0, 0];
    for Transaction { agent, patches, seen, .. } in &recording.transactions {
        let (me, other) = (*agent, 1 - *agent);
        let friend = if me == 0 { &mut first } else { &mut second };
        let news = given.get(other).and_then(|given| given.get(*taken.get(me)?..*seen.get(other)?));
        if let (Some(news @ [_, ..]), Some(taken)) = (news, taken.get_mut(me)) {
            friend.take(news)?;
            *taken += news.len();
        }
        let change = friend.write(patches)?;
        given.get_mut(me).ok_or(OTHERWISE)?.push(change);
    }
    let [of_first, of_second] = &given;
    first.take(of_second.get(taken[0]..).unwrap_or_default())?;
    second.take(of_first.get(taken[1]..).unwrap_or_default())?;
    Ok([first.text()?, second.text()?])
}

struct AutomergeFriend {
    document: Automerge,
    text: ObjId,
}

fn automerge_failed(_: automerge::AutomergeError) -> BenchError {
    BenchError::Crdt("automerge")
}

impl Friend for AutomergeFriend {
    type Change = automerge::Change;

    fn pair() -> Result<[Self; 2], BenchError> {
        let mut document = Automerge::new().with_actor(ActorId::from([1]));
        let mut transaction = document.transaction();
        let text = transaction.put_object(ROOT, "text", ObjType::Text).map_err(automerge_failed)?;
        transaction.commit();
        let other = document.fork().with_actor(ActorId::from([2]));
        Ok([Self { document, text: text.clone() }, Self { document: other, text }])
    }

    fn write(&mut self, patches: &[(usize, usize, String)]) -> Result<Self::Change, BenchError> {
        let mut transaction = self.document.transaction();
        for (at, removed, inserted) in patches {
            let removed = isize::try_from(*removed).map_err(|_| BenchError::Crdt("a huge deletion"))?;
            transaction.splice_text(&self.text, *at, removed, inserted).map_err(automerge_failed)?;
        }
        transaction.commit();
        self.document.get_last_local_change().ok_or(BenchError::Crdt("automerge"))
    }

    fn take(&mut self, changes: &[Self::Change]) -> Result<(), BenchError> {
        self.document.apply_changes(changes.iter().cloned()).map_err(automerge_failed)
    }

    fn text(&self) -> Result<String, BenchError> {
        self.document.text(&self.text).map_err(automerge_failed)
    }
}

struct YrsFriend {
    document: yrs::Doc,
    text: yrs::TextRef,
}

impl YrsFriend {
    fn new(id: u64, state: Option<&[u8]>) -> Result<Self, BenchError> {
        let mut options = yrs::Options::with_client_id(yrs::ClientID::new(id));
        options.offset_kind = yrs::OffsetKind::Utf16;
        options.skip_gc = true;
        let document = yrs::Doc::with_options(options);
        let root = document.get_or_insert_map("root");
        let text = match state {
            None => root.insert(&mut document.transact_mut(), "text", yrs::TextPrelim::new("")),
            Some(state) => {
                apply(&document, [state])?;
                let held = root.get(&document.transact(), "text").and_then(|held| held.cast().ok());
                held.ok_or(BenchError::Crdt("yrs"))?
            }
        };
        Ok(Self { document, text })
    }
}

fn apply<'u>(document: &yrs::Doc, updates: impl IntoIterator<Item = &'u [u8]>) -> Result<(), BenchError> {
    const FAILED: BenchError = BenchError::Crdt("yrs");
    let mut transaction = document.transact_mut();
    for update in updates {
        let update = yrs::Update::decode_v1(update).map_err(|_| FAILED)?;
        transaction.apply_update(update).map_err(|_| FAILED)?;
    }
    Ok(())
}

impl Friend for YrsFriend {
    type Change = Vec<u8>;

    fn pair() -> Result<[Self; 2], BenchError> {
        let first = Self::new(1, None)?;
        let state = first.document.transact().encode_state_as_update_v1(&yrs::StateVector::default());
        let second = Self::new(2, Some(&state))?;
        Ok([first, second])
    }

    fn write(&mut self, patches: &[(usize, usize, String)]) -> Result<Self::Change, BenchError> {
        let narrow = |number: usize| u32::try_from(number).map_err(|_| BenchError::Crdt("a huge position"));
        let mut transaction = self.document.transact_mut();
        for (at, removed, inserted) in patches {
            if *removed > 0 {
                self.text.remove_range(&mut transaction, narrow(*at)?, narrow(*removed)?);
            }
            if !inserted.is_empty() {
                self.text.insert(&mut transaction, narrow(*at)?, inserted);
            }
        }
        Ok(transaction.encode_update_v1())
    }

    fn take(&mut self, changes: &[Self::Change]) -> Result<(), BenchError> {
        apply(&self.document, changes.iter().map(Vec::as_slice))
    }

    fn text(&self) -> Result<String, BenchError> {
        Ok(self.text.get_string(&self.document.transact()))
    }
}
