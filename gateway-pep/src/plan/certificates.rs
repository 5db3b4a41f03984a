//! Whether clients are asked for what the configuration wants of their certificates.

use service_kit::ConfigIssue;

use super::routes::place;
use crate::config::{Config, IssuerConfig};

/// Whether tokens can be bound to the certificate of a connection.
pub(super) fn are_asked_for(config: &Config) -> bool {
    let tls = config.gateway.tls.as_ref();
    tls.is_some_and(|tls| tls.asks_clients().0)
}

pub(super) fn check(config: &Config, issues: &mut Vec<ConfigIssue>) {
    let tls = config.gateway.tls.as_ref();
    let vouches = tls.is_some_and(|tls| tls.asks_clients().1);
    for (name, issuer) in &config.gateway.issuers {
        if matches!(issuer, IssuerConfig::Certificate(_)) && !vouches {
            issues.push(
                ConfigIssue::new(format!(
                    "`gateway.issuers.{name}.certificate` needs `gateway.tls.client_ca_file`"
                ))
                .hint("name the authorities whose certificates are believed"),
            );
        }
    }
    for (index, route) in config.routes.iter().enumerate() {
        let at = place(index, route);
        let is_bound = route.certificate_bound_access_tokens_required;
        if is_bound && !are_asked_for(config) {
            issues.push(
                ConfigIssue::new(format!(
                    "{at}: `certificate_bound_access_tokens_required` needs client certificates"
                ))
                .hint("set `gateway.tls.client_ca_file`, or `client_certificates: any`"),
            );
        }
        let by_certificate = config.issuers_of(route).iter().any(|name| {
            let issuer = config.gateway.issuers.get(name);
            matches!(issuer, Some(IssuerConfig::Certificate(_)))
        });
        let wants_token = is_bound || route.dpop_bound_access_tokens_required;
        if by_certificate && (wants_token || route.login.is_some()) && !route.public {
            issues.push(
                ConfigIssue::new(format!(
                    "{at}: whoever is known by a certificate has neither a token nor a session"
                ))
                .hint(
                    "remove the issuer of kind `certificate`, or `login` and what is required of \
                     tokens",
                ),
            );
        }
    }
}
