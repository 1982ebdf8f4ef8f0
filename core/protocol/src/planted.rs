//! Bugs that can be planted, so that the simulator can show that it would catch them.
//!
//! They are in builds with the feature `planted-bugs` alone, and do nothing there before one is chosen; without the
//! feature there is not a byte of them. Devices and relays both have some, so they are chosen here.
//!
//! Invariant: one bug at a time, for the whole process, chosen or lifted while nothing runs.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// One bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Bug {
            $($(#[$doc])* $name = $number,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

bugs! {
    /// Some edits are acknowledged and never written.
    AckBeforeCommit = 1, "ack-before-commit";
    /// The place in the log moves over some entries that were not taken in.
    CursorBeforeApply = 2, "cursor-before-apply";
    /// What is sent counts as held by the relay at once.
    OutboxDeletedOnSend = 3, "outbox-deleted-on-send";
    /// A new session does not send again what the last one did not get through.
    NoResend = 4, "no-resend";
    /// A bad entry is left out and not kept aside.
    NoQuarantine = 5, "no-quarantine";
    /// Two entries of a chain with one number are taken for the same.
    DedupeBySeq = 6, "dedupe-by-seq";
    /// The epoch of an entry is not compared with that of its members.
    OldEpochAccepted = 7, "old-epoch-accepted";
    /// The status says "confirmed" without a session.
    StatusTooSoon = 8, "status-too-soon";
    /// The version of a document names the chain that came first, which each device has another of.
    VersionByArrival = 9, "version-by-arrival";
    /// A document is opened without the changes that no entry carries yet.
    PendingNotOpened = 10, "pending-not-opened";
    /// What is added to a counter is added twice.
    CountedTwice = 11, "counted-twice";
    /// Changes are written to a table in clear as well.
    ChangeInClear = 12, "change-in-clear";
    /// A bad signature in a run of entries ends the program.
    PanicOnBadSignature = 13, "panic-on-bad-signature";
    /// A relay goes on serving devices of users who were removed.
    RelayServesRemoved = 14, "relay-serves-removed";
    /// Every look after the members leaves a note behind, for ever.
    NotesPileUp = 15, "notes-pile-up";
    /// What a wiped relay had is taken for held by it still.
    WipeNotNoticed = 16, "wipe-not-noticed";
    /// Members are looked after every second, for ever.
    ChoresForEver = 17, "chores-for-ever";
    /// Waits depend on what the whole process has done before.
    OutsideChance = 18, "outside-chance";
    /// Of each chain one entry more is deleted than a snapshot stands for.
    PrunedTooFar = 19, "pruned-too-far";
    /// A device that gives up what a snapshot stands for forgets what no entry carries yet.
    CompactionDropsPending = 20, "compaction-drops-pending";
    /// A device that asks for more documents goes on from where it is.
    MoreNotCompared = 21, "more-not-compared";
    /// What a device is linked with is written to a table in clear as well.
    LinkedKeysInClear = 22, "linked-keys-in-clear";
    /// The secrets of epochs are written to a table in clear as well.
    EpochInClear = 23, "epoch-in-clear";
}

static PLANTED: AtomicU8 = AtomicU8::new(0);
static ASKED: AtomicU64 = AtomicU64::new(0);

impl Bug {
    /// Finds a bug by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }

    /// Returns all names.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|bug| bug.name()).collect()
    }

    /// Plants it, for the whole process.
    pub fn plant(self) {
        PLANTED.store(self as u8, Ordering::Relaxed);
    }

    /// Lifts whichever bug is planted.
    pub fn lift() {
        PLANTED.store(0, Ordering::Relaxed);
    }

    /// Tells whether it is planted.
    #[must_use]
    pub fn is_planted(self) -> bool {
        PLANTED.load(Ordering::Relaxed) == self as u8
    }

    /// Returns how often this was asked in this process: what no seed decides.
    #[must_use]
    pub fn outside() -> u64 {
        ASKED.fetch_add(1, Ordering::Relaxed)
    }
}
