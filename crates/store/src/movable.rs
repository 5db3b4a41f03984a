//! A store in a file that another process can take over while verbs are under way: they wait until it is open there,
//! and are answered by it. Nothing is lost of it, and nothing happens twice.

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::config::open_redb;
use crate::relay::RelayStore;
use crate::{
    Batch, Commit, Draw, EventPage, Position, Rate, RedbBounds, ScanPage, Store, StoreError,
    WallClock,
};

/// A `redb` file, here or in the process that has taken it over. Clones share.
#[derive(Clone)]
pub struct MovableStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    bounds: RedbBounds,
    clock: WallClock,
    /// Who answers. None: the file is between two processes.
    now: ArcSwapOption<Answering>,
    /// Changes whenever `now` does.
    moves: watch::Sender<u64>,
}

type Answering = Arc<dyn Store>;

/// A file that is still open in another process is waited for.
const OPEN_ELSEWHERE: Duration = Duration::from_secs(10);
/// Verbs wait no longer for a file that is being moved.
const MOVING: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);

impl MovableStore {
    /// Opens the file. One that is open in another process is waited for: that may be about to let go of it.
    pub async fn open(
        path: &Path,
        clock: WallClock,
        bounds: RedbBounds,
    ) -> Result<Self, StoreError> {
        let store = open_soon(path, bounds, &clock).await?;
        Ok(Self(Arc::new(Inner {
            // Where it has no name of its own, it is compared by what it was called.
            path: path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            bounds,
            clock,
            now: ArcSwapOption::from_pointee(store),
            moves: watch::Sender::new(0),
        })))
    }

    /// Which file it is, whatever it was called.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Closes the file, so that another process can open it. Verbs that come from now on wait; those under way are
    /// waited for. With an error, nothing has changed.
    pub async fn let_go(&self, patience: Duration) -> Result<(), StoreError> {
        let Some(store) = self.0.now.swap(None) else {
            return Err(moving());
        };
        self.moved();
        let end = Instant::now() + patience;
        // Nobody can have it any more who does not have it by now.
        while Arc::strong_count(&store) > 1 {
            if Instant::now() >= end {
                self.be(store);
                return Err(StoreError::Timeout);
            }
            tokio::time::sleep(PAUSE).await;
        }
        // To close it is to write.
        let closed = tokio::task::spawn_blocking(move || drop(store)).await;
        closed.map_err(|_| StoreError::Unavailable(Some("shutting down".into())))
    }

    /// From now on the process at the other end answers, which has opened the file. What comes back carries the
    /// questions there, and has to be run.
    pub fn go_on_by(&self, stream: UnixStream) -> impl Future<Output = ()> + Send + 'static {
        let (store, carrying) = RelayStore::over(stream);
        let store: Answering = Arc::new(store);
        self.be(Arc::new(store));
        carrying
    }

    /// Opens the file again, which the other process has let go of.
    pub async fn take_back(&self) -> Result<(), StoreError> {
        // Whoever was asked meanwhile does not answer any more.
        self.0.now.store(None);
        self.moved();
        let inner = &*self.0;
        let store = open_soon(&inner.path, inner.bounds, &inner.clock).await?;
        self.be(Arc::new(store));
        Ok(())
    }

    fn be(&self, store: Arc<Answering>) {
        self.0.now.store(Some(store));
        self.moved();
    }

    fn moved(&self) {
        self.0.moves.send_modify(|moves| *moves += 1);
    }

    /// Whether somebody else answers by now.
    fn has_left(&self, store: &Arc<Answering>) -> bool {
        let now = self.0.now.load();
        now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, store))
    }

    async fn now(&self) -> Result<Arc<Answering>, StoreError> {
        if let Some(store) = self.0.now.load_full() {
            return Ok(store);
        }
        let mut moves = self.0.moves.subscribe();
        let arriving = async {
            loop {
                moves.borrow_and_update();
                if let Some(store) = self.0.now.load_full() {
                    return Ok(store);
                }
                moves.changed().await.map_err(|_| moving())?;
            }
        };
        timeout(MOVING, arriving).await.map_err(|_| moving())?
    }
}

async fn open_soon(
    path: &Path,
    bounds: RedbBounds,
    clock: &WallClock,
) -> Result<Answering, StoreError> {
    let end = Instant::now() + OPEN_ELSEWHERE;
    loop {
        match open_redb(path, bounds, clock.clone()).await {
            Ok(store) => return Ok(Arc::new(store)),
            Err(error) if error.is_open_elsewhere() && Instant::now() < end => {
                tokio::time::sleep(PAUSE * 10).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn moving() -> StoreError {
    StoreError::Unavailable(Some("the file is between two processes".into()))
}

#[async_trait]
impl Store for MovableStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        loop {
            let store = self.now().await?;
            let got = store.get(key).await;
            // A process that ended before it had taken over has said nothing; to read is to change nothing.
            if got.is_err() && self.has_left(&store) {
                continue;
            }
            return got;
        }
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.now().await?.take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        self.now().await?.commit(batch).await
    }

    async fn scan(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StoreError> {
        self.now().await?.scan(prefix, cursor, limit).await
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        self.now().await?.count(key, window).await
    }

    async fn draw(&self, key: &str, rate: &Rate) -> Result<Draw, StoreError> {
        self.now().await?.draw(key, rate).await
    }

    async fn tail(&self, log: &str) -> Result<Position, StoreError> {
        self.now().await?.tail(log).await
    }

    /// Waits on where the file goes: positions are the same there.
    async fn follow(
        &self,
        log: &str,
        after: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError> {
        let end = Instant::now().checked_add(wait);
        loop {
            let mut moves = self.0.moves.subscribe();
            let store = self.now().await?;
            let left = end.map_or(wait, |end| end.saturating_duration_since(Instant::now()));
            tokio::select! {
                page = store.follow(log, after, left) => return page,
                _ = moves.changed() => {}
            }
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.now().await?.ping().await
    }
}

impl Debug for MovableStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MovableStore")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}
