//! What became of one append: what is written, who is told, who is cut off.
//!
//! Invariant: every item of the append is either placed or refused, with its reason.

use std::collections::BTreeMap;

use tombolo_protocol::frame::{LevelGap, RefusalReason, RightEnded};
use tombolo_protocol::ids::{ChainId, DeviceId};
use tombolo_protocol::item::ItemHash;

use crate::log::{ChainRow, LogError, NewItem, TakenFloor};

/// One item that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which item of its append, from 0.
    pub item: u32,
    /// Why.
    pub reason: RefusalReason,
    /// For a gap or fork: the last seq of the chain.
    pub chain_seq: Option<u64>,
    /// For a missing second factor: what is asked, and what is there.
    pub levels: Option<LevelGap>,
}

/// A device that is a member no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub device: DeviceId,
    /// Position of the record that ended it; nothing behind it is for this device.
    pub position: u64,
    /// Why.
    pub why: RightEnded,
}

/// What became of one append.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// What is to be written.
    pub items: Vec<NewItem>,
    /// Every item that the log holds or will hold, in the order of the append.
    pub placed: Vec<(ItemHash, u64)>,
    /// The chains that end elsewhere now.
    pub chains: BTreeMap<ChainId, ChainRow>,
    /// The chains that begin, or go on behind a gap, with what a snapshot covers.
    pub floors: Vec<TakenFloor>,
    /// Ids of devices and users that may be members now.
    pub members: Vec<[u8; 32]>,
    /// Devices that are members no more.
    pub ended: Vec<Ended>,
    /// Whether roles, or their ends, may be others now.
    pub members_changed: bool,
    /// What is not taken.
    pub refusals: Vec<Refusal>,
}

impl Verdicts {
    /// Notes an item that is not taken.
    pub fn refuse(&mut self, item: u32, reason: RefusalReason) {
        self.refusals.push(Refusal { item, reason, chain_seq: None, levels: None });
    }

    /// Notes why an item is not taken.
    pub(super) fn stop(&mut self, item: u32, stop: Stop) -> Result<(), LogError> {
        let (reason, chain_seq, levels) = match stop {
            Stop::Refused(reason, seq) => (reason, seq, None),
            // Of a place in its chain nothing is said: it has none yet.
            Stop::Shown => (RefusalReason::Gap, None, None),
            Stop::Below(seq) => (RefusalReason::Gap, Some(seq), None),
            Stop::Level(gap) => (RefusalReason::MfaRequired, None, Some(gap)),
            Stop::Log(error) => return Err(error),
        };
        self.refusals.push(Refusal { item, reason, chain_seq, levels });
        Ok(())
    }

    /// Notes another reason than before why an item is not taken.
    pub(super) fn stop_instead(&mut self, item: Option<u32>, stop: Stop) -> Result<(), LogError> {
        match (item, stop) {
            (_, Stop::Log(error)) => Err(error),
            (Some(item), stop) => {
                self.refusals.retain(|refusal| refusal.item != item);
                self.stop(item, stop)
            }
            (None, _) => Ok(()),
        }
    }
}

/// Why the judgement of an item ended early.
pub(super) enum Stop {
    /// The item is not taken; for a gap or fork with the last seq of its chain.
    Refused(RefusalReason, Option<u64>),
    /// It is kept beside the log, until the snapshot that it is a part of is whole.
    Shown,
    /// A snapshot stands for it, and for all of its chain up to a seq.
    Below(u64),
    /// The session has to show a second factor first.
    Level(LevelGap),
    /// The log can not be read: nobody's fault but the relay's.
    Log(LogError),
}

impl From<RefusalReason> for Stop {
    fn from(reason: RefusalReason) -> Self {
        Self::Refused(reason, None)
    }
}

impl From<LevelGap> for Stop {
    fn from(gap: LevelGap) -> Self {
        Self::Level(gap)
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}
