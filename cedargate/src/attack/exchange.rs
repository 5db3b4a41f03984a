//! Bytes to the gateway on a connection of their own, and what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Taking the bytes.
const SENDING: Duration = Duration::from_secs(5);
/// Until the next piece of an answer; a gateway that waits for more of a body says nothing.
const SILENCE: Duration = Duration::from_millis(600);
/// An answer is read no further.
const ENOUGH: usize = 64 << 10;

/// Sends and reads, until the end or until silence.
pub(super) async fn exchange(gateway: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(gateway).await?;
    // Who refuses early may close before everything is sent.
    let _ = timeout(SENDING, stream.write_all(bytes)).await;
    let mut answer = Vec::new();
    while answer.len() < ENOUGH {
        match timeout(SILENCE, stream.read_buf(&mut answer)).await {
            Ok(Ok(length)) if length > 0 => {}
            _ => break,
        }
    }
    Ok(answer)
}

/// The statuses of the final answers in these bytes, in order.
pub(super) fn statuses(answer: &[u8]) -> Vec<u16> {
    let text: String = answer.iter().copied().map(char::from).collect();
    text.split("HTTP/1.")
        .skip(1)
        .filter_map(|part| part.get(2..5)?.parse().ok())
        .filter(|status| *status >= 200 || *status == 101)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_answers_are_no_answers_but_101_is() {
        assert_eq!(
            statuses(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nseenHTTP/1.1 400 Bad"),
            [200, 400]
        );
        assert_eq!(statuses(b"HTTP/1.1 101 Switching"), [101]);
        assert!(statuses(b"").is_empty());
    }
}
