//! Opens connections to endpoints: TCP, and TLS where the upstream is reached by it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use service_kit::tls::ClientStream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::plan::{EndpointPlan, Transport};
use crate::probes::probe;

/// A connection on which nothing was said yet.
#[derive(Debug)]
pub(super) enum Dialled {
    Plain(TcpStream),
    Tls(Box<ClientStream<TcpStream>>),
}

/// How long that may take is for the caller to say.
pub(super) async fn dial(endpoint: &EndpointPlan, transport: &Transport) -> io::Result<Dialled> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    watch_over(&stream)?;
    match &transport.tls {
        None => Ok(Dialled::Plain(stream)),
        Some(tls) => Ok(Dialled::Tls(Box::new(tls.connect(stream).await?))),
    }
}

/// Has the system end a connection whose other end has vanished, or takes nothing of what is sent, which nobody waits
/// for once the answer is there.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    probe(&socket)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(DEAF))?;
    Ok(())
}

#[cfg(target_os = "linux")]
const DEAF: std::time::Duration = std::time::Duration::from_mins(1);

/// Runs what belongs to a connection on the thread of its worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

impl AsyncRead for Dialled {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::probes::SILENT;

    #[tokio::test]
    async fn the_system_looks_after_connections_that_nobody_waits_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let stream = connecting.await.unwrap();
        watch_over(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENT);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(DEAF));
    }
}
