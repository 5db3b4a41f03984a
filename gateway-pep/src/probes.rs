//! Connections on which nothing moves are probed by the system: nobody would find out otherwise that the other end has
//! vanished without a word while nothing was to be sent, as in a tunnel.

use std::io;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

/// Probed after so long,
pub(crate) const SILENT: Duration = Duration::from_mins(1);
/// and so often.
const PROBE: Duration = Duration::from_secs(15);

/// Has one probed. Of a socket that listens, whoever is accepted there.
pub(crate) fn probe(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENT).with_interval(PROBE))
}
