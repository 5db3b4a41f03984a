//! Methods as metrics and spans say them: the words of OpenTelemetry's HTTP conventions, and one word for all others.

use http::Method;

/// A method of HTTP, or one that anybody may have made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownMethod {
    Connect,
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
    Trace,
    Other,
}

impl KnownMethod {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// A number below [`KnownMethod::COUNT`].
    pub fn index(self) -> usize {
        self as usize
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Trace => "TRACE",
            Self::Other => "_OTHER",
        }
    }

    /// What a span is called by.
    pub fn span_name(self) -> &'static str {
        match self {
            Self::Other => "HTTP",
            _ => self.as_str(),
        }
    }
}

impl From<&Method> for KnownMethod {
    fn from(method: &Method) -> Self {
        match *method {
            Method::CONNECT => Self::Connect,
            Method::DELETE => Self::Delete,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::OPTIONS => Self::Options,
            Method::PATCH => Self::Patch,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::TRACE => Self::Trace,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_has_one_word() {
        for method in ["GET", "PUT", "CONNECT", "TRACE", "PATCH"] {
            let known = KnownMethod::from(&method.parse().unwrap());
            assert_eq!(known.as_str(), method);
            assert!(known.index() < KnownMethod::COUNT);
        }
        for method in ["get", "GETS", "PROPFIND", "X-1"] {
            let known = KnownMethod::from(&method.parse().unwrap());
            assert_eq!((known.as_str(), known.index()), ("_OTHER", 9));
        }
    }
}
