//! Where lines go: the access log and notifications. What stays as it was is not opened twice.

use std::path::Path;

use service_kit::LineSink;
use service_kit::line_sink::{LineTarget, LineWriter};

use crate::config::GatewayConfig;
use crate::error::GatewayError;

/// What some lines go to: what they are, and by which configuration.
pub(super) type OpenLines = (String, LineTarget, LineSink);

/// What lines go to, by what they are.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<OpenLines>,
    /// Of what is not open any more, too: each ends when nobody writes to it.
    writers: Vec<LineWriter>,
}

/// What the lines of one configuration go to.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) access_log: LineSink,
    /// In the order of their names.
    pub(super) notifications: Vec<LineSink>,
    /// To be kept where they come in force.
    pub(super) open: Vec<OpenLines>,
}

impl Lines {
    /// Opens what a configuration names and is not open.
    pub(super) fn open(
        &mut self,
        config: &GatewayConfig,
        base: &Path,
    ) -> Result<Sinks, GatewayError> {
        let mut next = Vec::new();
        let access_log = self.sink("access_log", &config.access_log, base, &mut next)?;
        let mut notifications = Vec::new();
        for (name, target) in &config.notifications {
            let name = format!("notifications.{name}");
            notifications.push(self.sink(&name, target, base, &mut next)?);
        }
        Ok(Sinks {
            access_log,
            notifications,
            open: next,
        })
    }

    /// These are in force: what else is open is let go of.
    pub(super) fn keep(&mut self, open: Vec<OpenLines>) {
        self.open = open;
    }

    /// Waits until every line is written. All workers must have ended before.
    pub(super) fn join(self) {
        drop(self.open);
        self.writers.into_iter().for_each(LineWriter::join);
    }

    fn sink(
        &mut self,
        name: &str,
        target: &LineTarget,
        base: &Path,
        next: &mut Vec<OpenLines>,
    ) -> Result<LineSink, GatewayError> {
        let mut open = self.open.iter();
        let known = open.find(|(known, as_is, _)| known == name && as_is == target);
        let sink = if let Some((.., sink)) = known {
            sink.clone()
        } else {
            let opened = target
                .prepared(base)
                .and_then(|target| LineSink::open(&target));
            let (sink, writer) = opened.map_err(|source| GatewayError::AccessLog {
                target: target.clone(),
                source,
            })?;
            self.writers.push(writer);
            sink
        };
        next.push((name.to_owned(), target.clone(), sink.clone()));
        Ok(sink)
    }
}
