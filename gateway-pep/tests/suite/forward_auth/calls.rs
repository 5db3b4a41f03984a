//! A caller of `envoy.service.auth.v3` that writes its bytes by hand: what the gateway's own messages say is not
//! what it is held against.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::fixture::Answer;

pub(crate) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// What came back of a call.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Called {
    /// `grpc-status`, wherever it stands; once.
    pub(crate) fn code(&self) -> Option<&str> {
        let all = [&self.headers, &self.trailers];
        let mut codes = all
            .iter()
            .flat_map(|headers| headers.get_all("grpc-status"));
        let code = codes.next()?;
        assert!(codes.next().is_none(), "{self:?}");
        code.to_str().ok()
    }
}

/// A field of a message: a text, bytes or a message.
pub(crate) fn field(tag: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut bytes = vec![tag << 3 | 2];
    let mut length = value.len();
    while length > 0x7f {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend_from_slice(value);
    bytes
}

/// The fields of a message, in their order: numbers as their bytes.
pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = number(&mut bytes);
        let value = number(&mut bytes);
        if key & 7 == 2 {
            let (text, rest) = bytes.split_at(usize::try_from(value).unwrap());
            fields.push((key >> 3, text.to_vec()));
            bytes = rest;
        } else {
            assert_eq!(key & 7, 0);
            fields.push((key >> 3, value.to_be_bytes().to_vec()));
        }
    }
    fields
}

/// A message in its frame.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &*length.to_be_bytes().to_vec(), message].concat()
}

/// A question, as Envoy puts it.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) scheme: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// `encode_raw_headers`.
    pub(crate) raw: bool,
    pub(crate) source: Vec<u8>,
    /// More fields of the request.
    pub(crate) more: Vec<u8>,
}

impl Check {
    /// `more`: header lines, as the client has sent them.
    pub(crate) fn new(method: &str, target: &str, more: &str) -> Self {
        let headers = more.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.as_bytes().to_vec())
        });
        let socket = [field(2, "198.51.100.7"), vec![3 << 3, 80]].concat();
        Self {
            method: method.into(),
            path: target.into(),
            host: "gw.test".into(),
            scheme: "http".into(),
            headers: headers.collect(),
            raw: true,
            source: field(1, field(1, field(1, socket))),
            more: Vec::new(),
        }
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let pseudo = [
            (":method", &self.method),
            (":path", &self.path),
            (":authority", &self.host),
            (":scheme", &self.scheme),
        ];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.clone().into_bytes()));
        let all = pseudo.iter().chain(&self.headers);
        let headers = if self.raw {
            let entries =
                all.map(|(name, value)| field(1, [field(1, name), field(3, value)].concat()));
            field(13, entries.collect::<Vec<_>>().concat())
        } else {
            let entries =
                all.map(|(name, value)| field(3, [field(1, name), field(2, value)].concat()));
            entries.collect::<Vec<_>>().concat()
        };
        let http = [
            field(1, "4711"),
            field(2, &self.method),
            headers,
            field(4, &self.path),
            field(5, &self.host),
            field(6, &self.scheme),
            field(10, "HTTP/1.1"),
            // What a client has sent of its body, and what the route says: nobody looks there.
            field(12, "GET /admin/x HTTP/1.1\r\nHost: admin.gw.test\r\n\r\n"),
            self.more.clone(),
        ];
        let request = field(4, field(2, http.concat()));
        let metadata = field(11, field(1, [field(1, "envoy"), field(2, "")].concat()));
        field(1, [self.source.clone(), request, metadata].concat())
    }

    pub(crate) async fn ask(&self, address: SocketAddr) -> Answer {
        answer(&self.called(address).await, FOR_UPSTREAM)
    }

    /// The same, with the headers that a yes has for the client.
    pub(crate) async fn ask_for_client(&self, address: SocketAddr) -> Answer {
        answer(&self.called(address).await, FOR_CLIENT)
    }

    async fn called(&self, address: SocketAddr) -> Bytes {
        let called = call(address, CHECK, framed(&self.message()), &[]).await;
        assert_eq!(
            (called.status, called.code()),
            (200, Some("0")),
            "{called:?}"
        );
        called.body
    }
}

/// Asks on a connection of its own.
pub(crate) async fn call(
    address: SocketAddr,
    path: &str,
    body: Vec<u8>,
    more: &[(&str, &str)],
) -> Called {
    let mut request = Request::post(format!("http://auth.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in more {
        let headers = request.headers_mut().unwrap();
        headers.remove(*name);
        if !value.is_empty() {
            let name: http::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
    }
    send(address, request.body(Full::from(body)).unwrap()).await
}

pub(crate) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Called {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let driving = tokio::task::spawn(connection);
    let answer = tokio::time::timeout(Duration::from_secs(10), sender.send_request(request));
    let answer: Response<_> = answer.await.expect("an answer in time").expect("an answer");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    driving.abort();
    Called {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.to_bytes(),
        trailers,
    }
}

/// Where a yes has headers for whom.
const FOR_UPSTREAM: u64 = 2;
const FOR_CLIENT: u64 = 6;

/// What Envoy makes of it, as a text of HTTP: yes is 200 with the headers for whom, a field that is to be
/// removed is empty.
fn answer(body: &[u8], for_whom: u64) -> Answer {
    use std::fmt::Write as _;
    assert_eq!(body[0], 0);
    let fields_of = |bytes: &[u8], tag: u64| -> Vec<Vec<u8>> {
        let all = fields(bytes).into_iter();
        all.filter(|(found, _)| *found == tag)
            .map(|(_, value)| value)
            .collect()
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let options = |bytes: &[u8], tag: u64| {
        let mut lines = String::new();
        for option in fields_of(bytes, tag) {
            let header = fields_of(&option, 1).remove(0);
            let one = |tag: u64| text(fields_of(&header, tag).pop().unwrap_or_default());
            writeln!(lines, "{}: {}\r", one(1), one(2)).unwrap();
        }
        lines
    };
    let message = &body[5..];
    let code = fields_of(&fields_of(message, 1)[0], 1);
    if let Some(ok) = fields_of(message, 3).first() {
        assert!(code.is_empty() || code[0] == [0; 8], "{message:?}");
        assert!(fields_of(message, 2).is_empty());
        let removed = fields_of(ok, 5).into_iter();
        let removed = removed.map(|name| format!("{}: \r\n", text(name)));
        let removed = removed.collect::<Vec<_>>().concat();
        return Answer(format!(
            "HTTP/1.1 200 OK\r\n{}{removed}\r\n",
            options(ok, for_whom)
        ));
    }
    assert_ne!(code[0], [0; 8], "{message:?}");
    let denied = &fields_of(message, 2)[0];
    let status = &fields_of(&fields_of(denied, 1)[0], 1)[0];
    let status = u64::from_be_bytes(status.clone().try_into().unwrap());
    let body = text(fields_of(denied, 3).pop().unwrap_or_default());
    Answer(format!(
        "HTTP/1.1 {status} No\r\n{}\r\n{body}",
        options(denied, 2)
    ))
}
