//! What gRPC says over HTTP/2: whether a request is a call, how long its caller waits, and with which status it ends.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::body::BodyError;
use crate::withdrawn::Withdrawn;

/// The codes of gRPC that are said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unimplemented,
    Internal,
    Unavailable,
    Unauthenticated,
}

/// A `grpc-timeout` that is none, or is there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) const CONTENT_TYPE: &str = "application/grpc";
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

impl Code {
    /// What a refusal comes to whose status would be this one.
    pub(crate) fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST | StatusCode::EXPECTATION_FAILED => Self::InvalidArgument,
            StatusCode::UNAUTHORIZED | StatusCode::SEE_OTHER => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::PermissionDenied,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Self::Unimplemented,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Self::DeadlineExceeded,
            StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::URI_TOO_LONG
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::ResourceExhausted,
            StatusCode::MISDIRECTED_REQUEST
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    pub(crate) fn as_header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Unknown => "2",
            Self::InvalidArgument => "3",
            Self::DeadlineExceeded => "4",
            Self::NotFound => "5",
            Self::PermissionDenied => "7",
            Self::ResourceExhausted => "8",
            Self::Unimplemented => "12",
            Self::Internal => "13",
            Self::Unavailable => "14",
            Self::Unauthenticated => "16",
        })
    }
}

/// Whether a request is a call. `application/grpc-web` is another protocol.
pub(crate) fn is_call(method: &Method, headers: &HeaderMap) -> bool {
    if method != Method::POST {
        return false;
    }
    let said = headers.get(header::CONTENT_TYPE);
    let rest = said.and_then(|said| said.as_bytes().strip_prefix(CONTENT_TYPE.as_bytes()));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// How long the caller waits. None: it does not say.
pub(crate) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
    let mut values = headers.get_all(&GRPC_TIMEOUT).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(only), None) => only.as_bytes(),
        _ => return Err(Malformed),
    };
    let (unit, digits) = value.split_last().ok_or(Malformed)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let count: u64 = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(Malformed)?;
    let seconds_per = match unit {
        b'n' => return Ok(Some(Duration::from_nanos(count))),
        b'u' => return Ok(Some(Duration::from_micros(count))),
        b'm' => return Ok(Some(Duration::from_millis(count))),
        b'S' => 1,
        b'M' => 60,
        b'H' => 3600,
        _ => return Err(Malformed),
    };
    Ok(Some(Duration::from_secs(count * seconds_per)))
}

/// Has a status beside its text: all of an answer without a message, or what comes after the messages.
pub(crate) fn say_status(fields: &mut HeaderMap, code: Code, message: &str) {
    /// Of what is printed, that which stands for something else.
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
    fields.insert(GRPC_STATUS, code.as_header());
    let message = utf8_percent_encode(message, ESCAPED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        fields.insert(GRPC_MESSAGE, message);
    }
}

/// What a call ends with whose answer has begun and cannot go on.
pub(crate) fn ending(error: BodyError) -> HeaderMap {
    let (code, message) = match error {
        BodyError::TooLarge => (Code::ResourceExhausted, "the answer is too large"),
        BodyError::Idle => (
            Code::Unavailable,
            "the service behind this gateway is silent",
        ),
        BodyError::Overdue => (Code::DeadlineExceeded, "the call took too long"),
        BodyError::Broken => (
            Code::Unavailable,
            "the service behind this gateway broke off",
        ),
        BodyError::Withdrawn(Withdrawn::Token) => {
            (Code::Unauthenticated, "the token is not valid any more")
        }
        BodyError::Withdrawn(Withdrawn::Denied | Withdrawn::Obligation) => {
            (Code::PermissionDenied, "the call is not permitted any more")
        }
        BodyError::Withdrawn(Withdrawn::Unanswered) => (
            Code::Unavailable,
            "it cannot be found out whether this is still allowed",
        ),
    };
    let mut trailers = HeaderMap::with_capacity(2);
    say_status(&mut trailers, code, message);
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<Duration>) {
        let mut headers = HeaderMap::new();
        headers.insert(&GRPC_TIMEOUT, value.parse().unwrap());
        assert_eq!(deadline(&headers).ok().flatten(), expected, "{value}");
        assert_eq!(deadline(&headers).is_err(), expected.is_none(), "{value}");
    }

    #[test]
    fn a_deadline_has_up_to_eight_digits_and_a_unit() {
        check("1H", Some(Duration::from_hours(1)));
        check("2M", Some(Duration::from_mins(2)));
        check("3S", Some(Duration::from_secs(3)));
        check("250m", Some(Duration::from_millis(250)));
        check("7u", Some(Duration::from_micros(7)));
        check("0n", Some(Duration::ZERO));
        check("99999999H", Some(Duration::from_hours(99_999_999)));
        for malformed in [
            "",
            "S",
            "5",
            "100000000S",
            "-1S",
            "+1S",
            "1 S",
            "1s",
            "1.5S",
        ] {
            check(malformed, None);
        }
        assert_eq!(deadline(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn a_call_is_told_by_its_media_type() {
        let is_call = |method: &Method, said: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, said.parse().unwrap());
            is_call(method, &headers)
        };
        for said in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;a=b",
        ] {
            assert!(is_call(&Method::POST, said), "{said}");
            assert!(!is_call(&Method::GET, said), "{said}");
        }
        for said in [
            "application/grpc-web",
            "application/json",
            "application/grpcx",
            "",
        ] {
            assert!(!is_call(&Method::POST, said), "{said}");
        }
    }

    #[test]
    fn a_message_has_nothing_that_stands_for_something_else() {
        let mut fields = HeaderMap::new();
        say_status(&mut fields, Code::Unauthenticated, "100 % \u{e4}\n");
        assert_eq!(fields[GRPC_STATUS], "16");
        assert_eq!(fields[GRPC_MESSAGE], "100 %25 %C3%A4%0A");
    }
}
