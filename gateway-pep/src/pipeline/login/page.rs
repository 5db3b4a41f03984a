//! The gateway's own pages, and where it sends browsers: plain HTML without a script, not to be framed. Texts are of a closed set: what a
//! request or a provider says is repeated nowhere.

use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::departure::Departure;
use crate::pipeline::response_body::ResponseBody;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// Asks before it logs out: a link alone does not.
    ConfirmLogout,
    LoggedOut,
    /// The browser has begun no such login.
    Unknown,
    Denied,
    /// What the provider says does not hold.
    Invalid,
    /// It does not answer, or the store does not.
    Down,
}

impl Page {
    fn status(self) -> StatusCode {
        match self {
            Self::ConfirmLogout | Self::LoggedOut => StatusCode::OK,
            Self::Unknown => StatusCode::BAD_REQUEST,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Invalid => StatusCode::BAD_GATEWAY,
            Self::Down => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::ConfirmLogout => "Sign out?",
            Self::LoggedOut => "You are signed out",
            Self::Unknown | Self::Denied | Self::Invalid | Self::Down => "You are not signed in",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::ConfirmLogout => {
                r#"<form method="post"><button type="submit" name="logout">Sign out</button></form>"#
            }
            Self::LoggedOut => "<p>You may close this window.</p>",
            Self::Unknown => {
                r#"<p>This sign-in has expired, was used before, or was begun in another browser.</p><p><a href="/">Start again</a></p>"#
            }
            Self::Denied => {
                r#"<p>The sign-in service did not sign you in.</p><p><a href="/">Start again</a></p>"#
            }
            Self::Invalid => {
                r#"<p>The answer of the sign-in service cannot be used.</p><p><a href="/">Start again</a></p>"#
            }
            Self::Down => {
                "<p>The sign-in service does not answer. Please try again in a moment.</p>"
            }
        }
    }

    pub(super) fn response(
        self,
        cookies: impl IntoIterator<Item = HeaderValue>,
    ) -> Response<ResponseBody> {
        let (title, text) = (self.title(), self.text());
        let html = format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title></head>\
             <body><main><h1>{title}</h1>{text}</main></body></html>"
        );
        let mut response = Response::new(ResponseBody::whole(html));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for cookie in cookies {
            headers.append(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// Off to the provider.
pub(crate) fn depart(departure: &Departure) -> Response<ResponseBody> {
    let cookies = departure.cookies.iter().cloned();
    see_other(departure.location.clone(), cookies)
}

/// A redirect that is good once: 303, so that nothing is sent again where it leads to.
pub(super) fn see_other(
    location: HeaderValue,
    cookies: impl IntoIterator<Item = HeaderValue>,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let referrer = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, referrer);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`: browsers would send `Origin: null` with the form.
    (header::REFERRER_POLICY, "same-origin"),
];
