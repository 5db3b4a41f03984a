//! gRPC over HTTP/2, as far as calls with one message each way need it: the head of a call, its message, its
//! status. Whatever is not in order has a status that is not OK.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::body::{BodyError, RequestBody};
pub(super) use crate::grpc::Code;
use crate::grpc::{self, CONTENT_TYPE, GRPC_STATUS, Malformed};
use crate::pipeline::record::Record;

/// Why a call has no answer: a status with a text for whoever runs the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) message: &'static str,
}

impl Fault {
    pub(super) const fn new(code: Code, message: &'static str) -> Self {
        Self { code, message }
    }
}

/// Whether a request is a call at all. Otherwise HTTP's own status says so: whoever asks speaks no gRPC.
pub(super) fn is_call(head: &request::Parts) -> Result<(), StatusCode> {
    if head.method != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut types = head.headers.get_all(header::CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(only), None) if [GRPC, GRPC_PROTO].contains(&only.as_bytes()) => Ok(()),
        _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}

/// How long the caller waits. None: it does not say.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    grpc::deadline(headers)
        .map_err(|Malformed| Fault::new(Code::Internal, "`grpc-timeout` is malformed"))
}

/// The one message of a call.
pub(super) async fn message(mut body: RequestBody) -> Result<Bytes, Fault> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|error| match error {
            BodyError::TooLarge => TOO_LARGE,
            BodyError::Idle => Fault::new(Code::DeadlineExceeded, "the message stands still"),
            BodyError::Broken | BodyError::Overdue | BodyError::Withdrawn(_) => {
                Fault::new(Code::Internal, "the message breaks off")
            }
        })?;
        if let Ok(data) = data.into_data() {
            read.extend_from_slice(&data);
            // Before the rest of what is announced is waited for.
            head(&read)?;
        }
    }
    let length = head(&read)?.ok_or(Fault::new(Code::Internal, "there is no message"))?;
    read.advance(HEAD_BYTES);
    match read.len().cmp(&length) {
        std::cmp::Ordering::Equal => Ok(read.freeze()),
        std::cmp::Ordering::Less => Err(Fault::new(Code::Internal, "the message is cut short")),
        std::cmp::Ordering::Greater => Err(Fault::new(
            Code::Internal,
            "there is more than one message, or more than it",
        )),
    }
}

/// How long the message is that begins here; none while that is not known.
fn head(read: &[u8]) -> Result<Option<usize>, Fault> {
    match read.first() {
        None | Some(0) => {}
        Some(1) => {
            return Err(Fault::new(
                Code::Unimplemented,
                "compressed messages are not taken",
            ));
        }
        Some(_) => return Err(Fault::new(Code::Internal, "the message has unknown flags")),
    }
    let Some(length) = read.get(1..HEAD_BYTES).and_then(|it| it.try_into().ok()) else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE_BYTES {
        return Err(TOO_LARGE);
    }
    Ok(Some(length))
}

/// An answer with its message. The status OK comes after it.
pub(super) fn answer(message: &impl prost::Message) -> Response<CallBody> {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + length);
    bytes.put_u8(0);
    // What is answered is short.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&message.encode_to_vec());
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let mut response = Response::new(CallBody {
        message: Some(bytes.freeze()),
        trailers: Some(trailers),
        record: None,
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

/// A status without a message, and without a decision.
pub(super) fn fault(fault: Fault) -> Response<CallBody> {
    let mut response = status(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    grpc::say_status(headers, fault.code, fault.message);
    if fault.code == Code::Unimplemented {
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    response
}

/// For whoever speaks no gRPC.
pub(super) fn status(status: StatusCode) -> Response<CallBody> {
    let mut response = Response::new(CallBody {
        message: None,
        trailers: None,
        record: None,
    });
    *response.status_mut() = status;
    response
}

/// A message and what follows it.
#[derive(Debug)]
pub(crate) struct CallBody {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// Written to the log when all has gone.
    record: Option<Box<Record>>,
}

impl CallBody {
    pub(super) fn record(&mut self, record: Box<Record>) {
        self.record = Some(record);
    }
}

impl Body for CallBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(message) = this.message.take() {
            if let Some(record) = &mut this.record {
                record.sent(message.len());
            }
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        Poll::Ready(this.trailers.take().map(|it| Ok(Frame::trailers(it))))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.message.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

/// A question has the head of a request, and no body.
pub(super) const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// Flags and length in front of a message.
pub(super) const HEAD_BYTES: usize = 5;

const TOO_LARGE: Fault = Fault::new(Code::ResourceExhausted, "the message is too large");
const GRPC: &[u8] = b"application/grpc";
const GRPC_PROTO: &[u8] = b"application/grpc+proto";
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_announces_is_checked_before_it_is_there() {
        assert_eq!(head(&[]), Ok(None));
        assert_eq!(head(&[0, 0, 0]), Ok(None));
        assert_eq!(head(&[0, 0, 0, 1, 2, 9]), Ok(Some(258)));
        assert_eq!(head(&[1]).unwrap_err().code, Code::Unimplemented);
        assert_eq!(head(&[2]).unwrap_err().code, Code::Internal);
        assert_eq!(head(&[0, 255, 255, 255, 255]), Err(TOO_LARGE));
    }
}
