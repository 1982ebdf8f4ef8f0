//! What must never be broken, by name, and what it looks like when it is.
//!
//! Invariant: the names are those of `docs/reliability.md`; a violation says in one line what was seen.

macro_rules! invariants {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Something that must hold whatever happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $($(#[$doc])* $name,)*
        }

        impl Invariant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns its number and what it says.
            #[must_use]
            pub fn text(self) -> (&'static str, &'static str) {
                match self { $(Self::$name => ($code, $text),)* }
            }
        }
    };
}

invariants! {
    /// Nothing acknowledged is lost.
    NothingLost = "I1", "nothing acknowledged is lost";
    /// The same entries give the same document.
    Converges = "I2", "the same entries give the same document";
    /// Reads never go back.
    Causal = "I3", "own writes are read, and reads never go back";
    /// Repetition and order change nothing.
    ExactlyOnce = "I4", "each change takes effect once, and as a whole";
    /// The status is true.
    StatusIsTrue = "I5", "the status never lies";
    /// What is in the store agrees with itself.
    CrashOrder = "I6", "after a crash the store agrees with itself";
    /// Nobody reads along.
    NoPlaintext = "I7", "no word and no key stands anywhere in clear";
    /// Bad entries are kept aside by name.
    Quarantine = "I8", "a bad entry is kept aside with its reason, and stops nothing else";
    /// Nothing makes a device fall over.
    ApplyIsSafe = "I9", "nothing that comes in makes a device or a relay fall over";
    /// Who is out gets nothing more.
    Membership = "I10", "who is out gets nothing of what comes later";
    /// Everything is bounded.
    Bounded = "I11", "an idle hour adds nothing, stores stay in proportion";
    /// A relay can be lost.
    RelayIsDisposable = "I12", "a relay can be wiped or rolled back at any time";
    /// All comes to rest.
    Liveness = "I13", "without faults all comes to rest within a bound, and stays there";
    /// One seed, one history.
    SameSeed = "I15", "one seed is one history";
    /// What an app on Tombolo promises.
    AppPromise = "A", "what the app itself promises";
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (code, text) = self.text();
        write!(f, "{code} {text}")
    }
}

/// An invariant that was broken, and what was seen.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen, for a person.
    pub what: String,
}

impl Violation {
    /// Fails with what was seen, unless all is well.
    ///
    /// # Errors
    /// The violation.
    pub fn unless(holds: bool, invariant: Invariant, what: impl FnOnce() -> String) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { invariant, what: what() }) }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}
