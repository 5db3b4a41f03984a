//! Why there is no response, in the words that RFC 9209 has registered for proxies (section 2.3). They are what
//! metrics, spans and `Proxy-Status` say.

use std::io::ErrorKind;

use super::UpstreamError;

impl UpstreamError {
    /// The proxy error type. None: it was the client.
    pub(crate) fn proxy_error(&self) -> Option<&'static str> {
        Some(match self {
            Self::Connect(error) => match error.kind() {
                ErrorKind::ConnectionRefused => "connection_refused",
                ErrorKind::TimedOut => "connection_timeout",
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                    "destination_ip_unroutable"
                }
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
                    "connection_terminated"
                }
                // What TLS has against it.
                ErrorKind::InvalidData => "tls_protocol_error",
                _ => "destination_unavailable",
            },
            Self::ConnectTimeout => "connection_timeout",
            Self::ResponseTimeout => "http_response_timeout",
            Self::Exchange(error) if error.is_incomplete_message() => "http_response_incomplete",
            Self::Exchange(error) if error.is_parse() => "http_protocol_error",
            Self::Exchange(_) => "connection_terminated",
            Self::NoTunnel => "http_upgrade_failed",
            Self::Full => "connection_limit_reached",
            Self::NoEndpoint | Self::Missing => "destination_unavailable",
            Self::Client => return None,
        })
    }
}
