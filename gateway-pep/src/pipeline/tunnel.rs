//! A connection that has become a WebSocket: bytes both ways, unread but for where frames begin and end, until one
//! side has enough, the gateway stops, or what permitted it no longer does.

mod frames;
mod handshake;
mod pipe;

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use service_kit::random;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::record::Record;
use super::refusal::Refusal;
use super::response_body::{Handover, ResponseBody};
use super::shape;
use crate::body::BodyError;
use crate::upstream::Upgraded;
use crate::withdrawn::Withdrawn;
use crate::worker::Worker;
use crate::worker::connection::Connection;
use frames::{Code, close_frame};
pub(super) use handshake::Handshake;
use pipe::Pipe;

/// Why a tunnel ends.
enum End {
    /// Between the two ends.
    Over,
    /// One of them takes nothing.
    Stalled,
    /// The gateway stops.
    Stopping,
    Withdrawn(Withdrawn),
}

/// The two of a kind: what goes to the upstream and what comes from there.
#[derive(Debug)]
struct Pipes {
    upward: Pipe,
    downward: Pipe,
}

/// Whoever is told that it is over gets this long to say so, too.
const FAREWELL: Duration = Duration::from_secs(1);

/// Joins the two sides, which have agreed on it.
pub(super) fn switch_protocols(
    worker: &Rc<Worker>,
    connection: &Connection,
    mut handshake: Handshake,
    (response, upgraded, idle): (&mut Response<Incoming>, Upgraded, Duration),
    on_upgrade: Option<OnUpgrade>,
) -> Result<Response<ResponseBody>, Refusal> {
    let downstream = on_upgrade.ok_or(Refusal::UpstreamFailed)?;
    let upstream = hyper::upgrade::on(&mut *response);
    connection.enter_tunnel();
    let handover = Rc::<Handover>::default();
    let opened = handshake.opened.take();
    let opened = opened.unwrap_or_else(|| worker.become_tunnel(connection.client_ip()));
    let body = ResponseBody::tunnel(handover.clone());
    let running = worker.clone();
    tokio::task::spawn_local(async move {
        let joined = futures_util::future::try_join(downstream, upstream).await;
        let _held = (opened, upgraded, handover.take_kept());
        let (Ok((downstream, upstream)), Some(mut record)) = (joined, handover.take()) else {
            return;
        };
        let (downstream, upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
        let pipes = Pipes::new(running.core.timeouts.idle_body, idle);
        run(&running, (downstream, upstream), pipes, &mut record).await;
    });
    let mut switched = Response::new(body);
    *switched.headers_mut() = std::mem::take(response.headers_mut());
    shape::response_headers(&worker.core.plan, switched.headers_mut());
    handshake.agree(&mut switched);
    Ok(switched)
}

async fn run<D, U>(
    worker: &Worker,
    (mut downstream, mut upstream): (D, U),
    mut pipes: Pipes,
    record: &mut Record,
) where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let parting = worker.parting();
    let mut closed = pin!(parting.cancelled());
    record.hold();
    let end = poll_fn(|context| {
        if let Some(withdrawn) = record.withdrawn(context) {
            return Poll::Ready(End::Withdrawn(withdrawn));
        }
        if closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Stopping);
        }
        pipes
            .pass(context, &mut downstream, &mut upstream, record)
            .map(|ended| match ended {
                Err(error) if is_of_patience(&error) => End::Stalled,
                Ok(()) | Err(_) => End::Over,
            })
    })
    .await;
    let code = match end {
        // How a tunnel ends is between the two ends.
        End::Over => return,
        End::Stalled => {
            record.broke_off(BodyError::Idle);
            Code::GoingAway
        }
        End::Stopping => Code::GoingAway,
        End::Withdrawn(withdrawn) => {
            record.broke_off(BodyError::Withdrawn(withdrawn));
            Code::PolicyViolation
        }
    };
    let mask = random::bytes::<4>().unwrap_or_default();
    let to_client = pipes.downward.may_close().then(|| close_frame(code, None));
    let to_upstream = pipes.upward.may_close();
    let to_upstream = to_upstream.then(|| close_frame(Code::GoingAway, Some(mask)));
    let farewell = futures_util::future::join(
        take_leave(&mut downstream, to_client),
        take_leave(&mut upstream, to_upstream),
    );
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// Whether it is ours, and not the network's.
fn is_of_patience(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
}

/// Says that it is over, where that can be said between two frames, and reads on until the other side has heard
/// it: unread bytes would take the last words with them.
async fn take_leave(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), words: Option<Vec<u8>>) {
    let Some(words) = words else {
        return;
    };
    let said = async {
        stream.write_all(&words).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    if said.await.is_err() {
        return;
    }
    let mut unread = [0; 2048];
    while stream
        .read(&mut unread)
        .await
        .is_ok_and(|length| length > 0)
    {}
}

impl Pipes {
    /// Patience with either side, where it takes nothing, or does not end when the other has.
    fn new(with_client: Duration, with_upstream: Duration) -> Self {
        Self {
            upward: Pipe::new(with_client, with_upstream),
            downward: Pipe::new(with_upstream, with_client),
        }
    }

    /// Ready when both have come to their end, or one has failed.
    fn pass<D, U>(
        &mut self,
        context: &mut Context<'_>,
        downstream: &mut D,
        upstream: &mut U,
        record: &mut Record,
    ) -> Poll<io::Result<()>>
    where
        D: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let is_last = self.downward.is_over();
        let up = self.upward.pass(context, (downstream, upstream), is_last);
        let down = (upstream, downstream);
        let down = self.downward.pass(context, down, self.upward.is_over());
        if self.downward.is_over() && !is_last {
            // The other is the last now.
            context.waker().wake_by_ref();
        }
        record.received(self.upward.take_passed());
        record.sent(self.downward.take_passed());
        match (up?, down?) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}
