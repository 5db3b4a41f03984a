//! Lines to a file or to standard output, never waiting: what does not fit in the queue is
//! dropped and counted. For access logs and decision logs.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
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
    queue: Option<Sender<Vec<u8>>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Bytes that wait to be written.
    waiting: AtomicUsize,
    /// Lines lost so far.
    dropped: AtomicU64,
}

/// The writing thread. Dropping all sinks ends it; [`LineWriter::join`] waits for the last line.
#[derive(Debug)]
pub struct LineWriter(Option<JoinHandle<()>>);

/// How long lines are gathered before they are written together.
const PACE: Duration = Duration::from_millis(5);

/// Bytes that may wait to be written.
const QUEUE: usize = 32 << 20;

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
            counts: Arc::default(),
        }
    }

    /// Writes to anything; a slow writer loses lines, never time.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<(Self, LineWriter)> {
        let (queue, lines) = channel();
        let counts = Arc::<Counts>::default();
        let inbox = Inbox {
            lines,
            counts: counts.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("line-sink".into())
            .spawn(move || write_lines(&inbox, BufWriter::with_capacity(64 << 10, out)))?;
        Ok((
            Self {
                queue: Some(queue),
                counts,
            },
            LineWriter(Some(thread)),
        ))
    }

    /// Whether it is worth making a line.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands over whole lines, newlines included. Never waits.
    pub fn send(&self, lines: Vec<u8>) {
        let Some(queue) = &self.queue else { return };
        let length = lines.len();
        let waiting = self.counts.waiting.fetch_add(length, Ordering::Relaxed);
        let lost = if waiting + length > QUEUE {
            Some(lines)
        } else {
            queue.send(lines).err().map(|unsent| unsent.0)
        };
        if let Some(lines) = lost {
            self.counts.waiting.fetch_sub(length, Ordering::Relaxed);
            let lines = lines.split_inclusive(|byte| *byte == b'\n').count();
            self.counts
                .dropped
                .fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
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

/// The far end of the queue.
struct Inbox {
    lines: Receiver<Vec<u8>>,
    counts: Arc<Counts>,
}

impl Inbox {
    fn taken(&self, lines: Vec<u8>) -> Vec<u8> {
        self.counts
            .waiting
            .fetch_sub(lines.len(), Ordering::Relaxed);
        lines
    }

    /// Waits; none when every sink is gone.
    fn next(&self) -> Option<Vec<u8>> {
        self.lines.recv().ok().map(|lines| self.taken(lines))
    }

    /// What is there already.
    fn next_now(&self) -> Option<Vec<u8>> {
        self.lines.try_recv().ok().map(|lines| self.taken(lines))
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread is the writer's own")]
fn write_lines<W: Write>(inbox: &Inbox, mut out: BufWriter<W>) {
    // A sink that is broken (disk full, pipe closed) keeps draining: nobody may wait for it.
    while let Some(lines) = inbox.next() {
        let _ = out.write_all(&lines);
        // While lines keep coming the writer is not blocked on the queue, so that handing one over
        // wakes nobody: a wake-up for each would cost a request more than its line.
        let mut busy = true;
        while busy {
            let _ = out.flush();
            std::thread::sleep(PACE);
            busy = false;
            while let Some(lines) = inbox.next_now() {
                let _ = out.write_all(&lines);
                busy = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Writes nothing before it is allowed to.
    struct Gated {
        gate: Receiver<()>,
        written: Arc<std::sync::Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_that_stands_still_loses_lines_and_keeps_their_order() {
        let (open, gate) = channel();
        let written = Arc::<std::sync::Mutex<Vec<u8>>>::default();
        let out = Gated {
            gate,
            written: written.clone(),
        };
        let (sink, writer) = LineSink::to(out).unwrap();
        let line = |number: usize| format!("{number:01023}\n").into_bytes();
        let sent = 2 * QUEUE / line(0).len();
        for number in 0..sent {
            sink.send(line(number));
        }
        let dropped = usize::try_from(sink.dropped()).unwrap();
        assert!((sent / 3..sent).contains(&dropped), "{dropped} of {sent}");
        drop((sink, open));
        writer.join();
        let text = String::from_utf8(std::mem::take(&mut *written.lock().unwrap())).unwrap();
        let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..sent - dropped).collect::<Vec<_>>());
    }
}
