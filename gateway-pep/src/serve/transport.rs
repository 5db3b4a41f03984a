//! What is spoken on a fresh connection: TLS or not, and which HTTP. Nothing of a request is looked at
//! here.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use service_kit::tls::{TlsSession, TlsStream};
use service_kit::{OneWrite, Tls};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{calls, http1, http2};
use crate::plan::ForwardAuthPlan;
use crate::serve::client::{Client, Purpose};
use crate::worker::Worker;

/// Serves it in whatever way.
pub(super) async fn serve(worker: &Rc<Worker>, number: u64, stream: TcpStream, client: Client) {
    let core = &worker.core;
    // What is not taken is boxed, so that no connection has to be as large as the largest.
    match (client.purpose, &core.tls) {
        (Purpose::Forward, Some(tls)) => {
            Box::pin(serve_tls(worker, number, (stream, tls), client)).await;
        }
        (Purpose::Forward, None) if core.h2c => {
            Box::pin(serve_either(worker, number, stream, client)).await;
        }
        (Purpose::Ask(listener), _) if is_called(worker, listener) => {
            let caller = (client.peer, listener);
            Box::pin(calls::serve(worker, number, stream, caller)).await;
        }
        (Purpose::Forward | Purpose::Ask(_), _) => {
            http1::serve(worker, number, (OneWrite::new(stream), None), client).await;
        }
    }
}

/// Whether the proxy that asks there calls over gRPC.
fn is_called(worker: &Worker, listener: usize) -> bool {
    let plan = worker.core.plan.forward_auth.get(listener);
    plan.is_some_and(ForwardAuthPlan::is_called)
}

async fn serve_tls(
    worker: &Rc<Worker>,
    number: u64,
    (stream, tls): (TcpStream, &Tls),
    client: Client,
) {
    let Some((stream, session)) = shake(worker, stream, tls).await else {
        return;
    };
    if session.speaks_http2() {
        http2::serve(worker, number, (stream, Some(session)), client).await;
    } else {
        http1::serve(worker, number, (stream, Some(session)), client).await;
    }
}

async fn shake(
    worker: &Worker,
    stream: TcpStream,
    tls: &Tls,
) -> Option<(TlsStream<TcpStream>, TlsSession)> {
    let patience = worker.core.timeouts.head.min(HANDSHAKE);
    let closing = worker.closing();
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(patience, tls.accept(stream)) => shaken,
        // A request comes after it, and may find nobody else; whoever only pretends to shake hands is not waited for.
        () = async { closing.cancelled().await; tokio::time::sleep(PARTING).await } => return None,
    };
    let metrics = &worker.core.metrics;
    match shaken {
        Ok(Ok(shaken)) => {
            metrics.handshakes.inc();
            Some(shaken)
        }
        Ok(Err(error)) => {
            metrics.failed_handshakes.inc();
            tracing::debug!(%error, "no TLS handshake");
            None
        }
        Err(_) => {
            metrics.failed_handshakes.inc();
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

/// HTTP/2 where the client begins with its preface (RFC 9113 section 3.3), else HTTP/1.1.
async fn serve_either(worker: &Rc<Worker>, number: u64, stream: TcpStream, client: Client) {
    let closing = worker.closing();
    let begun = tokio::select! {
        begun = tokio::time::timeout(worker.core.timeouts.head, Begun::read(stream)) => begun,
        () = closing.cancelled() => return,
    };
    let Ok(Ok(stream)) = begun else {
        return;
    };
    if stream.bytes == PREFACE {
        http2::serve(worker, number, (OneWrite::new(stream), None), client).await;
    } else {
        http1::serve(worker, number, (OneWrite::new(stream), None), client).await;
    }
}

/// A stream of which the first bytes were looked at; they are read again.
struct Begun {
    bytes: Vec<u8>,
    read: usize,
    stream: TcpStream,
}

impl Begun {
    /// Reads as far as it could be the preface.
    async fn read(mut stream: TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(PREFACE.len());
        while bytes.len() < PREFACE.len() && PREFACE.starts_with(&bytes) {
            let left = PREFACE.len() - bytes.len();
            let mut limited = (&mut stream).take(u64::try_from(left).unwrap_or_default());
            if limited.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        Ok(Self {
            bytes,
            read: 0,
            stream,
        })
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let again = this.bytes.get(this.read..).unwrap_or_default();
        if again.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let fitting = again.get(..buffer.remaining()).unwrap_or(again);
        buffer.put_slice(fitting);
        this.read += fitting.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Of that, when the worker closes.
const PARTING: Duration = Duration::from_secs(2);
