//! JSON text, written piece by piece. For what is written at every decision, where going by way of
//! serde costs more than deciding does: what is known beforehand is copied as it stands.

use std::ops::Range;

use serde::Serialize;

use crate::read::plain;
use crate::{Json, Members, Number};

/// A buffer that JSON is written to the end of.
#[derive(Debug, Default)]
pub struct JsonText(Vec<u8>);

impl JsonText {
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Goes on in a buffer that is kept.
    pub fn after(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much it holds without growing. Bytes.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Writes once more what stands in this place.
    pub fn repeat(&mut self, written: Range<usize>) {
        if self.0.get(written.clone()).is_some() {
            self.0.extend_from_within(written);
        }
    }

    /// Takes back what was written after so many bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.0.truncate(bytes);
    }

    /// Makes room for so many more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// JSON as it is: punctuation, names that need no escape, numbers.
    #[inline]
    pub fn raw(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// A text, in quotes.
    pub fn text(&mut self, text: &str) {
        if plain(text.as_bytes()) == text.len() {
            self.0.reserve(text.len() + 2);
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            self.value(&text);
        }
    }

    /// A number that was read.
    fn numeral(&mut self, number: Number) {
        match number {
            Number::Whole(number) => self.number(number),
            Number::Negative(number) => {
                self.0.push(b'-');
                self.number(number.unsigned_abs());
            }
            Number::Real(number) => self.value(&number),
        }
    }

    pub fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            first = at;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0
            .extend_from_slice(digits.get(first..).unwrap_or_default());
    }

    /// A part of a text: no quotes, and no leading zeros.
    pub fn hexadecimal(&mut self, number: u64) {
        // Eight digits of a half at once: each in a byte of its own, then as letters.
        let spread = |half: u64| {
            let half = (half | half << 16) & 0x0000_ffff_0000_ffff;
            let half = (half | half << 8) & 0x00ff_00ff_00ff_00ff;
            let digits = (half | half << 4) & 0x0f0f_0f0f_0f0f_0f0f;
            let is_letter = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
            (digits + 0x3030_3030_3030_3030 + is_letter * 0x27).to_be_bytes()
        };
        let digits = [spread(number >> 32), spread(number & u64::from(u32::MAX))];
        let first = (number.leading_zeros() as usize / 4).min(15);
        let digits = digits.as_flattened();
        self.0
            .extend_from_slice(digits.get(first..).unwrap_or_default());
    }

    /// Items with commas between them, in brackets.
    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.0.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            write(self, item);
        }
        self.0.push(b']');
    }

    /// Members with commas between them, in braces.
    pub fn object<'n, T>(
        &mut self,
        members: impl IntoIterator<Item = (&'n str, T)>,
        mut write: impl FnMut(&mut Self, &'n str, T),
    ) {
        self.0.push(b'{');
        for (at, (name, value)) in members.into_iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            self.text(name);
            self.0.push(b':');
            write(self, name, value);
        }
        self.0.push(b'}');
    }

    pub fn json(&mut self, json: &Json<'_>) {
        match json {
            Json::Null => self.raw("null"),
            Json::Bool(true) => self.raw("true"),
            Json::Bool(false) => self.raw("false"),
            Json::Number(number) => self.numeral(*number),
            Json::Text(text) => self.text(text),
            Json::Array(items) => self.list(*items, Self::json),
            Json::Object(members) => self.members(members),
        }
    }

    /// An object. One that was read is written as it was, space and escapes included.
    pub fn members(&mut self, members: &Members<'_>) {
        if let Some(text) = members.text() {
            return self.raw(text);
        }
        self.object(members.iter(), |text, _, value| text.json(value));
    }

    /// By way of serde. What cannot be JSON is `null`.
    pub fn value(&mut self, value: &impl Serialize) {
        let written = self.0.len();
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(written);
            self.raw("null");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Arena;

    #[test]
    fn what_is_written_is_what_was_meant() {
        let value = json!({
            "": [], "a\"b\\c\u{7f}": "\u{0}\n\t\"\\/é\u{2028}😀", "n": [1, -2, 1.5e300, u64::MAX],
            "deep": { "x": { "y": [{}, [[]], null, true, false] } },
        });
        let mut text = JsonText::default();
        text.json(&Json::lent(&value, &Arena::new()));
        let bytes = text.into_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
        assert_eq!(bytes, serde_json::to_vec(&value).unwrap());
    }

    #[test]
    fn what_has_been_written_is_written_again() {
        let mut text = JsonText::default();
        text.raw("[1,");
        text.text("a");
        text.repeat(2..6);
        text.repeat(40..50);
        assert_eq!(text.into_bytes(), br#"[1,"a","a""#);
    }

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for number in [0, 9, 10, 100, 12_345, u64::MAX] {
            let mut text = JsonText::default();
            text.number(number);
            assert_eq!(text.into_bytes(), number.to_string().into_bytes());
        }
    }
}
