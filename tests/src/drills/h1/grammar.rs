//! What is sent: ordinary requests, and one thing or several done to them, by class. The classes are those
//! in which gateways and the servers behind them have disagreed.

mod body;
mod head;

use super::draft::{Draft, Field, Framing, HIDDEN, Place, Request};
use super::random::Random;

/// What is done to the requests; the rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Control,
    Length,
    Coding,
    Both,
    Chunks,
    LineEnds,
    RequestLine,
    Host,
    Fields,
    Pipeline,
    Bytes,
    Cut,
}

impl Class {
    pub const ALL: [Self; 12] = [
        Self::Control,
        Self::Length,
        Self::Coding,
        Self::Both,
        Self::Chunks,
        Self::LineEnds,
        Self::RequestLine,
        Self::Host,
        Self::Fields,
        Self::Pipeline,
        Self::Bytes,
        Self::Cut,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Length => "length",
            Self::Coding => "coding",
            Self::Both => "length and coding",
            Self::Chunks => "chunks",
            Self::LineEnds => "line ends",
            Self::RequestLine => "request line",
            Self::Host => "host",
            Self::Fields => "fields",
            Self::Pipeline => "pipeline",
            Self::Bytes => "bytes",
            Self::Cut => "cut off",
        }
    }
}

/// Bytes that some reader takes for space, for a line end, for nothing, or for part of a name.
const ODD: &[u8] =
    b"\0\x01\x08\t\n\x0b\x0c\r\x1a\x1b\x1f !\"#'(,-.;:=@[\\]_`{|}\x7f\x80\x85\xa0\xad\xff";

/// A draft of a class.
pub fn draft(class: Class, random: &mut Random, place: &Place<'_>) -> Draft {
    let mut draft = Draft::default();
    let several = matches!(class, Class::Pipeline) || random.one_in(3);
    for number in 0..=usize::from(several) {
        let request = match class {
            Class::Length => framed(random, place, number, Framing::Length),
            Class::Coding | Class::Chunks => framed(random, place, number, Framing::Chunked),
            _ => Request::ordinary(random, place, number),
        };
        draft.requests.push(request);
    }
    let at = random.below(draft.requests.len());
    let request = &mut draft.requests[at];
    match class {
        Class::Control | Class::Bytes | Class::Cut => {}
        Class::Length => body::length(random, request),
        Class::Coding => body::coding(random, request),
        Class::Both => body::both(random, request),
        Class::Chunks => request.body = body::chunks(random),
        Class::LineEnds => head::line_ends(random, request),
        Class::RequestLine => head::request_line(random, request),
        Class::Host => head::host(random, request),
        Class::Fields => head::fields(random, request),
        Class::Pipeline => body::pipeline(random, place, request),
    }
    let may_hide = !matches!(class, Class::Control | Class::Cut);
    if may_hide && random.one_in(2) {
        let hidden = Request::with(random, place, (HIDDEN, "GET", Framing::None));
        draft.last().body.extend(hidden.bytes());
    } else if random.one_in(2) {
        let last = draft.last();
        last.push("Connection", "close");
    }
    draft
}

/// What is done to the bytes of the whole, at last.
pub fn finish(class: Class, random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    match class {
        Class::Bytes => {
            for _ in 0..=random.below(3) {
                change(random, &mut bytes);
            }
        }
        Class::Cut => bytes.truncate(random.below(bytes.len()).max(1)),
        _ => {}
    }
    bytes
}

fn framed(random: &mut Random, place: &Place<'_>, number: usize, framing: Framing) -> Request {
    Request::with(random, place, (number, "POST", framing))
}

/// Puts something odd before, into or after the name, the colon or the value.
fn around(random: &mut Random, field: &mut Field) {
    let odd = random.pick(ODD);
    match random.below(9) {
        0 => field.name.insert(0, odd),
        1 => field.name.push(odd),
        2 => field.colon.push(odd),
        3 => field.value.push(odd),
        4 => {
            let at = random.below(field.name.len());
            field.name.insert(at, odd);
        }
        5 => {
            let at = random.below(field.value.len());
            field.value.insert(at, odd);
        }
        6 => {
            field.colon = random
                .pick(&[
                    &b":"[..],
                    b"",
                    b" : ",
                    b"\t:",
                    b":\r\n ",
                    b":\n",
                    b": \r\n\t",
                    b"=",
                    b"::",
                ])
                .to_vec()
        }
        7 => field.name = field.name.to_ascii_uppercase(),
        _ => {
            let at = random.below(field.name.len());
            field.name[at] = odd;
        }
    }
}

/// One byte, or a few: another, one more, one less, twice. What tells requests apart is left alone.
fn change(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    let near = &bytes[at.saturating_sub(10)..(at + 10).min(bytes.len())];
    if !super::draft::ids(near).is_empty() || bytes.is_empty() {
        return;
    }
    let odd = if random.one_in(2) {
        random.pick(ODD)
    } else {
        random.below(256) as u8
    };
    match random.below(6) {
        0 => bytes[at] = odd,
        1 => bytes.insert(at, odd),
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, bytes[at]),
        4 => bytes[at] ^= 1 << random.below(8),
        _ => {
            let word = random.pick(&[
                &b"\r\n"[..],
                b"\r\n\r\n",
                b"0\r\n\r\n",
                b"Content-Length: 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"\n",
                b" ",
                b": ",
            ]);
            bytes.splice(at..at, word.iter().copied());
        }
    }
}
