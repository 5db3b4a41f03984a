//! A second, stricter reader of the bytes that a client sends, below the HTTP parser.
//!
//! The parser above is lenient where an upstream might read differently: it drops a fragment,
//! prefers `Transfer-Encoding` over `Content-Length`, merges repeated lengths, takes a bare line
//! feed for a line end. This adapter sees the bytes before it does, follows the framing by the
//! letter of RFC 9112, and says from which message on nothing on the connection can be believed.
//! What it accepts is a subset of what the parser accepts, so the two count the same messages.

mod framing;

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use framing::{Framing, Verdict};

/// Bytes to and from a client, watched.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    framing: Framing,
    findings: Arc<Findings>,
    broken: bool,
    /// A head was bad. The parser may take what has come of it for the beginning of something: it does not
    /// wait for more for long.
    ending: Option<Pin<Box<Sleep>>>,
    /// Whoever takes nothing of what is sent for so long gets no more.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// The rest of a bad head is waited for so long, so that it can be answered.
const REST: Duration = Duration::from_secs(1);

/// What was found out about one connection. Shared with the service above the parser.
#[derive(Debug)]
pub(crate) struct Findings {
    /// Messages from this one on are not to be believed.
    bad_from: AtomicU64,
    /// The connection is no longer HTTP.
    tunnel: AtomicBool,
}

impl<S> Guarded<S> {
    /// Watches a fresh connection; a line may be as long as a whole head.
    pub(crate) fn new(stream: S, max_line: usize, patience: Duration) -> (Self, Arc<Findings>) {
        let findings = Arc::<Findings>::default();
        let guarded = Self {
            stream,
            framing: Framing::new(max_line),
            findings: findings.clone(),
            broken: false,
            ending: None,
            patience,
            stalled: None,
        };
        (guarded, findings)
    }

    /// How many of the bytes just read may be passed on.
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        if self.findings.tunnel.load(Ordering::Relaxed) {
            return bytes.len();
        }
        match self.framing.read(bytes) {
            Verdict::Fine => bytes.len(),
            // The parser must still see the whole head, so that the message can be answered.
            Verdict::BadHead => {
                self.findings
                    .bad_from
                    .store(self.framing.messages(), Ordering::Relaxed);
                self.ending = Some(Box::pin(sleep(REST)));
                bytes.len()
            }
            // Its message is being forwarded: it must never look complete.
            Verdict::BadBody { good } => {
                self.findings
                    .bad_from
                    .store(self.framing.messages(), Ordering::Relaxed);
                self.broken = true;
                good
            }
        }
    }
}

impl Default for Findings {
    /// Nothing.
    fn default() -> Self {
        Self {
            bad_from: AtomicU64::new(u64::MAX),
            tunnel: AtomicBool::new(false),
        }
    }
}

impl Findings {
    /// Whether the `n`th message (from 0) and all after it must be refused.
    pub(crate) fn is_bad(&self, n: u64) -> bool {
        self.bad_from.load(Ordering::Relaxed) <= n
    }

    /// From now on bytes are not HTTP.
    pub(crate) fn enter_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.broken {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        match (
            Pin::new(&mut this.stream).poll_read(context, buffer),
            &mut this.ending,
        ) {
            (Poll::Ready(read), _) => read?,
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(ending)) => {
                ready!(ending.as_mut().poll(context));
                // The orderly end.
                return Poll::Ready(Ok(()));
            }
        }
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let good = this.inspect(fresh);
        buffer.set_filled(before + good);
        if good == 0 {
            // Nothing at all would mean the orderly end.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> Guarded<S> {
    /// Lets a client take its time, and not more: else it holds an upstream's connection, too.
    fn within_patience<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.within_patience(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.within_patience(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.within_patience(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // By TLS there is a last word, which the client has to take, too.
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.within_patience(shut, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::time::Instant;

    use super::*;

    /// Takes nothing.
    struct Deaf;

    impl AsyncWrite for Deaf {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_nothing_is_not_waited_for_not_even_to_say_farewell() {
        let patience = Duration::from_secs(2);
        let guarded = || Guarded::new(Deaf, 100, patience).0;
        let begun = Instant::now();
        assert!(guarded().write(b"x").await.is_err());
        assert!(guarded().flush().await.is_err());
        let farewell = tokio::time::timeout(patience * 2, async { guarded().shutdown().await });
        assert!(farewell.await.is_ok_and(|shut| shut.is_err()));
        assert!(begun.elapsed() < patience * 4);
    }
}
