//! The new process: asks for what the old one has, and says when it serves.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use service_kit::error::chain;
use service_kit::listeners::Listening;
use service_kit::{Listeners, Tasks};
use store::{MovableStore, RedbBounds, Store, WallClock, serve_relay};
use tokio::net::UnixStream;

use super::channel::Channel;
use super::{HandoverError, Message, PROTOCOL};

/// The process whose place this one takes.
#[derive(Debug)]
pub(crate) struct Predecessor {
    channel: Channel,
    path: PathBuf,
    inherited: Vec<Listening>,
}

/// The old process answers within this: it may have to wait for its store.
const TURN: Duration = Duration::from_secs(30);

/// Who hands over at this path, if anybody does.
pub(crate) async fn find(path: &Path) -> Result<Option<Predecessor>, HandoverError> {
    let Some(mut channel) = Channel::connect(path).await? else {
        return Ok(None);
    };
    let hello = Message::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    channel.send(&hello, &[]).await?;
    let mut inherited: BTreeMap<(String, SocketAddr), Vec<TcpListener>> = BTreeMap::new();
    loop {
        let (message, sockets) = channel.receive(TURN).await?;
        match message {
            Message::Listener { name, address } => {
                let listening = inherited.entry((name, address)).or_default();
                listening.extend(sockets.into_iter().map(TcpListener::from));
            }
            Message::ThatWasAll => break,
            _ => return Err(HandoverError::OutOfTurn),
        }
    }
    let inherited = inherited.into_iter();
    let inherited = inherited.map(|((name, address), sockets)| Listening {
        name,
        address,
        sockets,
    });
    Ok(Some(Predecessor {
        channel,
        path: path.to_owned(),
        inherited: inherited.collect(),
    }))
}

impl Predecessor {
    /// What it listened on.
    pub(crate) fn listeners(&mut self) -> Listeners {
        Listeners::to_be_handed_over(std::mem::take(&mut self.inherited))
    }

    /// Opens a file that it may have open; then it goes on by this process.
    pub(crate) async fn open_store(
        &mut self,
        path: &Path,
        (clock, bounds): (WallClock, RedbBounds),
        relays: &Tasks,
    ) -> Result<MovableStore, HandoverError> {
        // Its name, whatever it is called in a configuration; one that is not there yet is nobody's.
        let Ok(real) = path.canonicalize() else {
            return Ok(MovableStore::open(path, clock, bounds).await?);
        };
        self.channel
            .send(&Message::StorePlease { path: real }, &[])
            .await?;
        let is_given = match self.channel.receive(TURN).await?.0 {
            Message::StoreReleased => true,
            Message::NotMyStore => false,
            _ => return Err(HandoverError::OutOfTurn),
        };
        let store = MovableStore::open(path, clock, bounds).await?;
        if is_given {
            let (ours, theirs) = UnixStream::pair().map_err(HandoverError::Gone)?;
            let shared: Arc<dyn Store> = Arc::new(store.clone());
            relays.spawn(serve_relay(shared, ours));
            self.channel
                .send(&Message::StoreOpened, &[theirs.as_fd()])
                .await?;
        }
        Ok(store)
    }

    /// This process answers. When this returns, the other takes nothing new, or is gone.
    pub(crate) async fn end(mut self) -> Result<(), HandoverError> {
        let sent = self.channel.send(&Message::Serving, &[]).await;
        let heard = match sent {
            Ok(()) => self.channel.receive(TURN).await,
            Err(error) => Err(error),
        };
        match heard {
            Ok((Message::Draining, _)) => Ok(()),
            Ok(_) => Err(HandoverError::OutOfTurn),
            // Two that serve on are worse than one that ends.
            Err(_) if is_served(&self.path).await? => Err(HandoverError::GivenUp),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "the other process has ended before it was told to");
                Ok(())
            }
        }
    }
}

/// Whether somebody hands over at this path.
pub(crate) async fn is_served(path: &Path) -> Result<bool, HandoverError> {
    Ok(Channel::connect(path).await?.is_some())
}
