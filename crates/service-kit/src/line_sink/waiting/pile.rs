//! What one thread has put down: texts of lines, and of each line when it came.

/// See the module.
#[derive(Default)]
pub(super) struct Pile {
    /// In the order in which they came.
    texts: Vec<Text>,
    /// Of all of them, in bytes.
    length: usize,
    /// Texts that are empty again.
    spare: Vec<Text>,
}

/// Lines that lie together.
#[derive(Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
    runs: Vec<Run>,
}

/// Lines between which nobody put anything down.
#[derive(Clone, Copy)]
struct Run {
    /// So many bytes had been put down before, by all threads.
    at: u64,
    length: usize,
}

/// Lines that come one by one are put together until they are so long. Bytes.
const TEXT: usize = 64 << 10;

/// Buffers that wait to be filled again hold no more together. Bytes.
const SPARE: usize = 2 * super::ENOUGH;

impl Pile {
    /// Writes lines to the end of the last text, if they still fit.
    pub(super) fn put(&mut self, at: u64, lines: &[u8]) {
        self.length += lines.len();
        let fits = |text: &Text| text.bytes.len() + lines.len() <= TEXT;
        if !self.texts.last().is_some_and(fits) {
            self.texts.push(self.spare.pop().unwrap_or_default());
        }
        if let Some(text) = self.texts.last_mut() {
            text.bytes.extend_from_slice(lines);
            text.mark(at, lines.len());
        }
    }

    pub(super) fn put_whole(&mut self, at: u64, lines: &mut Vec<u8>) {
        self.length += lines.len();
        let mut text = self.spare.pop().unwrap_or_default();
        std::mem::swap(&mut text.bytes, lines);
        text.mark(at, text.bytes.len());
        self.texts.push(text);
    }

    /// Bytes that lie here.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Takes the lines that were put down while there were no more than `end` bytes: where another one begins.
    pub(super) fn take_before(&mut self, end: u64) -> Vec<Text> {
        let is_before = |text: &Text| text.runs.last().is_none_or(|run| run.end() <= end);
        if self.texts.last().is_none_or(is_before) {
            self.length = 0;
            return std::mem::take(&mut self.texts);
        }
        let whole = self.texts.partition_point(is_before);
        let mut taken: Vec<Text> = self.texts.drain(..whole).collect();
        if let Some(text) = self.texts.first_mut()
            && text.runs.first().is_some_and(|run| run.at < end)
        {
            let mut later = self.spare.pop().unwrap_or_default();
            text.split_off(end, &mut later);
            taken.push(std::mem::replace(text, later));
        }
        self.length = self.texts.iter().map(|text| text.bytes.len()).sum();
        taken
    }

    /// Takes empty texts back, to be filled again; returns those that are not needed.
    pub(super) fn give_back(&mut self, texts: Vec<Text>) -> Vec<Text> {
        let mut beyond = Vec::new();
        let mut spare: usize = self.spare.iter().map(Text::capacity).sum();
        for text in texts {
            if spare + text.capacity() <= SPARE {
                spare += text.capacity();
                self.spare.push(text);
            } else {
                beyond.push(text);
            }
        }
        beyond
    }
}

impl Text {
    fn mark(&mut self, at: u64, length: usize) {
        match self.runs.last_mut() {
            Some(run) if run.end() == at => run.length += length,
            _ => self.runs.push(Run { at, length }),
        }
    }

    /// Lines that were put down with nothing between, and when: each with what came before it from anybody, in
    /// bytes.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.runs.iter().map_while(move |run| {
            let (lines, behind) = rest.split_at_checked(run.length)?;
            rest = behind;
            Some((run.at, lines))
        })
    }

    /// Moves what was put down later to another text.
    fn split_off(&mut self, end: u64, later: &mut Self) {
        let mut kept = 0;
        for run in std::mem::take(&mut self.runs) {
            // One may have begun before and been continued after: `end` is then where a line ends.
            let before = end.saturating_sub(run.at).min(run.length as u64);
            let before = usize::try_from(before).unwrap_or(run.length);
            kept += before;
            if before > 0 {
                self.mark(run.at, before);
            }
            if before < run.length {
                later.mark(run.at + before as u64, run.length - before);
            }
        }
        let moved = self.bytes.get(kept..).unwrap_or_default();
        later.bytes.extend_from_slice(moved);
        self.bytes.truncate(kept);
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
    }

    /// What it takes of memory, however little is in it. Bytes.
    fn capacity(&self) -> usize {
        self.bytes.capacity() + self.runs.capacity() * size_of::<Run>()
    }
}

impl Run {
    fn end(&self) -> u64 {
        self.at + self.length as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(texts: &[Text]) -> Vec<(u64, String)> {
        let runs = texts.iter().flat_map(Text::runs);
        runs.map(|(at, lines)| (at, String::from_utf8(lines.to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn what_came_before_is_taken_and_what_came_later_stays() {
        for end in 0..=20_u64 {
            let mut pile = Pile::default();
            pile.put(0, b"a\n");
            pile.put(2, b"b\n");
            pile.put(8, b"c\n");
            pile.put_whole(10, &mut b"d\ne\n".to_vec());
            pile.put(14, b"f\n");
            let lines = [
                (0, "a\n"),
                (2, "b\n"),
                (8, "c\n"),
                (10, "d\ne\n"),
                (14, "f\n"),
            ];
            if lines
                .iter()
                .any(|(at, line)| (*at + 1..*at + line.len() as u64).contains(&end))
            {
                continue; // Nobody has ever put down so many bytes.
            }
            let (before, later): (Vec<_>, Vec<_>) = lines.iter().partition(|(at, _)| *at < end);
            let text =
                |lines: &[&(u64, &str)]| lines.iter().map(|(_, line)| *line).collect::<String>();
            let taken = told(&pile.take_before(end));
            let said = |told: &[(u64, String)]| {
                told.iter()
                    .map(|(_, lines)| lines.as_str())
                    .collect::<String>()
            };
            assert_eq!(said(&taken), text(&before), "before {end}");
            assert_eq!(pile.length(), text(&later).len());
            let rest = told(&pile.take_before(u64::MAX));
            assert_eq!(said(&rest), text(&later), "after {end}");
            for (at, lines) in taken.iter().chain(&rest) {
                let first = lines.get(..2).unwrap();
                let own = [("a\n", 0), ("b\n", 2), ("c\n", 8), ("d\n", 10), ("f\n", 14)];
                assert!(own.contains(&(first, *at)), "{lines} at {at}");
            }
            assert!(pile.is_empty());
        }
    }
}
