//! The trust domain in which transaction tokens are good (draft-ietf-oauth-transaction-tokens).

use std::time::Duration;

use serde::Serialize;

use super::Registry;
use super::issues::Issues;
use crate::config::{SigningAlgorithm, TokenServiceConfig};

/// How transaction tokens are made.
#[derive(Debug, Serialize)]
pub(crate) struct TransactionTokens {
    pub(crate) trust_domain: String,
    pub(crate) ttl: Duration,
    pub(crate) alg: SigningAlgorithm,
}

impl TransactionTokens {
    /// None: there are none.
    pub(super) fn understand(whole: &TokenServiceConfig, issues: &mut Issues<'_>) -> Option<Self> {
        let config = whole.transaction_tokens.as_ref()?;
        let name = &config.trust_domain;
        if name.is_empty() || name.len() > 200 || !name.bytes().all(|byte| byte.is_ascii_graphic())
        {
            issues.add("trust_domain", "must be 1 to 200 visible ASCII characters");
        }
        // SECURITY: what is for the domain must not be for anybody by the same name.
        let resources = whole.resources.iter().map(|resource| &resource.id);
        let servers = whole.resource_servers.iter().map(|server| &server.id);
        let clients = whole.clients.iter().map(|client| &client.id);
        let mut others = resources
            .chain(servers)
            .chain(clients)
            .chain([&whole.issuer]);
        if others.any(|other| other == name) {
            issues.add(
                "trust_domain",
                "must be the name of nothing else: no resource, resource server, client or issuer",
            );
        }
        if !(1..=LONGEST_SECS).contains(&config.ttl_secs) {
            issues.add("ttl_secs", &format!("must be from 1 to {LONGEST_SECS}"));
        }
        Some(Self {
            trust_domain: name.clone(),
            ttl: Duration::from_secs(config.ttl_secs),
            alg: config.alg,
        })
    }
}

/// Nothing takes a transaction token back before it ends.
const LONGEST_SECS: u64 = 300;

impl Registry {
    /// Says what is wrong with a client that asks for transaction tokens.
    pub(super) fn check_workload(&self, id: &str, issues: &mut Issues<'_>) {
        if self.transaction_tokens.is_none() {
            issues.add(
                "exchange.transaction_tokens",
                "there are none: `token_service.transaction_tokens` is missing",
            );
        }
        // They stand beside each other in `req_wl`.
        if id.contains(',') {
            issues.add("id", "of who asks for transaction tokens: must have no `,`");
        }
    }
}
