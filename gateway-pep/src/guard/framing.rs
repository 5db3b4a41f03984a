//! Where messages begin and end, by RFC 9112 without its allowances.

/// Follows one connection through its messages.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    /// Messages whose heads are complete.
    heads: u64,
    /// The beginning of a line whose end was not read yet.
    partial: Vec<u8>,
    max_line: usize,
    head: Head,
}

/// What a piece of the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// Within a head.
    BadHead,
    /// Within a body, after so many good bytes of the piece.
    BadBody {
        good: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RequestLine,
    Fields,
    Fixed(u64),
    ChunkSize,
    ChunkData(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailers,
    /// Nothing is looked at any more.
    Bad,
}

/// What the head at hand has said about its body.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    http_10: bool,
    length: Option<u64>,
    chunked: bool,
}

/// A line that may not stand where it stands.
struct Bad;

const MAX_CHUNK_LINE: usize = 256;

impl Framing {
    pub(super) fn new(max_line: usize) -> Self {
        Self {
            state: State::RequestLine,
            heads: 0,
            partial: Vec::new(),
            max_line,
            head: Head::default(),
        }
    }

    /// Index of the message whose head is being read, or whose body.
    pub(super) fn messages(&self) -> u64 {
        self.heads
    }

    /// Reads on. After anything but [`Verdict::Fine`] it reads no more.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Verdict {
        let mut rest = bytes;
        while !rest.is_empty() {
            let step = match self.state {
                State::Bad => return Verdict::Fine,
                State::Fixed(left) => Ok(self.skip(left, rest, State::Fixed, State::RequestLine)),
                State::ChunkData(left) => {
                    Ok(self.skip(left, rest, State::ChunkData, State::ChunkEnd))
                }
                State::RequestLine
                | State::Fields
                | State::ChunkSize
                | State::ChunkEnd
                | State::Trailers => self.line(rest),
            };
            let Ok(taken) = step else {
                let in_head = matches!(self.state, State::RequestLine | State::Fields);
                self.state = State::Bad;
                let good = bytes.len() - rest.len();
                return if in_head {
                    Verdict::BadHead
                } else {
                    Verdict::BadBody { good }
                };
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Verdict::Fine
    }

    fn skip(&mut self, left: u64, rest: &[u8], more: impl Fn(u64) -> State, done: State) -> usize {
        let available = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        let taken = left.min(available);
        self.state = if taken == left {
            done
        } else {
            more(left - taken)
        };
        usize::try_from(taken).unwrap_or(rest.len())
    }

    /// Reads one line, or as much of it as there is.
    fn line(&mut self, rest: &[u8]) -> Result<usize, Bad> {
        // A carriage return that ended the last piece waits for its line feed.
        if self.partial.last() == Some(&b'\r') {
            if rest.first() != Some(&b'\n') {
                return Err(Bad);
            }
            let mut line = std::mem::take(&mut self.partial);
            line.pop();
            let end = self.complete(&line);
            line.clear();
            self.partial = line;
            return end.map(|()| 1);
        }
        let max = match self.state {
            State::ChunkSize | State::ChunkEnd => MAX_CHUNK_LINE,
            _ => self.max_line,
        };
        match memchr::memchr2(b'\r', b'\n', rest) {
            Some(at) if self.partial.len() + at <= max => {
                let (line, end) = rest.split_at(at);
                match end {
                    [b'\r', b'\n', ..] => {
                        if self.partial.is_empty() {
                            self.complete(line)?;
                        } else {
                            let mut whole = std::mem::take(&mut self.partial);
                            whole.extend_from_slice(line);
                            self.complete(&whole)?;
                        }
                        Ok(at + 2)
                    }
                    [b'\r'] => {
                        self.partial.extend_from_slice(rest);
                        Ok(rest.len())
                    }
                    _ => Err(Bad),
                }
            }
            None if self.partial.len() + rest.len() <= max => {
                self.partial.extend_from_slice(rest);
                Ok(rest.len())
            }
            _ => Err(Bad),
        }
    }

    fn complete(&mut self, line: &[u8]) -> Result<(), Bad> {
        self.state = match self.state {
            State::RequestLine => {
                self.head = request_line(line)?;
                State::Fields
            }
            State::Fields if line.is_empty() => self.end_of_head()?,
            State::Fields => {
                self.head.field(line)?;
                State::Fields
            }
            State::ChunkSize => match chunk_size(line)? {
                0 => State::Trailers,
                size => State::ChunkData(size),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::Trailers if line.is_empty() => State::RequestLine,
            State::Trailers => {
                trailer(line)?;
                State::Trailers
            }
            State::ChunkEnd | State::Fixed(_) | State::ChunkData(_) | State::Bad => {
                return Err(Bad);
            }
        };
        Ok(())
    }

    fn end_of_head(&mut self) -> Result<State, Bad> {
        let state = match (self.head.chunked, self.head.length) {
            (true, None) if !self.head.http_10 => State::ChunkSize,
            (true, _) => return Err(Bad),
            (false, None | Some(0)) => State::RequestLine,
            (false, Some(length)) => State::Fixed(length),
        };
        self.heads += 1;
        Ok(state)
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) -> Result<(), Bad> {
        // A line that begins with space continues the one before, or pretends to.
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Bad);
        }
        if let Some(value) = field_value(line, b"content-length") {
            let canonical = value.iter().all(u8::is_ascii_digit)
                && (value.first() != Some(&b'0') || value == b"0");
            let length = std::str::from_utf8(value).ok().filter(|_| canonical);
            let length = length.and_then(|text| text.parse().ok()).ok_or(Bad)?;
            if self.length.replace(length).is_some() {
                return Err(Bad);
            }
        } else if let Some(value) = field_value(line, b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Bad);
            }
            self.chunked = true;
        }
        Ok(())
    }
}

/// `METHOD SP target SP HTTP/1.x`.
fn request_line(line: &[u8]) -> Result<Head, Bad> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Bad);
    };
    let visible = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    if method.is_empty() || target.is_empty() || !target.iter().all(visible) {
        return Err(Bad);
    }
    match version {
        b"HTTP/1.1" => Ok(Head::default()),
        b"HTTP/1.0" => Ok(Head {
            http_10: true,
            ..Head::default()
        }),
        _ => Err(Bad),
    }
}

/// The value where the field has this name, without the space around it.
fn field_value<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    if line.get(name.len()) != Some(&b':') {
        return None;
    }
    let (found, value) = line.split_at_checked(name.len())?;
    if !found.eq_ignore_ascii_case(name) {
        return None;
    }
    // Not `trim_ascii`: vertical tabs and form feeds are no space in HTTP.
    let mut value = value.get(1..)?;
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    Some(value)
}

/// Hexadecimal digits, and perhaps an extension of visible characters.
fn chunk_size(line: &[u8]) -> Result<u64, Bad> {
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (digits, extension) = line.split_at(end);
    let fine = match extension {
        [] => true,
        [b';', extension @ ..] => {
            !extension.is_empty()
                && extension
                    .iter()
                    .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        }
        _ => false,
    };
    if digits.is_empty() || digits.len() > 15 || !fine {
        return Err(Bad);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Bad)?;
    u64::from_str_radix(digits, 16).map_err(|_| Bad)
}

/// A field by the letter, and none that frames or addresses a message: that cannot come after it.
fn trailer(line: &[u8]) -> Result<(), Bad> {
    let names: [&[u8]; 4] = [
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"authorization",
    ];
    let is_forbidden = names.iter().any(|name| field_value(line, name).is_some());
    let (name, value) = match memchr::memchr(b':', line) {
        Some(colon) => line.split_at(colon),
        None => return Err(Bad),
    };
    let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    if is_forbidden || !is_token(name) || !value.iter().all(is_text) {
        return Err(Bad);
    }
    Ok(())
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_part)
}

#[cfg(test)]
mod tests;
