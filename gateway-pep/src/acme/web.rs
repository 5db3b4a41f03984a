//! Requests to the authority, by the client that every request of ours to others goes by: bounded in time and length,
//! following no redirect.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesBody, BytesResponse, Error, HttpClient};
use service_kit::outbound;

/// Sends what the library asks.
pub(super) struct Web(pub(super) reqwest::Client);

/// A body that was read.
struct Read(Bytes);

/// A chain of certificates is the longest answer.
const MOST_BYTES: usize = 256 << 10;

impl HttpClient for Web {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move { send(client, request).await.map_err(Error::Other) })
    }
}

async fn send(
    client: reqwest::Client,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Box<dyn StdError + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let asked = client
        .request(parts.method, parts.uri.to_string())
        .headers(parts.headers)
        .body(body);
    let mut answer = asked.send().await?;
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    let body = outbound::body(&mut answer, MOST_BYTES).await?;
    Ok(BytesResponse {
        parts: response.into_parts().0,
        body: Box::new(Read(body.into())),
    })
}

#[async_trait]
impl BytesBody for Read {
    async fn into_bytes(&mut self) -> Result<Bytes, Box<dyn StdError + Send + Sync + 'static>> {
        Ok(std::mem::take(&mut self.0))
    }
}
