//! Messages and sockets, one way and the other, between two processes of one user.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use super::{HandoverError, Message};

/// One end.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    unread: Vec<u8>,
    sockets: VecDeque<OwnedFd>,
}

/// Sockets in one message: the system's own bound is 253.
pub(super) const MOST_SOCKETS: usize = 64;
/// None of ours is nearly as long.
const MOST_BYTES: usize = 64 << 10;
/// All of a process.
const MOST_HELD: usize = 4096;
const HEAD: usize = 4;

impl Channel {
    /// To whoever hands over at this path. None: nobody does.
    pub(super) async fn connect(path: &Path) -> Result<Option<Self>, HandoverError> {
        match UnixStream::connect(path).await {
            Ok(stream) => Self::of(stream).map(Some),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(HandoverError::Talk(path.to_owned(), error)),
        }
    }

    /// SECURITY: nothing is said to another user, whoever may have opened the path for them; not to the
    /// administrator either, whose files the successor's would be.
    pub(super) fn of(stream: UnixStream) -> Result<Self, HandoverError> {
        let peer = sockopt::socket_peercred(&stream).map_err(io::Error::from);
        let peer = peer.map_err(HandoverError::Gone)?;
        let (theirs, ours) = (peer.uid.as_raw(), rustix::process::geteuid().as_raw());
        if theirs != ours {
            return Err(HandoverError::AnotherUser { theirs, ours });
        }
        Ok(Self {
            stream,
            unread: Vec::new(),
            sockets: VecDeque::new(),
        })
    }

    /// `sockets`: at most [`MOST_SOCKETS`].
    pub(super) async fn send(
        &mut self,
        message: &Message,
        sockets: &[BorrowedFd<'_>],
    ) -> Result<(), HandoverError> {
        let sent = async {
            let body = serde_json::to_vec(&(sockets.len(), message))?;
            let length = u32::try_from(body.len()).map_err(io::Error::other)?;
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend(body);
            let begun = self
                .stream
                .async_io(Interest::WRITABLE, || {
                    send_with(&self.stream, &bytes, sockets)
                })
                .await?;
            self.stream
                .write_all(bytes.get(begun..).unwrap_or_default())
                .await
        };
        sent.await.map_err(HandoverError::Gone)
    }

    /// The next message, and the sockets that came with it.
    pub(super) async fn receive(
        &mut self,
        patience: Duration,
    ) -> Result<(Message, Vec<OwnedFd>), HandoverError> {
        let received = tokio::time::timeout(patience, self.next());
        let received = received.await.map_err(|_| HandoverError::TooSlow)?;
        let (count, message): (usize, Message) = received.map_err(HandoverError::Gone)?;
        if let Message::Refused { reason } = message {
            return Err(HandoverError::Refused(reason));
        }
        if count > self.sockets.len() {
            return Err(HandoverError::OutOfTurn);
        }
        Ok((message, self.sockets.drain(..count).collect()))
    }

    async fn next(&mut self) -> io::Result<(usize, Message)> {
        loop {
            if let Some((head, rest)) = self.unread.split_first_chunk::<HEAD>() {
                let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
                if length > MOST_BYTES {
                    return Err(io::Error::other("a message is too long"));
                }
                if let Some(body) = rest.get(..length) {
                    let message = serde_json::from_slice(body)?;
                    self.unread.drain(..HEAD + length);
                    return Ok(message);
                }
            }
            let (unread, sockets) = (&mut self.unread, &mut self.sockets);
            let read = self
                .stream
                .async_io(Interest::READABLE, || {
                    receive_into(&self.stream, unread, sockets)
                })
                .await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn send_with(stream: &UnixStream, bytes: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::other("too many sockets in one message"));
    }
    let sent = sendmsg(
        stream.as_fd(),
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(sent)
}

fn receive_into(
    stream: &UnixStream,
    unread: &mut Vec<u8>,
    sockets: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream.as_fd(),
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || sockets.len() > MOST_HELD {
        return Err(io::Error::other("sockets were lost on their way"));
    }
    unread.extend(bytes.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::of(one).unwrap(), Channel::of(other).unwrap())
    }

    #[tokio::test]
    async fn sockets_arrive_with_the_message_that_they_were_sent_with() {
        let (mut one, mut other) = pair();
        let listeners: Vec<_> = (0..MOST_SOCKETS)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap())
            .collect();
        let all: Vec<_> = listeners.iter().map(|it| it.as_fd()).collect();
        one.send(&Message::ThatWasAll, &[]).await.unwrap();
        one.send(&Message::StoreOpened, &all).await.unwrap();
        one.send(&Message::Serving, &all[..1]).await.unwrap();
        let (first, none) = other.receive(PATIENCE).await.unwrap();
        assert!(matches!(first, Message::ThatWasAll) && none.is_empty());
        let (second, some) = other.receive(PATIENCE).await.unwrap();
        assert!(matches!(second, Message::StoreOpened));
        let at = |listener: &TcpListener| listener.local_addr().unwrap();
        let ours: Vec<_> = listeners.iter().map(at).collect();
        let theirs: Vec<_> = some.into_iter().map(TcpListener::from).collect();
        assert_eq!(theirs.iter().map(at).collect::<Vec<_>>(), ours);
        let (_, one_more) = other.receive(PATIENCE).await.unwrap();
        assert_eq!(one_more.len(), 1);
    }

    #[tokio::test]
    async fn whoever_says_nothing_or_nonsense_or_goes_is_an_error() {
        let (one, mut other) = pair();
        let slow = other.receive(Duration::from_millis(10)).await;
        assert!(matches!(slow, Err(HandoverError::TooSlow)));
        drop(one);
        let gone = other.receive(PATIENCE).await;
        assert!(matches!(gone, Err(HandoverError::Gone(_))));
        for nonsense in [
            &b"\xff\xff\xff\xff"[..],
            b"\0\0\0\x02{}",
            b"\0\0\0\x10[0,\"Nothing known\"]",
        ] {
            let (one, other) = UnixStream::pair().unwrap();
            let (mut one, mut other) = (one, Channel::of(other).unwrap());
            one.write_all(nonsense).await.unwrap();
            drop(one);
            let nonsense = other.receive(PATIENCE).await;
            assert!(matches!(nonsense, Err(HandoverError::Gone(_))));
        }
        let (mut one, mut other) = pair();
        let body = br#"[3,"Serving"]"#;
        let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(body);
        one.stream.write_all(&bytes).await.unwrap();
        let lost = other.receive(PATIENCE).await;
        assert!(matches!(lost, Err(HandoverError::OutOfTurn)), "no sockets");
    }
}
