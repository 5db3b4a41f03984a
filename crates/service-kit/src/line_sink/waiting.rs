//! Lines that wait to be written. Each thread puts its own down in a place of its own: that is a copy
//! into memory that is warm, and no thread waits for another.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

/// Where threads put lines down and one writer picks them up.
pub(super) struct Waiting {
    places: Box<[Place]>,
    /// Who puts something down has to wake the writer.
    is_writer_asleep: AtomicBool,
    /// Nobody is left who could put anything down.
    is_over: AtomicBool,
    writer: OnceLock<Thread>,
}

/// One thread's lines. Alone on its cache lines, which two threads would else take from each other.
#[repr(align(128))]
#[derive(Default)]
struct Place(Mutex<Pile>);

/// What has been put down in one place.
#[derive(Default)]
struct Pile {
    /// In the order in which they came.
    texts: Vec<Vec<u8>>,
    /// Of all of them, in bytes.
    length: usize,
    /// Buffers that are empty again.
    spare: Vec<Vec<u8>>,
}

/// Why the writer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    Lines,
    /// Nothing came for as long as it was to wait.
    Nothing,
    /// Nothing is left, and nothing will come.
    Over,
}

/// More threads than that share places, and wait for each other as long as a line is copied.
const PLACES: usize = 64;

/// A thread that has put down so much does not let the writer finish its pause: buffers that stay few
/// stay in the cache. Bytes.
const ENOUGH: usize = 512 << 10;

/// Lines that come one by one are put together until they are so long. Bytes.
const TEXT: usize = 64 << 10;

/// Buffers that wait in a place to be filled again hold no more together. Bytes.
const SPARE: usize = 2 * ENOUGH;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| Place::default()).collect(),
            is_writer_asleep: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            writer: OnceLock::new(),
        }
    }

    /// Who picks up, once it runs.
    pub(super) fn is_written_by(&self, writer: Thread) {
        let _ = self.writer.set(writer);
    }

    /// Puts whole lines down.
    pub(super) fn put(&self, lines: &[u8]) {
        self.place(|pile| pile.put(lines));
    }

    /// The same without a copy: an empty buffer is given in return.
    pub(super) fn put_whole(&self, lines: &mut Vec<u8>) {
        self.place(|pile| pile.put_whole(lines));
    }

    fn place(&self, put: impl FnOnce(&mut Pile)) {
        let own = OWN.with(|own| own % PLACES);
        let Some(place) = self.places.get(own) else {
            return;
        };
        let (before, after) = {
            let mut pile = place.lock();
            let before = pile.length;
            put(&mut pile);
            (before, pile.length)
        };
        if before < ENOUGH && after >= ENOUGH {
            self.unpark();
        } else {
            self.wake();
        }
    }

    /// Says that nobody will put anything down any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// The fence stands between what was put down and the look at the writer, as the writer's stands
    /// between its lying down and its last look at the places: one of both sees the other.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.is_writer_asleep.load(Ordering::Relaxed)
            && self.is_writer_asleep.swap(false, Ordering::SeqCst)
        {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Hands what each thread has put down to `take`, a text at a time. Lines of one thread stay in order. Says
    /// whether there was anything.
    pub(super) fn pick_up(&self, mut take: impl FnMut(&[u8])) -> bool {
        let mut any = false;
        for place in &self.places {
            let mut texts = {
                let mut pile = place.lock();
                if pile.texts.is_empty() {
                    continue;
                }
                pile.length = 0;
                std::mem::take(&mut pile.texts)
            };
            any = true;
            for text in &mut texts {
                take(text);
                text.clear();
            }
            let beyond = place.lock().give_back(texts);
            // Memory is not freed while a thread may wait for its place.
            drop(beyond);
        }
        any
    }

    /// Waits for lines; for no longer than `most`, where it says so.
    pub(super) fn wait(&self, most: Option<Duration>) -> Woken {
        let mut is_rested = false;
        loop {
            self.is_writer_asleep.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // First whether it is over: what came before that is seen after it.
            let is_over = self.is_over.load(Ordering::SeqCst);
            let has_lines = self.places.iter().any(Place::has_lines);
            let woken = match most {
                _ if has_lines => Woken::Lines,
                _ if is_over => Woken::Over,
                // Early, where it was woken for what it has picked up already: that does no harm.
                Some(_) if is_rested => Woken::Nothing,
                Some(most) => {
                    std::thread::park_timeout(most);
                    is_rested = true;
                    continue;
                }
                None => {
                    std::thread::park();
                    continue;
                }
            };
            self.is_writer_asleep.store(false, Ordering::SeqCst);
            return woken;
        }
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Pile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_lines(&self) -> bool {
        !self.lock().texts.is_empty()
    }
}

impl Pile {
    /// Writes lines to the end of the last text, if they still fit.
    fn put(&mut self, lines: &[u8]) {
        self.length += lines.len();
        match self.texts.last_mut() {
            Some(last) if last.len() + lines.len() <= TEXT => last.extend_from_slice(lines),
            _ => {
                let mut text = self.spare.pop().unwrap_or_default();
                text.extend_from_slice(lines);
                self.texts.push(text);
            }
        }
    }

    fn put_whole(&mut self, lines: &mut Vec<u8>) {
        self.length += lines.len();
        let spare = self.spare.pop().unwrap_or_default();
        self.texts.push(std::mem::replace(lines, spare));
    }

    /// Takes empty buffers back, to be filled again; returns those that are not needed.
    fn give_back(&mut self, texts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut beyond = Vec::new();
        let mut spare: usize = self.spare.iter().map(Vec::capacity).sum();
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

impl fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Waiting").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_line_of_every_thread_is_picked_up_once_and_in_the_threads_order() {
        const THREADS: usize = 80;
        const LINES: usize = 2000;
        let waiting = Arc::new(Waiting::new());
        let writer = std::thread::spawn({
            let waiting = Arc::clone(&waiting);
            move || {
                let mut text = Vec::new();
                while waiting.wait(None) == Woken::Lines {
                    waiting.pick_up(|lines| text.extend_from_slice(lines));
                }
                text
            }
        });
        waiting.is_written_by(writer.thread().clone());
        let threads = (0..THREADS).map(|thread| {
            let waiting = Arc::clone(&waiting);
            std::thread::spawn(move || {
                for line in 0..LINES {
                    let mut text = format!("{thread} {line}\n").into_bytes();
                    if line % 3 == 0 {
                        waiting.put_whole(&mut text);
                    } else {
                        waiting.put(&text);
                    }
                    if line % 100 == 0 {
                        // The writer falls asleep meanwhile, often.
                        std::thread::yield_now();
                    }
                }
            })
        });
        for thread in threads.collect::<Vec<_>>() {
            thread.join().unwrap();
        }
        waiting.end();
        let text = String::from_utf8(writer.join().unwrap()).unwrap();
        let mut next = HashMap::<usize, usize>::new();
        for line in text.lines() {
            let (thread, line) = line.split_once(' ').unwrap();
            let next = next.entry(thread.parse().unwrap()).or_default();
            assert_eq!(line.parse(), Ok(*next));
            *next += 1;
        }
        assert_eq!(next.len(), THREADS);
        assert!(next.values().all(|lines| *lines == LINES));
    }

    #[test]
    fn who_waits_for_some_time_is_told_that_nothing_came() {
        let waiting = Waiting::new();
        let soon = Some(Duration::from_millis(5));
        assert_eq!(waiting.wait(soon), Woken::Nothing);
        waiting.put(b"1\n");
        assert_eq!(waiting.wait(soon), Woken::Lines);
        waiting.end();
        assert_eq!(waiting.wait(None), Woken::Lines);
        assert!(waiting.pick_up(|lines| assert_eq!(lines, b"1\n")));
        assert_eq!(waiting.wait(None), Woken::Over);
    }
}
