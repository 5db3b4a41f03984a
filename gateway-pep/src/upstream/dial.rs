//! Opens connections to endpoints: TCP, and TLS where the upstream is reached by it.

use std::future::Future;
use std::io;

use service_kit::OneWrite;
use service_kit::tls::ClientStream;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::either::Either;

use crate::parting::Parting;
use crate::plan::{EndpointPlan, Transport};
use crate::probes::probe;

/// A connection on which nothing was said yet.
pub(super) type Dialled = Either<OneWrite<TcpStream>, Box<ClientStream<TcpStream>>>;

/// How long that may take is for the caller to say.
pub(super) async fn dial(endpoint: &EndpointPlan, transport: &Transport) -> io::Result<Dialled> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    watch_over(&stream)?;
    match &transport.tls {
        None => Ok(Either::Left(OneWrite::new(stream))),
        Some(tls) => Ok(Either::Right(Box::new(tls.connect(stream).await?))),
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
#[derive(Debug, Clone, Default)]
pub(super) struct OnThisThread {
    /// None: as long as it likes.
    until: Option<Parting>,
}

impl OnThisThread {
    /// And no longer.
    pub(super) fn until(parting: Parting) -> Self {
        Self {
            until: Some(parting),
        }
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, task: F) {
        match &self.until {
            Some(parting) => parting.run(task),
            None => {
                tokio::task::spawn_local(task);
            }
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
