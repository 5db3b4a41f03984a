//! What a browser says of why it sends a request (Fetch Metadata, `Origin`): whether somebody would see a
//! login page, and whether another site's page is behind it.

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method};

use crate::canonical::{CanonicalRequest, Upgrade};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// Whether it is a page that somebody has asked for, and not something in the background.
pub(crate) fn is_navigation(request: &CanonicalRequest) -> bool {
    let headers = request.headers();
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_get || request.upgrade() != Upgrade::No || headers.contains_key(SEC_PURPOSE) {
        return false;
    }
    match headers.get(SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        None => accepts_html(headers),
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let mut types = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|item| item.split(';').next());
    types.any(|media| media.trim().eq_ignore_ascii_case("text/html"))
}

/// Whether a request that a cookie vouches for is one of our own pages', as far as it changes something or
/// opens a tunnel. What says nothing of itself is not.
pub(crate) fn is_of_own_site(request: &CanonicalRequest, origin: &str) -> bool {
    let is_safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if is_safe && request.upgrade() == Upgrade::No {
        return true;
    }
    is_sent_by(request.headers(), origin)
}

/// Whether a page of this origin has sent it, or the person themselves.
pub(crate) fn is_sent_by(headers: &HeaderMap, origin: &str) -> bool {
    let one = |name: HeaderName| -> Option<Option<&HeaderValue>> {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Some(value),
            (_, Some(_)) => None,
        }
    };
    let (Some(site), Some(sender)) = (one(SEC_FETCH_SITE), one(header::ORIGIN)) else {
        return false;
    };
    let is_own = |sender: &HeaderValue| sender == origin;
    let is_same = |site: &HeaderValue| site == "same-origin" || site == "none";
    match (site, sender) {
        (None, None) => false,
        (site, sender) => site.is_none_or(is_same) && sender.is_none_or(is_own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_or_the_person_send_what_changes_something() {
        let own = "https://app.example";
        for (site, sender, passes) in [
            (Some("same-origin"), Some(own), true),
            (Some("same-origin"), None, true),
            (Some("none"), None, true),
            (None, Some(own), true),
            (None, None, false),
            (Some("cross-site"), Some(own), false),
            (Some("same-site"), Some(own), false),
            (Some("same-site"), None, false),
            (Some("same-origin"), Some("https://evil.example"), false),
            (None, Some("https://evil.example"), false),
            (None, Some("http://app.example"), false),
            (None, Some("https://app.example:8443"), false),
            (None, Some("https://app.example.evil.example"), false),
            (None, Some("null"), false),
            (Some("none"), Some("null"), false),
            (Some("same-origin, cross-site"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.append(SEC_FETCH_SITE, HeaderValue::from_static(site));
            }
            if let Some(sender) = sender {
                headers.append(header::ORIGIN, HeaderValue::from_static(sender));
            }
            assert_eq!(is_sent_by(&headers, own), passes, "{site:?} {sender:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(header::ORIGIN, HeaderValue::from_static(own));
        twice.append(
            header::ORIGIN,
            HeaderValue::from_static("https://evil.example"),
        );
        assert!(!is_sent_by(&twice, own));
    }
}
