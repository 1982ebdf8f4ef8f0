//! What can befall a team: each class is switched off by a seed with 40 %, else it has a rate of its own.
//!
//! Invariant: the order of [`Fault::ALL`] is part of a seed's meaning: new classes are added at its end.

use crate::chance::Chance;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $place:literal, $weight:literal, $how:literal;)*) => {
        /// One class of the fault matrix.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All classes, in the order in which a seed draws them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns its name on a command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns where it happens.
            #[must_use]
            pub fn place(self) -> &'static str {
                match self { $(Self::$name => $place,)* }
            }

            /// Returns how it is brought about.
            #[must_use]
            pub fn how(self) -> &'static str {
                match self { $(Self::$name => $how,)* }
            }

            fn weight(self) -> u64 {
                match self { $(Self::$name => $weight,)* }
            }
        }
    };
}

faults! {
    /// Frames take seconds.
    Latency = "latency", "network", 4, "frames under way for up to 4 s, or for 50 µs";
    /// Connections break.
    Reset = "reset", "network", 6, "a device's connections break; what is under way is lost";
    /// No way to any relay, or to one.
    Partition = "partition", "network", 8, "a device reaches no relay, or not one of them, until it is healed";
    /// One way carries nothing.
    OneWay = "one-way", "network", 4, "one direction drops everything; noticed within 30 s";
    /// A reader that stalls.
    SlowReader = "slow-reader", "network", 4, "a relay's outbox for a device is not drained for a while";
    /// The relay repeats itself.
    Repeat = "repeat", "relay", 2, "every run of items is sent three times";
    /// The relay reorders.
    Reorder = "reorder", "relay", 2, "every second run of items comes before the first";
    /// The relay lies.
    Lie = "lie", "relay", 3, "items or receipts withheld, dropped, cut, flipped, forged, or old heads shown";
    /// The relay restarts.
    RelayRestart = "relay-restart", "relay", 4, "stopped without a word, and started again, now or later";
    /// The relay is empty and has another key.
    RelayWipe = "relay-wipe", "relay", 2, "its folder is emptied, and its key is another one";
    /// The relay is empty and has its key.
    LogLost = "log-lost", "relay", 2, "its folder is emptied, its key is kept";
    /// The relay goes back to an older copy.
    RelayRollback = "relay-rollback", "relay", 3, "its folder is replaced by a copy from before";
    /// A process dies between two turns.
    Crash = "crash", "device", 6, "engine and store are dropped, and loaded again now or later";
    /// A process dies at a commit.
    CrashAtCommit = "crash-at-commit", "device", 4, "dropped before or after the n-th commit from now";
    /// The power is cut.
    PowerCut = "power-cut", "device", 4, "un-synced writes lost, torn or kept by the fault VFS, at any write";
    /// The disk answers with errors.
    DiskError = "disk-error", "device", 2, "a write or a sync fails once, or there is no room; the device starts anew";
    /// An older copy of a store is put back.
    StoreRollback = "store-rollback", "device", 2, "the store's files are replaced by a copy from before";
    /// A copy of a store runs as well.
    Clone = "clone", "device", 1, "a copy of the store is opened as a second device, and ends";
    /// A device is gone for good.
    Lost = "lost", "device", 1, "a device dies and never comes back";
    /// Clocks are wrong.
    ClockJump = "clock-jump", "clock", 4, "a device's wall clock jumps by up to 90 days, to 1970 or to 2040";
    /// Somebody is away for months.
    Absence = "absence", "clock", 1, "devices are off while 10 to 90 days pass for the others";
    /// Somebody joins.
    Join = "join", "people", 3, "a new device joins by an invite while all this goes on";
    /// A role changes.
    RoleChange = "role-change", "people", 3, "writer to reader, carrier or admin, and back";
    /// Somebody is removed.
    Removal = "removal", "people", 1, "a member is removed with pins and a new epoch";
    /// A device is linked.
    Link = "link", "people", 2, "a new device is linked by a code while all this goes on";
    /// A device is given up.
    Revoke = "revoke", "people", 1, "a user gives up one of the own devices";
    /// A new epoch begins.
    Rotate = "rotate", "people", 2, "an invite is made and ended, and with it the epoch";
    /// Poison.
    Poison = "poison", "members", 2, "a member's entry that the document's library chokes on";
    /// An old key.
    OldEpoch = "old-epoch", "members", 2, "an entry under a key that is over, put into the log past the judge";
    /// Two branches.
    Fork = "fork", "members", 2, "two entries of one chain in one place, put into the log past the judge";
}

impl Fault {
    /// Finds a class by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }

    /// Draws how often a class strikes in a history; zero for never.
    pub(crate) fn draw_rate(self, chance: &mut Chance) -> u64 {
        let off = chance.below(100) < OFF_PERCENT;
        let rate = self.weight() * (1 + chance.below(RATE_SPREAD));
        if off { 0 } else { rate }
    }
}

/// A seed switches a class off this often.
const OFF_PERCENT: u64 = 40;
/// The highest rate of a class is so many times its lowest.
const RATE_SPREAD: u64 = 4;
