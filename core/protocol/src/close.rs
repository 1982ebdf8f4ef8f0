//! Why a session ends, and what the other side should do next.
//!
//! Invariant: every code falls in one of four kinds ([`Retry`]), so a peer that does not know a code
//! still knows what to do. The numbers are WebSocket close codes of the private range (RFC 6455 §7.4.2).

/// What to do after a session was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Dial again after a jittered wait.
    Later,
    /// Dial again once the device can prove itself anew.
    AfterAuth,
    /// The answer stays the same until a person has changed something, here or elsewhere: dial again now and then.
    Rarely,
    /// Dial another relay.
    Elsewhere,
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $retry:ident, $text:literal;)*) => {
        /// A reason to close a session.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum CloseCode {
            $($(#[$doc])* $name,)*
            /// A code of a later version.
            Other(u16),
        }

        impl CloseCode {
            /// Returns its number.
            #[must_use]
            pub fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// Recognises a number.
            #[must_use]
            pub fn from_number(number: u16) -> Self {
                match number {
                    $($number => Self::$name,)*
                    other => Self::Other(other),
                }
            }

            /// Returns what to do next; codes of a later version go by their hundreds.
            #[must_use]
            pub fn retry(self) -> Retry {
                match self {
                    $(Self::$name => Retry::$retry,)*
                    Self::Other(4100..4200) => Retry::AfterAuth,
                    Self::Other(4200..4300) => Retry::Rarely,
                    Self::Other(4300..4400) => Retry::Elsewhere,
                    Self::Other(_) => Retry::Later,
                }
            }

            /// Returns a sentence for a person.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(_) => "the other side closed the session for a reason of a later version",
                }
            }
        }
    };
}

close_codes! {
    /// Nothing is wrong; the sender goes away.
    Going = 4000, Later, "the other side is going away";
    /// The relay is draining before a restart.
    Draining = 4001, Later, "the relay is restarting";
    /// The relay has too much to do.
    Overloaded = 4002, Later, "the relay is overloaded";
    /// The relay can not write its log.
    Unavailable = 4003, Later, "the relay can not store anything at the moment";
    /// The reader did not keep up.
    SlowConsumer = 4004, Later, "this device did not read fast enough";
    /// The same device dialled again.
    Replaced = 4005, Later, "this device opened a newer session";
    /// The device sends faster than it is allowed to.
    RateLimited = 4006, Later, "this device sends too much";
    /// Nothing was heard for too long.
    Silent = 4007, Later, "nothing was heard for too long";
    /// The proof of the device's key does not hold.
    AuthFailed = 4100, AfterAuth, "the proof of the device's key does not fit this connection; something on the way may end TLS";
    /// The proof came too late.
    AuthTimeout = 4101, AfterAuth, "the proof of the device's key came too late";
    /// The frames are not those of this protocol.
    Malformed = 4200, Rarely, "the frames do not follow the protocol";
    /// No common version.
    UnsupportedVersion = 4201, Rarely, "the two sides share no protocol version";
    /// The relay does not take this device.
    NotAdmitted = 4202, Rarely, "the relay does not admit this device";
    /// The other side showed something that an honest one can not show.
    Misbehaved = 4203, Rarely, "the other side broke the protocol's promises";
    /// The device was given up, or removed, and is a member nowhere here.
    DeviceRevoked = 4204, Rarely, "this device is a member of nothing here any more";
    /// Another relay serves this now.
    Moved = 4300, Elsewhere, "another relay serves this now";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_still_say_what_to_do() {
        assert_eq!(CloseCode::from_number(4200), CloseCode::Malformed);
        assert_eq!(CloseCode::from_number(4199).retry(), Retry::AfterAuth);
        assert_eq!(CloseCode::from_number(4299).retry(), Retry::Rarely);
        assert_eq!(CloseCode::from_number(4399).retry(), Retry::Elsewhere);
        assert_eq!(CloseCode::from_number(1006).retry(), Retry::Later);
    }
}
