//! The code that a device shows and a person types (RFC 8628 section 6.1): eight letters without
//! vowels, so that they spell nothing and are hardly misread, some 34 bits in all.
//!
//! It is short because it is typed; that it cannot be guessed is due to its short life and to the
//! limit on attempts.

use std::fmt;

use service_kit::random;
use zeroize::Zeroizing;

use super::Handle;
use crate::error::Trouble;
use crate::secrets::Secrets;

/// One code, without the dash that it is shown with.
pub(crate) struct UserCode(Zeroizing<String>);

const LETTERS: [char; 20] = [
    'B', 'C', 'D', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X',
    'Z',
];
const LENGTH: usize = 8;
/// Longer texts are no typing mistake. Bytes.
const MOST_TYPED: usize = 64;

impl UserCode {
    /// Makes a new one.
    pub(crate) fn mint() -> Result<Self, Trouble> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        while text.len() < LENGTH {
            let random = Zeroizing::new(random::bytes::<16>()?);
            let letters = random.iter().filter_map(|byte| letter(*byte));
            let missing = LENGTH - text.len();
            text.extend(letters.take(missing));
        }
        Ok(Self(text))
    }

    /// Reads what somebody typed: case, dashes, spaces and other punctuation do not matter.
    pub(crate) fn read(typed: &str) -> Option<Self> {
        if typed.len() > MOST_TYPED {
            return None;
        }
        let mut text = Zeroizing::new(String::with_capacity(MOST_TYPED));
        text.extend(
            typed
                .chars()
                .filter(|typed| typed.is_alphanumeric())
                .map(|typed| typed.to_ascii_uppercase()),
        );
        let is_code = text.len() == LENGTH && text.chars().all(|c| LETTERS.contains(&c));
        is_code.then_some(Self(text))
    }

    /// As people see it: `BCDF-GHJK`.
    pub(crate) fn shown(&self) -> String {
        match self.0.split_at_checked(LENGTH / 2) {
            Some((first, second)) => format!("{first}-{second}"),
            None => String::new(),
        }
    }

    /// Names its record.
    pub(crate) fn handle(&self, secrets: &Secrets) -> Handle {
        Handle(secrets.token_hash(&self.0))
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UserCode(…)")
    }
}

/// Each letter as often as any other: bytes that would favour some are thrown away.
fn letter(byte: u8) -> Option<char> {
    let fair = u8::MAX - u8::MAX % 20;
    (byte < fair)
        .then(|| LETTERS.get(usize::from(byte % 20)).copied())
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_eight_letters_with_a_dash_and_is_read_back() {
        let secrets = Secrets::derive(&[1; 32]).unwrap();
        let code = UserCode::mint().unwrap();
        let shown = code.shown();
        assert_eq!((shown.len(), shown.find('-')), (9, Some(4)));
        assert_eq!(format!("{code:?}"), "UserCode(…)");
        let other = UserCode::mint().unwrap();
        assert_ne!(other.shown(), shown);
        assert_ne!(other.handle(&secrets), code.handle(&secrets));
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', ""),
            shown.replace('-', " – "),
            format!("  {shown}.\n"),
            shown.chars().flat_map(|c| [c, ' ']).collect(),
        ] {
            let read = UserCode::read(&typed).unwrap();
            assert_eq!(read.handle(&secrets), code.handle(&secrets), "{typed}");
        }
    }

    #[test]
    fn every_letter_is_as_likely_as_another() {
        let mut counts = BTreeMap::new();
        for letter in (0..=u8::MAX).filter_map(letter) {
            *counts.entry(letter).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 20);
        assert!(counts.values().all(|count| *count == 12), "{counts:?}");
    }

    #[test]
    fn what_cannot_be_a_code_is_none() {
        for typed in [
            "",
            "-",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "BCDF-GHJA",
            "BCDF-GHJ1",
            "BCDF-GHJÜ",
            "ΒCDF-GHJK",
            "cg_dc_BCDFGHJK",
        ] {
            assert!(UserCode::read(typed).is_none(), "{typed}");
        }
        let padded = format!("BCDF{}GHJK", "-".repeat(64));
        assert!(UserCode::read(&padded).is_none());
    }

    proptest! {
        #[test]
        fn reading_never_panics(typed in "\\PC{0,80}") {
            let _ = UserCode::read(&typed);
        }
    }
}
