//! What a proxy in front says of a connection whose bytes it passes on: the address of its client, and whether the
//! client came by TLS (PROXY protocol, versions 1 and 2). It comes before everything else, and once.
//!
//! SECURITY: only from peers that are trusted proxies, and from these always: where one is expected, bytes without it
//! are nobody's.

use std::io;
use std::net::IpAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::client::Client;
use crate::worker::Worker;
use crate::worker::doors::Open;

/// For whom bytes are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// For nobody: the proxy wants to see how we are, say.
    Itself,
    /// It has no address, or one that cannot be said.
    Somebody,
    Client {
        address: IpAddr,
        is_by_tls: bool,
    },
}

/// Why nobody knows.
#[derive(Debug, thiserror::Error)]
enum Unsaid {
    #[error("the connection ended")]
    Ended(#[from] io::Error),
    #[error("it does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY header is malformed or too long")]
    Malformed,
}

/// The shortest header (`PROXY UNKNOWN`) is longer, and this many bytes tell one version from the other.
const FIRST: usize = v2::PROTOCOL_PREFIX.len();
/// Of version 2: what follows tells how long it is.
const FIXED: usize = FIRST + 4;
/// What may follow: addresses, and what else a proxy says of the client, its certificate for instance.
const MOST_FOLLOWING: usize = 8 << 10;
/// Of version 1, with the end of the line.
const LONGEST_LINE: usize = 107;

const WORD: &[u8] = b"PROXY ";
/// The client has come by TLS (`PP2_CLIENT_SSL`).
const CLIENT_SSL: u8 = 1;

/// Who is behind the proxy, and counted from now on. None: nobody knows, or they have too many connections; the
/// connection ends.
pub(super) async fn hear(
    worker: &Worker,
    open: &mut Open,
    stream: &mut TcpStream,
    proxy: Client,
) -> Option<Client> {
    let closing = worker.closing();
    let heard = tokio::select! {
        heard = tokio::time::timeout(worker.core.timeouts.head, read(stream)) => heard,
        () = closing.cancelled() => return None,
    };
    let refused = &worker.core.metrics.refused;
    let said = match heard {
        Ok(Ok(said)) => said,
        // A look whether the port is open.
        Ok(Err(Unsaid::Ended(_))) => return None,
        Ok(Err(error)) => {
            refused.proxy_protocol.inc();
            let peer = proxy.peer;
            tracing::warn!(%peer, %error, "a trusted proxy does not say for whom it passes bytes on");
            return None;
        }
        Err(_) => {
            refused.proxy_protocol.inc();
            return None;
        }
    };
    let client = match said {
        Said::Itself => return Some(proxy),
        // SECURITY: what it says in headers are not the proxy's words.
        Said::Somebody => Client {
            is_unnamed: true,
            ..proxy
        },
        Said::Client { address, is_by_tls } => Client {
            peer: address.to_canonical(),
            is_by_tls,
            ..proxy
        },
    };
    let is_proxy = worker.core.plan.proxies.trust(client.peer) && !client.is_unnamed;
    (is_proxy || worker.count(open, client.peer)).then_some(client)
}

/// Reads the header, and not a byte of what follows.
async fn read(stream: &mut TcpStream) -> Result<Said, Unsaid> {
    let mut header = vec![0; FIRST];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        header.resize(FIXED, 0);
        let fixed = header.get_mut(FIRST..).unwrap_or_default();
        stream.read_exact(fixed).await?;
        let length = header.last_chunk().map_or(0, |it| u16::from_be_bytes(*it));
        if usize::from(length) > MOST_FOLLOWING {
            return Err(Unsaid::Malformed);
        }
        header.resize(FIXED + usize::from(length), 0);
        let following = header.get_mut(FIXED..).unwrap_or_default();
        stream.read_exact(following).await?;
    } else if header.starts_with(WORD) {
        read_line(stream, &mut header).await?;
    } else {
        return Err(Unsaid::Missing);
    }
    match HeaderResult::parse(&header) {
        HeaderResult::V1(Ok(line)) => Ok(of_line(&line)),
        HeaderResult::V2(Ok(header)) => of_header(&header),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(Unsaid::Malformed),
    }
}

/// To the end of the line, with as few looks as can be.
async fn read_line(stream: &mut TcpStream, line: &mut Vec<u8>) -> Result<(), Unsaid> {
    let mut ahead = [0; LONGEST_LINE];
    while line.len() < LONGEST_LINE {
        let room = ahead.get_mut(line.len()..).unwrap_or_default();
        let seen = stream.peek(room).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let seen = room.get(..seen).unwrap_or_default();
        let end = seen.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(seen.len(), |end| end + 1);
        let begun = line.len();
        line.resize(begun + taken, 0);
        stream
            .read_exact(line.get_mut(begun..).unwrap_or_default())
            .await?;
        if end.is_some() {
            return Ok(());
        }
    }
    Err(Unsaid::Malformed)
}

fn of_line(line: &v1::Header<'_>) -> Said {
    let client = |address| Said::Client {
        address,
        is_by_tls: false,
    };
    match line.addresses {
        v1::Addresses::Unknown => Said::Somebody,
        v1::Addresses::Tcp4(addresses) => client(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => client(addresses.source_address.into()),
    }
}

fn of_header(header: &v2::Header<'_>) -> Result<Said, Unsaid> {
    let mut is_by_tls = false;
    for said in header.tlvs() {
        let said = said.map_err(|_| Unsaid::Malformed)?;
        if said.kind == v2::Type::SSL as u8 {
            let bits = said.value.first();
            is_by_tls = bits.is_some_and(|bits| bits & CLIENT_SSL != 0);
        }
    }
    if header.command == v2::Command::Local {
        return Ok(Said::Itself);
    }
    if header.protocol == v2::Protocol::Datagram {
        return Err(Unsaid::Malformed);
    }
    let client = |address| Said::Client { address, is_by_tls };
    Ok(match header.addresses {
        v2::Addresses::IPv4(addresses) => client(addresses.source_address.into()),
        v2::Addresses::IPv6(addresses) => client(addresses.source_address.into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => Said::Somebody,
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What is understood of these bytes, and what is left of them. They come a few at a time.
    async fn heard(bytes: &[u8], at_a_time: usize) -> (Result<Said, Unsaid>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        proxy.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let writing = async move {
            for piece in bytes.chunks(at_a_time) {
                // It may not be read to its end.
                let _ = proxy.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = proxy.shutdown().await;
        };
        let reading = async move {
            let said = read(&mut stream).await;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            (said, rest)
        };
        let ((), heard) = tokio::join!(writing, reading);
        heard
    }

    fn version_2(command: u8, family: u8, following: &[u8]) -> Vec<u8> {
        let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(following.len()).unwrap().to_be_bytes());
        bytes.extend(following);
        bytes
    }

    const TCP4: [u8; 12] = [198, 51, 100, 7, 192, 0, 2, 1, 0xc3, 0x50, 0x01, 0xbb];
    const OF_TLS: [u8; 8] = [0x20, 0, 5, 1, 0, 0, 0, 0];
    const OF_NO_TLS: [u8; 8] = [0x20, 0, 5, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn the_client_is_whom_the_header_names_and_what_follows_is_left() {
        let ipv6 = {
            let mut bytes = vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
            bytes.extend([0; 20]);
            bytes
        };
        let by_tls = |more: &[u8]| version_2(1, 0x11, &[&TCP4[..], more].concat());
        let long = by_tls(&[&[4, 0x0f, 0xa0][..], &[0; 4000]].concat());
        let client = |address: &str, is_by_tls| Said::Client {
            address: address.parse().unwrap(),
            is_by_tls,
        };
        let (one, by_6) = (client("198.51.100.7", false), client("2001:db8::7", false));
        for (header, said) in [
            (
                b"PROXY TCP4 198.51.100.7 192.0.2.1 50000 443\r\n".to_vec(),
                one,
            ),
            (
                b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n".to_vec(),
                by_6,
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Said::Somebody),
            (
                b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
                Said::Somebody,
            ),
            (version_2(1, 0x11, &TCP4), one),
            (version_2(1, 0x21, &ipv6), by_6),
            (by_tls(&OF_TLS), client("198.51.100.7", true)),
            (by_tls(&OF_NO_TLS), one),
            (long, one),
            (version_2(0, 0x00, &[]), Said::Itself),
            (
                version_2(0, 0x11, &[&TCP4[..], &OF_TLS].concat()),
                Said::Itself,
            ),
            (version_2(1, 0x00, &[]), Said::Somebody),
            (version_2(1, 0x31, &[0; 216]), Said::Somebody),
        ] {
            let following = b"GET / HTTP/1.1\r\n\r\nPROXY";
            let bytes = [&header[..], following].concat();
            for at_a_time in [1, 7, bytes.len()] {
                let (found, rest) = heard(&bytes, at_a_time).await;
                assert_eq!(found.unwrap(), said, "{header:?}");
                assert_eq!(rest, following);
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_nobody() {
        let too_long = format!("PROXY TCP4 {}\r\n", "1".repeat(100));
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0],
            b"PROXY TCP4 198.51.100.7 192.0.2.1 50000\r\n\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 192.0.2.1 50000 443\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7 192.0.2.1 50000 443\n\n".to_vec(),
            b"PROXY TCP4 198.51.100.007 192.0.2.1 50000 443\r\n".to_vec(),
            b"proxy tcp4 198.51.100.7 192.0.2.1 50000 443\r\n".to_vec(),
            too_long.into_bytes(),
            version_2(1, 0x12, &TCP4),
            version_2(1, 0x11, &TCP4[..11]),
            version_2(1, 0x11, &[&TCP4[..], &[0x20, 0, 9, 1]].concat()),
            version_2(2, 0x11, &TCP4),
            version_2(1, 0x41, &TCP4),
            version_2(1, 0x11, &[0; 9 << 10]),
        ] {
            let (found, _) = heard(&bytes, bytes.len()).await;
            assert!(
                matches!(found, Err(Unsaid::Missing | Unsaid::Malformed)),
                "{found:?} {bytes:?}"
            );
        }
        for bytes in [
            &b""[..],
            b"PROXY",
            b"PROXY TCP4 1.2.3",
            &version_2(1, 0x11, &TCP4)[..20],
        ] {
            let (found, _) = heard(bytes, 4).await;
            assert!(matches!(found, Err(Unsaid::Ended(_))), "{found:?}");
        }
    }
}
