//! The book of a spool's folder: the batches that wait, the oldest first, and which is being sent.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::{Counts, PostTarget, lines_in};

/// Shared by the one that writes batches and the one that sends them.
#[derive(Debug)]
pub(super) struct Batches {
    max_bytes: u64,
    counts: Arc<Counts>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    waiting: VecDeque<Batch>,
    bytes: u64,
    /// The oldest is being sent: it is not dropped meanwhile.
    is_sending: bool,
}

/// A file of whole lines.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Not known of those that were there at the start.
    pub(super) lines: Option<u64>,
}

impl Batches {
    /// Those that an earlier run left.
    pub(super) fn open(target: &PostTarget, counts: Arc<Counts>) -> io::Result<Self> {
        // A batch that a crash has left unfinished.
        for path in files(&target.spool, "part")? {
            std::fs::rename(&path, path.with_extension("lines"))?;
        }
        let mut book = Book::default();
        for path in files(&target.spool, "lines")? {
            let bytes = std::fs::metadata(&path)?.len();
            book.bytes += bytes;
            book.waiting.push_back(Batch {
                path,
                bytes,
                lines: None,
            });
        }
        let batches = Self {
            max_bytes: target.max_spool_bytes,
            counts,
            book: Mutex::new(book),
        };
        batches.make_room(&mut batches.book());
        Ok(batches)
    }

    /// A number that is greater than that of any batch.
    pub(super) fn next_number(&self) -> u64 {
        let book = self.book();
        let last = book.waiting.back();
        last.and_then(|batch| batch.path.file_stem()?.to_str()?.parse::<u64>().ok())
            .map_or(0, |last| last + 1)
    }

    /// Takes a batch in; older ones go where there is too much.
    pub(super) fn add(&self, batch: Batch) {
        let mut book = self.book();
        book.bytes += batch.bytes;
        book.waiting.push_back(batch);
        self.make_room(&mut book);
    }

    /// The oldest, which stays until it is [`Self::sent`], [`Self::lost`] or [`Self::put_back`].
    pub(super) fn take_up(&self) -> Option<PathBuf> {
        let mut book = self.book();
        let path = book.waiting.front()?.path.clone();
        book.is_sending = true;
        Some(path)
    }

    pub(super) fn put_back(&self) {
        self.book().is_sending = false;
    }

    /// The one that was taken up has arrived.
    pub(super) fn sent(&self) -> io::Result<()> {
        let mut book = self.book();
        book.is_sending = false;
        book.remove(0).map(drop)
    }

    /// The one that was taken up can never arrive. Says how many lines that are.
    pub(super) fn lost(&self) -> io::Result<u64> {
        let mut book = self.book();
        book.is_sending = false;
        self.lose(&mut book, 0)
    }

    /// Drops the oldest, but neither the one that is being sent nor the newest.
    fn make_room(&self, book: &mut Book) {
        let oldest = usize::from(book.is_sending);
        while book.bytes > self.max_bytes && book.waiting.len() > oldest + 1 {
            if let Err(error) = self.lose(book, oldest) {
                tracing::error!(%error, "the folder of unsent log lines cannot be kept small");
                return;
            }
        }
    }

    fn lose(&self, book: &mut Book, index: usize) -> io::Result<u64> {
        let Some(batch) = book.waiting.get(index) else {
            return Ok(0);
        };
        let lines = batch
            .lines
            .unwrap_or_else(|| lines_in(&std::fs::read(&batch.path).unwrap_or_default()));
        book.remove(index)?;
        self.counts.lose_so_many(lines);
        Ok(lines)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Deletes the file; one that is gone already is as good.
    fn remove(&mut self, index: usize) -> io::Result<()> {
        let Some(batch) = self.waiting.get(index) else {
            return Ok(());
        };
        match std::fs::remove_file(&batch.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.bytes = self.bytes.saturating_sub(batch.bytes);
        self.waiting.remove(index);
        Ok(())
    }
}

/// The files of a folder with an extension, the oldest first.
pub(super) fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
