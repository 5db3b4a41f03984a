//! Which form of the answer the caller wants. JSON, unless another is asked for by name: a
//! wildcard never gets a token.

use http::{HeaderMap, header};
use oauth::SWAP_MEDIA_TYPE;

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// RFC 9701
    SignedJson,
    /// The bare phantom JWT
    Jwt,
    /// Facts and JWT
    Swap,
}

impl Form {
    fn named(media: &str) -> Option<Self> {
        [
            ("application/json", Self::Json),
            ("application/token-introspection+jwt", Self::SignedJson),
            ("application/jwt", Self::Jwt),
            (SWAP_MEDIA_TYPE, Self::Swap),
        ]
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(media))
        .map(|(_, form)| form)
    }
}

/// The named form with the highest weight, the first of equals.
pub(super) fn form(headers: &HeaderMap) -> Form {
    let mut best = (0, Form::Json);
    let values = headers.get_all(header::ACCEPT).iter();
    for range in values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let weight = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1000, thousandths);
        if let Some(form) = Form::named(media)
            && weight > best.0
        {
            best = (weight, form);
        }
    }
    best.1
}

/// A weight (RFC 9110 section 12.4.2); nonsense counts as not wanted.
fn thousandths(text: &str) -> u32 {
    match text.split_once('.').unwrap_or((text, "")) {
        ("1", rest) if rest.len() <= 3 && rest.bytes().all(|b| b == b'0') => 1000,
        ("0", rest) if rest.len() <= 3 && rest.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{rest:0<3}").parse().unwrap_or(0)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &[&str], expected: Form) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        assert_eq!(form(&headers), expected, "{accept:?}");
    }

    #[test]
    fn a_token_is_answered_only_where_it_is_asked_for_by_name() {
        check(&[], Form::Json);
        check(&["*/*"], Form::Json);
        check(&["application/*"], Form::Json);
        check(&["text/html"], Form::Json);
        check(&["application/json;q=1, application/jwt;q=0"], Form::Json);
        check(&["application/jwt;q=2"], Form::Json);
        check(&["application/jwt"], Form::Jwt);
        check(&["Application/JWT ; q=0.5, */*"], Form::Jwt);
        check(
            &["application/json;q=0.5, application/jwt;q=0.75"],
            Form::Jwt,
        );
        check(&["application/json", "application/jwt"], Form::Json);
        check(&["application/token-introspection+jwt"], Form::SignedJson);
        check(&[SWAP_MEDIA_TYPE], Form::Swap);
    }
}
