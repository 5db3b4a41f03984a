//! The header in which API keys are taken.

use http::HeaderName;
use service_kit::ConfigIssue;

use crate::config::Config;
use crate::headers::Reserved;

/// None: there is none, or it is an issue.
pub(super) fn compile(config: &Config, issues: &mut Vec<ConfigIssue>) -> Option<HeaderName> {
    let name = config.gateway.api_key_header.as_ref()?;
    let wrong = |why: &str| {
        ConfigIssue::new(format!("`gateway.api_key_header`: `{name}` {why}"))
            .hint("write a name that means nothing else, like `X-API-Key`")
    };
    let Ok(parsed) = name.parse::<HeaderName>() else {
        issues.push(wrong("is no header name"));
        return None;
    };
    // SECURITY: a name with `_` would be read by some upstreams as the one with `-`, which is not looked at.
    let is_usable = !parsed.as_str().contains('_') && !parsed.as_str().ends_with('-');
    if !is_usable || Reserved::new(&config.gateway.reserved_headers).is_taken(&parsed) {
        issues.push(wrong("means something else already"));
        return None;
    }
    Some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(name: &str) -> (Option<HeaderName>, usize) {
        let mut config = Config::default();
        config.gateway.api_key_header = Some(name.into());
        let mut issues = Vec::new();
        (compile(&config, &mut issues), issues.len())
    }

    #[test]
    fn a_key_has_a_header_of_its_own() {
        let good = Some(HeaderName::from_static("x-api-key"));
        assert_eq!(compiled("X-API-Key"), (good, 0));
        for name in [
            "Authorization",
            "Cookie",
            "Host",
            "Connection",
            "X-Forwarded-For",
            "DPoP",
            "Content-Length",
            "traceparent",
            "x_api_key",
            "x-api-",
            "a b",
            "",
        ] {
            assert_eq!(compiled(name), (None, 1), "{name}");
        }
    }
}
