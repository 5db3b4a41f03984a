//! Lines to a file or to standard output, never waiting: what does not fit in the queue is
//! dropped and counted. For access logs and decision logs.

mod gathered;
mod log_file;
mod post;
mod rotate;
mod waiting;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use log_file::LogFile;
use schemars::JsonSchema;
use serde::Deserialize;
use waiting::Waiting;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LineTarget {
    #[default]
    Stdout,
    Stderr,
    /// Appended to; created when absent.
    File(PathBuf),
    /// Appended to; a new file is begun when it is full.
    Rotating(RotatingTarget),
    /// Posted to a receiver in batches.
    Http(PostTarget),
    /// Lines are not even made.
    Off,
}

/// A file that is full at some time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotatingTarget {
    pub path: PathBuf,
    /// It is full when it is about so long.
    #[serde(default = "RotatingTarget::max_bytes")]
    pub max_bytes: u64,
    /// So many full files are kept beside it.
    #[serde(default = "RotatingTarget::keep")]
    pub keep: u32,
}

/// An HTTP receiver of lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostTarget {
    /// Gets a POST of `application/x-ndjson` for each batch, and answers 2xx when it has it. After a
    /// failure a batch is sent again: the receiver may see a line twice. One that it refuses several
    /// times is dropped and counted (4xx, but for 401, 403, 408, 425 and 429: these say nothing of it).
    pub url: String,
    /// A file with a bearer token to send; read again for each batch.
    #[serde(default)]
    pub bearer_file: Option<PathBuf>,
    /// A folder of its own for what is not sent yet; survives a restart.
    pub spool: PathBuf,
    /// When the folder holds more, the oldest batches are dropped and counted.
    #[serde(default = "PostTarget::max_spool_bytes")]
    pub max_spool_bytes: u64,
    /// A batch is sent when it is so long,
    #[serde(default = "PostTarget::batch_bytes")]
    pub batch_bytes: usize,
    /// or so old. Milliseconds.
    #[serde(default = "PostTarget::flush_ms")]
    pub flush_ms: u64,
    /// The receiver gets this long to answer. Milliseconds.
    #[serde(default = "PostTarget::timeout_ms")]
    pub timeout_ms: u64,
}

impl RotatingTarget {
    fn max_bytes() -> u64 {
        100 << 20
    }

    fn keep() -> u32 {
        5
    }
}

impl PostTarget {
    fn max_spool_bytes() -> u64 {
        1 << 30
    }

    fn batch_bytes() -> usize {
        1 << 20
    }

    fn flush_ms() -> u64 {
        1000
    }

    fn timeout_ms() -> u64 {
        10_000
    }
}

impl LineTarget {
    /// The same with paths that are relative to `base`; the folders that it needs are made.
    pub fn prepared(&self, base: &Path) -> io::Result<Self> {
        let mut target = self.clone();
        let path = match &mut target {
            Self::File(path) => path,
            Self::Rotating(rotating) => &mut rotating.path,
            Self::Http(post) => {
                post.spool = base.join(&post.spool);
                post.bearer_file = post.bearer_file.as_ref().map(|path| base.join(path));
                return Ok(target);
            }
            Self::Stdout | Self::Stderr | Self::Off => return Ok(target),
        };
        *path = base.join(&*path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(target)
    }
}

/// The near end of the queue. Clones share it. Lines come out in the order in which they were handed over,
/// by whichever threads.
#[derive(Debug, Clone)]
pub struct LineSink {
    queue: Option<Arc<Near>>,
    counts: Arc<Counts>,
}

/// When the last sink is gone, the writer is told.
#[derive(Debug)]
struct Near(Arc<Waiting>);

impl Drop for Near {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[derive(Debug, Default)]
struct Counts {
    /// Lines lost so far.
    dropped: AtomicU64,
}

impl Counts {
    /// Counts the lines of a text as lost; one that is cut short is a line too.
    fn lose(&self, lines: &[u8]) {
        self.lose_so_many(lines_in(lines));
    }

    fn lose_so_many(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn lines_in(text: &[u8]) -> u64 {
    let lines = text.split_inclusive(|byte| *byte == b'\n').count();
    u64::try_from(lines).unwrap_or(u64::MAX)
}

/// The lines that fit, and the rest of the one that just does not.
fn lines_within(bytes: &[u8], room: u64) -> &[u8] {
    let room = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
    let (fits, beyond) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
    if fits.last() == Some(&b'\n') {
        return fits;
    }
    let end = beyond.iter().position(|byte| *byte == b'\n');
    end.and_then(|end| bytes.get(..=room + end))
        .unwrap_or(bytes)
}

/// The writing thread. Dropping all sinks ends it; [`LineWriter::join`] waits for the last line.
#[derive(Debug)]
pub struct LineWriter(Option<JoinHandle<()>>);

/// Bytes that may wait to be written.
const QUEUE: u64 = 32 << 20;

/// To copy so many bytes costs more than to go on with another buffer.
const MANY: usize = 16 << 10;

impl LineSink {
    /// Opens the target and starts its writer.
    pub fn open(target: &LineTarget) -> io::Result<(Self, LineWriter)> {
        match target {
            LineTarget::Off => Ok((Self::off(), LineWriter(None))),
            LineTarget::Stdout => Self::to(io::stdout()),
            LineTarget::Stderr => Self::to(io::stderr()),
            LineTarget::File(path) => Self::to(LogFile::open(path)?),
            LineTarget::Rotating(target) => Self::to(rotate::Rotating::open(target)?),
            LineTarget::Http(target) => {
                let counts = Arc::<Counts>::default();
                let spool = post::Spool::open(target, counts.clone())?;
                // A batch is due at some time though no further line comes.
                Self::counted(
                    spool,
                    counts,
                    Some(Duration::from_millis(target.flush_ms.max(10))),
                )
            }
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
    fn to(out: impl writer::Out + Send + 'static) -> io::Result<(Self, LineWriter)> {
        Self::counted(out, Arc::default(), None)
    }

    fn counted(
        out: impl writer::Out + Send + 'static,
        counts: Arc<Counts>,
        tick: Option<Duration>,
    ) -> io::Result<(Self, LineWriter)> {
        let waiting = Arc::new(Waiting::with_room_for(QUEUE));
        let inbox = writer::Inbox {
            waiting: Arc::clone(&waiting),
            counts: counts.clone(),
            tick,
        };
        let thread = std::thread::Builder::new()
            .name("line-sink".into())
            .spawn(move || writer::write_lines(&inbox, out))?;
        waiting.is_written_by(thread.thread().clone());
        Ok((
            Self {
                queue: Some(Arc::new(Near(waiting))),
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
    pub fn send(&self, lines: &[u8]) {
        self.offer(lines);
    }

    /// The same. False: there was no room, and the lines are lost and counted; or nobody takes any.
    pub fn offer(&self, lines: &[u8]) -> bool {
        let Some(queue) = &self.queue else {
            return false;
        };
        let is_taken = queue.0.put(lines);
        if !is_taken {
            self.counts.lose(lines);
        }
        is_taken
    }

    /// Hands over all lines of a buffer, and empties it. Many lines are not copied: the buffer itself goes,
    /// and another one comes back.
    pub fn send_all(&self, lines: &mut Vec<u8>) {
        if lines.len() < MANY {
            self.send(lines);
        } else if let Some(queue) = &self.queue
            && !queue.0.put_whole(lines)
        {
            self.counts.lose(lines);
        }
        lines.clear();
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped()
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

#[cfg(test)]
mod tests {
    use std::io::Write;
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

    impl writer::Out for Gated {}

    /// A sink whose writer stands still until `open` is dropped.
    struct Standing {
        sink: LineSink,
        writer: LineWriter,
        open: std::sync::mpsc::Sender<()>,
        written: Arc<std::sync::Mutex<Vec<u8>>>,
    }

    impl Standing {
        fn start() -> Self {
            let (open, gate) = channel();
            let written = Arc::<std::sync::Mutex<Vec<u8>>>::default();
            let out = Gated {
                gate,
                written: written.clone(),
            };
            let (sink, writer) = LineSink::to(out).unwrap();
            Self {
                sink,
                writer,
                open,
                written,
            }
        }

        /// What has come, after the end.
        fn end(self) -> String {
            drop((self.sink, self.open));
            self.writer.join();
            String::from_utf8(std::mem::take(&mut *self.written.lock().unwrap())).unwrap()
        }
    }

    #[test]
    fn a_writer_that_stands_still_loses_lines_and_keeps_their_order() {
        let standing = Standing::start();
        let sink = &standing.sink;
        let line = |number: usize| format!("{number:01023}\n").into_bytes();
        let sent = 2 * usize::try_from(QUEUE).unwrap() / line(0).len();
        for number in 0..sent {
            sink.send(&line(number));
        }
        let dropped = usize::try_from(sink.dropped()).unwrap();
        assert!((sent / 3..sent).contains(&dropped), "{dropped} of {sent}");
        let text = standing.end();
        let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..sent - dropped).collect::<Vec<_>>());
    }

    #[test]
    fn lines_that_are_given_away_are_written_or_counted_as_those_that_are_copied() {
        let standing = Standing::start();
        let sink = &standing.sink;
        let mut lines = Vec::new();
        for number in 0..4000_usize {
            // Some are few and some are many.
            for line in 0..number % 40 {
                lines.extend(format!("{number:08}.{line:01014}\n").into_bytes());
            }
            sink.send_all(&mut lines);
            assert!(lines.is_empty());
        }
        let dropped = usize::try_from(sink.dropped()).unwrap();
        let text = standing.end();
        let came: Vec<&str> = text.lines().collect();
        assert!(came.is_sorted() && came.iter().all(|line| line.len() == 1023));
        assert!(dropped > 1000);
        let sent: usize = (0..4000).map(|number| number % 40).sum();
        assert_eq!(came.len() + dropped, sent);
    }
}
