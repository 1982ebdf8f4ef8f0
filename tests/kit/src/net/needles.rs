//! Many things that are looked for at once, however many they are.
//!
//! Invariant: bytes are gone through once; at each place only what begins with the two bytes there is compared.

use std::collections::BTreeMap;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Needles {
    /// Whether something begins with two bytes.
    begins: Vec<bool>,
    by_pair: BTreeMap<[u8; 2], Vec<Vec<u8>>>,
}

impl Needles {
    /// Adds one; what is shorter than two bytes is found everywhere, and is left out.
    pub fn add(&mut self, needle: &[u8]) {
        let Some(pair) = needle.first_chunk::<2>() else { return };
        self.begins.resize(1 << 16, false);
        self.begins[usize::from(u16::from_be_bytes(*pair))] = true;
        self.by_pair.entry(*pair).or_default().push(needle.to_vec());
    }

    /// Tells whether one of them stands somewhere in these bytes.
    #[must_use]
    pub fn stand_in(&self, bytes: &[u8]) -> bool {
        let begins = |pair: [u8; 2]| self.begins.get(usize::from(u16::from_be_bytes(pair))) == Some(&true);
        let mut rest = bytes;
        while let Some(pair) = rest.first_chunk::<2>() {
            if begins(*pair) && self.by_pair.get(pair).is_some_and(|these| these.iter().any(|it| rest.starts_with(it)))
            {
                return true;
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::Needles;

    #[test]
    fn each_is_found_at_the_beginning_in_the_middle_and_at_the_end_and_nothing_else_is() {
        let mut needles = Needles::default();
        assert!(!needles.stand_in(b"anything"));
        [b"reef".as_slice(), b"reed", &[0xff, 0xff, 0, 7]].iter().for_each(|needle| needles.add(needle));
        for bytes in [b"reef and".as_slice(), b"a reed in", b"the reef", &[1, 0xff, 0xff, 0xff, 0, 7]] {
            assert!(needles.stand_in(bytes), "{bytes:?}");
        }
        for bytes in [b"".as_slice(), b"r", b"ree", b"re ef rede", &[0xff, 0xff, 7, 0]] {
            assert!(!needles.stand_in(bytes), "{bytes:?}");
        }
    }
}
