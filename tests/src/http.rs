//! Plain HTTP for tests: a client with limits, and raw bytes over a socket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer that was read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A client that follows no redirect and waits at most ten seconds.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("client")
}

/// Sends and reads whole.
pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    try_send(request).await.expect("answer")
}

/// [`send`], where no answer is an answer, too.
pub async fn try_send(request: reqwest::RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await.ok()?;
    Some(Answer {
        status,
        headers,
        body,
    })
}

/// GET, with a bearer token where there is one.
pub async fn get(url: &str, token: Option<&str>) -> Answer {
    let request = client().get(url);
    send(match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    })
    .await
}

/// POST of a form, with HTTP Basic where there is a pair.
pub async fn post_form(url: &str, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answer {
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = client()
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    send(match basic {
        Some((user, password)) => request.basic_auth(user, Some(password)),
        None => request,
    })
    .await
}

/// Sends bytes as they are; everything that came back before the end or the time limit.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("timeout");
    // A server that refuses early may close before everything is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = stream.read(&mut buffer) {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    answer
}

/// The status of a raw answer; none where the connection was closed without one.
pub fn raw_status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}
