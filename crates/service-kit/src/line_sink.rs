//! Lines to a file or to standard output, never waiting: what does not fit in the queue is
//! dropped and counted. For access logs and decision logs.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LineTarget {
    #[default]
    Stdout,
    Stderr,
    /// Appended to; created when absent.
    File(PathBuf),
    /// Lines are not even made.
    Off,
}

/// The near end of the queue. Clones share it.
#[derive(Debug, Clone)]
pub struct LineSink {
    queue: Option<SyncSender<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
}

/// The writing thread. Dropping all sinks ends it; [`LineWriter::join`] waits for the last line.
#[derive(Debug)]
pub struct LineWriter(Option<JoinHandle<()>>);

/// How long lines are gathered before they are written together.
const PACE: Duration = Duration::from_millis(5);

/// Lines that may wait to be written.
const QUEUE: usize = 65_536;

impl LineSink {
    /// Opens the target and starts its writer.
    pub fn open(target: &LineTarget) -> io::Result<(Self, LineWriter)> {
        match target {
            LineTarget::Off => Ok((Self::off(), LineWriter(None))),
            LineTarget::Stdout => Self::to(io::stdout()),
            LineTarget::Stderr => Self::to(io::stderr()),
            LineTarget::File(path) => Self::to(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)?,
            ),
        }
    }

    /// Takes nothing.
    pub fn off() -> Self {
        Self {
            queue: None,
            dropped: Arc::default(),
        }
    }

    /// Writes to anything; a slow writer loses lines, never time.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<(Self, LineWriter)> {
        let (queue, lines) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("line-sink".into())
            .spawn(move || write_lines(&lines, BufWriter::with_capacity(64 << 10, out)))?;
        Ok((
            Self {
                queue: Some(queue),
                dropped: Arc::default(),
            },
            LineWriter(Some(thread)),
        ))
    }

    /// Whether it is worth making a line.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands over one line, newline included. Never waits.
    pub fn send(&self, line: Vec<u8>) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl LineWriter {
    /// Waits until every line is written. All sinks must be dropped before.
    pub fn join(mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

fn write_lines<W: Write>(lines: &Receiver<Vec<u8>>, mut out: BufWriter<W>) {
    // A sink that is broken (disk full, pipe closed) keeps draining: nobody may wait for it.
    while let Ok(line) = lines.recv() {
        let _ = out.write_all(&line);
        // While lines keep coming the writer is not blocked on the queue, so that handing one over
        // wakes nobody: a wake-up for each would cost a request more than its line.
        let mut busy = true;
        while busy {
            let _ = out.flush();
            std::thread::sleep(PACE);
            busy = false;
            while let Ok(line) = lines.try_recv() {
                let _ = out.write_all(&line);
                busy = true;
            }
        }
    }
}
