//! Registered redirect URIs and how a request's is compared with them: byte for byte. URLs are
//! never normalised here, for every normalisation is a way round the comparison.

use serde::Serialize;
use service_kit::outbound;
use url::Url;

/// A registered redirect URI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RedirectUri(String);

/// The two loopback origins whose port is free for native apps (RFC 8252 section 7.3).
const LOOPBACKS: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

impl RedirectUri {
    /// Checks one for registration.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "is not an absolute URI")?;
        if url.fragment().is_some() || text.contains('#') {
            return Err("must not have a fragment");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user name or password");
        }
        if text.contains('*') || text.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return Err("must be plain: no wildcard, no space, no character outside ASCII");
        }
        match url.scheme() {
            "https" => {}
            "http" if outbound::is_loopback(&url) => {}
            "http" => return Err("must be `https` (plain `http` only on loopback)"),
            // RFC 8252 section 7.1: a reverse domain name, which no dangerous scheme is.
            scheme if scheme.contains('.') => {}
            _ => return Err("must be `https`, loopback `http`, or a scheme with a dot in it"),
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a request may name `given`. `native`: the port of a loopback address is free.
    pub(crate) fn matches(&self, given: &str, native: bool) -> bool {
        given == self.0 || (native && self.matches_but_for_port(given))
    }

    fn matches_but_for_port(&self, given: &str) -> bool {
        LOOPBACKS.iter().any(|origin| {
            matches!(
                (without_port(&self.0, origin), without_port(given, origin)),
                (Some(registered), Some(given)) if registered == given
            )
        })
    }
}

/// Whether any program on the person's machine could be what is behind a redirect URI: a loopback address,
/// whose port is free, or a scheme that apps claim for themselves (RFC 8252 sections 7.1 and 7.3).
pub(crate) fn may_be_any_program(uri: &str) -> bool {
    let is_web = uri.starts_with("https:") || uri.starts_with("http:");
    let mut loopbacks = LOOPBACKS.iter();
    !is_web || loopbacks.any(|origin| without_port(uri, origin).is_some())
}

/// What follows `origin` and its port. None for another origin.
fn without_port<'a>(uri: &'a str, origin: &str) -> Option<&'a str> {
    let rest = uri.strip_prefix(origin)?;
    let rest = match rest.strip_prefix(':') {
        Some(port) => {
            let end = port
                .find(|character: char| !character.is_ascii_digit())
                .unwrap_or(port.len());
            let (digits, rest) = port.split_at_checked(end)?;
            digits.parse::<u16>().ok().filter(|port| *port != 0)?;
            rest
        }
        None => rest,
    };
    // Anything else would make the origin a prefix of a longer name (`127.0.0.1.evil`).
    (rest.is_empty() || rest.starts_with('/') || rest.starts_with('?')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_port_of_a_loopback_address_is_free_and_only_for_native_apps() {
        let uri = RedirectUri::parse("http://127.0.0.1/cb").unwrap();
        assert!(uri.matches("http://127.0.0.1:51789/cb", true));
        assert!(!uri.matches("http://127.0.0.1:51789/cb", false));
        for bad in [
            "http://127.0.0.1:51789/cb/",
            "http://127.0.0.1:51789/cb?x",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:80@evil/cb",
            "http://127.0.0.1.evil/cb",
            "http://127.0.0.1@evil/cb",
            "http://localhost:5/cb",
            "http://[::1]:5/cb",
            "https://127.0.0.1:5/cb",
        ] {
            assert!(!uri.matches(bad, true), "{bad}");
        }
    }

    #[test]
    fn dangerous_uris_cannot_be_registered() {
        for good in [
            "https://app.example/cb",
            "https://app.example/cb?tenant=1",
            "http://localhost:3000/cb",
            "http://[::1]/cb",
            "com.example.app:/cb",
        ] {
            assert!(RedirectUri::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "http://app.example/cb",
            "https://app.example/cb#x",
            "https://u:p@app.example/cb",
            "https://*.example/cb",
            "/cb",
            "https://app.example/c b",
            "file:///etc/passwd",
        ] {
            assert!(RedirectUri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_web_address_that_is_not_of_the_machine_itself_has_one_owner() {
        for uri in [
            "http://127.0.0.1/cb",
            "http://127.0.0.1:5000/cb",
            "http://[::1]:5000/cb",
            "com.example.app:/cb",
        ] {
            assert!(may_be_any_program(uri), "{uri}");
        }
        for uri in ["https://app.example/cb", "https://127.0.0.1.example/cb"] {
            assert!(!may_be_any_program(uri), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_registered_text_matches_an_ordinary_uri(given in "\\PC{0,40}") {
            let uri = RedirectUri::parse("https://app.example/cb").unwrap();
            prop_assert!(!uri.matches(&given, true));
        }
    }
}
