//! The seed shared out by Shamir's scheme over GF(256): any k of n shares give it back, fewer tell
//! nothing of it but the user's id, which is public.
//!
//! Text: `tombolo-share:1:` and, in base32, `set 8 | u8 number | u8 k | u8 n | user 8 | addresses |
//! value 32 | checksum 4`. The user's bytes are the first of their id.
//!
//! Invariant: a share that reads is whole; shares are combined only if all but number and value is the
//! same, and what comes out is the seed of the user that they name. The library's coefficients are
//! drawn from [`Hedged`] and are freed without being wiped.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use tombolo_protocol::bytes::{DecodeError, Reader};
use tombolo_protocol::hash::hash;
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use super::{RecoveryError, RecoveryKit};
use crate::derive::{first, mac};
use crate::device::UserRoot;
use crate::entropy::{Entropy, array};
use crate::hedge::Hedged;
use crate::secret::Secret32;
use crate::{addresses, typed};

/// Shares that a kit is cut into: the people one would ask, with room.
pub const SHARES_MAX: u8 = 16;

const SCHEME: &str = "tombolo-share:";
const VERSION: &str = "1";
const CHECKSUM_BYTES: usize = 4;
/// Characters behind the second colon: eight addresses of full length in base32, with hyphens.
const SHARE_CHARS_MAX: usize = 8 << 10;
/// Bytes of a share's plain layout, for the buffer not to move.
const SHARE_BYTES_MAX: usize = 4 << 10;

/// One of n shares of a kit.
pub struct KitShare {
    set: [u8; 8],
    number: u8,
    need: u8,
    of: u8,
    user: [u8; 8],
    relays: Vec<String>,
    value: Secret32,
}

/// Why a text is not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShareError {
    /// It does not start as a share does.
    NotAShare,
    /// It is of another version.
    Version,
    /// Characters are missing or were mistyped.
    Checksum,
    /// It is whole, but what it says breaks a rule: made by a faulty program.
    Malformed(DecodeError),
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAShare => f.write_str("not a share; it starts with tombolo-share:1:"),
            Self::Version => f.write_str("of another version of Tombolo; update this program"),
            Self::Checksum => f.write_str("incomplete or mistyped; compare it with the paper"),
            Self::Malformed(error) => write!(f, "faulty ({error})"),
        }
    }
}

impl std::error::Error for ShareError {}

impl From<DecodeError> for ShareError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl RecoveryKit {
    /// Cuts the kit into `of` shares, any `need` of which give it back.
    ///
    /// # Errors
    /// [`RecoveryError::Threshold`] if `need` is below 2 or over `of`, or `of` over [`SHARES_MAX`].
    pub fn to_shares(&self, need: u8, of: u8, entropy: &mut dyn Entropy) -> Result<Vec<KitShare>, RecoveryError> {
        let refused = RecoveryError::Threshold { need, of };
        if need < 2 || need > of || of > SHARES_MAX {
            return Err(refused);
        }
        let seed = self.root.seed();
        let random: [u8; 16] = array(entropy);
        let mut relays = Vec::new();
        addresses::write(&self.relays, &mut relays);
        // Hedged: even if the source of randomness is stuck, another cut has other coefficients.
        let cut = Zeroizing::new(mac(seed.as_slice(), "share-set", &[&random, &[need, of], &relays]));
        let rng = Hedged { entropy, key: cut.as_slice(), label: "share-entropy" };
        let points = Gf256::split_bytes(usize::from(need), usize::from(of), seed.as_slice(), rng);
        let mut shares = Vec::with_capacity(usize::from(of));
        for point in points.map_err(|_| refused)?.into_iter().map(Zeroizing::new) {
            let (number, value) = point.split_first().ok_or(refused)?;
            let value = Secret32::from_bytes(value.try_into().map_err(|_| refused)?);
            let set = first(&hash("share-set", &[cut.as_slice()]));
            let user = first(self.user().as_bytes());
            shares.push(KitShare { set, number: *number, need, of, user, relays: self.relays.clone(), value });
        }
        Ok(shares)
    }

    /// Puts shares, as they were typed, together again; a share given twice counts once.
    ///
    /// # Errors
    /// [`RecoveryError::Share`] names the first that can not be read, [`RecoveryError::DifferentSets`]
    /// the first of another set; [`RecoveryError::TooFewShares`], or [`RecoveryError::WrongUser`] if
    /// one was altered on purpose.
    pub fn from_shares(texts: &[&str]) -> Result<Self, RecoveryError> {
        let mut shares: BTreeMap<u8, KitShare> = BTreeMap::new();
        for (nth, text) in texts.iter().enumerate() {
            let nth = nth + 1;
            let share: KitShare = text.parse().map_err(|error| RecoveryError::Share { nth, error })?;
            let stranger = shares.values().next().is_some_and(|known| !known.same_set(&share));
            let rival = shares.get(&share.number).is_some_and(|known| known.value != share.value);
            if stranger || rival {
                return Err(RecoveryError::DifferentSets { nth });
            }
            shares.insert(share.number, share);
        }
        let have = shares.len();
        let known = shares.values().next().ok_or(RecoveryError::TooFewShares { have, need: 2 })?;
        let need = usize::from(known.need);
        if have < need {
            return Err(RecoveryError::TooFewShares { have, need });
        }
        let root = UserRoot::from_seed(&*combined(shares.values().take(need))?);
        if first(root.user().as_bytes()) != known.user {
            return Err(RecoveryError::WrongUser);
        }
        Self::new(root, known.relays.clone())
    }
}

/// Interpolates at zero.
fn combined<'a>(shares: impl Iterator<Item = &'a KitShare>) -> Result<Zeroizing<[u8; 32]>, RecoveryError> {
    let point = |share: &KitShare| {
        let mut point = Vec::with_capacity(1 + 32);
        point.push(share.number);
        point.extend_from_slice(share.value.as_bytes());
        point
    };
    let points: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(shares.map(point).collect());
    let seed = Gf256::combine_bytes(points.as_slice()).map(Zeroizing::new).map_err(|_| RecoveryError::WrongUser)?;
    seed.as_slice().try_into().map(Zeroizing::new).map_err(|_| RecoveryError::WrongUser)
}

impl KitShare {
    /// Returns which one it is, from 1.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Returns how many are needed.
    #[must_use]
    pub fn need(&self) -> u8 {
        self.need
    }

    /// Returns how many were made.
    #[must_use]
    pub fn of(&self) -> u8 {
        self.of
    }

    /// Writes it for paper: any `need` such texts give the kit back.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SHARE_BYTES_MAX));
        bytes.extend_from_slice(&self.set);
        bytes.extend_from_slice(&[self.number, self.need, self.of]);
        bytes.extend_from_slice(&self.user);
        addresses::write(&self.relays, &mut bytes);
        bytes.extend_from_slice(self.value.as_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        let typed = typed::encode(&bytes);
        let mut text = Zeroizing::new(String::with_capacity(SCHEME.len() + 2 + typed.len()));
        for part in [SCHEME, VERSION, ":", &typed] {
            text.push_str(part);
        }
        text
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let set = reader.array()?;
        let [number, need, of] = reader.array()?;
        let user = reader.array()?;
        let relays = addresses::read(&mut reader)?;
        addresses::check(&relays)?;
        let value = Secret32::from_bytes(reader.array()?);
        reader.finish()?;
        if need < 2 || need > of || of > SHARES_MAX || !(1..=of).contains(&number) {
            return Err(DecodeError::Invalid { field: "share number" });
        }
        Ok(Self { set, number, need, of, user, relays, value })
    }

    fn same_set(&self, other: &Self) -> bool {
        let whole = |share: &Self| (share.set, share.need, share.of, share.user);
        whole(self) == whole(other) && self.relays == other.relays
    }
}

impl FromStr for KitShare {
    type Err = ShareError;

    /// Reads a share; case, white space and hyphens do not matter.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let text = text.trim();
        let scheme = text.get(..SCHEME.len()).ok_or(ShareError::NotAShare)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(ShareError::NotAShare);
        }
        let rest = text.get(SCHEME.len()..).unwrap_or_default();
        let (version, rest) = rest.split_once(':').ok_or(ShareError::NotAShare)?;
        if version.trim() != VERSION {
            return Err(ShareError::Version);
        }
        if rest.len() > SHARE_CHARS_MAX {
            return Err(ShareError::Checksum);
        }
        let bytes = typed::decode(rest).ok_or(ShareError::Checksum)?;
        let (payload, found) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(ShareError::Checksum)?;
        if *found != checksum(payload) {
            return Err(ShareError::Checksum);
        }
        Ok(Self::decode(payload)?)
    }
}

impl fmt::Debug for KitShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KitShare({} of {}, secret)", self.number, self.of)
    }
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    first(&hash("kit-share", &[payload]))
}
