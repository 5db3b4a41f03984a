//! HTTP/2 written frame by frame, so that tests can send what no client library would.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// The client's end of a connection.
#[derive(Debug)]
pub struct Frames<S> {
    stream: S,
    read: Vec<u8>,
}

/// One frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Status and body, whole.
    Answer(u16, Vec<u8>),
    /// The stream was reset, with this error code.
    Reset(u32),
    /// The connection was ended, with this error code.
    GoAway(u32),
    /// Without a word.
    Closed,
    /// Nothing came in time.
    Silence,
}

impl Outcome {
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer(status, _) => Some(*status),
            _ => None,
        }
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `SETTINGS_HEADER_TABLE_SIZE` of 0: answers then need no table to be read.
const NO_TABLE: [u8; 6] = [0, 1, 0, 0, 0, 0];
const LARGEST: usize = 16_384;
const PATIENCE: Duration = Duration::from_secs(3);

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Says the preface.
    pub async fn begin(mut stream: S) -> Self {
        stream.write_all(PREFACE).await.expect("preface");
        let mut frames = Self {
            stream,
            read: Vec::new(),
        };
        frames.write(SETTINGS, 0, 0, &NO_TABLE).await;
        frames
    }

    /// False: the server has hung up.
    pub async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.bytes(&frame(kind, flags, stream, payload)).await
    }

    pub async fn bytes(&mut self, bytes: &[u8]) -> bool {
        let written = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    /// The head of a request, in as many frames as it takes.
    pub async fn headers(&mut self, stream: u32, fields: &[(&str, &str)], is_whole: bool) -> bool {
        let bytes = head(stream, fields, is_whole);
        self.bytes(&bytes).await
    }

    /// The next frame. Settings and pings are answered on the way.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                let is_ack = frame.flags & ACK != 0;
                match frame.kind {
                    SETTINGS if !is_ack => {
                        self.write(SETTINGS, ACK, 0, &[]).await;
                    }
                    PING if !is_ack => {
                        self.write(PING, ACK, 0, &frame.payload).await;
                    }
                    _ => {}
                }
                return Some(frame);
            }
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// What becomes of a connection on which the same frame is sent tens of thousands of times.
    pub async fn flood(&mut self, one: &[u8]) -> Outcome {
        let many = one.repeat(100);
        let mut written = 0;
        while written < 300 && self.bytes(&many).await {
            written += 1;
            tokio::task::yield_now().await;
        }
        self.outcome(1).await
    }

    /// What becomes of the request on a stream.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        let reading = self.read_outcome(stream);
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.unwrap_or(Outcome::Silence)
    }

    async fn read_outcome(&mut self, stream: u32) -> Outcome {
        let (mut status, mut body) = (0, Vec::new());
        while let Some(frame) = self.next().await {
            let code = |at: usize| {
                let bytes = frame.payload.get(at..at + 4).expect("an error code");
                u32::from_be_bytes(bytes.try_into().expect("four bytes"))
            };
            match frame.kind {
                GOAWAY if code(4) != 0 => return Outcome::GoAway(code(4)),
                _ if frame.stream != stream => continue,
                HEADERS if status == 0 => status = read_status(&frame.payload),
                DATA => body.extend_from_slice(&frame.payload),
                RST_STREAM if status == 0 || code(0) != 0 => return Outcome::Reset(code(0)),
                _ => {}
            }
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return Outcome::Answer(status, body);
            }
        }
        Outcome::Closed
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.read.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let end = 9 + usize::try_from(length).expect("length");
        let payload = self.read.get(9..end)?.to_vec();
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
            payload,
        };
        self.read.drain(..end);
        Some(frame)
    }
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("length").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// HEADERS, and CONTINUATION where one frame is not enough.
pub fn head(stream: u32, fields: &[(&str, &str)], is_whole: bool) -> Vec<u8> {
    let block = block(fields);
    let mut pieces = block.chunks(LARGEST).peekable();
    let (mut bytes, mut kind) = (Vec::new(), HEADERS);
    let mut flags = if is_whole { END_STREAM } else { 0 };
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            flags |= END_HEADERS;
        }
        bytes.extend(frame(kind, flags, stream, piece));
        (kind, flags) = (CONTINUATION, 0);
    }
    bytes
}

/// Fields as literals that nobody keeps (RFC 7541 section 6.2.2). Characters stand for bytes.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let bytes: Vec<u8> = text
                .chars()
                .map(|byte| u8::try_from(u32::from(byte)).expect("latin-1"))
                .collect();
            integer(&mut block, bytes.len());
            block.extend(bytes);
        }
    }
    block
}

/// Of a prefix of seven bits (RFC 7541 section 5.1).
fn integer(block: &mut Vec<u8>, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else {
        block.push(u8::try_from(value).expect("small"));
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).expect("a byte"));
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("a byte"));
}

/// `:status`, which comes first: from the static table, or as a literal.
fn read_status(block: &[u8]) -> u16 {
    let mut block = block;
    // The table's size was changed.
    while let [first, rest @ ..] = block
        && first & 0xe0 == 0x20
    {
        block = rest;
    }
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
        }
        [_, 0x03, digits @ ..] => std::str::from_utf8(&digits[..3])
            .expect("digits")
            .parse()
            .expect("a status"),
        [_, 0x82, high, low, ..] => three_digits([*high, *low, 0xff, 0xff]),
        [_, 0x83, high, middle, low, ..] => three_digits([*high, *middle, *low, 0xff]),
        other => panic!("no status: {other:?}"),
    }
}

/// By the code of RFC 7541 appendix B: 0 to 2 have five bits, the other digits six.
fn three_digits(bytes: [u8; 4]) -> u16 {
    let (mut left, mut status) = (u32::from_be_bytes(bytes), 0);
    for _ in 0..3 {
        let (five, six) = (left >> 27, left >> 26);
        let (digit, bits) = if five <= 2 {
            (five, 5)
        } else {
            (six - 0x19 + 3, 6)
        };
        left <<= bits;
        status = status * 10 + digit;
    }
    u16::try_from(status).expect("a status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_every_form() {
        assert_eq!(read_status(&[0x88]), 200);
        assert_eq!(read_status(&[0x20, 0x8d, 1]), 404);
        assert_eq!(read_status(&[0x48, 3, b'4', b'2', b'1']), 421);
        // 401: 011010 00000 00001, and 431: 011010 011001 00001.
        assert_eq!(read_status(&[0x48, 0x82, 0b0110_1000, 0b0000_0001]), 401);
        let block = [0x48, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111];
        assert_eq!(read_status(&block), 431);
    }
}
