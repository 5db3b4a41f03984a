//! Clients that ask without pause, each in its own way, and forgive nothing: what is not answered as it should be is
//! kept for the report.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// How a client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// HTTP/1.1, the connection as long as it is kept.
    Kept,
    /// HTTP/1.1, a connection for each request.
    New,
    /// HTTP/2, the connection as long as it lasts.
    Http2,
}

/// What is asked, and what is the answer.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub bearer: Option<String>,
    pub status: u16,
    /// By TLS, believing this authority.
    pub authority: Option<CertificateDer<'static>>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    clients: JoinSet<Vec<String>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

/// A restart is noticed by how long an answer takes, and no more.
const PATIENCE: Duration = Duration::from_secs(30);

impl Load {
    pub fn start(clients: impl IntoIterator<Item = (Manner, Target)>) -> Self {
        let load = Self {
            clients: JoinSet::new(),
            stop: Arc::default(),
            answered: Arc::default(),
        };
        clients
            .into_iter()
            .fold(load, |mut load, (manner, target)| {
                let (stop, answered) = (load.stop.clone(), load.answered.clone());
                load.clients.spawn(async move {
                    let (mut failures, mut connection) = (Vec::new(), None);
                    while !stop.load(Ordering::SeqCst) {
                        let begun = Instant::now();
                        let asked = ask(manner, &target, &mut connection);
                        let outcome = tokio::time::timeout(PATIENCE, asked).await;
                        match outcome {
                            Ok(Ok(status)) if status == target.status => {
                                answered.fetch_add(1, Ordering::SeqCst);
                            }
                            other => failures.push(format!(
                                "{manner:?} {}{}: {other:?} after {:?}",
                                target.address,
                                target.path,
                                begun.elapsed()
                            )),
                        }
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    failures
                });
                load
            })
    }

    /// So many have been answered as they should.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Waits until so many more have been.
    pub async fn go_on_for(&self, more: usize) {
        let (until, end) = (self.answered() + more, Instant::now() + PATIENCE);
        while self.answered() < until && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it; how many were answered, and what was not.
    pub async fn stop(mut self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let mut failures = Vec::new();
        while let Some(ended) = self.clients.join_next().await {
            failures.extend(ended.expect("a client"));
        }
        (self.answered(), failures)
    }
}

enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

const UNSENT: &str = "never sent";

async fn ask(
    manner: Manner,
    target: &Target,
    kept: &mut Option<Connection>,
) -> Result<u16, String> {
    loop {
        match ask_once(manner, target, kept).await {
            // RFC 9113 section 6.8: what was asked for by a stream that the server says it has not looked at, and will
            // not, is asked for again. Streams that it has looked at end otherwise.
            Err(error) if error.contains("GoAway(b\"\", NO_ERROR, Remote)") => {}
            // It never left: the connection had ended in between.
            Err(error) if error == UNSENT => {}
            answer => return answer,
        }
    }
}

async fn ask_once(
    manner: Manner,
    target: &Target,
    kept: &mut Option<Connection>,
) -> Result<u16, String> {
    // A connection that is over by the server's word is made anew; that is all that a client forgives.
    let mut usable = match kept.take() {
        Some(Connection::Http1(mut sender)) if manner == Manner::Kept => {
            let is_ready = sender.ready().await.is_ok();
            is_ready.then_some(Connection::Http1(sender))
        }
        Some(Connection::Http2(mut sender)) => {
            let is_ready = sender.ready().await.is_ok();
            is_ready.then_some(Connection::Http2(sender))
        }
        _ => None,
    };
    if usable.is_none() {
        usable = Some(connect(manner, target).await?);
    }
    let scheme = target.authority.as_ref().map_or("http", |_| "https");
    let mut request = Request::get(match manner {
        Manner::Http2 => format!("{scheme}://{}{}", target.address, target.path),
        Manner::Kept | Manner::New => target.path.clone(),
    });
    if manner != Manner::Http2 {
        request = request.header("host", target.address.to_string());
    }
    if let Some(bearer) = &target.bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    let request = request.body(Empty::new()).expect("request");
    let mut connection = usable.expect("made");
    let answer = match &mut connection {
        Connection::Http1(sender) => {
            let answer = sender.send_request(request).await;
            answer.map_err(|error| format!("no answer: {error:?}"))?
        }
        Connection::Http2(sender) => {
            let answer = sender.try_send_request(request).await;
            answer.map_err(|mut failed| match failed.take_message() {
                Some(_) => UNSENT.to_owned(),
                None => format!("no answer: {:?}", failed.error()),
            })?
        }
    };
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await;
    body.map_err(|error| format!("half an answer: {error:?}"))?;
    *kept = Some(connection);
    Ok(status)
}

async fn connect(manner: Manner, target: &Target) -> Result<Connection, String> {
    let stream = TcpStream::connect(target.address).await;
    let stream = stream.map_err(|error| format!("not connected: {error}"))?;
    let Some(authority) = &target.authority else {
        return begin(manner, stream).await;
    };
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).expect("authority");
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match manner {
        Manner::Http2 => vec![b"h2".to_vec()],
        Manner::Kept | Manner::New => vec![b"http/1.1".to_vec()],
    };
    let name = ServerName::from(target.address.ip());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = stream.await;
    begin(
        manner,
        stream.map_err(|error| format!("no handshake: {error}"))?,
    )
    .await
}

async fn begin<S>(manner: Manner, stream: S) -> Result<Connection, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = TokioIo::new(stream);
    match manner {
        Manner::Kept | Manner::New => {
            let begun = http1::handshake(stream).await;
            let (sender, connection) = begun.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            Ok(Connection::Http1(sender))
        }
        Manner::Http2 => {
            let begun = http2::handshake(TokioExecutor::new(), stream).await;
            let (sender, connection) = begun.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            Ok(Connection::Http2(sender))
        }
    }
}
