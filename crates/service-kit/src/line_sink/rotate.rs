//! A file of lines that begins anew when it is full: `log`, then `log.1`, `log.2` and so on, the
//! oldest deleted.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{RotatingTarget, append_to};

/// Writes whole lines; a line is never cut in two by a file's end.
#[derive(Debug)]
pub(super) struct Rotating {
    target: RotatingTarget,
    file: File,
    length: u64,
}

impl Rotating {
    pub(super) fn open(target: &RotatingTarget) -> io::Result<Self> {
        let file = append_to(&target.path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            target: target.clone(),
            file,
            length,
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.target.path;
        for number in (1..self.target.keep).rev() {
            let from = numbered(path, number);
            if from.exists() {
                std::fs::rename(from, numbered(path, number + 1))?;
            }
        }
        if self.target.keep > 0 {
            std::fs::rename(path, numbered(path, 1))?;
        } else {
            std::fs::remove_file(path)?;
        }
        self.file = append_to(path)?;
        self.length = 0;
        Ok(())
    }
}

impl Write for Rotating {
    /// Takes lines up to where the file is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length >= self.target.max_bytes {
            self.rotate()?;
        }
        let room = self.target.max_bytes.saturating_sub(self.length);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        // The line that fills the file is its last: it may be longer than that.
        let beyond = bytes.get(room..).unwrap_or_default();
        let end = match bytes.get(..room).and_then(|fits| fits.last()) {
            Some(b'\n') => room,
            _ => beyond
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(bytes.len(), |at| room + at + 1),
        };
        self.file.write_all(bytes.get(..end).unwrap_or(bytes))?;
        self.length += end as u64;
        Ok(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
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
}
