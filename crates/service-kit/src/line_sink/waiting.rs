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
struct Place(Mutex<Vec<u8>>);

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

/// A thread that has put down so much does not let the writer finish its pause: buffers that stay small
/// stay in the cache. Bytes.
const ENOUGH: usize = 256 << 10;

/// A buffer that has grown beyond this while an output stood still is given back.
const LARGE: usize = 1 << 20;

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
        self.place(|waiting| waiting.extend_from_slice(lines));
    }

    /// The same without a copy, where nothing has been put down before: a buffer that the writer has
    /// emptied is given in return.
    pub(super) fn put_whole(&self, lines: &mut Vec<u8>) {
        self.place(|waiting| {
            if waiting.is_empty() {
                std::mem::swap(waiting, lines);
            } else {
                waiting.extend_from_slice(lines);
            }
        });
    }

    fn place(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let own = OWN.with(|own| own % PLACES);
        let Some(place) = self.places.get(own) else {
            return;
        };
        let (before, after) = {
            let mut waiting = place.lock();
            let before = waiting.len();
            put(&mut waiting);
            (before, waiting.len())
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

    /// Hands what each thread has put down to `take`, which leaves a buffer in its place. Lines of one
    /// thread stay in order. Says whether there was anything.
    pub(super) fn pick_up(&self, spare: &mut Vec<u8>, mut take: impl FnMut(&mut Vec<u8>)) -> bool {
        let mut any = false;
        for place in &self.places {
            {
                let mut lines = place.lock();
                if lines.is_empty() {
                    continue;
                }
                std::mem::swap(&mut *lines, spare);
            }
            any = true;
            take(spare);
            spare.clear();
            spare.shrink_to(LARGE);
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
            let has_lines = self.places.iter().any(|place| !place.lock().is_empty());
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
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
                let (mut text, mut spare) = (Vec::new(), Vec::new());
                while waiting.wait(None) == Woken::Lines {
                    waiting.pick_up(&mut spare, |lines| text.append(lines));
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
        assert!(waiting.pick_up(&mut Vec::new(), Vec::clear));
        assert_eq!(waiting.wait(None), Woken::Over);
    }
}
