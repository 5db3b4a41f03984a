//! Asks one endpoint how it is: a request of our own, without anything of a client's.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::plan::{EndpointPlan, HealthCheck};

/// Checks the endpoint again and again, and tells each outcome.
pub(super) async fn run(check: HealthCheck, endpoint: EndpointPlan, told: impl AsyncFn(bool)) {
    // Those of many endpoints and of many gateways come apart from each other.
    let first = check.interval.mul_f64(fastrand::f64() / 2.0);
    tokio::time::sleep(first.min(Duration::from_secs(1))).await;
    loop {
        let begun = Instant::now();
        let answered = timeout(check.timeout, ask(&check, &endpoint)).await;
        let is_well = match &answered {
            Ok(Ok(status)) => check.expects(*status),
            Ok(Err(_)) | Err(_) => false,
        };
        if !is_well {
            tracing::debug!(endpoint = &*endpoint.name, ?answered, "health check failed");
        }
        told(is_well).await;
        tokio::time::sleep_until(begun + about(check.interval)).await;
    }
}

/// An interval, a little shorter or longer: what begins together comes apart.
pub(super) fn about(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + fastrand::f64() * 0.2)
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the endpoint cannot be reached")]
    Connect(#[from] std::io::Error),
    #[error("the exchange with the endpoint failed")]
    Exchange(#[from] hyper::Error),
}

async fn ask(check: &HealthCheck, endpoint: &EndpointPlan) -> Result<StatusCode, Unanswered> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = check.uri.clone();
    let headers = request.headers_mut();
    headers.insert(header::HOST, check.host.clone());
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut answered = pin!(sender.send_request(request));
    // The body is nobody's: with the connection, it ends here. One that ends first has brought the answer, or never
    // will.
    let answer = tokio::select! {
        biased;
        answer = &mut answered => answer,
        _ = connection => answered.await,
    };
    Ok(answer?.status())
}

const USER_AGENT: HeaderValue = HeaderValue::from_static("cedargate-health-check");
