//! The old process: hands over to one that asks, and takes everything back from one that does not get far enough.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use service_kit::error::chain;
use service_kit::listeners::Listening;
use service_kit::{Listeners, Tasks};
use store::MovableStore;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::channel::{Channel, MOST_SOCKETS};
use super::place::Place;
use super::{HandoverError, Message, PROTOCOL};

/// What is handed over.
#[derive(Debug)]
pub(crate) struct Giver {
    pub(crate) listeners: Listeners,
    /// None: state is where others can have it, too.
    pub(crate) store: Option<MovableStore>,
    /// Cancelled when another process serves.
    pub(crate) handed_over: CancellationToken,
    /// What carries questions to the store of the other process, as long as this one takes to end.
    pub(crate) relays: Tasks,
}

/// The other process gets so long for each word but the last two.
const TURN: Duration = Duration::from_secs(10);
/// Until it has opened the store, and until it serves: it reads policies and waits for what it needs.
const STARTING: Duration = Duration::from_mins(2);
/// Verbs of the store that are under way end within this.
const CLOSING: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

impl Giver {
    /// Waits at the path for who takes over, until somebody has or the tasks drain.
    pub(crate) fn wait(self, path: &Path, tasks: &Tasks) -> std::io::Result<()> {
        let place = Place::take(path)?;
        let draining = tasks.draining();
        tasks.spawn(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = self.run(&place) => {}
            }
        });
        Ok(())
    }

    /// One after the other.
    async fn run(&self, place: &Place) {
        loop {
            let stream = match place.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "nobody can ask to take over");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let mut is_store_gone = false;
            match self.hand_over(stream, &mut is_store_gone).await {
                Ok(()) => {
                    tracing::info!("another process has taken over; finishing what has begun");
                    place.leave();
                    self.handed_over.cancel();
                    return;
                }
                // Whoever only looks whether somebody is here says nothing.
                Err(HandoverError::Gone(_)) if !is_store_gone => {
                    tracing::debug!("nobody has taken over");
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(error, "nobody has taken over; this process goes on");
                }
            }
            if is_store_gone {
                self.take_back().await;
            }
        }
    }

    async fn hand_over(
        &self,
        stream: UnixStream,
        is_store_gone: &mut bool,
    ) -> Result<(), HandoverError> {
        let mut channel = Channel::of(stream)?;
        let Message::Hello { protocol, version } = channel.receive(TURN).await?.0 else {
            return Err(HandoverError::OutOfTurn);
        };
        if protocol != PROTOCOL {
            let reason = format!("it hands over by protocol {PROTOCOL}, and not by {protocol}");
            channel.send(&Message::Refused { reason }, &[]).await?;
            return Err(HandoverError::AnotherProtocol(protocol));
        }
        tracing::info!(version, "another process is about to take over");
        for listening in self.listeners.open().map_err(HandoverError::Gone)? {
            give(&mut channel, &listening).await?;
        }
        channel.send(&Message::ThatWasAll, &[]).await?;
        loop {
            match channel.receive(STARTING).await?.0 {
                Message::StorePlease { path } => {
                    self.give_store(&mut channel, &path, is_store_gone).await?;
                }
                Message::Serving => break,
                _ => return Err(HandoverError::OutOfTurn),
            }
        }
        // It serves already, whether or not it hears this.
        let _ = channel.send(&Message::Draining, &[]).await;
        Ok(())
    }

    async fn give_store(
        &self,
        channel: &mut Channel,
        path: &Path,
        is_store_gone: &mut bool,
    ) -> Result<(), HandoverError> {
        let Some(store) = self.store.as_ref().filter(|store| store.path() == path) else {
            return channel.send(&Message::NotMyStore, &[]).await;
        };
        let begun = Instant::now();
        if let Err(error) = store.let_go(CLOSING).await {
            let reason = "its store is busy".to_owned();
            channel.send(&Message::Refused { reason }, &[]).await?;
            return Err(error.into());
        }
        *is_store_gone = true;
        channel.send(&Message::StoreReleased, &[]).await?;
        let (Message::StoreOpened, sockets) = channel.receive(STARTING).await? else {
            return Err(HandoverError::OutOfTurn);
        };
        let socket = sockets.into_iter().next().ok_or(HandoverError::OutOfTurn)?;
        let stream = std::os::unix::net::UnixStream::from(socket);
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream));
        let stream = stream.map_err(HandoverError::Gone)?;
        self.relays.spawn(store.go_on_by(stream));
        let millis = begun.elapsed().as_millis();
        tracing::info!(millis, "the store is open in the other process");
        Ok(())
    }

    /// Until it is here again, what needs it waits, and fails in the end.
    async fn take_back(&self) {
        let Some(store) = &self.store else {
            return;
        };
        while let Err(error) = store.take_back().await {
            let error = chain(&error);
            tracing::error!(error, "the store cannot be opened again; trying on");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// In as many messages as it takes.
async fn give(channel: &mut Channel, listening: &Listening) -> Result<(), HandoverError> {
    for sockets in listening.sockets.chunks(MOST_SOCKETS) {
        let message = Message::Listener {
            name: listening.name.clone(),
            address: listening.address,
        };
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        channel.send(&message, &sockets).await?;
    }
    Ok(())
}
