//! Asks one endpoint how it is: a request of our own, without anything of a client's.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::dial::dial;
use crate::plan::{EndpointPlan, HealthCheck, Transport};

/// Checks the endpoint again and again, and tells each outcome.
pub(super) async fn run(
    (check, transport): (HealthCheck, Transport),
    endpoint: EndpointPlan,
    told: impl AsyncFn(bool),
) {
    // Those of many endpoints and of many gateways come apart from each other.
    let first = check.interval.mul_f64(fastrand::f64() / 2.0);
    tokio::time::sleep(first.min(Duration::from_secs(1))).await;
    loop {
        let begun = Instant::now();
        let answered = timeout(check.timeout, ask(&check, &transport, &endpoint)).await;
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

async fn ask(
    check: &HealthCheck,
    transport: &Transport,
    endpoint: &EndpointPlan,
) -> Result<StatusCode, Unanswered> {
    let stream = TokioIo::new(dial(endpoint, transport).await?);
    let mut request = Request::new(Empty::<Bytes>::new());
    let host = Some(&check.host);
    *request.uri_mut() = transport.uri(check.path.clone(), host);
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, USER_AGENT);
    if transport.http2.is_some() {
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        let executor = Until(Arc::downgrade(&tasks));
        let (mut sender, connection) = http2::handshake(executor, stream).await?;
        return first_of(sender.send_request(request), connection).await;
    }
    headers.insert(header::HOST, check.host.clone());
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let (mut sender, connection) = http1::handshake(stream).await?;
    first_of(sender.send_request(request), connection).await
}

/// The body is nobody's: with the connection, it ends here. One that ends first has brought the answer, or never
/// will.
async fn first_of<T>(
    answered: impl Future<Output = hyper::Result<Response<Incoming>>>,
    connection: impl Future<Output = T>,
) -> Result<StatusCode, Unanswered> {
    let mut answered = pin!(answered);
    let answer = tokio::select! {
        biased;
        answer = &mut answered => answer,
        _ = connection => answered.await,
    };
    Ok(answer?.status())
}

/// Runs what belongs to a connection until the check is over, however it ends.
#[derive(Clone)]
struct Until(Weak<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Until {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade()
            && let Ok(mut tasks) = tasks.lock()
        {
            tasks.spawn(task);
        }
    }
}

const USER_AGENT: HeaderValue = HeaderValue::from_static("cedargate-health-check");
