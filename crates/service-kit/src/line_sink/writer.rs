//! The thread that takes lines from the queue and writes them, and counts those that it cannot write.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use super::Counts;
use super::gathered::{Gathered, Phase};
use super::waiting::{Waiting, Woken};

/// How long lines are gathered before they are written together: a write to a device costs some two hundred
/// microseconds, however short it is.
const PACE: Duration = Duration::from_millis(10);

/// A pipe that is full is left alone for so long.
const FULL: Duration = Duration::from_millis(5);

/// Bytes that are written together, at most; but a text that is longer is not cut.
const TOGETHER: usize = 768 << 10;

/// What lines go to.
pub(super) trait Out: Write {
    /// Where in a block the next byte goes.
    fn phase(&self) -> Phase {
        Phase::default()
    }
}

impl Out for io::Stdout {}

impl Out for io::Stderr {}

/// Writes until every sink is gone. An output that is broken (disk full, pipe closed) does not end
/// that: nobody may wait for it.
pub(super) fn write_lines(inbox: &Inbox, out: impl Out) {
    let mut output = Output::new(out, inbox.counts.clone());
    loop {
        match inbox.waiting.wait(inbox.tick) {
            Woken::Over => break,
            Woken::Nothing => output.write_out(),
            // While lines keep coming the writer does not sleep, so that putting one down wakes nobody: a
            // wake-up for each would cost a request more than its line.
            Woken::Lines => {
                while inbox.waiting.pick_up(|lines| output.put(lines)) {
                    output.write_out();
                    // Who has put down much ends it.
                    std::thread::park_timeout(PACE);
                }
            }
        }
    }
    output.write_out();
}

#[expect(clippy::disallowed_methods, reason = "the thread is the writer's own")]
fn pause() {
    std::thread::sleep(FULL);
}

/// The far end of the queue.
pub(super) struct Inbox {
    pub(super) waiting: Arc<Waiting>,
    pub(super) counts: Arc<Counts>,
    /// The output is flushed this often though nothing comes.
    pub(super) tick: Option<Duration>,
}

/// Gathers lines and writes them. What cannot be written is given up at once, but for the rest of a
/// line of which a part is out: it goes before all else, so that no line is torn.
struct Output<W> {
    out: W,
    gathered: Gathered,
    /// The last byte that is out is not the end of a line.
    is_torn: bool,
    counts: Arc<Counts>,
    /// While writing fails: how many lines were lost before that.
    failing_since: Option<u64>,
}

impl<W: Out> Output<W> {
    fn new(out: W, counts: Arc<Counts>) -> Self {
        Self {
            out,
            gathered: Gathered::with_room_for(TOGETHER),
            is_torn: false,
            counts,
            failing_since: None,
        }
    }

    fn put(&mut self, lines: &[u8]) {
        if self.gathered.len() + lines.len() > TOGETHER {
            self.write_out();
        }
        if self.gathered.is_empty() {
            self.gathered.begin_at(self.out.phase());
        }
        self.gathered.append(lines);
    }

    fn write_out(&mut self) {
        let lost_before = self.counts.dropped();
        let has_lines = !self.gathered.is_empty();
        let written = self.write_gathered();
        // A flush says what became of earlier lines: it is due also when these are lost.
        match written.and(self.out.flush()) {
            Ok(()) if has_lines => self.say_it_works(),
            Ok(()) => {}
            Err(error) => self.say_it_fails(&error, lost_before),
        }
    }

    fn write_gathered(&mut self) -> io::Result<()> {
        let mut done = 0;
        let mut result = Ok(());
        let lines = self.gathered.lines();
        while let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) {
            match self.out.write(rest) {
                Ok(0) => result = Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    done += length;
                    self.is_torn = rest.get(length - 1) != Some(&b'\n');
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A pipe that is full: it is slow, not broken.
                Err(error) if error.kind() == ErrorKind::WouldBlock => pause(),
                Err(error) => result = Err(error),
            }
            if result.is_err() {
                break;
            }
        }
        self.give_up_after(done);
        result
    }

    /// Leaves the rest of a torn line, and counts what is behind it.
    fn give_up_after(&mut self, done: usize) {
        self.gathered.remove_first(done);
        let rest = self.gathered.lines();
        let kept = match rest.iter().position(|byte| *byte == b'\n') {
            _ if !self.is_torn => 0,
            Some(end) => end + 1,
            None => rest.len(),
        };
        self.counts.lose(rest.get(kept..).unwrap_or_default());
        self.gathered.truncate(kept);
    }
}

impl<W> Output<W> {
    fn say_it_fails(&mut self, error: &io::Error, lost_before: u64) {
        if self.failing_since.is_none() {
            self.failing_since = Some(lost_before);
            tracing::error!(%error, "log lines cannot be written and are lost");
        }
    }

    fn say_it_works(&mut self) {
        if let Some(lost_before) = self.failing_since.take() {
            let lost = self.counts.dropped().saturating_sub(lost_before);
            tracing::warn!(lost, "log lines are written again");
        }
    }
}

impl<W> Drop for Output<W> {
    /// What is left here is never written.
    fn drop(&mut self) {
        self.counts.lose(self.gathered.lines());
    }
}

#[cfg(test)]
mod tests;
