//! Lines that wait to be written. Each thread puts its own down in a place of its own: that is a copy
//! into memory that is warm, and no thread waits for another. They are picked up in the order in which
//! all threads have put them down.

mod pile;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use pile::{Pile, Text};

/// Where threads put lines down and one writer picks them up.
pub(super) struct Waiting {
    places: Box<[Place]>,
    /// No more than that waits. Bytes.
    room: u64,
    /// What has been put down so far, lines that found no room included. Bytes: it says of each line also
    /// which ones were there before.
    put: Alone<AtomicU64>,
    /// What of that waits no more. Bytes.
    gone: Alone<AtomicU64>,
    /// Who puts something down has to wake the writer.
    is_writer_asleep: AtomicBool,
    /// Nobody is left who could put anything down.
    is_over: AtomicBool,
    writer: OnceLock<Thread>,
}

/// Alone on its cache lines, which two threads would else take from each other.
#[repr(align(128))]
#[derive(Default)]
struct Alone<T>(T);

/// One thread's lines.
type Place = Alone<Mutex<Pile>>;

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

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// Which place is the thread's own.
fn own() -> usize {
    OWN.with(|own| own % PLACES)
}

impl Waiting {
    /// Holds so many bytes, about.
    pub(super) fn with_room_for(bytes: u64) -> Self {
        Self {
            places: (0..PLACES).map(|_| Place::default()).collect(),
            room: bytes,
            put: Alone::default(),
            gone: Alone::default(),
            is_writer_asleep: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            writer: OnceLock::new(),
        }
    }

    /// Who picks up, once it runs.
    pub(super) fn is_written_by(&self, writer: Thread) {
        let _ = self.writer.set(writer);
    }

    /// Puts whole lines down. False: there is no room.
    pub(super) fn put(&self, lines: &[u8]) -> bool {
        self.place(own(), lines.len(), |pile, at| pile.put(at, lines))
    }

    /// The same without a copy: an empty buffer is given in return.
    pub(super) fn put_whole(&self, lines: &mut Vec<u8>) -> bool {
        self.place(own(), lines.len(), |pile, at| pile.put_whole(at, lines))
    }

    fn place(&self, own: usize, length: usize, put: impl FnOnce(&mut Pile, u64)) -> bool {
        let length = length as u64;
        let Some(place) = self.places.get(own) else {
            return false;
        };
        let (before, after) = {
            let mut pile = place.lock();
            // With the place in hand, so that threads that share one put down in this order, too. It also
            // hands on what was put down before, elsewhere: see `pick_up`.
            let at = self.put.0.fetch_add(length, Ordering::AcqRel);
            let waiting = at.saturating_sub(self.gone.0.load(Ordering::Relaxed));
            if waiting + length > self.room {
                self.gone.0.fetch_add(length, Ordering::Relaxed);
                return false;
            }
            let before = pile.length();
            put(&mut pile, at);
            (before, pile.length())
        };
        if before < ENOUGH && after >= ENOUGH {
            self.unpark();
        } else {
            self.wake();
        }
        true
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

    /// Hands what has been put down to `take`, in that order, some lines at a time. Says whether there was
    /// anything.
    pub(super) fn pick_up(&self, mut take: impl FnMut(&[u8])) -> bool {
        // What is put down from now on is left: of two lines the first may be in a place that has been
        // seen by then, and the second in one that has not.
        let end = self.put.0.load(Ordering::Acquire);
        let mut places = Vec::new();
        for place in &self.places {
            let texts = place.lock().take_before(end);
            if !texts.is_empty() {
                places.push((place, texts));
            }
        }
        let texts = places.iter().flat_map(|(_, texts)| texts);
        let mut runs: Vec<(u64, &[u8])> = texts.flat_map(Text::runs).collect();
        // Made for what is in order in parts.
        runs.sort_by_key(|(at, _)| *at);
        let mut gone = 0;
        for (_, lines) in &runs {
            gone += lines.len() as u64;
            take(lines);
        }
        // Now and not before: until here all of it is in memory.
        self.gone.0.fetch_add(gone, Ordering::Relaxed);
        let any = !runs.is_empty();
        for (place, mut texts) in places {
            texts.iter_mut().for_each(Text::clear);
            let beyond = place.lock().give_back(texts);
            // Memory is not freed while a thread may wait for its place.
            drop(beyond);
        }
        any
    }

    /// What has been put down and not been picked up. Bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        let gone = self.gone.0.load(Ordering::SeqCst);
        self.put.0.load(Ordering::SeqCst).saturating_sub(gone)
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
        !self.lock().is_empty()
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
        let waiting = Arc::new(Waiting::with_room_for(u64::MAX));
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
                    assert!(match line % 3 {
                        0 => waiting.put_whole(&mut text),
                        _ => waiting.put(&text),
                    });
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
        let waiting = Waiting::with_room_for(2);
        let soon = Some(Duration::from_millis(5));
        assert_eq!(waiting.wait(soon), Woken::Nothing);
        assert!(waiting.put(b"1\n"));
        assert!(!waiting.put(b"2\n"), "there is no room");
        assert_eq!(waiting.wait(soon), Woken::Lines);
        waiting.end();
        assert_eq!(waiting.wait(None), Woken::Lines);
        assert!(waiting.pick_up(|lines| assert_eq!(lines, b"1\n")));
        assert_eq!(waiting.wait(None), Woken::Over);
        assert_eq!(waiting.bytes(), 0, "what was lost takes no room");
        assert!(waiting.put(b"3\n"));
    }

    #[test]
    fn a_line_that_was_put_down_after_another_comes_after_it_whoever_put_it_down() {
        let waiting = Arc::new(Waiting::with_room_for(8 << 20));
        let is_enough = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (waiting, is_enough) = (Arc::clone(&waiting), Arc::clone(&is_enough));
            move || {
                let mut number = 0_u32;
                while !is_enough.load(Ordering::Relaxed) {
                    // As if by two threads, of which one is seen to first and the other last.
                    let own = if number.is_multiple_of(3) {
                        0
                    } else {
                        PLACES - 1
                    };
                    let line = format!("{number:09}\n");
                    let put = |pile: &mut Pile, at| pile.put(at, line.as_bytes());
                    if waiting.place(own, line.len(), put) {
                        number += 1;
                    } else {
                        std::thread::yield_now();
                    }
                }
                number
            }
        });
        let mut text = Vec::new();
        let (mut times, mut left) = (0, 0);
        // Lines have come meanwhile: with one core alone that is seldom so.
        while left < 150 && times < 10_000 {
            times += u32::from(waiting.pick_up(|lines| text.extend_from_slice(lines)));
            left += u32::from(waiting.bytes() > 0);
        }
        is_enough.store(true, Ordering::Relaxed);
        let put = thread.join().unwrap();
        waiting.pick_up(|lines| text.extend_from_slice(lines));
        assert_eq!(waiting.bytes(), 0);
        let text = String::from_utf8(text).unwrap();
        let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.into_iter().eq(0..put), "each once, in order");
    }
}
