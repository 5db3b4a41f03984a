//! Cookies, byte by byte: finding ours in a request, keeping them from upstreams, and setting them.

use http::header::{self, HeaderMap, HeaderValue};

/// Where the id of a session is more than once, nobody knows which one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Twice;

/// Names that are the gateway's, of every login.
#[derive(Debug, Default)]
pub(crate) struct OwnCookies {
    /// In lower case: no browser and no upstream may take another spelling for ours.
    sessions: Vec<String>,
}

/// How cookies are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attributes {
    /// `__Host-`: of this host alone, over TLS alone.
    Secure,
    /// For development over `http` on this machine.
    Insecure,
}

/// Between the name of a session cookie and what is particular to one login that was begun.
const PENDING: &str = "-login-";

impl OwnCookies {
    pub(crate) fn new<'n>(sessions: impl Iterator<Item = &'n str>) -> Self {
        Self {
            sessions: sessions.map(str::to_ascii_lowercase).collect(),
        }
    }

    fn has(&self, name: &[u8]) -> bool {
        self.sessions.iter().any(|session| {
            let own = session.as_bytes();
            let (Some(start), Some(rest)) = (name.get(..own.len()), name.get(own.len()..)) else {
                return false;
            };
            let is_pending = || {
                let start = rest.get(..PENDING.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(PENDING.as_bytes()))
            };
            start.eq_ignore_ascii_case(own) && (rest.is_empty() || is_pending())
        })
    }

    /// Takes ours out of what an upstream gets, and leaves all others as they are.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        let is_there = |value: &HeaderValue| pieces(value).any(|piece| self.has(split(piece).0));
        if !headers.get_all(header::COOKIE).iter().any(is_there) {
            return;
        }
        let kept: Vec<HeaderValue> = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| self.without(value))
            .collect();
        headers.remove(header::COOKIE);
        for value in kept {
            headers.append(header::COOKIE, value);
        }
    }

    fn without(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let kept: Vec<&[u8]> = pieces(value)
            .filter(|piece| !self.has(split(piece).0))
            .collect();
        let kept = kept.join(&b';');
        let kept = kept.trim_ascii();
        if kept.is_empty() {
            return None;
        }
        HeaderValue::from_bytes(kept).ok()
    }

    /// Keeps an upstream from setting ours. A browser may read a cookie without a name as the name and
    /// value that it has for a value.
    pub(crate) fn forbid(&self, headers: &mut HeaderMap) {
        let is_ours = |value: &HeaderValue| {
            let text = value.as_bytes();
            let start = text.iter().position(|byte| !b" \t=".contains(byte));
            let named = start
                .and_then(|start| text.get(start..))
                .unwrap_or_default();
            let pair = named.split(|byte| *byte == b';').next().unwrap_or_default();
            self.has(split(pair).0)
        };
        let mut fields = headers.get_all(header::SET_COOKIE).iter();
        if !fields.any(is_ours) {
            return;
        }
        let kept: Vec<HeaderValue> = headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter(|value| !is_ours(value))
            .cloned()
            .collect();
        headers.remove(header::SET_COOKIE);
        for value in kept {
            headers.append(header::SET_COOKIE, value);
        }
    }
}

impl Attributes {
    /// The whole name of a cookie.
    pub(crate) fn name(self, configured: &str) -> String {
        match self {
            Self::Secure => format!("__Host-{configured}"),
            Self::Insecure => configured.to_owned(),
        }
    }

    /// `Set-Cookie`, until the browser closes or for so many seconds.
    pub(crate) fn set(self, name: &str, value: &str, max_age: Option<u64>) -> Option<HeaderValue> {
        let secure = match self {
            Self::Secure => "; Secure",
            Self::Insecure => "",
        };
        let max_age = max_age.map_or_else(String::new, |secs| format!("; Max-Age={secs}"));
        let text = format!("{name}={value}; Path=/{max_age}; HttpOnly; SameSite=Lax{secure}");
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    pub(crate) fn expire(self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", Some(0))
    }
}

/// The one value of a cookie.
pub(crate) fn find<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, Twice> {
    let mut found = pairs(headers).filter(|(own, _)| *own == name.as_bytes());
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some((_, value)), None) => Ok(Some(value)),
        (Some(_), Some(_)) => Err(Twice),
    }
}

/// What the cookie of a login that was begun is called, before what is particular to it.
pub(crate) fn pending_prefix(session: &str) -> String {
    format!("{session}{PENDING}")
}

/// Names and values, as they are sent.
pub(crate) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let fields = headers.get_all(header::COOKIE).iter();
    fields.flat_map(pieces).map(split)
}

fn pieces(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';')
}

fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    let end = piece.iter().position(|byte| *byte == b'=');
    let (name, value) = piece.split_at(end.unwrap_or(piece.len()));
    let value = value.get(1..).unwrap_or_default();
    (name.trim_ascii(), value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnCookies {
        OwnCookies::new(["__Host-cedargate-web"].into_iter())
    }

    fn headers(name: &header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(name.clone(), value);
        }
        headers
    }

    fn texts(headers: &HeaderMap, name: header::HeaderName) -> Vec<String> {
        let values = headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    #[test]
    fn an_upstream_gets_all_cookies_but_ours_and_those_unchanged() {
        for (sent, forwarded) in [
            (&["a=1; b=2"][..], &["a=1; b=2"][..]),
            (
                &["a=1; __Host-cedargate-web=x; b= \"2\" "],
                &["a=1; b= \"2\""],
            ),
            (&["__Host-cedargate-web=x"], &[]),
            (&["__host-CEDARGATE-web=x;a=ü"], &["a=ü"]),
            (&["__Host-cedargate-web-login-1-2=x; a=1"], &["a=1"]),
            (&["__Host-cedargate-web2=x"], &["__Host-cedargate-web2=x"]),
            (
                &["__Host-cedargate-web", "a=1", " __Host-cedargate-web =y"],
                &["a=1"],
            ),
        ] {
            let mut headers = headers(&header::COOKIE, sent);
            own().strip(&mut headers);
            assert_eq!(texts(&headers, header::COOKIE), forwarded, "{sent:?}");
        }
    }

    #[test]
    fn an_upstream_cannot_set_ours_in_any_spelling() {
        for (value, passes) in [
            ("a=1; Path=/", true),
            ("a=__Host-cedargate-web=1", true),
            ("__Host-cedargate-web=1; Path=/; Secure", false),
            ("  __HOST-cedargate-web =1", false),
            ("=__Host-cedargate-web=1", false),
            ("= = __Host-cedargate-web=1", false),
            ("__Host-cedargate-web", false),
            ("__Host-cedargate-web-login-1=2", false),
            ("__Host-cedargate-webx=1", true),
        ] {
            let mut headers = headers(&header::SET_COOKIE, &["x=y", value]);
            own().forbid(&mut headers);
            let kept = texts(&headers, header::SET_COOKIE);
            assert_eq!(kept.len(), if passes { 2 } else { 1 }, "{value}");
            assert_eq!(kept[0], "x=y");
        }
    }

    #[test]
    fn a_cookie_is_found_once_or_not_at_all() {
        let one = headers(&header::COOKIE, &["a=1;s=x", "b=2"]);
        assert_eq!(find(&one, "s"), Ok(Some(&b"x"[..])));
        assert_eq!(find(&one, "S"), Ok(None));
        let two = headers(&header::COOKIE, &["s=x", "s=y"]);
        assert_eq!(find(&two, "s"), Err(Twice));
    }

    #[test]
    fn ours_are_of_this_host_alone_and_no_script_reads_them() {
        let set = Attributes::Secure.set("__Host-s", "v", None).unwrap();
        assert_eq!(set, "__Host-s=v; Path=/; HttpOnly; SameSite=Lax; Secure");
        let set = Attributes::Insecure.expire("s").unwrap();
        assert_eq!(set, "s=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}
