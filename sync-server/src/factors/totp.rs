//! Codes by time (RFC 6238), as every authenticator makes them: SHA-1, six digits, thirty seconds.
//!
//! Invariant: the codes are compared in constant time by the library; a secret is wiped and never printed.

use std::fmt;

use tombolo_protocol::ids::UserId;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// Bytes of a secret: what RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Seconds of a step.
const STEP_S: u64 = 30;
/// Steps that a clock may be off, either way (RFC 6238 §5.2).
const SKEW_STEPS: u16 = 1;
/// Digits of a code.
const DIGITS: u8 = 6;
/// Letters of a host that an authenticator is shown.
const HOST_LETTERS_MAX: usize = 100;

/// The secret that the relay and a user's authenticator share.
pub struct TotpSecret([u8; SECRET_BYTES]);

impl Drop for TotpSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for TotpSecret {}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(secret)")
    }
}

impl TotpSecret {
    /// Takes random bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SECRET_BYTES]) -> Self {
        Self(*bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    fn totp(&self) -> Option<Totp> {
        let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(DIGITS).with_skew(SKEW_STEPS);
        builder.with_step_duration(STEP_S).with_secret(self.0.to_vec()).build().ok()
    }

    /// Returns the step whose code this is, if it is one of now, or a step before or after.
    #[must_use]
    pub fn step_of(&self, code: &str, now_ms: i64) -> Option<u64> {
        let seconds = u64::try_from(now_ms.div_euclid(1000)).ok()?;
        self.totp()?.check(code, seconds)
    }

    /// Returns what an authenticator scans.
    #[must_use]
    pub fn to_uri(&self, host: &str, user: &UserId) -> Option<String> {
        let totp = self.totp()?;
        let name = host.split(':').next().unwrap_or_default();
        // The device said the host; an authenticator's screen is no place for whatever it said.
        let letter = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-');
        let name: String = name.chars().filter(letter).take(HOST_LETTERS_MAX).collect();
        let secret = totp.secret().to_base32();
        Some(format!(
            "otpauth://totp/Tombolo%20{name}:{}?secret={secret}&issuer=Tombolo%20{name}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}",
            user.short()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B; its codes there have eight digits, ours are their last six.
    #[test]
    fn the_codes_are_those_of_the_rfc_and_hold_for_one_step_before_and_after() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890");
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            let at = |offset: i64| secret.step_of(code, (seconds + offset) * 1000);
            let step = seconds.cast_unsigned() / 30;
            assert_eq!([at(-30), at(0), at(30)], [Some(step); 3], "{code}");
            assert_eq!([at(-60), at(60)], [None; 2], "{code}");
        }
        assert_eq!(secret.step_of("287082", -1), None);
        for wrong in ["", "28708", "2870822", "287o82", "٢٨٧٠٨٢"] {
            assert_eq!(secret.step_of(wrong, 59_000), None, "{wrong}");
        }
    }

    #[test]
    fn an_authenticator_is_shown_the_host_and_nothing_that_a_device_smuggled_into_it() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890");
        let user = UserId::from_bytes([0xab; 32]);
        let uri = secret.to_uri("relay.example.org:443", &user).unwrap();
        assert!(uri.starts_with("otpauth://totp/Tombolo%20relay.example.org:abab"), "{uri}");
        assert!(uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&"), "{uri}");
        let odd = secret.to_uri("a?secret=X&b=c/d", &user).unwrap();
        assert!(odd.starts_with("otpauth://totp/Tombolo%20asecretXbcd:"), "{odd}");
    }
}
