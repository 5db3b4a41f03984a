//! The frames of a connection, counted below the HTTP library: those that carry no message cost the
//! client nothing and us a little each, so there may not be many more of them than of messages.
//!
//! Only the nine bytes in front of each frame are looked at (RFC 9113 section 4.1), and how much of it is padding.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::serve::http2::streams::Streams;

/// Bytes to and from a client.
#[derive(Debug)]
pub(in crate::serve) struct Watched<S> {
    stream: S,
    streams: Rc<Streams>,
    frames: Frames,
    /// Read since others had their turn.
    at_once: usize,
}

impl<S> Watched<S> {
    /// A fresh connection, on which the client's preface comes first.
    pub(in crate::serve) fn new(stream: S, streams: Rc<Streams>) -> Self {
        Self {
            stream,
            streams,
            frames: Frames::new(),
            at_once: 0,
        }
    }

    fn wrote(&mut self, bytes: usize) {
        if bytes > 0 {
            self.streams.wrote(bytes);
            self.frames.answered(bytes);
        }
    }
}

/// Counts frames.
#[derive(Debug)]
struct Frames {
    head: [u8; HEAD],
    /// How much of the head was read.
    have: usize,
    /// How much is left to pass over.
    skip: usize,
    /// The first byte of a DATA frame says how much of it is padding.
    is_padded: bool,
    /// How many more frames may come that carry no message.
    left: usize,
    /// Written, and not accounted for yet.
    written: usize,
    /// Up to when time was accounted for.
    counted: Instant,
}

/// There were too many.
#[derive(Debug, PartialEq, Eq)]
struct Flood;

const HEAD: usize = 9;
const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PADDED: u8 = 8;
/// A client's bytes that are read before what they are for is looked at.
const AT_ONCE: usize = 64 << 10;

/// So many at once, one each second, and a few for each message and for what is answered: a client says how much more it
/// takes (`WINDOW_UPDATE`) for each piece of an answer, perhaps twice; and it pings while it waits, which can be for hours
/// where it has a stream of events or a WebSocket.
const MOST: usize = 1000;
const FOR_A_REQUEST: usize = 10;
const FOR_A_PIECE: usize = 2;
const ANSWERED: usize = 512;

impl Frames {
    fn new() -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            skip: PREFACE,
            is_padded: false,
            left: MOST,
            written: 0,
            counted: Instant::now(),
        }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        while let Some(first) = bytes.first() {
            if self.is_padded {
                self.is_padded = false;
                self.data(self.skip.saturating_sub(1 + usize::from(*first)))?;
            }
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let wanted = (HEAD - self.have).min(bytes.len());
            let (more, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            if let Some(place) = self.head.get_mut(self.have..self.have + wanted) {
                place.copy_from_slice(more);
            }
            self.have += wanted;
            bytes = rest;
            if self.have == HEAD {
                self.have = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = usize::try_from(length).unwrap_or(usize::MAX);
        match kind {
            HEADERS => self.allow(FOR_A_REQUEST),
            DATA if flags & PADDED != 0 && length > 0 => self.is_padded = true,
            DATA => self.data(self.skip)?,
            _ => self.nothing()?,
        }
        Ok(())
    }

    fn data(&mut self, length: usize) -> Result<(), Flood> {
        if length == 0 {
            return self.nothing();
        }
        self.allow(FOR_A_PIECE);
        Ok(())
    }

    /// A frame that carries no message.
    fn nothing(&mut self) -> Result<(), Flood> {
        if self.left < MOST / 2 {
            let seconds = self.counted.elapsed().as_secs();
            self.counted += Duration::from_secs(seconds);
            // Not more at once for having waited.
            let seconds = usize::try_from(seconds).unwrap_or(MOST);
            self.left = self.left.saturating_add(seconds).min(MOST / 2);
        }
        self.left = self.left.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }

    fn answered(&mut self, bytes: usize) {
        self.written += bytes;
        self.allow(self.written / ANSWERED);
        self.written %= ANSWERED;
    }

    fn allow(&mut self, more: usize) {
        self.left = MOST.min(self.left.saturating_add(more));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The library reads as long as there is something, and what it reads piles up: whoever takes it has to come in between.
        if this.at_once >= AT_ONCE {
            this.at_once = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_pending() {
            this.at_once = 0;
        }
        ready!(read)?;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        this.at_once += fresh.len();
        Poll::Ready(
            this.frames
                .read(fresh)
                .map_err(|Flood| io::Error::new(io::ErrorKind::InvalidData, "a flood of frames")),
        )
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, slices))?;
        this.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it carries begins with a seven.
    fn frame((kind, flags): (u8, u8), length: usize) -> Vec<u8> {
        let length = u32::try_from(length).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(
            HEAD + usize::try_from(u32::from_be_bytes(length)).unwrap(),
            7,
        );
        frame
    }

    /// How many of a kind pass, read in pieces of this size.
    fn passing(kind: (u8, u8), length: usize, piece: usize) -> usize {
        let mut frames = Frames::new();
        let mut bytes = vec![b'p'; PREFACE];
        for _ in 0..MOST * 3 {
            bytes.extend(frame(kind, length));
        }
        let mut read = 0;
        for piece in bytes.chunks(piece) {
            if frames.read(piece).is_err() {
                break;
            }
            read += piece.len();
        }
        read.saturating_sub(PREFACE) / (HEAD + length)
    }

    #[test]
    fn what_carries_no_message_is_counted_however_it_is_cut() {
        let padded = (DATA, PADDED);
        for (kind, length) in [
            ((3, 0), 4),
            ((4, 0), 0),
            ((6, 0), 8),
            ((8, 0), 4),
            ((9, 0), 1),
            ((DATA, 0), 0),
            ((0xff, 0), 3),
            (padded, 0),
            (padded, 1),
            // Of padding alone, and of more than there is.
            (padded, 8),
            (padded, 4),
        ] {
            for piece in [1, 7, 9, HEAD + length] {
                let passing = passing(kind, length, piece);
                assert!((MOST - 2..=MOST).contains(&passing), "{kind:?} {passing}");
            }
        }
        for (kind, length) in [((HEADERS, 0), 20), ((DATA, 0), 1), (padded, 9)] {
            assert_eq!(passing(kind, length, 5), MOST * 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_may_ping_for_as_long_as_it_likes() {
        let ping = frame((6, 0), 8);
        let mut frames = Frames::new();
        frames.read(&[0; PREFACE]).unwrap();
        for _ in 0..MOST * 3 {
            tokio::time::advance(Duration::from_millis(1100)).await;
            frames.read(&ping).unwrap();
        }
        // Time that has passed is no store: not more than at first.
        tokio::time::advance(Duration::from_hours(1)).await;
        let mut passed = 0;
        while frames.read(&ping).is_ok() {
            passed += 1;
        }
        assert!((MOST / 2..=MOST).contains(&passed), "{passed}");
    }

    #[test]
    fn answers_allow_more() {
        let mut frames = Frames::new();
        frames.read(&[0; PREFACE]).unwrap();
        for _ in 0..MOST * 3 {
            frames.read(&frame((8, 0), 4)).unwrap();
            frames.read(&frame((8, 0), 4)).unwrap();
            frames.answered(2 * ANSWERED);
        }
        assert!(frames.left > 0);
    }
}
