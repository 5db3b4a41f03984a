//! A file that lines are appended to. Many lines at once go past the page cache: to take pages for what nobody
//! reads soon, and to write them back later, costs several times what the write itself does.

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

/// The same file, opened for writes of whole blocks that go to the device at once.
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

    /// Writes whole blocks at a block's border, or what is missing to get there. None: not this way.
    fn write_past_the_cache(&mut self, bytes: &[u8]) -> Option<usize> {
        let direct = self.direct.as_mut().filter(|_| bytes.len() >= MANY)?;
        if let Some(fewer) = direct.rests.checked_sub(1) {
            direct.rests = fewer;
            return None;
        }
        // Asked each time: another process may append, too, while it hands over to this one. Should it do so just
        // now, the system takes the blocks where they do not fit, by the page cache, or refuses them.
        let phase = Phase::in_file(self.file.metadata().ok()?.len());
        if phase != Phase::in_memory(bytes) {
            return None;
        }
        let (missing, blocks) = bytes.split_at_checked(phase.missing())?;
        if missing.is_empty() {
            let whole = blocks.len() / BLOCK * BLOCK;
            return direct.write(blocks.get(..whole)?);
        }
        self.file.write(missing).ok()
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.write_past_the_cache(bytes) {
            Some(written) => Ok(written),
            // Also where it went wrong: the reason is told by this attempt, if it is one for files at all.
            None => self.file.write(bytes),
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

        if !file.metadata().ok()?.is_file() {
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

    /// None: it did not work.
    fn write(&mut self, blocks: &[u8]) -> Option<usize> {
        let begun = tokio::time::Instant::now();
        let written = self.file.write(blocks).ok().filter(|it| *it > 0);
        if written.is_none() || begun.elapsed() > SLOW {
            self.rests = RESTS;
        }
        written
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
    fn only_whole_blocks_of_a_file_go_past_the_cache() {
        let folder = on_a_disk();
        let mut log = LogFile::open(&folder.path().join("log")).unwrap();
        assert!(log.direct.is_some(), "this file system has no such writes");
        assert_eq!(log.write_past_the_cache(&lines(0, MANY / 2)), None);
        assert_eq!(log.write(b"begun\n").unwrap(), 6);
        let mut gathered = Gathered::with_room_for(2 * MANY);
        gathered.begin_at(log.phase());
        gathered.append(&lines(0, 2 * MANY));
        let many = gathered.lines();
        assert_eq!(log.write(many).unwrap(), BLOCK - 6);
        let rest = &many[BLOCK - 6..];
        let whole = rest.len() / BLOCK * BLOCK;
        assert_eq!(log.write_past_the_cache(rest), Some(whole));
        assert_eq!(log.length().unwrap(), (BLOCK + whole) as u64);
        // What lies elsewhere in memory goes the other way.
        assert_eq!(log.write_past_the_cache(many), None);
        // A device that was slow is left alone for some time.
        log.direct.as_mut().unwrap().rests = 1;
        assert_eq!(log.write_past_the_cache(rest), None);
        assert_eq!(log.write_past_the_cache(rest), Some(whole));
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
