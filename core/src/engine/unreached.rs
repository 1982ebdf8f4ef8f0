//! Why a relay is not reached, in words for a person.
//!
//! Invariant: each reason is a sentence that says what to do; nothing here carries what the other end sent.

use std::fmt;

use tombolo_protocol::close::CloseCode;

/// Why no session with a relay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OfflineReason {
    /// A session ended with this code, from whichever side.
    Ended(CloseCode),
    /// No session began.
    Unreached(Unreached),
}

/// Why no session with a relay began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreached {
    /// The address names a host that is not known, or no name server is reached.
    UnknownHost,
    /// Nobody takes the connection there, or there is no network.
    NoConnection,
    /// It did not answer in time.
    Silent,
    /// No authority that is trusted here has signed the relay's certificate.
    UntrustedCertificate,
    /// The certificate is another host's.
    OtherHost,
    /// The certificate is over, or not valid yet.
    CertificateOutOfDate,
    /// The certificate breaks another rule.
    BadCertificate,
    /// The other end does not speak TLS 1.3.
    NoTls,
    /// Whoever answers is no relay.
    NotARelay,
    /// The address leads to another machine without TLS.
    PlainNotLoopback,
    /// The two ends do not agree on where TLS ends: something between them ends it.
    TlsEndedBetween,
    /// A proxy ends TLS before the relay, and the app has not allowed one.
    BehindProxy,
}

impl From<CloseCode> for OfflineReason {
    fn from(code: CloseCode) -> Self {
        Self::Ended(code)
    }
}

impl fmt::Display for OfflineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(code) => f.write_str(code.text()),
            Self::Unreached(why) => write!(f, "{why}"),
        }
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownHost => "the relay's host is not found; check the address and the network",
            Self::NoConnection => "nobody answers there; check the address, the network, and that the relay runs",
            Self::Silent => "the relay did not answer in time; check the network, or ask its operator",
            Self::UntrustedCertificate => {
                "no authority that is trusted here signed the relay's certificate; if it is your own, \
                 trust it when the replica is opened, else do not use this relay"
            }
            Self::OtherHost => {
                "the relay's certificate is for another host; dial the name that stands in it, \
                 or ask the operator for one with this name"
            }
            Self::CertificateOutOfDate => {
                "the relay's certificate is out of date; check this device's clock, or ask the operator to renew it"
            }
            Self::BadCertificate => "the relay's certificate breaks a rule; ask the operator for another one",
            Self::NoTls => "the other end does not speak TLS 1.3; check the address, wss:// is for relays with TLS",
            Self::NotARelay => "whoever answers there is no relay; check the address and the port",
            Self::PlainNotLoopback => "the address leads to another machine without TLS; use wss://",
            Self::TlsEndedBetween => {
                "something between here and the relay ends TLS; if it is a proxy of the operator, the relay must be \
                 started with --tls-mode proxy, else somebody listens"
            }
            Self::BehindProxy => {
                "a proxy ends TLS before the relay and can hand on the session; if you trust it, allow a proxy \
                 when dialling"
            }
        })
    }
}
