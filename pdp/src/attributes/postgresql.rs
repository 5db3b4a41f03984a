//! Attributes in a PostgreSQL database: one query an entity, over a few connections that are kept.
//!
//! A connection has one question at a time, so that a slow one holds up nobody else. Each question
//! has a task of its own: it goes on where nobody waits any more, since a connection that is being
//! made is worth having, and what a database still works on takes a place until it is done.

mod settings;
mod value;

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use service_kit::Tasks;
use smol_str::SmolStr;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Column, Connection, Error, NoTls, Row, Socket, Statement};

use super::cell::{Cell, Cells, LONGEST, columns};
use super::query::{self, Dialect};
use crate::config::{AttributeProviderConfig, PostgresqlSource};
use settings::{Settings, Transport};

/// The database, and what it is asked.
#[derive(Debug)]
pub(super) struct Source(Arc<Database>);

#[derive(Debug)]
struct Database {
    /// Read anew for each connection: a password or a certificate may have been changed.
    source: PostgresqlSource,
    base: PathBuf,
    attributes: Vec<SmolStr>,
    timeout: Duration,
    /// Connections that nobody uses now.
    idle: Mutex<Vec<Connected>>,
    tasks: Tasks,
}

/// A connection that has read the query.
#[derive(Debug)]
struct Connected {
    client: Client,
    statement: Statement,
    columns: Vec<(SmolStr, usize)>,
    /// What moves its bytes. Without it the connection is closed, whatever is still on its way.
    driver: Driver,
}

#[derive(Debug)]
struct Driver(AbortHandle);

/// Why a question has no answer.
#[derive(Debug)]
enum Failure {
    /// The connection can be asked on.
    Answer(String),
    /// It cannot.
    Connection(String),
}

/// A connection is made within so long or not at all. Longer than a question may wait, which would
/// otherwise never get one where the way is long.
const CONNECT: Duration = Duration::from_secs(5);

/// The server is to give up first: it says so, and the connection can be kept.
const GRACE: Duration = Duration::from_millis(250);

impl Source {
    pub(super) fn open(
        config: &PostgresqlSource,
        provider: &AttributeProviderConfig,
        base: &Path,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        query::check(&config.query, Dialect::Postgresql)?;
        let timeout = provider.timeout();
        // What is wrong with it is said at once.
        Settings::new(config, base, timeout)?;
        Ok(Self(Arc::new(Database {
            source: config.clone(),
            base: base.to_owned(),
            attributes: provider.attributes.iter().map(SmolStr::from).collect(),
            timeout,
            idle: Mutex::default(),
            tasks: tasks.clone(),
        })))
    }

    /// Connects, and logs why that cannot be done. Also closes what is kept when the process ends.
    pub(super) fn start(&self, provider: String, room: Arc<Semaphore>) {
        let database = Arc::clone(&self.0);
        let draining = database.tasks.draining();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = database.try_out(&provider, &room) => {}
            }
            // Whoever drops the source closes its connections, too.
            let still = Arc::downgrade(&database);
            drop(database);
            draining.cancelled().await;
            if let Some(database) = still.upgrade() {
                database.idle().clear();
            }
        });
    }

    /// The row of an entity; nothing where there is none.
    pub(super) async fn ask(
        &self,
        id: &str,
        place: OwnedSemaphorePermit,
    ) -> Result<Option<Cells>, String> {
        // Its texts cannot hold one.
        if id.contains('\0') {
            return Err("it cannot be asked about such an id".into());
        }
        let database = Arc::clone(&self.0);
        let id = id.to_owned();
        let asked = self.0.tasks.spawn(async move {
            let said = database.ask(&id).await;
            drop(place);
            said
        });
        asked.await.map_err(|_| "it breaks off".to_owned())?
    }
}

impl Database {
    async fn try_out(&self, provider: &str, room: &Semaphore) {
        let _place = room.acquire().await;
        if !self.idle().is_empty() {
            // Questions were quicker.
            return;
        }
        match self.connect().await {
            Ok(connected) => self.keep(connected),
            Err(why) => {
                tracing::warn!(provider, why, "an attribute provider cannot be asked yet");
            }
        }
    }

    async fn ask(&self, id: &str) -> Result<Option<Cells>, String> {
        let kept = self.idle().pop();
        if let Some(kept) = kept {
            match self.ask_over(kept, id).await {
                // It may be from before the server was started anew: over a new one it can be told.
                Err(Failure::Connection(_)) => self.idle().clear(),
                Err(Failure::Answer(why)) => return Err(why),
                Ok(said) => return Ok(said),
            }
        }
        let connected = self.connect().await?;
        match self.ask_over(connected, id).await {
            Err(Failure::Answer(why) | Failure::Connection(why)) => Err(why),
            Ok(said) => Ok(said),
        }
    }

    async fn ask_over(&self, connected: Connected, id: &str) -> Result<Option<Cells>, Failure> {
        let said = tokio::time::timeout(self.timeout + GRACE, connected.ask(id)).await;
        let Ok(said) = said else {
            // Nothing comes through, and the others may lead to the same place.
            self.idle().clear();
            return Err(Failure::Answer("it does not answer in time".into()));
        };
        if !matches!(said, Err(Failure::Connection(_))) {
            self.keep(connected);
        }
        said
    }

    async fn connect(&self) -> Result<Connected, String> {
        let connected = tokio::time::timeout(CONNECT, self.connect_now()).await;
        connected.map_err(|_| "it cannot be reached in time".to_owned())?
    }

    async fn connect_now(&self) -> Result<Connected, String> {
        let Settings { config, transport } = self.settings().await?;
        let (client, driver) = match transport {
            Transport::Plain => {
                let made = config.connect(NoTls).await;
                let (client, connection) = made.map_err(|error| unreachable(&error))?;
                (client, self.drive(connection))
            }
            Transport::Tls(tls) => {
                let made = config.connect(tls).await;
                let (client, connection) = made.map_err(|error| unreachable(&error))?;
                (client, self.drive(connection))
            }
        };
        let statement = client
            .prepare_typed(&self.source.query, &[Type::TEXT])
            .await
            .map_err(|error| format!("its query cannot be used: {}", in_words(&error)))?;
        let names: Vec<_> = statement.columns().iter().map(Column::name).collect();
        let columns = columns(&self.attributes, &names)?;
        Ok(Connected {
            client,
            statement,
            columns,
            driver,
        })
    }

    async fn settings(&self) -> Result<Settings, String> {
        let (source, base, timeout) = (self.source.clone(), self.base.clone(), self.timeout);
        let read = tokio::task::spawn_blocking(move || Settings::new(&source, &base, timeout));
        read.await.map_err(|_| "it breaks off".to_owned())?
    }

    fn drive<S>(&self, connection: Connection<Socket, S>) -> Driver
    where
        S: TlsStream + Unpin + Send + 'static,
    {
        let driven = self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = in_words(&error), "a database's connection breaks");
            }
        });
        Driver(driven.abort_handle())
    }

    fn keep(&self, connected: Connected) {
        if !self.tasks.draining().is_cancelled() {
            self.idle().push(connected);
        }
    }

    /// Never held while anything is waited for.
    fn idle(&self) -> MutexGuard<'_, Vec<Connected>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connected| !connected.client.is_closed());
        idle
    }
}

impl Connected {
    async fn ask(&self, id: &str) -> Result<Option<Cells>, Failure> {
        let rows = self.client.query_raw(&self.statement, [id]).await;
        let mut rows = pin!(rows.map_err(|error| Failure::of(&error))?);
        let Some(row) = rows.try_next().await.map_err(|error| Failure::of(&error))? else {
            return Ok(None);
        };
        if rows
            .try_next()
            .await
            .map_err(|error| Failure::of(&error))?
            .is_some()
        {
            // There may be any number of them: they are not waited for.
            self.driver.0.abort();
            return Err(Failure::Answer("it has more than one row of it".into()));
        }
        self.cells(&row).map(Some).map_err(Failure::Answer)
    }

    fn cells(&self, row: &Row) -> Result<Cells, String> {
        if row.raw_size_bytes() > LONGEST {
            return Err(format!("it answers with more than {LONGEST} bytes"));
        }
        let cell = |(name, column): &(SmolStr, usize)| {
            let cell: Cell = row.try_get(*column).map_err(|error| {
                let why = error.source().map(ToString::to_string);
                format!("of its `{name}`, {}", why.unwrap_or_default())
            })?;
            Ok((name.clone(), cell))
        };
        self.columns
            .iter()
            .map(cell)
            .collect::<Result<_, _>>()
            .map(Cells)
    }
}

impl Failure {
    fn of(error: &Error) -> Self {
        let Some(code) = error.code() else {
            return Self::Connection("it breaks off".into());
        };
        if *code == SqlState::QUERY_CANCELED {
            return Self::Answer("it does not answer in time".into());
        }
        // The text of an error may hold a value; its code does not.
        let why = format!("it answers with the error {}", code.code());
        // The server stops, or has forgotten the statement, or gives other columns now.
        let is_over = ["08", "57", "26", "0A"]
            .iter()
            .any(|class| code.code().starts_with(class));
        if is_over {
            Self::Connection(why)
        } else {
            Self::Answer(why)
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn unreachable(error: &Error) -> String {
    format!("it cannot be reached: {}", in_words(error))
}

/// An error and its causes. Not for one about an answer, which may hold values.
fn in_words(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
