//! By what the listeners are served: plain HTTP or TLS, and the one for certificates beside it.

use std::path::Path;

use service_kit::{ClientCertificates, ConfigIssue, Tls};

use crate::config::{MtlsConfig, TokenServiceConfig};
use crate::core::{Issuer, MtlsEndpoints};

/// TLS of each listener that has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listeners {
    pub(crate) tls: Option<Tls>,
    pub(crate) mtls: Option<Tls>,
    pub(crate) mtls_endpoints: Option<MtlsEndpoints>,
}

impl Listeners {
    /// Reads the files that configuration names.
    pub(crate) fn open(
        config: &TokenServiceConfig,
        base: &Path,
        issues: &mut Vec<ConfigIssue>,
    ) -> Self {
        let mut listeners = Self::default();
        if let Some(tls) = &config.tls {
            if tls.client_ca_file.is_some() {
                issues.push(
                    ConfigIssue::new(
                        "`token_service.tls.client_ca_file`: browsers here are not asked for certificates",
                    )
                    .hint("it belongs to `token_service.mtls.tls`"),
                );
            }
            if !config.issuer.starts_with("https:") {
                issues.push(ConfigIssue::new(
                    "`token_service.issuer`: must be `https` where there is `tls`",
                ));
            }
            let opened = Tls::open("token_service.tls", tls, base, ClientCertificates::Optional);
            listeners.tls = opened.map_err(|issue| issues.push(issue)).ok();
        }
        if let Some(mtls) = &config.mtls {
            let place = "token_service.mtls.tls";
            let opened = Tls::open(place, &mtls.tls, base, ClientCertificates::Any);
            listeners.mtls = opened.map_err(|issue| issues.push(issue)).ok();
            listeners.mtls_endpoints = mtls_endpoints(config, mtls, issues);
        }
        listeners
    }
}

/// Where clients with certificates go, by configuration alone.
fn mtls_endpoints(
    config: &TokenServiceConfig,
    mtls: &MtlsConfig,
    issues: &mut Vec<ConfigIssue>,
) -> Option<MtlsEndpoints> {
    let mut add = |key: &str, problem: &str| {
        let text = format!("`token_service.mtls.{key}`: {problem}");
        issues.push(ConfigIssue::new(text));
    };
    if mtls.listen == config.listen && mtls.listen.port() != 0 {
        add("listen", "is the same as `token_service.listen`");
    }
    if mtls.url == config.issuer {
        add("url", "is the issuer, which has its own listener");
    }
    match Issuer::parse(&mtls.url) {
        Ok(url) if url.is_https() => Some(MtlsEndpoints {
            url,
            has_authorities: mtls.tls.client_ca_file.is_some(),
        }),
        Ok(_) => {
            add("url", "must be `https`");
            None
        }
        Err(problem) => {
            add("url", problem);
            None
        }
    }
}
