//! A file that lines are appended to. Many lines at once go past the page cache: to take pages for what nobody
//! reads soon, and to write them back later, costs several times what the write itself does.
//!
//! That takes several writes for one text, and a process that hands over to the next one is not alone in its file:
//! lines of the other would come in between, or, where a file system lets whole blocks be written at the same time,
//! in the same place. So every file is locked as shared by whoever appends to it, and goes past the cache only while
//! it is locked as nobody else's. What goes through the cache is one write, and no writer gets into that.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::gathered::{BLOCK, Phase};
use super::writer::Out;

/// See the module.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    direct: Option<Direct>,
}

/// The same file, opened for writes of whole blocks that go to the device at once. While it is here, the file is
/// locked.
#[derive(Debug)]
struct Direct {
    file: File,
    /// So many large writes more go through the page cache.
    rests: u32,
}

/// Fewer are not worth a write to the device. Bytes.
const MANY: usize = 64 << 10;

/// A device that takes so long for one write keeps up with bursts only where the page cache holds them.
const SLOW: Duration = Duration::from_millis(20);

/// So many writes later it is tried again.
const RESTS: u32 = 256;

impl LogFile {
    /// Opens a file at its end. A new one is its owner's alone: logs say who did what.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = append_to(path)?;
        let direct = Direct::of(&file);
        Ok(Self { file, direct })
    }

    /// Where the file ends.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Writes as many of these lines as it can: up to where a block begins, whole blocks to the device, and the rest.
    /// None: not this way, and nothing is written.
    fn write_past_the_cache(&mut self, lines: &[u8]) -> Option<usize> {
        let direct = self.direct.as_mut().filter(|_| lines.len() >= MANY)?;
        if let Some(fewer) = direct.rests.checked_sub(1) {
            direct.rests = fewer;
            return None;
        }
        let written = if lock::is_alone(&self.file) {
            self.write_alone(lines)
        } else {
            None
        };
        if !lock::share(&self.file) {
            self.direct = None;
        }
        written
    }

    /// The same, while nobody else writes.
    fn write_alone(&mut self, lines: &[u8]) -> Option<usize> {
        // Asked each time: another process may have been here since.
        let phase = Phase::in_file(self.length().ok()?);
        if phase != Phase::in_memory(lines) {
            return None;
        }
        let direct = self.direct.as_mut()?;
        let (missing, blocks) = lines.split_at_checked(phase.missing())?;
        let (blocks, rest) = blocks.split_at_checked(blocks.len() / BLOCK * BLOCK)?;
        let begun = tokio::time::Instant::now();
        let mut written = 0;
        for (part, mut to) in [
            (missing, &self.file),
            (blocks, &direct.file),
            (rest, &self.file),
        ] {
            if part.is_empty() {
                continue;
            }
            // Why it goes wrong, the next attempt says.
            let done = to.write(part).unwrap_or(0);
            written += done;
            if done < part.len() {
                break;
            }
        }
        if written < lines.len() || begun.elapsed() > SLOW {
            direct.rests = RESTS;
        }
        (written > 0).then_some(written)
    }
}

impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match self.write_past_the_cache(lines) {
            Some(written) => Ok(written),
            None => self.file.write(lines),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Out for LogFile {
    fn phase(&self) -> Phase {
        self.length().map(Phase::in_file).unwrap_or_default()
    }
}

impl Direct {
    /// None: this is no file, or its file system has no such writes.
    #[cfg(target_os = "linux")]
    fn of(file: &File) -> Option<Self> {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::OpenOptionsExt;

        if !file.metadata().ok()?.is_file() || !lock::share(file) {
            return None;
        }
        // By its descriptor, not by its name, which may be another file's by now.
        let file = std::fs::OpenOptions::new()
            .append(true)
            .custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed())
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .ok()?;
        Some(Self { file, rests: 0 })
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_: &File) -> Option<Self> {
        None
    }
}

/// Locks of a whole file, by everybody who appends to it (flock).
#[cfg(target_os = "linux")]
mod lock {
    use std::fs::File;
    use std::time::Duration;

    use rustix::fs::{FlockOperation, flock};

    /// Another one is done with a text, or its device stands still. Some of these are waited for.
    const PAUSE: Duration = Duration::from_millis(1);
    const PAUSES: u32 = 1000;

    /// Whether it is nobody else's now: until it is shared again.
    pub(super) fn is_alone(file: &File) -> bool {
        flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    /// False: it cannot be locked, or somebody keeps it for long.
    #[expect(clippy::disallowed_methods, reason = "the thread is the writer's own")]
    pub(super) fn share(file: &File) -> bool {
        for _ in 0..PAUSES {
            match flock(file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => return true,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    std::thread::sleep(PAUSE);
                }
                Err(_) => return false,
            }
        }
        false
    }
}

/// Nothing goes past the cache.
#[cfg(not(target_os = "linux"))]
mod lock {
    pub(super) fn is_alone(_: &std::fs::File) -> bool {
        false
    }

    pub(super) fn share(_: &std::fs::File) -> bool {
        false
    }
}

/// Opens a file at its end, its owner's alone if it is new.
pub(super) fn append_to(path: &Path) -> io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::super::gathered::Gathered;
    use super::*;

    /// Beside what was built: another folder may be in memory, where there is nothing to go past.
    fn on_a_disk() -> tempfile::TempDir {
        let test = std::env::current_exe().unwrap();
        tempfile::tempdir_in(test.parent().unwrap()).unwrap()
    }

    fn lines(from: usize, bytes: usize) -> Vec<u8> {
        (from..from + bytes / 20)
            .flat_map(|number| format!("{number:019}\n").into_bytes())
            .collect()
    }

    /// Writes as the writer does.
    fn write_all(log: &mut LogFile, text: &[u8]) {
        let mut gathered = Gathered::with_room_for(text.len());
        gathered.begin_at(log.phase());
        gathered.append(text);
        log.write_all(gathered.lines()).unwrap();
    }

    /// Some past the cache and some not, and another writer in between: all of it is there, in order.
    #[test]
    fn what_is_written_is_what_is_read_whatever_its_size() {
        let folder = on_a_disk();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path).unwrap();
        let mut expected = Vec::new();
        let mut number = 0;
        for bytes in [20, 100, MANY, 4060, 8 * MANY, 20, 20 * MANY, 260, 2 * MANY] {
            let text = lines(number, bytes);
            number += bytes / 20;
            write_all(&mut log, &text);
            expected.extend(text);
            // At once, as who follows the log does.
            assert!(std::fs::read(&path).unwrap() == expected, "after {bytes}");
            let other = lines(number, 1000);
            number += 50;
            append_to(&path).unwrap().write_all(&other).unwrap();
            expected.extend(other);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn many_lines_go_past_the_cache_where_nobody_else_appends() {
        let folder = on_a_disk();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path).unwrap();
        assert!(log.direct.is_some(), "this file system has no such writes");
        assert_eq!(log.write_past_the_cache(&lines(0, MANY / 2)), None);
        assert_eq!(log.write(b"begun\n").unwrap(), 6);
        let mut gathered = Gathered::with_room_for(2 * MANY);
        let mut past_the_cache = |log: &mut LogFile| {
            gathered.begin_at(log.phase());
            gathered.append(&lines(0, 2 * MANY));
            let written = log.write_past_the_cache(gathered.lines());
            // What lies elsewhere in memory goes the other way.
            assert_eq!(log.write_past_the_cache(&gathered.lines()[1..]), None);
            written
        };
        let all = lines(0, 2 * MANY).len();
        assert_eq!(past_the_cache(&mut log), Some(all));
        assert_eq!(log.length().unwrap(), (6 + all) as u64);
        // A device that was slow is left alone for some time.
        log.direct.as_mut().unwrap().rests = 2;
        assert_eq!(past_the_cache(&mut log), None);
        assert_eq!(past_the_cache(&mut log), Some(all));
        // Nobody is alone then.
        let other = LogFile::open(&path).unwrap();
        assert_eq!(past_the_cache(&mut log), None);
        drop(other);
        assert_eq!(past_the_cache(&mut log), Some(all));
    }

    #[test]
    fn lines_of_two_that_append_at_once_are_whole_and_all_there() {
        const TEXTS: usize = 60;
        let folder = on_a_disk();
        let path = folder.path().join("log");
        let append = |first: usize| {
            let path = path.clone();
            std::thread::spawn(move || {
                // One after the other, as processes that hand over to the next.
                std::thread::park_timeout(Duration::from_millis(first as u64 / 20_000));
                let mut log = LogFile::open(&path).unwrap();
                for text in 0..TEXTS {
                    write_all(&mut log, &lines(first + text * 20_000, 400_000));
                }
            })
        };
        let threads = [0, 1, 2].map(|writer| append(writer * TEXTS * 20_000));
        for thread in threads {
            thread.join().unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut numbers: Vec<usize> = Vec::new();
        for line in text.lines() {
            assert_eq!(line.len(), 19, "`{line}` is whole");
            numbers.push(line.parse().unwrap());
        }
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..3 * TEXTS * 20_000));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_written_to_as_ever() {
        let mut nowhere = LogFile::open(Path::new("/dev/null")).unwrap();
        assert!(nowhere.direct.is_none());
        let many = lines(0, 2 * MANY);
        assert_eq!(nowhere.write(&many).unwrap(), many.len());
    }
}
