//! What a process listens on: sockets that are bound here, or that the process before it has handed over, with the
//! connections that wait in them. A socket that two processes hold is closed when both have let go of it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

/// The listeners of one process. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Listeners(Arc<Mutex<Sockets>>);

#[derive(Debug, Default)]
struct Sockets {
    /// Handed over, and not asked for yet.
    inherited: Vec<Listening>,
    /// None: nobody takes over from this process.
    open: Option<Vec<Listening>>,
}

/// Sockets on one port.
#[derive(Debug)]
pub struct Listening {
    /// What for: `gateway.listen`, say.
    pub name: String,
    /// As it is configured, which need not say a port.
    pub address: SocketAddr,
    pub sockets: Vec<TcpListener>,
}

impl Listeners {
    /// Of a process that is to be succeeded: what it listens on can be handed over.
    pub fn to_be_handed_over(inherited: Vec<Listening>) -> Self {
        Self(Arc::new(Mutex::new(Sockets {
            inherited,
            open: Some(Vec::new()),
        })))
    }

    /// A listener for the runtime, bound or taken over.
    pub async fn bind(
        &self,
        name: &str,
        address: SocketAddr,
    ) -> io::Result<tokio::net::TcpListener> {
        let listener = match self.take(name, address).into_iter().next() {
            Some(inherited) => {
                inherited.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(inherited)?
            }
            None => tokio::net::TcpListener::bind(address).await?,
        };
        let kept = listener.into_std()?;
        self.keep(name, address, std::slice::from_ref(&kept))?;
        tokio::net::TcpListener::from_std(kept)
    }

    /// What was handed over for this; nothing, where nothing was.
    pub fn take(&self, name: &str, address: SocketAddr) -> Vec<TcpListener> {
        let mut sockets = self.lock();
        let found = sockets.inherited.iter();
        let found = found
            .enumerate()
            .find(|(_, it)| it.name == name && it.address == address);
        match found.map(|(index, _)| index) {
            Some(index) => sockets.inherited.remove(index).sockets,
            None => Vec::new(),
        }
    }

    /// Remembers what is listened on, for whoever takes over.
    pub fn keep(&self, name: &str, address: SocketAddr, open: &[TcpListener]) -> io::Result<()> {
        let mut sockets = self.lock();
        let Some(kept) = &mut sockets.open else {
            return Ok(());
        };
        kept.push(Listening {
            name: name.to_owned(),
            address,
            sockets: clones(open)?,
        });
        Ok(())
    }

    /// Everything that is listened on.
    pub fn open(&self) -> io::Result<Vec<Listening>> {
        let sockets = self.lock();
        let open = sockets.open.iter().flatten();
        open.map(|it| {
            Ok(Listening {
                name: it.name.clone(),
                address: it.address,
                sockets: clones(&it.sockets)?,
            })
        })
        .collect()
    }

    /// Whoever accepts has the last of each socket from now on.
    pub fn let_go(&self) {
        *self.lock() = Sockets::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sockets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that are accepted after the drain began, because they were complete before.
const MOST_LATE: usize = 4096;

/// Closes a listener, and takes on what has come before that.
///
/// What the kernel has accepted for us is a request in flight. The kernel itself is asked: what the runtime knows of it
/// is a moment old.
pub fn take_late(
    listener: tokio::net::TcpListener,
    mut take_on: impl FnMut(tokio::net::TcpStream, SocketAddr),
) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    for _ in 0..MOST_LATE {
        let Ok((stream, peer)) = listener.accept() else {
            break;
        };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = tokio::net::TcpStream::from_std(stream)
        {
            take_on(stream, peer);
        }
    }
}

fn clones(sockets: &[TcpListener]) -> io::Result<Vec<TcpListener>> {
    sockets.iter().map(TcpListener::try_clone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn a_socket_is_taken_over_by_name_and_address_and_once() {
        let before = Listeners::to_be_handed_over(Vec::new());
        let first = before.bind("a", any_port()).await.unwrap();
        let second = before.bind("b", any_port()).await.unwrap();
        let after = Listeners::to_be_handed_over(before.open().unwrap());
        let other: SocketAddr = "127.0.0.2:0".parse().unwrap();
        let elsewhere = after.bind("b", other).await.unwrap();
        assert_ne!(
            elsewhere.local_addr().unwrap(),
            second.local_addr().unwrap()
        );
        let taken = after.bind("b", any_port()).await.unwrap();
        assert_eq!(taken.local_addr().unwrap(), second.local_addr().unwrap());
        let again = after.bind("b", any_port()).await.unwrap();
        assert_ne!(again.local_addr().unwrap(), second.local_addr().unwrap());
        // What waits in a socket stays in it when the one who bound it has gone.
        before.let_go();
        let at = second.local_addr().unwrap();
        let waiting = tokio::net::TcpStream::connect(at).await.unwrap();
        drop(second);
        let (_, peer) = taken.accept().await.unwrap();
        assert_eq!(peer, waiting.local_addr().unwrap());
        // What nobody takes over is closed with the last who has it.
        let at = first.local_addr().unwrap();
        drop(first);
        assert!(tokio::net::TcpStream::connect(at).await.is_ok());
        after.let_go();
        assert!(tokio::net::TcpStream::connect(at).await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_kept_where_nobody_takes_over() {
        let listeners = Listeners::default();
        let listener = listeners.bind("a", any_port()).await.unwrap();
        assert!(listeners.open().unwrap().is_empty());
        let at = listener.local_addr().unwrap();
        drop(listener);
        assert!(tokio::net::TcpStream::connect(at).await.is_err());
    }
}
