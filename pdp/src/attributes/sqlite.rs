//! Attributes in an SQLite file: one query an entity, off the threads that answer questions.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use service_kit::Tasks;
use smol_str::SmolStr;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::cell::{Cell, Cells, LONGEST, columns};
use super::query::{self, Dialect};
use crate::config::{AttributeProviderConfig, SqliteSource};

/// The file, and what it is asked.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<File>,
    tasks: Tasks,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    query: String,
    attributes: Vec<SmolStr>,
    timeout: Duration,
    /// Connections that nobody uses now.
    idle: Mutex<Vec<Opened>>,
}

/// A connection, and which file it is to: another one may have been put in its place since.
#[derive(Debug)]
struct Opened {
    connection: Connection,
    identity: Identity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    number: u64,
}

/// How often a query that runs looks whether its time is over, in steps of SQLite's machine.
const STEPS: i32 = 1000;

impl Source {
    pub(super) fn open(
        config: &SqliteSource,
        provider: &AttributeProviderConfig,
        base: &Path,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        query::check(&config.query, Dialect::Sqlite)?;
        if config.file.as_os_str().is_empty() {
            return Err("`sqlite.file` is empty".into());
        }
        let file = File {
            path: base.join(&config.file),
            query: config.query.clone(),
            attributes: provider.attributes.iter().map(SmolStr::from).collect(),
            timeout: provider.timeout(),
            idle: Mutex::default(),
        };
        Ok(Self {
            file: Arc::new(file),
            tasks: tasks.clone(),
        })
    }

    /// Opens the file and reads the query, and logs why that cannot be done.
    pub(super) fn start(&self, provider: String, room: Arc<Semaphore>) {
        let file = Arc::clone(&self.file);
        self.tasks.spawn(async move {
            let Ok(place) = room.acquire_owned().await else {
                return;
            };
            let deadline = Instant::now() + file.timeout;
            let tried = tokio::task::spawn_blocking(move || {
                let tried = file.opened(deadline).map(|opened| file.keep(opened));
                drop(place);
                tried
            });
            if let Ok(Err(why)) = tried.await {
                tracing::warn!(provider, why, "an attribute provider cannot be asked yet");
            }
        });
    }

    /// The row of an entity; nothing where there is none.
    pub(super) async fn ask(
        &self,
        id: &str,
        place: OwnedSemaphorePermit,
    ) -> Result<Option<Cells>, String> {
        let file = Arc::clone(&self.file);
        let id = id.to_owned();
        let deadline = Instant::now() + file.timeout;
        let asked = tokio::task::spawn_blocking(move || {
            let said = file.ask(&id, deadline);
            // Not before it is done, however long somebody waits for it.
            drop(place);
            said
        });
        asked.await.map_err(|_| "it breaks off".to_owned())?
    }
}

impl File {
    fn ask(&self, id: &str, deadline: Instant) -> Result<Option<Cells>, String> {
        let mut opened = self.opened(deadline)?;
        let said = self.row(&mut opened.connection, id, deadline)?;
        self.keep(opened);
        said
    }

    /// An outer error is the connection's, which is not used again then; an inner one the row's.
    fn row(
        &self,
        connection: &mut Connection,
        id: &str,
        deadline: Instant,
    ) -> Result<Result<Option<Cells>, String>, String> {
        let is_late = move || Instant::now() >= deadline;
        connection
            .progress_handler(STEPS, Some(is_late))
            .map_err(|error| failed(&error))?;
        let mut statement = connection
            .prepare_cached(&self.query)
            .map_err(|error| failed(&error))?;
        let columns = self.columns(&statement)?;
        let mut rows = statement.query([id]).map_err(|error| failed(&error))?;
        let Some(row) = rows.next().map_err(|error| failed(&error))? else {
            return Ok(Ok(None));
        };
        let mut size = 0;
        let mut cells = Vec::with_capacity(columns.len());
        for (name, column) in columns {
            let value = row.get_ref(column).map_err(|error| failed(&error))?;
            match cell(value, &mut size) {
                Ok(cell) => cells.push((name, cell)),
                Err(why) => return Ok(Err(format!("of its `{name}`, {why}"))),
            }
        }
        if rows.next().map_err(|error| failed(&error))?.is_some() {
            return Ok(Err("it has more than one row of it".into()));
        }
        Ok(Ok(Some(Cells(cells))))
    }

    /// The place of each attribute's column.
    fn columns(
        &self,
        statement: &rusqlite::Statement<'_>,
    ) -> Result<Vec<(SmolStr, usize)>, String> {
        if statement.parameter_count() != 1 {
            return Err("its query has not one parameter".into());
        }
        if !statement.readonly() {
            return Err("its query does not only read".into());
        }
        let names: Vec<_> = statement.column_names().collect();
        columns(&self.attributes, &names)
    }

    /// A connection in which the query can be run.
    fn opened(&self, deadline: Instant) -> Result<Opened, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("it does not answer in time".into());
        }
        let identity = Identity::of(&self.path)?;
        let kept = self.idle(identity);
        let opened = match kept {
            Some(kept) => kept,
            None => self.connect(identity)?,
        };
        let connection = &opened.connection;
        connection
            .busy_timeout(left)
            .map_err(|error| failed(&error))?;
        Ok(opened)
    }

    /// One that is kept; those to a file that was replaced are closed.
    fn idle(&self, identity: Identity) -> Option<Opened> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|opened| opened.identity == identity);
        idle.pop()
    }

    fn keep(&self, opened: Opened) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(opened);
    }

    fn connect(&self, identity: Identity) -> Result<Opened, String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            // A column that there is not is an error, not the text of its name.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            Ok(connection)
        };
        let connection = connect().map_err(|error| unusable(&error))?;
        let statement = connection.prepare_cached(&self.query);
        let statement = statement.map_err(|error| unusable(&error))?;
        self.columns(&statement)?;
        drop(statement);
        Ok(Opened {
            connection,
            identity,
        })
    }
}

impl Identity {
    fn of(path: &Path) -> Result<Self, String> {
        let found = std::fs::metadata(path)
            .map_err(|error| format!("its file cannot be read: {}", error.kind()))?;
        Ok(Self {
            device: found.dev(),
            number: found.ino(),
        })
    }
}

fn cell(value: ValueRef<'_>, size: &mut usize) -> Result<Cell, String> {
    match value {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(value) => Ok(Cell::Number(value)),
        ValueRef::Real(_) => Err("its column has a floating-point number".into()),
        ValueRef::Blob(_) => Err("its column has a blob".into()),
        ValueRef::Text(bytes) => {
            *size += bytes.len();
            if *size > LONGEST {
                return Err(format!("there are more than {LONGEST} bytes"));
            }
            let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
            Ok(Cell::Written(text.to_owned()))
        }
    }
}

/// What is wrong with the file or the query, in SQLite's words: no row has been looked at.
fn unusable(error: &rusqlite::Error) -> String {
    format!("it cannot be asked: {error}")
}

/// What is wrong with asking. SQLite's words could hold a value; its kind of error does not.
fn failed(error: &rusqlite::Error) -> String {
    match (error.sqlite_error_code(), error.sqlite_error()) {
        (Some(rusqlite::ErrorCode::OperationInterrupted), _) => "it does not answer in time".into(),
        (_, Some(kind)) => format!("it cannot be asked: {kind}"),
        (_, None) => "it cannot be asked".into(),
    }
}
