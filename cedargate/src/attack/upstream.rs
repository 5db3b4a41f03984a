//! The upstream of an attack: it keeps each request byte for byte, read by a reader that shares
//! nothing with the gateway's, and answers. One request a connection; whatever follows is kept, too.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use service_kit::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What arrived on one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Request line and fields, as they came.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// The message came to its end.
    pub(super) is_whole: bool,
    /// What came after the end.
    pub(super) surplus: Vec<u8>,
}

/// A recording upstream.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A peer gets this long for the next piece.
const PATIENCE: Duration = Duration::from_secs(2);

impl Upstream {
    /// Listens on loopback until the tasks drain.
    pub async fn start(tasks: &Tasks) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let upstream = Self {
            address: listener.local_addr()?,
            seen: Arc::default(),
        };
        let (serving, own, draining) = (upstream.clone(), tasks.clone(), tasks.draining());
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = draining.cancelled() => return,
                };
                if let Ok((stream, _)) = accepted {
                    let serving = serving.clone();
                    own.spawn(async move { serving.serve(stream).await });
                }
            }
        });
        Ok(upstream)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What arrived since the last time.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, seen: Seen) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(seen);
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let seen = loop {
            if let Some(seen) = read(&bytes) {
                break seen;
            }
            if !more(&mut stream, &mut bytes).await {
                if !bytes.is_empty() {
                    self.keep(Seen {
                        head: text(&bytes),
                        ..Seen::default()
                    });
                }
                return;
            }
        };
        let is_head = seen.head.starts_with("HEAD ");
        let surplus = seen.surplus.clone();
        self.keep(seen);
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
        let body = if is_head { "" } else { "seen" };
        let _ = stream.write_all(format!("{answer}{body}").as_bytes()).await;
        // A gateway that believes in one more message on this connection sends it now.
        let mut later = surplus.clone();
        while more(&mut stream, &mut later).await {}
        if later.len() > surplus.len() {
            self.keep(Seen {
                surplus: later,
                ..Seen::default()
            });
        }
    }
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> bool {
    let read = tokio::time::timeout(PATIENCE, stream.read_buf(bytes)).await;
    matches!(read, Ok(Ok(length)) if length > 0)
}

/// The message, once it is whole.
fn read(bytes: &[u8]) -> Option<Seen> {
    let end = find(bytes, b"\r\n\r\n")?;
    let (head, rest) = bytes.split_at_checked(end + 4)?;
    let head = text(head);
    let (body, length) = match (
        field(&head, "transfer-encoding"),
        field(&head, "content-length"),
    ) {
        (Some(_), _) => unchunk(rest)?,
        (None, Some(length)) => {
            let length: usize = length.parse().ok()?;
            (rest.get(..length)?.to_vec(), length)
        }
        (None, None) => (Vec::new(), 0),
    };
    Some(Seen {
        head,
        body,
        is_whole: true,
        surplus: rest.get(length..)?.to_vec(),
    })
}

/// A chunked body, and how many bytes it took.
fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..)?;
        let end = find(rest, b"\r\n")?;
        let line = std::str::from_utf8(rest.get(..end)?).ok()?;
        let digits = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).ok()?;
        at += end + 2;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size + 2;
    }
    // Trailer fields, to the empty line.
    loop {
        let end = find(bytes.get(at..)?, b"\r\n")?;
        at += end + 2;
        if end == 0 {
            return Some((body, at));
        }
    }
}

/// The value of a field of a head, by its name in lower case.
pub(super) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_framing_says_and_the_rest_is_surplus() {
        let seen = read(b"PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /").unwrap();
        assert_eq!((&*seen.body, &*seen.surplus), (&b"hi"[..], &b"GET /"[..]));
        let chunked =
            b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nA: b\r\n\r\n";
        let seen = read(chunked).unwrap();
        assert_eq!((&*seen.body, &*seen.surplus), (&b"hi"[..], &b""[..]));
        assert!(read(&chunked[..chunked.len() - 2]).is_none());
    }
}
