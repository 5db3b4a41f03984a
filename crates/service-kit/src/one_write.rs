//! A connection to which what is small is written at once: a head and a short body are two slices, and to have the
//! system gather them costs more than to copy them together.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
#[derive(Debug)]
pub struct OneWrite<S>(S);

/// More than that is not copied. Bytes.
const SMALL: usize = 4 << 10;

thread_local! {
    /// Warm, and large enough.
    static TOGETHER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<S> OneWrite<S> {
    pub fn new(stream: S) -> Self {
        Self(stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OneWrite<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OneWrite<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let [one] = slices {
            return Pin::new(&mut this.0).poll_write(context, one);
        }
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if bytes > SMALL {
            return Pin::new(&mut this.0).poll_write_vectored(context, slices);
        }
        let mut together = TOGETHER.try_with(Cell::take).unwrap_or_default();
        together.clear();
        for slice in slices {
            together.extend_from_slice(slice);
        }
        let written = Pin::new(&mut this.0).poll_write(context, &together);
        // A thread that is about to end keeps nothing.
        let _ = TOGETHER.try_with(|spare| spare.set(together));
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Takes so many bytes at a time, and says how they came.
    #[derive(Default)]
    struct Taking {
        most: usize,
        taken: Vec<u8>,
        plain: usize,
        vectored: usize,
    }

    impl AsyncWrite for Taking {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let length = bytes.len().min(this.most);
            this.taken.extend_from_slice(&bytes[..length]);
            this.plain += 1;
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.vectored += 1;
            let plain = this.plain;
            let text: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let written = Pin::new(&mut *this).poll_write(context, &text);
            this.plain = plain;
            written
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_small_goes_out_by_one_write_and_what_is_large_is_not_copied() {
        for (head, body, most, plain, vectored) in [
            (10, 0, 99_999, 1, 0),
            (10, 20, 99_999, 1, 0),
            (96, SMALL - 96, 99_999, 1, 0),
            (96, SMALL - 95, 99_999, 0, 1),
            // Taken in pieces: the rest is written again.
            (10, 20, 7, 5, 0),
        ] {
            let taking = Taking {
                most,
                ..Taking::default()
            };
            let mut stream = OneWrite::new(taking);
            let text: Vec<u8> = (0..251).cycle().take(head + body).collect();
            let mut written = 0;
            while written < text.len() {
                let rest = text.split_at(head.max(written));
                let slices = [&rest.0[written..], rest.1].map(IoSlice::new);
                let slices = if body == 0 { &slices[..1] } else { &slices[..] };
                written += stream.write_vectored(slices).await.unwrap();
            }
            let Taking {
                taken,
                plain: p,
                vectored: v,
                ..
            } = stream.0;
            assert_eq!(taken, text);
            assert_eq!((p, v), (plain, vectored), "{head} {body} {most}");
        }
    }
}
