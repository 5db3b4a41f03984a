//! Lines to an HTTP receiver, in batches, by way of a folder: what the receiver has not taken is
//! still there after a restart, and the oldest of it is dropped and counted when the folder is full.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::{Counts, PostTarget, append_to};
use crate::Secret;

/// The near end: writes batches into the folder.
#[derive(Debug)]
pub(super) struct Spool {
    target: PostTarget,
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
    length: usize,
    begun: Instant,
    ends_with_line: bool,
}

/// At the end, the receiver gets this long to take what there is.
const LAST_CALL: Duration = Duration::from_secs(3);

impl Spool {
    pub(super) fn open(target: &PostTarget, counts: Arc<Counts>) -> io::Result<Self> {
        std::fs::create_dir_all(&target.spool)?;
        let secret = match &target.bearer_file {
            Some(path) => Some(Secret::new(std::fs::read_to_string(path)?.trim())),
            None => None,
        };
        // A batch that a crash has left unfinished.
        for path in files(&target.spool, "part")? {
            std::fs::rename(&path, path.with_extension("lines"))?;
        }
        let next = files(&target.spool, "lines")?
            .last()
            .and_then(|path| path.file_stem()?.to_str()?.parse::<u64>().ok())
            .map_or(0, |last| last + 1);
        let (told, news) = channel();
        let receiver = ReceiverEnd {
            target: target.clone(),
            secret,
            counts,
            news,
        };
        let sender = std::thread::Builder::new()
            .name("line-post".into())
            .spawn(move || receiver.run())?;
        Ok(Self {
            target: target.clone(),
            part: None,
            next,
            told: Some(told),
            sender: Some(sender),
        })
    }

    fn part(&mut self) -> io::Result<&mut Part> {
        if self.part.is_none() {
            let path = self.target.spool.join(format!("{:020}.part", self.next));
            self.next += 1;
            self.part = Some(Part {
                file: append_to(&path)?,
                path,
                length: 0,
                begun: Instant::now(),
                ends_with_line: true,
            });
        }
        self.part
            .as_mut()
            .ok_or_else(|| io::Error::other("no batch"))
    }

    fn finish_part(&mut self) -> io::Result<()> {
        if let Some(part) = self.part.take() {
            std::fs::rename(&part.path, part.path.with_extension("lines"))?;
            if let Some(told) = &self.told {
                let _ = told.send(());
            }
        }
        Ok(())
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = self.part()?;
        part.file.write_all(bytes)?;
        part.length += bytes.len();
        part.ends_with_line = bytes.last() == Some(&b'\n');
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (size, age) = (self.target.batch_bytes, self.target.flush_ms);
        let is_due = self.part.as_ref().is_some_and(|part| {
            let is_old = part.begun.elapsed() >= Duration::from_millis(age);
            part.ends_with_line && (part.length >= size || is_old)
        });
        if is_due { self.finish_part() } else { Ok(()) }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = self.finish_part();
        self.told = None;
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}

/// The far end: posts batches, the oldest first.
struct ReceiverEnd {
    target: PostTarget,
    secret: Option<Secret>,
    counts: Arc<Counts>,
    news: Receiver<()>,
}

impl ReceiverEnd {
    fn run(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let client = reqwest::Client::builder()
            .timeout(Duration::from_millis(self.target.timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let (Ok(runtime), Ok(client)) = (runtime, client) else {
            tracing::error!("log lines cannot be posted: no client");
            return;
        };
        let mut pause = Duration::from_millis(100);
        let mut end = None;
        loop {
            self.make_room();
            let all_taken = runtime.block_on(self.post_all(&client, end));
            pause = if all_taken {
                Duration::from_millis(100)
            } else {
                (pause * 2).min(Duration::from_secs(30))
            };
            if let Some(end) = end {
                if all_taken || Instant::now() >= end {
                    return;
                }
                runtime.block_on(tokio::time::sleep(Duration::from_millis(50)));
                continue;
            }
            let wait = if all_taken {
                Duration::from_secs(1)
            } else {
                pause
            };
            match self.news.recv_timeout(wait) {
                Ok(()) => while self.news.try_recv().is_ok() {},
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => end = Some(Instant::now() + LAST_CALL),
            }
        }
    }

    /// False where something is left.
    async fn post_all(&self, client: &reqwest::Client, end: Option<Instant>) -> bool {
        let Ok(batches) = files(&self.target.spool, "lines") else {
            return false;
        };
        for path in batches {
            if end.is_some_and(|end| Instant::now() >= end) {
                return false;
            }
            let Ok(lines) = std::fs::read(&path) else {
                return false;
            };
            let mut request = client
                .post(&self.target.url)
                .header("content-type", "application/x-ndjson")
                .body(lines);
            if let Some(secret) = &self.secret {
                request = request.bearer_auth(secret.reveal());
            }
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    if std::fs::remove_file(&path).is_err() {
                        return false;
                    }
                }
                Ok(answer) => {
                    tracing::warn!(status = answer.status().as_u16(), "log lines are not taken");
                    return false;
                }
                Err(error) => {
                    let error = error.without_url();
                    tracing::warn!(%error, "log lines cannot be posted");
                    return false;
                }
            }
        }
        true
    }

    /// Drops the oldest batches while the folder holds too much.
    fn make_room(&self) {
        let batches = files(&self.target.spool, "lines").unwrap_or_default();
        let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
        let mut total: u64 = batches.iter().map(length).sum();
        for path in batches {
            if total <= self.target.max_spool_bytes {
                return;
            }
            let lines = std::fs::read(&path).unwrap_or_default();
            total = total.saturating_sub(lines.len() as u64);
            if std::fs::remove_file(&path).is_ok() {
                let count = lines.split_inclusive(|byte| *byte == b'\n').count();
                self.counts
                    .dropped
                    .fetch_add(count as u64, Ordering::Relaxed);
            }
        }
    }
}

/// The files of a folder with an extension, the oldest first.
fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
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

#[cfg(test)]
mod tests;
