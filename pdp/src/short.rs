//! Texts as far as they are repeated: to a caller what it sent, in a log, in what is said of a file. A
//! name of a megabyte, shared by a thousand entries of a batch, would else come back a thousand times.

use std::borrow::Cow;

/// Longer texts are cut. Bytes.
const LONGEST: usize = 256;

/// Whether it is repeated whole.
pub(crate) fn is_short(text: &str) -> bool {
    text.len() <= LONGEST
}

/// The text itself, or its beginning and how long it is.
pub(crate) fn short(text: &str) -> Cow<'_, str> {
    if is_short(text) {
        return Cow::Borrowed(text);
    }
    let beginning = text.get(..text.floor_char_boundary(LONGEST / 4));
    let beginning = beginning.unwrap_or_default();
    Cow::Owned(format!("{beginning}… ({} bytes)", text.len()))
}

/// The text itself, or its first so many characters.
pub(crate) fn cut(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_characters() {
        let fits = "ü".repeat(LONGEST / 2);
        assert_eq!(short(&fits), fits);
        let long = format!("x{}", "ü".repeat(LONGEST));
        let cut = short(&long);
        assert_eq!(cut, format!("x{}… (513 bytes)", "ü".repeat(31)));
    }
}
