//! HTTP answers, read with as little work as shows whether they are right: status, length, body.

use anyhow::{Context as _, bail};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// One connection's answers.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// What was read and belongs to no answer yet.
    buffer: Vec<u8>,
    body: Vec<u8>,
}

/// How long a body is.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// Where the body begins.
    end: usize,
    status: u16,
    framing: Framing,
}

impl Answers {
    /// Status and body of the next answer.
    pub(crate) async fn next(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> anyhow::Result<(u16, &[u8])> {
        let head = loop {
            if let Some(head) = Head::read(&self.buffer)? {
                break head;
            }
            self.more(from).await?;
        };
        let taken = loop {
            let rest = self.buffer.get(head.end..).unwrap_or_default();
            if let Some(taken) = head.framing.read(rest, &mut self.body)? {
                break taken;
            }
            self.more(from).await?;
        };
        self.buffer.drain(..head.end + taken);
        Ok((head.status, &self.body))
    }

    async fn more(&mut self, from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
        self.buffer.reserve(16 * 1024);
        if from.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed a connection");
        }
        Ok(())
    }
}

impl Head {
    /// None where it is not there whole.
    fn read(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.context("an answer without a status")?.parse()?;
        let mut framing = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                framing = Some(Framing::Length(value.trim().parse()?));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Some(Framing::Chunked);
            }
        }
        Ok(Some(Self {
            end: end + 4,
            status,
            framing: framing.context("an answer that does not say how long it is")?,
        }))
    }
}

impl Framing {
    /// Fills `body`; gives how many bytes it took, or none where they are not all there.
    fn read(&self, bytes: &[u8], body: &mut Vec<u8>) -> anyhow::Result<Option<usize>> {
        body.clear();
        match self {
            Self::Length(length) => Ok(bytes.get(..*length).map(|whole| {
                body.extend_from_slice(whole);
                *length
            })),
            Self::Chunked => unchunk(bytes, body),
        }
    }
}

/// RFC 9112 section 7.1, without extensions and trailers.
fn unchunk(bytes: &[u8], body: &mut Vec<u8>) -> anyhow::Result<Option<usize>> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(line) = memmem::find(rest, b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(rest.get(..line).unwrap_or_default())?;
        let size = usize::from_str_radix(size, 16).context("a chunk without a size")?;
        let start = line + 2;
        let Some(chunk) = rest.get(start..start + size + 2) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk.get(..size).unwrap_or_default());
        at += start + size + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of a stream that arrives in pieces of `piece` bytes.
    async fn read(stream: &[u8], piece: usize, count: usize) -> Vec<(u16, String)> {
        let (mut here, mut there) = tokio::io::duplex(piece);
        let writing = async {
            use tokio::io::AsyncWriteExt as _;
            there.write_all(stream).await.unwrap();
        };
        let reading = async {
            let mut answers = Answers::default();
            let mut read = Vec::new();
            for _ in 0..count {
                let (status, body) = answers.next(&mut here).await.unwrap();
                read.push((status, String::from_utf8(body.to_vec()).unwrap()));
            }
            read
        };
        tokio::join!(writing, reading).1
    }

    #[tokio::test]
    async fn answers_are_told_apart_however_they_arrive() {
        let stream = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}\
            HTTP/1.1 503 Busy\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        for piece in [1, 2, 7, 64, 4096] {
            let read = read(stream, piece, 3).await;
            let expected = [(200, "{}"), (503, "abc0123456789"), (200, "")];
            let expected = expected.map(|(status, body)| (status, body.to_owned()));
            assert_eq!(read, expected, "{piece}");
        }
    }

    #[test]
    fn an_answer_without_an_end_is_an_error() {
        assert!(Head::read(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n").is_err());
        assert!(Head::read(b"HTTP\r\n\r\n").is_err());
        assert_eq!(Head::read(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
    }
}
