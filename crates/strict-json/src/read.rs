//! Reads JSON (RFC 8259) into what borrows from it. Every question is read so, and what is not read
//! by a table of its own is read by `serde_json`: numbers that are no short whole ones, texts with
//! escapes, and what to say of a text that is no JSON.

use serde_json::Value;
use smallvec::SmallVec;

use crate::name::name_bit;
use crate::{Arena, Json, JsonError, Members, Number};

/// Why nothing was read.
enum Refused {
    /// Not JSON. What is wrong is found again, slowly.
    Syntax,
    TooDeep,
    Twice(String),
}

/// What is being read. Where reading has come to is handed on with what has been read, and does not stand
/// here: it is then in a register. Why nothing is read any more stands here.
struct Reader<'a> {
    text: &'a str,
    /// Where arrays and objects are put once they are whole.
    arena: &'a Arena,
    /// Of all objects that are not whole yet, the outermost first.
    members: SmallVec<[(&'a str, Json<'a>); 24]>,
    /// Of all arrays that are not whole yet.
    items: SmallVec<[Json<'a>; 24]>,
    /// So many more levels may be entered.
    levels: usize,
    /// The bits of all names below what is being read.
    names: u64,
    /// A line has ended before: what has begun on another is not one line of text.
    is_broken: bool,
    /// Why, once nothing is read any more.
    refused: Refused,
}

/// Reads one value; nothing but space may stand around it. `levels` bounds how deep arrays and
/// objects are nested.
pub(super) fn read<'a>(
    body: &'a [u8],
    arena: &'a Arena,
    levels: usize,
) -> Result<Json<'a>, JsonError> {
    let refused = match std::str::from_utf8(body) {
        Ok(text) => {
            let mut reader = Reader {
                text,
                arena,
                members: SmallVec::new(),
                items: SmallVec::new(),
                levels,
                names: 0,
                is_broken: false,
                refused: Refused::Syntax,
            };
            match reader.whole() {
                Some(json) => return Ok(json),
                None => reader.refused,
            }
        }
        Err(_) => Refused::Syntax,
    };
    Err(match refused {
        Refused::TooDeep => JsonError::TooDeep { levels },
        Refused::Twice(name) => JsonError::Malformed {
            message: format!("`{name}` appears twice"),
        },
        Refused::Syntax => JsonError::Malformed {
            message: match serde_json::from_slice::<Value>(body) {
                Err(error) => error.to_string(),
                Ok(_) => "it cannot be read".to_owned(),
            },
        },
    })
}

/// How many bytes from the start on are a text's own: no control character, quote or backslash.
/// Eight at a time, as Mycroft's test for a zero byte does it.
#[inline]
pub(crate) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let first_odd = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let odd = (below(word, 0x20) | equal(word, b'"') | equal(word, b'\\')) & HIGH;
        // A borrow can only spoil what lies above the first hit.
        (odd != 0).then_some((odd.trailing_zeros() / 8) as usize)
    };
    let (mut rest, mut len) = (bytes, 0);
    while let Some((word, after)) = rest.split_first_chunk() {
        if let Some(at) = first_odd(word) {
            return len + at;
        }
        (rest, len) = (after, len + 8);
    }
    // The last eight once more, of which the first are known to be plain.
    if let Some(word) = bytes.last_chunk() {
        return first_odd(word).map_or(bytes.len(), |at| bytes.len() - 8 + at);
    }
    let is_odd = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    rest.iter().position(is_odd).unwrap_or(rest.len())
}

impl<'a> Reader<'a> {
    fn whole(&mut self) -> Option<Json<'a>> {
        let (json, after) = self.value(0)?;
        match self.peek(after) {
            None => Some(json),
            Some(_) => None,
        }
    }

    /// The next byte from here on that is no space, and where it stands.
    #[inline]
    fn peek(&mut self, at: usize) -> Option<(u8, usize)> {
        match self.text.as_bytes().get(at) {
            Some(byte) if *byte > b' ' => Some((*byte, at)),
            _ => self.peek_on(at),
        }
    }

    /// The same, where a space may come first.
    #[cold]
    fn peek_on(&mut self, mut at: usize) -> Option<(u8, usize)> {
        loop {
            let byte = *self.text.as_bytes().get(at)?;
            match byte {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.is_broken = true,
                _ => return Some((byte, at)),
            }
            at += 1;
        }
    }

    /// One value, and where the text goes on behind it.
    #[inline(never)]
    fn value(&mut self, at: usize) -> Option<(Json<'a>, usize)> {
        let (byte, at) = self.peek(at)?;
        match byte {
            b'"' => self.string(at + 1).map(text),
            b't' => self.word(at, "true", Json::Bool(true)),
            b'f' => self.word(at, "false", Json::Bool(false)),
            b'n' => self.word(at, "null", Json::Null),
            b'-' | b'0'..=b'9' => self.number(at),
            b'{' | b'[' => {
                let Some(levels) = self.levels.checked_sub(1) else {
                    self.refused = Refused::TooDeep;
                    return None;
                };
                self.levels = levels;
                let read = if byte == b'{' {
                    self.object(at)?
                } else {
                    self.array(at)?
                };
                self.levels = levels + 1;
                Some(read)
            }
            _ => None,
        }
    }

    /// The same of what is most often a text, which is read where it is asked for.
    #[expect(clippy::inline_always, reason = "as of `string`")]
    #[inline(always)]
    fn part(&mut self, at: usize) -> Option<(Json<'a>, usize)> {
        if self.text.as_bytes().get(at) == Some(&b'"') {
            return self.string(at + 1).map(text);
        }
        self.value(at)
    }

    fn array(&mut self, start: usize) -> Option<(Json<'a>, usize)> {
        let (byte, mut at) = self.peek(start + 1)?;
        if byte == b']' {
            return Some((Json::Array(&[]), at + 1));
        }
        let first = self.items.len();
        loop {
            let (item, after) = self.part(at)?;
            self.items.push(item);
            let (byte, end) = self.peek(after)?;
            at = end + 1;
            match byte {
                b',' => {}
                b']' => break,
                _ => return None,
            }
        }
        let items = self.arena.copy(self.items.get(first..)?);
        self.items.truncate(first);
        Some((Json::Array(items), at))
    }

    fn object(&mut self, start: usize) -> Option<(Json<'a>, usize)> {
        let was_broken = std::mem::replace(&mut self.is_broken, false);
        let beside = std::mem::replace(&mut self.names, 0);
        let first = self.members.len();
        let (mut seen, mut may_repeat) = (0, false);
        let (mut byte, mut at) = self.peek(start + 1)?;
        while byte != b'}' {
            if byte != b'"' {
                return None;
            }
            let (name, after) = self.string(at + 1)?;
            let (colon, after) = self.peek(after)?;
            if colon != b':' {
                return None;
            }
            let (value, after) = self.part(after + 1)?;
            // Nearly always no two are alike in length and first letter.
            let bit = name_bit(name);
            may_repeat |= seen & bit != 0;
            seen |= bit;
            self.members.push((name, value));
            (byte, at) = self.peek(after)?;
            match byte {
                b',' => (byte, at) = self.peek(at + 1).filter(|(byte, _)| *byte != b'}')?,
                b'}' => {}
                _ => return None,
            }
        }
        let end = at + 1;
        let text = self.text.get(start..end).filter(|_| !self.is_broken);
        self.is_broken |= was_broken;
        let members = self.arena.copy(self.members.get(first..)?);
        self.members.truncate(first);
        let names = self.names | seen;
        self.names = names | beside;
        let members = Members {
            members,
            text,
            names,
        };
        if may_repeat && let Some(name) = members.repeated() {
            self.refused = Refused::Twice(name.to_owned());
            return None;
        }
        Some((Json::Object(members), end))
    }

    /// A text whose opening quote stands before this place.
    #[expect(
        clippy::inline_always,
        reason = "most of a body are short texts, of which a call is a quarter"
    )]
    #[inline(always)]
    fn string(&mut self, start: usize) -> Option<(&'a str, usize)> {
        let text = self.text;
        let rest = text.as_bytes().get(start..)?;
        let len = plain(rest);
        if rest.get(len) != Some(&b'"') {
            return self.escaped(start);
        }
        let end = start + len;
        Some((text.get(start..end)?, end + 1))
    }

    /// The same, where something in it must be read by itself.
    #[cold]
    fn escaped(&mut self, start: usize) -> Option<(&'a str, usize)> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            at += plain(bytes.get(at..).unwrap_or_default());
            match bytes.get(at) {
                Some(b'"') => break,
                // Whatever follows, it does not end the text.
                Some(b'\\') => at += 2,
                _ => return None,
            }
        }
        let after = at + 1;
        let quoted = self.text.get(start - 1..after)?;
        let read: String = serde_json::from_str(quoted).ok()?;
        Some((self.arena.text(&read), after))
    }

    fn word(&self, at: usize, word: &str, json: Json<'a>) -> Option<(Json<'a>, usize)> {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        rest.starts_with(word.as_bytes())
            .then_some((json, at + word.len()))
    }

    fn number(&self, at: usize) -> Option<(Json<'a>, usize)> {
        /// So many digits are no overflow.
        const SHORT: usize = 18;
        let rest = self.text.as_bytes().get(at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let (whole, len) = digits.fold((0_u64, 0), |(whole, len), digit| {
            let next = whole.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            (next, len + 1)
        });
        let is_short = (1..=SHORT).contains(&len) && (len == 1 || rest.first() != Some(&b'0'));
        if is_short && !matches!(rest.get(len), Some(b'.' | b'e' | b'E')) {
            return Some((Json::Number(Number::Whole(whole)), at + len));
        }
        self.long_number(at)
    }

    /// The same, where it is not a few digits.
    #[cold]
    fn long_number(&self, at: usize) -> Option<(Json<'a>, usize)> {
        let rest = self.text.get(at..)?;
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.bytes().take_while(is_part).count();
        let read: serde_json::Number = serde_json::from_str(rest.get(..len)?).ok()?;
        Some((Json::Number(Number::from(&read)), at + len))
    }
}

fn text((text, after): (&str, usize)) -> (Json<'_>, usize) {
    (Json::Text(text), after)
}

#[cfg(test)]
mod tests;
