//! Where a provider's attributes come from, and what is said there.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use authzen::Properties;
use service_kit::traces::Span;
use service_kit::{Tasks, TraceContext};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cell::Cells;
use super::{http, postgresql, sqlite};
use crate::config::AttributeProviderConfig;
use crate::mapping::Members;

/// How a provider is asked.
#[derive(Debug)]
pub(super) enum Source {
    Http(http::Source),
    Postgresql(postgresql::Source),
    Sqlite(sqlite::Source),
}

/// What a source says of an entity.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Object(Properties),
    Cells(Cells),
}

impl Source {
    /// The error says what is wrong with the configuration. Nothing is asked yet.
    pub(super) fn open(
        config: &AttributeProviderConfig,
        base: &Path,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        match (&config.http, &config.postgresql, &config.sqlite) {
            (Some(http), None, None) => {
                http::Source::open(&config.name, http, base).map(Self::Http)
            }
            (None, Some(one), None) => {
                postgresql::Source::open(one, config, base, tasks).map(Self::Postgresql)
            }
            (None, None, Some(one)) => {
                sqlite::Source::open(one, config, base, tasks).map(Self::Sqlite)
            }
            (None, None, None) => {
                Err("it says nowhere to ask: give `http`, `postgresql` or `sqlite`".into())
            }
            _ => Err("one of `http`, `postgresql` and `sqlite` is enough: keep one".into()),
        }
    }

    /// Tries whether a database can be asked, in a task. What cannot be had now may be had later.
    pub(super) fn start(&self, provider: &str, room: &Arc<Semaphore>) {
        match self {
            Self::Http(_) => {}
            Self::Postgresql(source) => source.start(provider.to_owned(), Arc::clone(room)),
            Self::Sqlite(source) => source.start(provider.to_owned(), Arc::clone(room)),
        }
    }

    /// What is said of an entity; nothing where there is no such entity. The place is taken for as
    /// long as anything is done for it, also where nobody waits for the answer any more.
    pub(super) async fn ask(
        &self,
        provider: &str,
        id: &str,
        within: Option<&TraceContext>,
        place: OwnedSemaphorePermit,
    ) -> Result<Option<Said>, String> {
        let (said, span) = match self {
            Self::Http(source) => {
                let said = source.ask(id, within).await;
                drop(place);
                return Ok(said?.map(Said::Object));
            }
            Self::Postgresql(source) => {
                let span = query_span(provider, "postgresql", within);
                (source.ask(id, place).await, span)
            }
            Self::Sqlite(source) => {
                let span = query_span(provider, "sqlite", within);
                (source.ask(id, place).await, span)
            }
        };
        if let Some(mut span) = span {
            if said.is_err() {
                span.fail("unavailable");
            }
            span.finish();
        }
        Ok(said?.map(Said::Cells))
    }
}

/// SECURITY: neither the statement nor whom it is about is said.
fn query_span(provider: &str, system: &'static str, within: Option<&TraceContext>) -> Option<Span> {
    let mut span = within?.call("SELECT")?;
    span.set("db.system.name", system);
    span.set("cedargate.provider", provider.to_owned());
    Some(span)
}

impl Said {
    /// As JSON, which for cells is what the schema makes of them.
    pub(super) fn object(&self, members: Option<&Members>) -> Result<Cow<'_, Properties>, String> {
        match (self, members) {
            (Self::Object(object), _) => Ok(Cow::Borrowed(object)),
            (Self::Cells(cells), Some(members)) => cells.object(members).map(Cow::Owned),
            // Refused for that by whoever reads it.
            (Self::Cells(_), None) => Ok(Cow::Owned(Properties::new())),
        }
    }
}
