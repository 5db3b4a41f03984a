//! `cors:` of the gateway and of a route: pages of which other origins may call what is behind it (Fetch standard, CORS).

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

/// Pages of which other origins may call. The gateway answers their preflights itself, and says so in every answer,
/// in those to refused requests, too. What the upstream says of it is taken away.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsConfig {
    /// `https://app.example.org`; `https://*.example.org` for one label before that; `['*']`: of any. On a route, `[]`
    /// takes back what `gateway.cors` says.
    pub origins: Vec<AllowedOrigin>,
    /// Header fields that pages may send, beside `Authorization`, `Content-Type` and what else the gateway reads. `*`:
    /// any.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Header fields of answers that pages may read, beside those that the gateway says. `*`: any.
    #[serde(default)]
    pub exposed_headers: Vec<String>,
    /// Browsers may send along what they have: the cookie of a login, the certificate of a person. Never together with
    /// `*`.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight. Browsers have bounds of their own.
    #[serde(default = "ten_minutes")]
    pub max_age_secs: u32,
}

fn ten_minutes() -> u32 {
    600
}

/// What origins of pages are let in by, in the one spelling that browsers have (RFC 6454 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum AllowedOrigin {
    Any,
    Exact(String),
    /// One label more, in between: `https://` and `.example.org:8443`.
    OfDomain {
        before: String,
        after: String,
    },
}

/// What pages cannot be of.
#[derive(Debug, thiserror::Error)]
pub enum NoPageOrigin {
    #[error(
        "`{0}` is no origin of pages; write scheme, host and port alone, such as `https://app.example.org`, or `*`"
    )]
    Malformed(String),
    #[error("`{0}` is never said by a browser; it says `{1}`: write that")]
    Unusual(String, String),
    #[error(
        "`null` is what every sandboxed frame and every file says: it lets in whoever wants to; name origins, or `*`"
    )]
    Null,
}

impl AllowedOrigin {
    /// Whether a browser that says this means it.
    pub(crate) fn covers(&self, said: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(origin) => origin == said,
            Self::OfDomain { before, after } => said
                .strip_prefix(before.as_str())
                .and_then(|rest| rest.strip_suffix(after.as_str()))
                .is_some_and(is_label),
        }
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = NoPageOrigin;

    fn try_from(written: String) -> Result<Self, NoPageOrigin> {
        match written.as_str() {
            "*" => return Ok(Self::Any),
            "null" => return Err(NoPageOrigin::Null),
            _ => {}
        }
        let Some((scheme, rest)) = written.split_once("://") else {
            return Err(NoPageOrigin::Malformed(written));
        };
        if let Some(domain) = rest.strip_prefix("*.") {
            // With a label in its place it must be an origin, of a name that has more than one.
            let host = domain.split(':').next().unwrap_or_default();
            let is_address = host.ends_with(|last: char| last.is_ascii_digit());
            let said = spelling(scheme, &format!("any.{domain}"));
            let Some(said) = said.filter(|_| !is_address) else {
                return Err(NoPageOrigin::Malformed(written));
            };
            let said = said.replacen("://any.", "://*.", 1);
            if said != written {
                return Err(NoPageOrigin::Unusual(written, said));
            }
            return Ok(Self::OfDomain {
                before: format!("{scheme}://"),
                after: format!(".{domain}"),
            });
        }
        match spelling(scheme, rest) {
            None => Err(NoPageOrigin::Malformed(written)),
            Some(said) if said != written => Err(NoPageOrigin::Unusual(written, said)),
            Some(said) => Ok(Self::Exact(said)),
        }
    }
}

/// How browsers say an origin. None: it is none.
fn spelling(scheme: &str, rest: &str) -> Option<String> {
    let url = Url::parse(&format!("{scheme}://{rest}")).ok()?;
    let is_bare = matches!(url.path(), "" | "/")
        && !rest.ends_with('/')
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let host = url.host_str().filter(|host| !host.is_empty())?;
    if !is_bare || host.contains('*') || host.ends_with('.') {
        return None;
    }
    // Apps in web views have schemes of their own (`capacitor://localhost`), whose origins are no tuples to the URL
    // standard; what they send is as written.
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{host}{port}", url.scheme()))
}

/// What can be one label of a name in an origin.
fn is_label(text: &str) -> bool {
    let is_inside =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    !text.is_empty() && text.bytes().all(is_inside)
}

impl JsonSchema for AllowedOrigin {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AllowedOrigin".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Scheme, host and, where it is not the scheme's own, port; `*.` for one label; or `*`.",
            "type": "string",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> Result<AllowedOrigin, String> {
        AllowedOrigin::try_from(text.to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_origin_covers_what_browsers_say_and_nothing_near_it() {
        for (written, covered, not_covered) in [
            (
                "https://app.example.org",
                &["https://app.example.org"][..],
                &[
                    "http://app.example.org",
                    "https://app.example.org:8443",
                    "https://app.example.org.evil.example",
                    "https://evil.example/https://app.example.org",
                    "https://APP.example.org",
                    "null",
                    "",
                ][..],
            ),
            (
                "https://*.example.org:8443",
                &[
                    "https://a.example.org:8443",
                    "https://a-b_1.example.org:8443",
                ],
                &[
                    "https://example.org:8443",
                    "https://.example.org:8443",
                    "https://a.b.example.org:8443",
                    "https://a.example.org",
                    "http://a.example.org:8443",
                    "https://evil.example/.example.org:8443",
                    "https://evil@.example.org:8443",
                    "https://evil%2e.example.org:8443",
                    "https://evil\u{e9}.example.org:8443",
                ],
            ),
            (
                "capacitor://localhost",
                &["capacitor://localhost"],
                &["https://localhost", "capacitor://localhost.evil.example"],
            ),
            (
                "http://[::1]:3000",
                &["http://[::1]:3000"],
                &["http://[::1]"],
            ),
            ("*", &["https://anywhere.example", "null"], &[]),
        ] {
            let allowed = allowed(written).unwrap();
            for said in covered {
                assert!(allowed.covers(said), "{written} {said}");
            }
            for said in not_covered {
                assert!(!allowed.covers(said), "{written} {said}");
            }
        }
    }

    #[test]
    fn what_no_browser_says_is_a_mistake() {
        for (written, wanted) in [
            ("https://App.Example.org", "says `https://app.example.org`"),
            (
                "https://app.example.org:443",
                "says `https://app.example.org`",
            ),
            ("https://*.Example.org", "says `https://*.example.org`"),
            (
                "https://bücher.example",
                "says `https://xn--bcher-kva.example`",
            ),
            ("null", "sandboxed"),
        ] {
            let error = allowed(written).unwrap_err();
            assert!(error.contains(wanted), "{written}: {error}");
        }
        for written in [
            "app.example.org",
            "https://app.example.org/",
            "https://app.example.org/page",
            "https://app.example.org?x",
            "https://user@app.example.org",
            "https://app.example.org.",
            "https://*",
            "https://*.",
            "https://*.*.example.org",
            "https://a.*.example.org",
            "https://*.10.0.0.1",
            "https://",
            "://a",
            "",
            "**",
        ] {
            let error = allowed(written).unwrap_err();
            assert!(
                error.contains("is no origin of pages"),
                "{written}: {error}"
            );
        }
    }
}
