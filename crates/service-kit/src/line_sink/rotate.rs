//! A file of lines that begins anew when it is full: `log`, then `log.1`, `log.2` and so on, the
//! oldest deleted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::gathered::Phase;
use super::log_file::LogFile;
use super::writer::Out;
use super::{RotatingTarget, lines_within};

/// Writes whole lines; a line is never cut in two by a file's end.
#[derive(Debug)]
pub(super) struct Rotating {
    target: RotatingTarget,
    file: LogFile,
    length: u64,
    /// A line is begun and not ended.
    is_in_line: bool,
    /// What has been deleted last.
    fading: Option<Fading>,
}

/// A file that has no name any more, given up piece by piece: to free all of a large one keeps a core busy for
/// milliseconds, and requests wait that long.
#[derive(Debug)]
struct Fading {
    file: File,
    length: u64,
    piece: u64,
}

/// So much is freed at a time, with each text that is written; more of a file that would take more than so many
/// texts. Bytes.
const PIECE: u64 = 1 << 20;
const PIECES: u64 = 64;

impl Rotating {
    pub(super) fn open(target: &RotatingTarget) -> io::Result<Self> {
        let file = LogFile::open(&target.path)?;
        let length = file.length()?;
        Ok(Self {
            target: target.clone(),
            file,
            length,
            is_in_line: false,
            fading: None,
        })
    }

    /// After a failure at any step it can be tried again, and no full file is lost by that.
    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.target.path;
        if path.exists() {
            if self.target.keep > 0 {
                let last = Fading::of(&numbered(path, self.target.keep));
                self.make_way()?;
                std::fs::rename(path, numbered(path, 1))?;
                self.fading = last.filter(Fading::is_nameless);
            } else {
                // At once: who follows the log may have it open, and reads it to its end.
                std::fs::remove_file(path)?;
            }
        }
        self.file = LogFile::open(path)?;
        self.length = 0;
        Ok(())
    }

    /// Moves full files up to the first number that is free.
    fn make_way(&self) -> io::Result<()> {
        let (path, keep) = (&self.target.path, self.target.keep);
        let free = (1..keep).find(|number| !numbered(path, *number).exists());
        for number in (1..free.unwrap_or(keep)).rev() {
            std::fs::rename(numbered(path, number), numbered(path, number + 1))?;
        }
        Ok(())
    }
}

impl Fading {
    /// What is there, if it can be shortened; else it goes at once.
    fn of(path: &Path) -> Option<Self> {
        // What is no file is nobody's to wait for.
        let found = std::fs::symlink_metadata(path).ok()?;
        let open = || OpenOptions::new().write(true).open(path).ok();
        let file = found.is_file().then(open)??;
        let length = file.metadata().ok()?.len();
        Some(Self {
            file,
            length,
            piece: PIECE.max(length / PIECES),
        })
    }

    /// SECURITY: under another name, too. What can still be found is nobody's to shorten.
    fn is_nameless(&self) -> bool {
        #[cfg(unix)]
        return (self.file.metadata())
            .is_ok_and(|found| std::os::unix::fs::MetadataExt::nlink(&found) == 0);
        #[cfg(not(unix))]
        return false;
    }

    /// Frees a piece more. None: nothing is left.
    fn on(mut self) -> Option<Self> {
        self.length = self.length.checked_sub(self.piece)?;
        self.file.set_len(self.length).ok().map(|()| self)
    }
}

impl Write for Rotating {
    /// Takes lines up to where the file is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length >= self.target.max_bytes && !self.is_in_line {
            self.rotate()?;
        }
        // The line that fills the file is its last: it may be longer than that.
        let room = self.target.max_bytes.saturating_sub(self.length);
        let lines = lines_within(bytes, room);
        // What a disk that fills up took of it must be known, so that lines stay whole.
        let written = self.file.write(lines)?;
        self.length += written as u64;
        if let Some(last) = written.checked_sub(1) {
            self.is_in_line = bytes.get(last) != Some(&b'\n');
        }
        Ok(written)
    }

    /// A text is written.
    fn flush(&mut self) -> io::Result<()> {
        self.fading = self.fading.take().and_then(Fading::on);
        self.file.flush()
    }
}

impl Out for Rotating {
    fn phase(&self) -> Phase {
        self.file.phase()
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_full_of_whole_lines_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let target = RotatingTarget {
            path: path.clone(),
            max_bytes: 100,
            keep: 3,
        };
        let line = |number: usize| format!("{number:019}\n");
        // Handed over in pieces that have nothing to do with lines, as a buffer does.
        let text: String = (0..40).map(line).collect();
        let mut log = Rotating::open(&target).unwrap();
        for piece in text.as_bytes().chunks(33) {
            log.write_all(piece).unwrap();
        }
        drop(log);
        let mut log = Rotating::open(&target).unwrap();
        log.write_all(line(40).as_bytes()).unwrap();
        let mut found = Vec::new();
        for number in (1..=3).rev() {
            let text = std::fs::read_to_string(numbered(&path, number)).unwrap();
            assert!(text.ends_with('\n') && text.len() <= 120, "{text}");
            found.extend(text.lines().map(|line| line.parse::<usize>().unwrap()));
        }
        let last = std::fs::read_to_string(&path).unwrap();
        found.extend(last.lines().map(|line| line.parse::<usize>().unwrap()));
        let first = found[0];
        assert_eq!(
            found,
            (first..=40).collect::<Vec<_>>(),
            "none in between is lost"
        );
        assert!(!numbered(&path, 4).exists());
    }

    #[test]
    fn what_is_deleted_goes_piece_by_piece_where_nobody_can_find_it() {
        let folder = tempfile::tempdir().unwrap();
        let target = RotatingTarget {
            path: folder.path().join("log"),
            max_bytes: 3 * PIECE,
            keep: 1,
        };
        let text = "x".repeat(usize::try_from(target.max_bytes).unwrap() - 1) + "\n";
        let full = numbered(&target.path, 1);
        let length = |file: &File| file.metadata().unwrap().len();
        let mut log = Rotating::open(&target).unwrap();
        let mut write = |text: &str| {
            log.write_all(text.as_bytes()).unwrap();
            log.flush().unwrap();
        };
        write(&text);
        write(&text);
        let first = File::open(&full).unwrap();
        write(&text);
        assert_eq!(length(&first), 2 * PIECE);
        write("a\n");
        assert_eq!(
            length(&first),
            2 * PIECE,
            "the third one has begun its going"
        );
        // Under a name of its own it is whole.
        let kept = folder.path().join("kept");
        std::fs::hard_link(&full, &kept).unwrap();
        write(&text);
        for _ in 0..4 {
            write("a\n");
        }
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), text);
    }

    #[test]
    fn a_rotation_that_fails_loses_no_full_file_and_is_made_up_for() {
        let folder = tempfile::tempdir().unwrap();
        let target = RotatingTarget {
            path: folder.path().join("log"),
            max_bytes: 2,
            keep: 3,
        };
        let mut log = Rotating::open(&target).unwrap();
        for line in ["1\n", "2\n", "3\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        // A folder that cannot be replaced by a file stands in the way.
        let moved = folder.path().join("moved");
        std::fs::rename(numbered(&target.path, 1), &moved).unwrap();
        std::fs::create_dir_all(numbered(&target.path, 1).join("x")).unwrap();
        std::fs::create_dir_all(numbered(&target.path, 3).join("x")).unwrap();
        for _ in 0..5 {
            assert!(log.write(b"4\n").is_err());
        }
        for number in [1, 3] {
            std::fs::remove_dir_all(numbered(&target.path, number)).unwrap();
        }
        std::fs::rename(&moved, numbered(&target.path, 1)).unwrap();
        log.write_all(b"4\n").unwrap();
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(target.path.clone()), "4\n");
        let full = [1, 2, 3].map(|number| read(numbered(&target.path, number)));
        assert_eq!(full, ["3\n", "2\n", "1\n"]);
    }
}
