//! A worker's thread: accepts connections, serves each with the pipeline, and drains.

mod calls;
mod client;
mod http1;
mod http2;
mod passed_on;
mod transport;

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use service_kit::LineSink;
use service_kit::listeners::take_late;
use service_kit::random::RandomError;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::access_log::AccessLog;
use crate::explain::Job;
use crate::pipeline;
use crate::streams;
use crate::worker::{Seed, Worker};
use client::Client;
pub(crate) use client::Purpose;

/// How a thread learns that it should end, and says that it did.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) draining: CancellationToken,
    /// Tunnels have to end, too.
    pub(crate) parting: CancellationToken,
    /// Patience is over.
    pub(crate) abort: CancellationToken,
    /// Resolves when no worker has a connection: until then each keeps its runtime alive, since
    /// connections to token service and PDP are shared among them.
    pub(crate) idle: tokio_util::task::TaskTracker,
    pub(crate) token: TaskTrackerToken,
}

/// What a thread is told beside.
#[derive(Debug)]
pub(crate) struct Orders {
    /// None: it explains nothing.
    pub(crate) jobs: Option<mpsc::Receiver<Job>>,
    pub(crate) successions: mpsc::Receiver<Succession>,
}

/// The configuration by which requests are to be answered from now on.
#[derive(Debug)]
pub(crate) struct Succession {
    pub(crate) seed: Seed,
    pub(crate) sink: LineSink,
    /// Told when it answers.
    pub(crate) done: oneshot::Sender<Result<(), RandomError>>,
}

const TICK: Duration = Duration::from_secs(2);
const BACK_OFF: Duration = Duration::from_millis(50);

/// Starts a worker on bound listeners.
pub(crate) fn spawn(
    index: usize,
    seed: Seed,
    listeners: Vec<(std::net::TcpListener, Purpose)>,
    sink: LineSink,
    (fate, orders): (Fate, Orders),
) -> io::Result<thread::JoinHandle<()>> {
    let (started, is_started) = std::sync::mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name(format!("gateway-{index}"))
        .spawn(move || {
            // Such a runtime cannot leave its thread, so it is made there.
            let built = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = match built {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            runtime.block_on(async move {
                if let Err(error) = run(&seed, listeners, sink, (fate, orders)).await {
                    tracing::error!(%error, "a gateway worker ended");
                }
            });
        })?;
    is_started.recv().map_err(io::Error::other)??;
    Ok(thread)
}

async fn run(
    seed: &Seed,
    listeners: Vec<(std::net::TcpListener, Purpose)>,
    sink: LineSink,
    (fate, orders): (Fate, Orders),
) -> io::Result<()> {
    let Fate {
        draining,
        parting,
        abort,
        idle,
        token,
    } = fate;
    let Orders {
        mut jobs,
        successions,
    } = orders;
    let mut successions = Some(successions);
    let first = Generation::begin(seed, sink, None).map_err(io::Error::other)?;
    let worker = first.worker.clone();
    let mut generations = vec![first];
    let mut accepting = JoinSet::new();
    for (listener, purpose) in listeners {
        let listener = TcpListener::from_std(listener)?;
        accepting.spawn_local(accept(worker.clone(), listener, purpose, draining.clone()));
    }
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = ticks.tick() => look_after(&mut generations),
            ended = accepting.join_next() => if ended.is_none() {
                break;
            },
            job = next(&mut jobs) => explain(worker.current(), job),
            succession = next(&mut successions) => succeed(&mut generations, succession),
        }
    }
    let (doors, linger) = (&worker.doors, worker.current().core.timeouts.linger);
    let _ = tokio::time::timeout(linger, doors.wait_until_closed()).await;
    doors.close();
    tokio::select! {
        () = doors.wait_until_closed() => {}
        () = parting.cancelled() => doors.part(),
    }
    tokio::select! {
        () = doors.wait_until_closed() => {}
        () = abort.cancelled() => {}
    }
    for generation in generations {
        generation.worker.update_gauges();
        generation.end();
    }
    drop(token);
    tokio::select! {
        () = idle.wait() => {}
        () = abort.cancelled() => {}
    }
    Ok(())
}

/// The worker of one configuration, with what goes on for it as long as it is needed.
struct Generation {
    worker: Rc<Worker>,
    flushing: JoinHandle<()>,
    watching: JoinHandle<()>,
}

impl Generation {
    fn begin(seed: &Seed, sink: LineSink, before: Option<&Worker>) -> Result<Self, RandomError> {
        let worker = Rc::new(seed.worker(AccessLog::new(sink), before)?);
        let flushing = tokio::task::spawn_local({
            let worker = worker.clone();
            async move { worker.access_log.flush_soon().await }
        });
        let watching = tokio::task::spawn_local(watch_streams(worker.clone()));
        Ok(Self {
            worker,
            flushing,
            watching,
        })
    }

    fn end(self) {
        self.watching.abort();
        self.flushing.abort();
        self.worker.access_log.flush();
    }
}

/// Says how things stand, and lets go of configurations by which nothing is answered any more.
fn look_after(generations: &mut Vec<Generation>) {
    let last = generations.len().saturating_sub(1);
    for gone in generations.extract_if(..last, |old| !old.worker.is_in_use()) {
        gone.worker.leave_gauges();
        gone.end();
    }
    for generation in generations {
        generation.worker.update_gauges();
    }
}

/// Requests that come from now on are answered by another configuration, on whatever connection. What has begun
/// goes on as it began.
fn succeed(generations: &mut Vec<Generation>, Succession { seed, sink, done }: Succession) {
    let Some(before) = generations.last().map(|last| last.worker.clone()) else {
        return;
    };
    let next = Generation::begin(&seed, sink, Some(&before));
    let _ = done.send(next.map(|next| {
        before.succeeded_by(&next.worker);
        generations.push(next);
    }));
}

/// The next of what comes; never, where nothing does.
async fn next<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> T {
    if let Some(open) = receiver
        && let Some(next) = open.recv().await
    {
        return next;
    }
    *receiver = None;
    std::future::pending().await
}

fn explain(worker: Rc<Worker>, Job { asked, answer }: Job) {
    tokio::task::spawn_local(async move {
        // Whoever asked may have gone.
        let _ = answer.send(pipeline::explain::explain(&worker, &asked).await);
    });
}

/// Takes connections on until the drain begins.
async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    purpose: Purpose,
    draining: CancellationToken,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => take_on(&worker, stream, peer.ip(), purpose),
                Err(error) => {
                    worker.core.metrics.refused.accept.inc();
                    back_off(&error).await;
                }
            },
            () = draining.cancelled() => break,
        }
    }
    worker.doors.drain();
    take_late(listener, |stream, peer| {
        take_on(&worker, stream, peer.ip(), purpose);
    });
}

/// Waits where the next accept would fail at once, too: for want of descriptors or memory, say.
async fn back_off(error: &io::Error) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        return;
    }
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(BACK_OFF).await;
}

/// Serves a fresh connection, if there is room for one more.
fn take_on(worker: &Rc<Worker>, stream: TcpStream, peer: IpAddr, purpose: Purpose) {
    let worker = worker.current();
    // Whoever speaks for others has many connections; who only pretends to is a client like any other.
    let (plan, from) = (&worker.core.plan, peer.to_canonical());
    let is_counted = match purpose {
        Purpose::Forward => !plan.proxies.trust(from),
        Purpose::Ask(listener) => {
            let plan = plan.forward_auth.get(listener);
            plan.is_none_or(|plan| !plan.trusts(from))
        }
    };
    let is_passed_on = matches!(purpose, Purpose::Forward) && plan.proxies.pass_on() && !is_counted;
    let Some(mut open) = worker.admit(peer, is_counted) else {
        return;
    };
    tokio::task::spawn_local(async move {
        let _ = stream.set_nodelay(true);
        let mut stream = stream;
        let mut client = Client::new(peer, purpose);
        if is_passed_on {
            let heard = passed_on::hear(&worker, &mut open, &mut stream, client);
            let Some(heard) = Box::pin(heard).await else {
                return;
            };
            client = heard;
        }
        transport::serve(&worker, open.number(), stream, client).await;
    });
}

/// As long as the worker lives.
async fn watch_streams(worker: Rc<Worker>) {
    let (streams, core) = (worker.streams.clone(), &worker.core);
    streams::watch(streams, core.feed.clone(), core.streams, || worker.moment()).await;
}
