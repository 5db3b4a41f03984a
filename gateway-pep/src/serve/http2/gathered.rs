//! What is written to a client's connection, gathered: the library below would write each answer by itself, and what many
//! streams have to say at a time costs the system, and TLS, as much as one does if it is said at once.
//!
//! Whoever polls the library writes what it has gathered ([`Gathered::write_out`]) after each time.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::worker::spare::Spare;

/// Bytes that are gathered before they are written; what is longer goes with them, uncopied.
const MOST: usize = 16 << 10;
/// Pieces that are written at once.
const PIECES: usize = 16;

/// Two handles of one stream: the library's, and that of whoever polls it.
#[derive(Debug)]
pub(super) struct Gathered<S>(Rc<RefCell<Inner<S>>>);

#[derive(Debug)]
struct Inner<S> {
    stream: S,
    /// Up to `from` it has been written.
    waiting: Vec<u8>,
    from: usize,
    /// The stream has not said yet that all is on its way.
    is_unflushed: bool,
    spare: Rc<Spare>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gathered<S> {
    pub(super) fn new(stream: S, spare: Rc<Spare>) -> (Self, Self) {
        let inner = Rc::new(RefCell::new(Inner {
            stream,
            waiting: Vec::new(),
            from: 0,
            is_unflushed: false,
            spare,
        }));
        (Self(inner.clone()), Self(inner))
    }

    /// Writes what there is, as far as the client takes it.
    pub(super) fn write_out(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().write_out(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    fn waiting(&self) -> usize {
        self.waiting.len() - self.from
    }

    /// Keeps it, to be written with what comes.
    fn gather(&mut self, slices: &[IoSlice<'_>], length: usize) -> usize {
        if self.waiting.capacity() == 0 {
            self.waiting = self.spare.take();
            self.waiting.reserve(MOST);
        } else if self.waiting.len() + length > MOST {
            // A client that takes a little at a time would else have all that it has taken kept.
            self.waiting.drain(..self.from);
            self.from = 0;
        }
        let before = self.waiting.len();
        for slice in slices {
            self.waiting.extend_from_slice(slice);
        }
        self.waiting.len() - before
    }

    fn wrote(&mut self, bytes: usize) {
        self.is_unflushed = true;
        self.from += bytes;
        if self.from >= self.waiting.len() && self.waiting.capacity() > 0 {
            self.from = 0;
            self.spare.put(std::mem::take(&mut self.waiting));
        }
    }

    fn write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(waiting) = self.waiting.get(self.from..).filter(|it| !it.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wrote(written);
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes these bytes, or some of them.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        loop {
            let waiting = self.waiting();
            if waiting + length <= MOST {
                return Poll::Ready(Ok(self.gather(slices, length)));
            }
            let mut all = [IoSlice::new(&[]); PIECES];
            let before = self.waiting.get(self.from..).unwrap_or_default();
            let pieces = std::iter::once(before).chain(slices.iter().map(|slice| &**slice));
            let mut count = 0;
            for (place, piece) in all.iter_mut().zip(pieces) {
                *place = IoSlice::new(piece);
                count += 1;
            }
            let all = all.get(..count).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, all))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wrote(written.min(waiting));
            if let Some(fresh) = written.checked_sub(waiting).filter(|fresh| *fresh > 0) {
                return Poll::Ready(Ok(fresh));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().write(context, slices)
    }

    /// So that long pieces are not copied before they come here.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Later: see [`Gathered::write_out`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.write_out(context))?;
        Pin::new(&mut inner.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes at a time, and none while it is closed.
    #[derive(Debug, Default)]
    struct Narrow {
        most: usize,
        is_closed: bool,
        /// So many writes more.
        left: usize,
        taken: Vec<u8>,
        writes: usize,
        flushes: usize,
        is_shut: bool,
    }

    impl AsyncRead for Narrow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            if this.is_closed || this.left == 0 {
                return Poll::Pending;
            }
            this.left -= 1;
            this.writes += 1;
            let before = this.taken.len();
            let bytes = slices.iter().flat_map(|slice| slice.iter());
            this.taken.extend(bytes.take(this.most));
            Poll::Ready(Ok(this.taken.len() - before))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    fn gathered(most: usize) -> (Gathered<Narrow>, Gathered<Narrow>, Rc<Spare>) {
        let spare = Rc::<Spare>::default();
        let narrow = Narrow {
            most,
            left: usize::MAX,
            ..Narrow::default()
        };
        let (one, other) = Gathered::new(narrow, spare.clone());
        (one, other, spare)
    }

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn many_answers_are_one_write() {
        let (mut library, own, spare) = gathered(usize::MAX);
        let mut expected = Vec::new();
        for number in 0..10_u8 {
            let (head, body) = ([number; 9], [number; 1000]);
            let slices = [IoSlice::new(&head), IoSlice::new(&body)];
            let taken = Pin::new(&mut library).poll_write_vectored(&mut context(), &slices);
            assert!(matches!(taken, Poll::Ready(Ok(1009))), "{taken:?}");
            assert!(Pin::new(&mut library).poll_flush(&mut context()).is_ready());
            expected.extend([head.as_slice(), &body].concat());
        }
        assert_eq!(own.0.borrow().stream.writes, 0);
        assert!(own.write_out(&mut context()).is_ready());
        assert!(own.write_out(&mut context()).is_ready());
        let inner = own.0.borrow();
        assert_eq!((inner.stream.writes, inner.stream.flushes), (1, 1));
        assert_eq!(inner.stream.taken, expected);
        // Nothing is kept for what comes; the next one has it.
        assert_eq!(inner.waiting.capacity(), 0);
        assert!(spare.take().capacity() >= MOST);
    }

    #[test]
    fn whatever_is_taken_at_a_time_all_arrives_in_order() {
        for most in [1, 7, 1000, 20_000, usize::MAX] {
            let (mut library, own, _) = gathered(most);
            let bytes: Vec<u8> = (0..70_000_u32).flat_map(u32::to_be_bytes).collect();
            let mut left = bytes.as_slice();
            for length in [10, 100, MOST, 1, MOST + 1, 3 * MOST, 5000].iter().cycle() {
                let (head, rest) = left.split_at((*length).min(left.len()));
                let mut head = head;
                while !head.is_empty() {
                    let (one, other) = head.split_at(head.len() / 3);
                    let slices = [IoSlice::new(one), IoSlice::new(other)];
                    let written =
                        Pin::new(&mut library).poll_write_vectored(&mut context(), &slices);
                    let Poll::Ready(Ok(written)) = written else {
                        panic!("{written:?}");
                    };
                    assert!(written > 0);
                    head = &head[written..];
                }
                left = rest;
                if left.is_empty() {
                    break;
                }
            }
            assert!(
                Pin::new(&mut library)
                    .poll_shutdown(&mut context())
                    .is_ready()
            );
            let inner = own.0.borrow();
            assert!(
                inner.stream.is_shut && inner.stream.taken == bytes,
                "{most}"
            );
        }
    }

    #[test]
    fn what_was_taken_is_not_kept_for_a_client_that_takes_a_little_at_a_time() {
        let (mut library, own, _) = gathered(700);
        let piece = [7; 1000];
        let mut accepted = 0;
        for round in 0..5000 {
            let taken = Pin::new(&mut library).poll_write(&mut context(), &piece);
            if let Poll::Ready(Ok(taken)) = taken {
                accepted += taken;
            }
            // One write at a time, and never all of it.
            let mut inner = own.0.borrow_mut();
            inner.stream.left = usize::from(round % 2 == 0);
            let _ = inner.write_out(&mut context());
            assert!(
                inner.waiting.capacity() <= MOST,
                "{}",
                inner.waiting.capacity()
            );
            assert!(inner.waiting() <= MOST);
        }
        let inner = own.0.borrow();
        assert!(accepted > 1_000_000, "{accepted}");
        assert_eq!(inner.stream.taken.len() + inner.waiting(), accepted);
    }

    #[test]
    fn who_takes_nothing_has_no_more_written() {
        let (mut library, own, _) = gathered(usize::MAX);
        own.0.borrow_mut().stream.is_closed = true;
        let full = [0; MOST];
        let taken = Pin::new(&mut library).poll_write(&mut context(), &full);
        assert!(matches!(taken, Poll::Ready(Ok(MOST))));
        assert!(own.write_out(&mut context()).is_pending());
        let more = Pin::new(&mut library).poll_write(&mut context(), &[1]);
        assert!(more.is_pending());
        assert!(
            Pin::new(&mut library)
                .poll_shutdown(&mut context())
                .is_pending()
        );
        own.0.borrow_mut().stream.is_closed = false;
        let more = Pin::new(&mut library).poll_write(&mut context(), &[1]);
        assert!(matches!(more, Poll::Ready(Ok(1))), "{more:?}");
        assert!(own.write_out(&mut context()).is_ready());
        assert_eq!(own.0.borrow().stream.taken.len(), MOST + 1);
    }
}
