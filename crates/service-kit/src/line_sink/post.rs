//! Lines to an HTTP receiver, in batches, by way of a folder: what the receiver has not taken is
//! still there after a restart, and the oldest of it is dropped and counted when the folder is full.

mod batches;
mod receiver;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::log_file::append_to;
use super::{Counts, PostTarget, lines_in, lines_within};
use batches::{Batch, Batches};
use receiver::{Bearer, ReceiverEnd, SHORT_PAUSE};

/// The near end: writes batches into the folder.
#[derive(Debug)]
pub(super) struct Spool {
    target: PostTarget,
    counts: Arc<Counts>,
    batches: Arc<Batches>,
    part: Option<Part>,
    next: u64,
    /// Dropped when no more batches come.
    told: Option<Sender<()>>,
    sender: Option<JoinHandle<()>>,
}

/// A batch that is being written.
#[derive(Debug)]
struct Part {
    file: File,
    path: PathBuf,
    length: u64,
    /// So much of it is whole lines,
    whole: u64,
    /// so many.
    lines: u64,
    begun: Instant,
}

impl Spool {
    pub(super) fn open(target: &PostTarget, counts: Arc<Counts>) -> io::Result<Self> {
        std::fs::create_dir_all(&target.spool)?;
        let bearer = target.bearer_file.as_deref().map(Bearer::open);
        let bearer = bearer.transpose()?;
        let batches = Arc::new(Batches::open(target, counts.clone())?);
        let (told, news) = channel();
        let receiver = ReceiverEnd {
            target: target.clone(),
            bearer,
            batches: batches.clone(),
            news,
            refused: None,
            pause: SHORT_PAUSE,
        };
        let next = batches.next_number();
        let sender = std::thread::Builder::new()
            .name("line-post".into())
            .spawn(move || receiver.run())?;
        Ok(Self {
            target: target.clone(),
            counts,
            batches,
            part: None,
            next,
            told: Some(told),
            sender: Some(sender),
        })
    }

    fn part(&mut self) -> io::Result<&mut Part> {
        if self.part.is_none() {
            self.part = Some(Part::begin(&self.target.spool, self.next)?);
            self.next += 1;
        }
        self.part
            .as_mut()
            .ok_or_else(|| io::Error::other("no batch"))
    }

    /// The sender sees a batch when it is finished, never before.
    fn finish_part(&mut self) -> io::Result<()> {
        let Some(part) = self.part.take() else {
            return Ok(());
        };
        match part.finish() {
            Ok(batch) => {
                self.batches.add(batch);
                if let Some(told) = &self.told {
                    let _ = told.send(());
                }
                Ok(())
            }
            Err(error) => {
                // Otherwise it would be sent after a restart though it is counted as lost.
                let _ = std::fs::remove_file(&part.path);
                self.counts.lose_so_many(part.lines);
                Err(error)
            }
        }
    }

    fn is_full(&self) -> bool {
        let size = self.target.batch_bytes as u64;
        self.part
            .as_ref()
            .is_some_and(|part| part.is_whole() && part.length >= size)
    }

    fn is_old(&self) -> bool {
        let age = Duration::from_millis(self.target.flush_ms);
        self.part
            .as_ref()
            .is_some_and(|part| part.is_whole() && part.begun.elapsed() >= age)
    }
}

impl Part {
    fn begin(folder: &Path, number: u64) -> io::Result<Self> {
        // It may have been cleared away.
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{number:020}.part"));
        Ok(Self {
            file: append_to(&path)?,
            path,
            length: 0,
            whole: 0,
            lines: 0,
            begun: Instant::now(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        let written = bytes.get(..length).unwrap_or(bytes);
        let last = written.iter().rposition(|byte| *byte == b'\n');
        if let Some(ended) = last.and_then(|last| written.get(..=last)) {
            self.whole = self.length + ended.len() as u64;
            self.lines += lines_in(ended);
        }
        self.length += length as u64;
        Ok(length)
    }

    fn is_whole(&self) -> bool {
        self.whole == self.length
    }

    fn finish(&self) -> io::Result<Batch> {
        if !self.is_whole() {
            self.file.set_len(self.whole)?;
        }
        let path = self.path.with_extension("lines");
        std::fs::rename(&self.path, &path)?;
        Ok(Batch {
            path,
            bytes: self.whole,
            lines: Some(self.lines),
        })
    }
}

impl super::writer::Out for Spool {}

impl Write for Spool {
    /// Takes lines up to where the batch is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_full() {
            self.finish_part()?;
        }
        let size = self.target.batch_bytes as u64;
        let part = self.part()?;
        part.write(lines_within(bytes, size.saturating_sub(part.length)))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_full() || self.is_old() {
            self.finish_part()?;
        }
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = self.finish_part() {
            tracing::error!(%error, "the last log lines cannot be kept and are lost");
        }
        self.told = None;
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}

#[cfg(test)]
mod tests;
