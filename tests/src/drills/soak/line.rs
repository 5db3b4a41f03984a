//! A client's connections by TLS, one of three kinds, and what became of each request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name in the gateways' certificates.
pub const NAME: &str = "gate.soak";

/// No answer takes longer, or it counts as none.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1, one connection for all.
    Kept,
    /// HTTP/1.1, a connection for each.
    Fresh,
    /// HTTP/2.
    Two,
}

/// An answer that was read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: bool,
    pub body: Bytes,
}

/// How far a request got that has no whole answer.
#[derive(Debug)]
pub enum Broken {
    Connect(String),
    Head(String),
    /// With the status that was there already.
    Body(u16, String),
    TimedOut,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Head(why) => write!(f, "no answer: {why}"),
            Self::Body(status, why) => write!(f, "{status}, and half an answer: {why}"),
            Self::TimedOut => write!(f, "no answer within {PATIENCE:?}"),
        }
    }
}

type Body = Full<Bytes>;

/// To one gateway.
pub struct Line {
    pub speaks: Speaks,
    address: SocketAddr,
    tls: TlsConnector,
    one: Mutex<Option<http1::SendRequest<Body>>>,
    two: Mutex<Option<http2::SendRequest<Body>>>,
}

impl Line {
    pub fn new(speaks: Speaks, address: SocketAddr, config: &rustls::ClientConfig) -> Self {
        let mut config = config.clone();
        let protocol: &[u8] = if speaks == Speaks::Two {
            b"h2"
        } else {
            b"http/1.1"
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Self {
            speaks,
            address,
            tls: TlsConnector::from(Arc::new(config)),
            one: Mutex::default(),
            two: Mutex::default(),
        }
    }

    /// Sends and reads whole.
    pub async fn ask(&self, request: Request<Body>) -> Result<Answer, Broken> {
        let asked = async {
            let response = self.send(request).await?;
            read(response).await
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or(Err(Broken::TimedOut))
    }

    /// Sends; the answer's body is still to come.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Broken> {
        match self.speaks {
            Speaks::Two => self.send_by_two(request).await,
            Speaks::Kept | Speaks::Fresh => self.send_by_one(request).await,
        }
    }

    async fn send_by_one(&self, request: Request<Body>) -> Result<Response<Incoming>, Broken> {
        let mut place = self.one.lock().await;
        let kept = place.take().filter(|_| self.speaks == Speaks::Kept);
        let mut request = request;
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    *place = Some(sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    // It was never sent: the connection had ended.
                    Some(back) => request = back,
                    None => return Err(Broken::Head(format!("{:?}", error.error()))),
                },
            }
        }
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Broken::Connect(format!("{error:?}")))?;
        tokio::spawn(connection);
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| Broken::Head(format!("{error:?}")))?;
        *place = Some(sender);
        Ok(response)
    }

    async fn send_by_two(&self, request: Request<Body>) -> Result<Response<Incoming>, Broken> {
        let mut sender = self.two_kept_or_new().await?;
        let mut error = match sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        // It was never sent: the connection had ended.
        let Some(request) = error.take_message() else {
            return Err(Broken::Head(format!("{:?}", error.error())));
        };
        *self.two.lock().await = None;
        let mut sender = self.two_kept_or_new().await?;
        let sent = sender.send_request(request).await;
        sent.map_err(|error| Broken::Head(format!("{error:?}")))
    }

    async fn two_kept_or_new(&self) -> Result<http2::SendRequest<Body>, Broken> {
        let mut place = self.two.lock().await;
        if let Some(sender) = place.take().filter(|it| !it.is_closed()) {
            return Ok(place.insert(sender).clone());
        }
        let stream = self.connect().await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| Broken::Connect(format!("{error:?}")))?;
        tokio::spawn(connection);
        Ok(place.insert(sender).clone())
    }

    /// A connection with nothing on it yet.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>, Broken> {
        let failed = |error: std::io::Error| Broken::Connect(error.to_string());
        let stream = TcpStream::connect(self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let name = ServerName::try_from(NAME).expect("a name");
        self.tls.connect(name, stream).await.map_err(failed)
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Broken> {
    let status = response.status().as_u16();
    let retry_after = response.headers().contains_key("retry-after");
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| Broken::Body(status, format!("{error:?}")))?;
    Ok(Answer {
        status,
        retry_after,
        body: body.to_bytes(),
    })
}
