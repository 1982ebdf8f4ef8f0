//! The seed as 24 English words: BIP39, of which the entropy alone is used.
//!
//! Invariant: a seed has one list of words; what is typed is forgiven its case, its spaces, numbers and
//! points between the words, and all letters of a word behind the fourth.

use bip39::{Error, Language, Mnemonic};
use zeroize::Zeroizing;

use super::{RecoveryError, RecoveryKit};
use crate::device::UserRoot;

/// Words of a seed of 256 bits.
const WORDS: usize = 24;
/// Letters by which the words of the list differ.
const PREFIX_LETTERS: usize = 4;
/// Bytes of the longest possible text: eight letters a word, and spaces.
const TEXT_BYTES_MAX: usize = WORDS * 9;

impl RecoveryKit {
    /// Returns the 24 words, with a space between them.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
        for word in mnemonic(&self.root).words() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// Reads 24 words; a kit from words knows no relays.
    ///
    /// # Errors
    /// [`RecoveryError::WordCount`], [`RecoveryError::UnknownWord`] or [`RecoveryError::WordsChecksum`].
    pub fn from_words(text: &str) -> Result<Self, RecoveryError> {
        let typed = || text.split_whitespace().map(letters).filter(|word| !word.is_empty());
        let found = typed().count();
        if found != WORDS {
            return Err(RecoveryError::WordCount { found });
        }
        let mut whole = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
        for (nth, word) in typed().enumerate() {
            let word = listed(word).ok_or(RecoveryError::UnknownWord { position: nth + 1 })?;
            whole.push_str(word);
            whole.push(' ');
        }
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &whole).map_err(|error| match error {
            Error::UnknownWord(nth) => RecoveryError::UnknownWord { position: nth + 1 },
            Error::BadWordCount(found) => RecoveryError::WordCount { found },
            _ => RecoveryError::WordsChecksum,
        })?;
        let entropy = Zeroizing::new(mnemonic.to_entropy_array().0);
        let seed = entropy.first_chunk::<32>().ok_or(RecoveryError::WordsChecksum)?;
        Self::new(UserRoot::from_seed(seed), Vec::new())
    }

    /// Names the relays to look on, for a kit that carries none.
    ///
    /// # Errors
    /// [`RecoveryError::Malformed`] if there are more than 8, or one is no address.
    pub fn with_relays(self, relays: Vec<String>) -> Result<Self, RecoveryError> {
        Self::new(self.root, relays)
    }
}

#[expect(clippy::expect_used, reason = "BIP39 takes any 32 bytes")]
pub(super) fn mnemonic(root: &UserRoot) -> Mnemonic {
    Mnemonic::from_entropy_in(Language::English, root.seed().as_slice()).expect("32 bytes are entropy")
}

/// Takes the number and the point off `7.reef,`.
fn letters(typed: &str) -> &str {
    typed.trim_matches(|letter: char| letter.is_ascii_digit() || letter.is_ascii_punctuation())
}

fn listed(typed: &str) -> Option<&'static str> {
    let list = Language::English.word_list();
    let same = |word: &&&str| word.eq_ignore_ascii_case(typed);
    let begins = |word: &&&str| word.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed));
    let whole = list.iter().find(same);
    let short = || (typed.len() >= PREFIX_LETTERS).then(|| list.iter().find(begins)).flatten();
    whole.or_else(short).copied()
}
