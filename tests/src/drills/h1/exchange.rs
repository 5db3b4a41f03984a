//! One case on a connection of its own, in pieces, and what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub bytes: Vec<u8>,
    /// The gateway has closed the connection.
    pub is_closed: bool,
}

/// What is waited for before the exchange counts as over.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// So many final answers, and then no more.
    pub answers: usize,
    /// The end of the connection.
    pub close: bool,
}

/// For an answer that must come, or for the end.
const LONG: Duration = Duration::from_secs(10);
/// For one that need not.
const SHORT: Duration = Duration::from_millis(400);
/// For one more than there should be.
const MORE: Duration = Duration::from_millis(15);

pub async fn exchange(
    gateway: SocketAddr,
    pieces: &[Vec<u8>],
    wanted: Wanted,
    is_control: bool,
) -> Answer {
    let mut answer = Answer::default();
    let Ok(mut stream) = TcpStream::connect(gateway).await else {
        return answer;
    };
    let _ = stream.set_nodelay(true);
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Who refuses early may close before everything is sent.
        if stream.write_all(piece).await.is_err() {
            break;
        }
    }
    loop {
        let has_all = statuses(&answer.bytes).len() >= wanted.answers;
        let patience = if wanted.close || (is_control && !has_all) {
            LONG
        } else if has_all {
            MORE
        } else {
            SHORT
        };
        match timeout(patience, stream.read_buf(&mut answer.bytes)).await {
            Ok(Ok(length)) if length > 0 => {}
            Ok(_) => {
                answer.is_closed = true;
                return answer;
            }
            Err(_) => return answer,
        }
    }
}

/// The statuses of the final answers, in order.
pub fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    text.split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|part| part.get(..3)?.parse().ok())
        .filter(|status| *status >= 200 || *status == 101)
        .collect()
}
