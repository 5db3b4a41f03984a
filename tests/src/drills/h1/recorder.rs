//! The upstream at the end of every way: it keeps each request, read byte by byte and by the letter, and
//! answers with what it has read.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::model::{self, Plain, Stop};

/// Everything that has arrived since the last [`Recorder::take`].
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Arrived>>>);

/// What came on a connection.
#[derive(Debug, Clone)]
pub enum Arrived {
    Request(Plain),
    /// No request by the letter.
    Nonsense(Vec<u8>),
}

impl Recorder {
    pub async fn start(&self, address: SocketAddr) {
        let listener = TcpListener::bind(address).await.expect("binds");
        let recorder = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorder = recorder.clone();
                tokio::spawn(async move { recorder.serve(stream).await });
            }
        });
    }

    pub fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut *self.0.lock().expect("lock"))
    }

    async fn serve(self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut bytes = Vec::new();
        loop {
            let (messages, stop) = model::messages(&bytes);
            for message in messages {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nX-Seen: {}\r\nContent-Length: 0\r\n\r\n",
                    message.target
                );
                bytes.drain(..message.length);
                self.keep(Arrived::Request(message));
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            if stop == Stop::Bad {
                self.keep(Arrived::Nonsense(bytes));
                return;
            }
            if !matches!(stream.read_buf(&mut bytes).await, Ok(length) if length > 0) {
                return;
            }
        }
    }

    fn keep(&self, arrived: Arrived) {
        self.0.lock().expect("lock").push(arrived);
    }
}

impl Arrived {
    pub fn shown(&self) -> String {
        match self {
            Self::Request(request) => format!("{request:?}"),
            Self::Nonsense(bytes) => bytes.escape_ascii().to_string(),
        }
    }
}
