//! HTTP/1.1 read by the letter of RFC 9112, slowly and all at once: what a gateway takes for a message must
//! be one here.

/// A message, nothing of it interpreted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// From its first byte to its last.
    pub length: usize,
}

/// Why there is no further message in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It ends, perhaps amid a message.
    Short,
    /// What comes is none, whatever follows.
    Bad,
}

/// The whole messages of a stream, and why there are no more.
pub fn messages(mut stream: &[u8]) -> (Vec<Plain>, Stop) {
    let mut found = Vec::new();
    loop {
        match message(stream) {
            Ok((message, rest)) => {
                found.push(message);
                stream = rest;
            }
            Err(stop) => return (found, stop),
        }
    }
}

impl Plain {
    /// The values of a field, by its name in lower case.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let own = self.fields.iter().filter(|(own, _)| own == name);
        own.map(|(_, value)| &**value).collect()
    }
}

type Read<'s, T> = Result<(T, &'s [u8]), Stop>;

fn message(stream: &[u8]) -> Read<'_, Plain> {
    let (line, mut rest) = line(stream)?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return Err(Stop::Bad);
    };
    let is_old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Stop::Bad),
    };
    let is_visible = |byte: &u8| (33..127).contains(byte);
    if !is_token(method) || target.is_empty() || !target.iter().all(is_visible) {
        return Err(Stop::Bad);
    }
    let mut message = Plain {
        method: text(method),
        target: text(target),
        fields: Vec::new(),
        body: Vec::new(),
        length: 0,
    };
    loop {
        let (line, after) = self::line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        message.fields.push(field(line).ok_or(Stop::Bad)?);
    }
    let (codings, lengths) = (
        message.all("transfer-encoding"),
        message.all("content-length"),
    );
    match (&codings[..], &lengths[..]) {
        ([], []) => {}
        ([], [length]) => {
            let length = number(length, 10).ok_or(Stop::Bad)?;
            let (body, after) = take(rest, length)?;
            (message.body, rest) = (body.to_vec(), after);
        }
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") && !is_old => {
            let (body, after) = chunks(rest)?;
            (message.body, rest) = (body, after);
        }
        _ => return Err(Stop::Bad),
    }
    message.length = stream.len() - rest.len();
    Ok((message, rest))
}

fn chunks(mut rest: &[u8]) -> Read<'_, Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (line, after) = line(rest)?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = number(size, 16).ok_or(Stop::Bad)?;
        rest = after;
        if size == 0 {
            break;
        }
        let (chunk, after) = take(rest, size)?;
        body.extend_from_slice(chunk);
        let (end, after) = self::line(after)?;
        if !end.is_empty() {
            return Err(Stop::Bad);
        }
        rest = after;
    }
    loop {
        let (line, after) = line(rest)?;
        rest = after;
        if line.is_empty() {
            return Ok((body, rest));
        }
        field(line).ok_or(Stop::Bad)?;
    }
}

fn take(bytes: &[u8], length: usize) -> Read<'_, &[u8]> {
    bytes.split_at_checked(length).ok_or(Stop::Short)
}

/// To the next CRLF. A carriage return or a line feed that is alone belongs nowhere.
fn line(bytes: &[u8]) -> Read<'_, &[u8]> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let (line, rest) = bytes.split_at(end.ok_or(Stop::Short)?);
    match rest {
        [b'\r', b'\n', rest @ ..] => Ok((line, rest)),
        [b'\r'] => Err(Stop::Short),
        _ => Err(Stop::Bad),
    }
}

/// Digits, and nothing else.
fn number(digits: &[u8], radix: u32) -> Option<usize> {
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    let fits = !digits.is_empty() && digits.iter().all(is_digit);
    usize::from_str_radix(&text(digits), radix)
        .ok()
        .filter(|_| fits)
}

fn text(ascii: &[u8]) -> String {
    ascii.iter().copied().map(char::from).collect()
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut value = value.get(1..)?;
    while let [first, rest @ ..] = value
        && is_space(first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_space(last)
    {
        value = rest;
    }
    let is_plain = |byte: &u8| *byte == b'\t' || (*byte >= 32 && *byte != 127);
    let fits = is_token(name) && value.iter().all(is_plain);
    fits.then(|| (text(name).to_ascii_lowercase(), value.to_vec()))
}

fn is_token(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_part)
}
