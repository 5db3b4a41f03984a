//! Bytes one way, from whoever reads to whoever writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use crate::body::{Patience, Waited};

/// One direction of a tunnel.
#[derive(Debug)]
pub(super) struct Pipe {
    buffer: Box<[u8]>,
    /// Read and not yet written: from, and up to.
    from: usize,
    to: usize,
    /// Of what was written.
    frames: Frames,
    passed: usize,
    is_unflushed: bool,
    ending: Ending,
    /// There was an error after what has been read.
    failed: Option<io::Error>,
    /// With whoever reads, and whoever is written to.
    with_reader: Patience,
    with_writer: Patience,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Not,
    /// There is no more to read.
    Read,
    /// The other side knows.
    Over,
}

const BUFFER: usize = 8 << 10;

impl Pipe {
    /// How long the side that is read from may say nothing once the other direction is over, and the side that is written to
    /// may take nothing.
    pub(super) fn new(says_nothing: Duration, takes_nothing: Duration) -> Self {
        Self {
            buffer: vec![0; BUFFER].into(),
            from: 0,
            to: 0,
            frames: Frames::default(),
            passed: 0,
            is_unflushed: false,
            ending: Ending::Not,
            failed: None,
            with_reader: Patience::new(says_nothing),
            with_writer: Patience::new(takes_nothing),
        }
    }

    /// Passes on what there is. Ready at the end, which the other side was told, or when that has taken too long.
    /// `is_last`: the other direction is over.
    pub(super) fn pass(
        &mut self,
        context: &mut Context<'_>,
        (from, to): (
            &mut (impl AsyncRead + Unpin),
            &mut (impl AsyncWrite + Unpin),
        ),
        is_last: bool,
    ) -> Poll<io::Result<()>> {
        let before = self.passed;
        let polled = self.pass_on(context, from, to);
        if self.passed > before {
            self.with_reader.reset();
            self.with_writer.reset();
        }
        if polled.is_ready() {
            return polled;
        }
        let is_waiting = self.from < self.to || self.ending == Ending::Read || self.is_unflushed;
        let patience = if is_waiting {
            self.with_reader.reset();
            &mut self.with_writer
        } else {
            self.with_writer.reset();
            &mut self.with_reader
        };
        if !is_waiting && !is_last {
            patience.reset();
            return Poll::Pending;
        }
        match patience.wait(context) {
            Waited::TooLong => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Waited::Long | Waited::NotLong => Poll::Pending,
        }
    }

    /// As far as both sides go.
    fn pass_on(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            if self.ending == Ending::Over {
                return Poll::Ready(Ok(()));
            }
            while let Some(waiting) = self
                .buffer
                .get(self.from..self.to)
                .filter(|it| !it.is_empty())
            {
                let length = ready!(Pin::new(&mut *to).poll_write(context, waiting))?;
                if length == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.frames.pass(waiting.get(..length).unwrap_or_default());
                self.from += length;
                self.passed += length;
                self.is_unflushed = true;
            }
            if self.ending == Ending::Read {
                ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                self.ending = Ending::Over;
                continue;
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            self.fill(context, from);
            if self.to == 0 && self.ending == Ending::Not && self.failed.is_none() {
                if self.is_unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(context))?;
                    self.is_unflushed = false;
                }
                return Poll::Pending;
            }
        }
    }

    /// Takes what there is, as far as there is room: many small messages go on together, since whoever gets them may not take
    /// as many pieces.
    fn fill(&mut self, context: &mut Context<'_>, from: &mut (impl AsyncRead + Unpin)) {
        (self.from, self.to) = (0, 0);
        while let Some(free) = self.buffer.get_mut(self.to..).filter(|it| !it.is_empty()) {
            let mut free = ReadBuf::new(free);
            match Pin::new(&mut *from).poll_read(context, &mut free) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    return;
                }
                Poll::Ready(Ok(())) if free.filled().is_empty() => {
                    self.ending = Ending::Read;
                    return;
                }
                Poll::Ready(Ok(())) => self.to += free.filled().len(),
            }
        }
    }

    /// Bytes that were passed on since the last call.
    pub(super) fn take_passed(&mut self) -> usize {
        std::mem::take(&mut self.passed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.ending == Ending::Over
    }

    /// Whether a closing frame may come next.
    pub(super) fn may_close(&self) -> bool {
        self.ending == Ending::Not && self.frames.may_close()
    }
}
