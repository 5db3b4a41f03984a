//! Outputs that are full, closed, slow, and that come back.

use std::sync::{Mutex, PoisonError};

use super::*;
use crate::line_sink::{LineSink, LineTarget};

/// Takes so many bytes at a time; fails when it has taken as many as it may.
#[derive(Debug, Default, Clone)]
struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    written: Vec<u8>,
    room: usize,
    at_a_time: usize,
}

impl Disk {
    fn with_room(room: usize) -> Self {
        let disk = Self::default();
        disk.set(|state| {
            state.room = room;
            state.at_a_time = 7;
        });
        disk
    }

    fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn text(&self) -> String {
        self.set(|state| String::from_utf8(state.written.clone()).unwrap())
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.set(|state| {
            let length = bytes.len().min(state.room).min(state.at_a_time);
            if length == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            state.room -= length;
            state.written.extend_from_slice(&bytes[..length]);
            Ok(length)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out for Disk {}

/// What is logged meanwhile, on this thread.
fn logged(run: impl FnOnce()) -> Vec<String> {
    let log = Disk::with_room(usize::MAX);
    log.set(|state| state.at_a_time = usize::MAX);
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    log.text().lines().map(str::to_owned).collect()
}

fn lines(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let lines = numbers.map(|number| format!("{number:09}\n"));
    lines.collect::<Vec<_>>().concat().into_bytes()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_and_counts_every_line() {
    let target = LineTarget::File("/dev/full".into());
    let (sink, writer) = LineSink::open(&target).unwrap();
    let counter = sink.counts.clone();
    for round in 0..50_000 {
        sink.send(&lines(round * 2..round * 2 + 2));
    }
    drop(sink);
    writer.join();
    assert_eq!(counter.dropped(), 100_000);
}

#[test]
fn lines_are_written_or_counted_and_never_torn_while_an_output_comes_and_goes() {
    let disk = Disk::with_room(0);
    let (sink, writer) = LineSink::to(disk.clone()).unwrap();
    let counter = sink.counts.clone();
    for round in 0..200 {
        sink.send(&lines(round * 100..round * 100 + 100));
        if round % 10 == 0 {
            // Ends somewhere in a line, mostly.
            disk.set(|state| state.room = if round % 20 == 0 { 0 } else { 3_333 });
            pause();
        }
    }
    disk.set(|state| state.room = usize::MAX);
    sink.send(&lines(20_000..20_001));
    drop(sink);
    writer.join();
    let text = disk.text();
    assert!(text.ends_with("000020000\n"), "it works again");
    let mut numbers = Vec::<u64>::new();
    for line in text.lines() {
        assert_eq!(line.len(), 9, "`{line}` is whole");
        numbers.push(line.parse().unwrap());
    }
    assert!(
        numbers.is_sorted_by(|one, next| one < next),
        "in order, once"
    );
    assert!(counter.dropped() > 100);
    assert_eq!(numbers.len() as u64 + counter.dropped(), 20_001);
}

#[test]
fn trouble_is_told_once_and_its_end_with_what_it_cost() {
    let disk = Disk::with_room(14);
    let counts = Arc::<Counts>::default();
    counts.lose_so_many(1000);
    let said = logged(|| {
        let mut output = Output::new(disk.clone(), counts.clone());
        for number in 0..10 {
            output.put(&lines(number * 3..number * 3 + 3));
            output.write_out();
        }
        assert_eq!(counts.dropped(), 1028, "one is out, one is half out");
        disk.set(|state| state.room = usize::MAX);
        for number in 30..32 {
            output.put(&lines(number..number + 1));
            output.write_out();
        }
    });
    assert_eq!(disk.text(), "000000000\n000000001\n000000030\n000000031\n");
    assert_eq!(counts.dropped(), 1028);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("ERROR") && said[0].contains("cannot be written"));
    assert!(said[1].contains("WARN") && said[1].contains("lost=28"));
    assert!(!said.concat().contains("00000000"), "no line's content");
}

#[test]
fn what_is_never_written_at_the_end_is_counted() {
    let disk = Disk::with_room(14);
    let (sink, writer) = LineSink::to(disk.clone()).unwrap();
    let counter = sink.counts.clone();
    sink.send(&lines(0..5));
    drop(sink);
    writer.join();
    assert_eq!(disk.text(), "000000000\n0000");
    assert_eq!(counter.dropped(), 4, "the torn line is one of them");
}
