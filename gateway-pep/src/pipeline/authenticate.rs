//! Step 3: who calls. One bearer token, swapped for facts and for the upstream's JWT.

use std::rc::Rc;

use http::header::{self, HeaderMap};
use oauth::{OpaqueToken, TokenSyntaxError};

use super::canonical::CanonicalRequest;
use super::record::Record;
use super::respond::Refusal;
use super::route::Routed;
use crate::cache::Source;
use crate::cache::tokens::{Swap, Swapped};
use crate::metrics::SwapOutcome;
use crate::plan::Protection;
use crate::worker::Worker;

/// A routed request whose caller is known, or need not be.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) request: CanonicalRequest,
    pub(crate) route: usize,
    pub(crate) caller: Caller,
}

/// Who calls.
#[derive(Debug)]
pub(crate) enum Caller {
    /// The route is public; whatever credentials came are not looked at.
    Anonymous,
    Known(Rc<Swapped>),
}

/// Finds out who calls.
pub(crate) async fn authenticate(
    worker: &Worker,
    routed: Routed,
    record: &mut Record,
) -> Result<Authenticated, Refusal> {
    let Routed { request, route } = routed;
    let plan = &worker.core.plan;
    let route_plan = plan.routes.get(route).ok_or(Refusal::NotFound)?;
    let caller = match route_plan.protection {
        Protection::Public => Caller::Anonymous,
        Protection::Token { .. } => {
            let token = bearer(request.headers())?;
            if has_token_in_query(request.query()) {
                return Err(Refusal::TwoCredentials);
            }
            let (swap, source) = swap(worker, token, route_plan.upstream, record).await?;
            match swap {
                // SECURITY: no proof is looked at here, and without one the token may be anybody's
                // who found it (RFC 9449 section 7.2).
                Swap::Live(live) if live.token.confirmation.is_some() => {
                    worker.core.metrics.swapped(source, SwapOutcome::Live);
                    return Err(Refusal::BoundToken);
                }
                Swap::Live(live) => {
                    worker.core.metrics.swapped(source, SwapOutcome::Live);
                    record.authenticated(live.clone(), source);
                    Caller::Known(live)
                }
                Swap::Inactive => {
                    worker.core.metrics.swapped(source, SwapOutcome::Inactive);
                    return Err(Refusal::InvalidToken);
                }
            }
        }
    };
    Ok(Authenticated {
        request,
        route,
        caller,
    })
}

async fn swap(
    worker: &Worker,
    token: &[u8],
    upstream: usize,
    record: &Record,
) -> Result<(Swap, Source), Refusal> {
    if let Some(swap) = worker.tokens.recall(token, upstream, &record.moment) {
        return Ok((swap, Source::L1));
    }
    let text = std::str::from_utf8(token).map_err(|_| Refusal::MalformedToken)?;
    let token = OpaqueToken::parse(text).map_err(|error| match error {
        TokenSyntaxError::Empty => Refusal::MalformedToken,
        // A JWT from outside, say: no token of ours looks like it.
        TokenSyntaxError::TooLong | TokenSyntaxError::Alphabet => Refusal::InvalidToken,
    })?;
    let upstream_plan = worker
        .core
        .plan
        .upstreams
        .get(upstream)
        .ok_or(Refusal::NotFound)?;
    worker
        .tokens
        .ask(token, upstream, &upstream_plan.resource, record.moment)
        .await
        .map_err(|error| {
            worker
                .core
                .metrics
                .swapped(Source::Remote, SwapOutcome::Unknown);
            tracing::warn!(request_id = record.id.as_str(), error = %error, "no token swap");
            Refusal::TokenServiceUnavailable
        })
}

/// The one bearer token (RFC 6750 section 2.1), unparsed.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else {
        return Err(Refusal::NoCredentials);
    };
    if fields.next().is_some() {
        return Err(Refusal::TwoCredentials);
    }
    let field = field.as_bytes();
    let scheme = field
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(field.len());
    let (scheme, token) = field.split_at(scheme);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Refusal::NoCredentials);
    }
    let token = token.trim_ascii();
    // `b64token`
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || !token.iter().all(fits) {
        return Err(Refusal::MalformedToken);
    }
    Ok(token)
}

/// A second credential beside the header, in whatever spelling (RFC 6750 section 2).
fn has_token_in_query(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        query.split('&').any(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            percent_encoding::percent_decode_str(name).eq("access_token".bytes())
        })
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(fields: &[&'static str], expected: Result<&str, &str>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(field));
        }
        let actual = bearer(&headers);
        let actual = actual.map(|token| std::str::from_utf8(token).unwrap());
        assert_eq!(
            actual.map_err(|refusal| refusal.reason()),
            expected,
            "{fields:?}"
        );
    }

    #[test]
    fn there_is_one_bearer_token() {
        check(&["Bearer abc"], Ok("abc"));
        check(&["bearer  abc"], Ok("abc"));
        check(&["BEARER a.b.c"], Ok("a.b.c"));
        check(&[], Err("no_credentials"));
        check(&["Basic abc"], Err("no_credentials"));
        check(&["Bearerabc"], Err("no_credentials"));
        check(&["Bearer"], Err("malformed_token"));
        check(&["Bearer a b"], Err("malformed_token"));
        check(&["Bearer a,b"], Err("malformed_token"));
        check(&["Bearer\tabc"], Err("no_credentials"));
        check(&["Bearer abc", "Bearer abc"], Err("two_credentials"));
    }

    #[test]
    fn a_token_in_the_query_is_seen_in_every_spelling() {
        for query in [
            "access_token=x",
            "a=1&access_token",
            "access%5Ftoken=x",
            "%61ccess_token=",
        ] {
            assert!(has_token_in_query(Some(query)), "{query}");
        }
        assert!(!has_token_in_query(Some("x=access_token&access_tokens=1")));
    }
}
