//! From configuration to a [`Registration`].

use std::collections::BTreeSet;
use std::time::Duration;

use oauth::Scope;
use service_kit::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Bounds, InitialToken, Open, Registration};
use crate::config::{
    GrantType, InitialAccessTokenConfig, OpenRegistrationConfig, RegistrationBoundsConfig,
    RegistrationConfig,
};
use crate::registry::SecretHash;
use crate::registry::issues::Issues;

const DAY: Duration = Duration::from_hours(24);

/// Their list is one record of the store.
const MOST_CLIENTS: u64 = 10_000;

impl Registration {
    /// `issues`: at `token_service.registration`.
    pub(in crate::registry) fn understand(
        config: &RegistrationConfig,
        issues: &mut Issues<'_>,
    ) -> Self {
        if config.initial_access_tokens.is_empty() && config.open.is_none() {
            issues.add(
                "initial_access_tokens",
                "is empty, and there is no `open`: nobody could register",
            );
        }
        let mut names = BTreeSet::new();
        let mut tokens = Vec::new();
        for (index, token) in config.initial_access_tokens.iter().enumerate() {
            let at = format!("initial_access_tokens[{index}]");
            if token.name.is_empty() || token.name.len() > 200 || !names.insert(&token.name) {
                issues.add(
                    &format!("{at}.name"),
                    "must be 1 to 200 bytes, and be there once",
                );
            }
            tokens.extend(InitialToken::understand(
                (token, config.private_addresses),
                &at,
                issues,
            ));
        }
        if !(1..=3660).contains(&config.unused_days) {
            issues.add("unused_days", "must be from 1 to 3660");
        }
        if config.secret_days > 3660 {
            issues.add("secret_days", "must be at most 3660");
        }
        let days = |count: u64| DAY.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        Self {
            tokens,
            open: config
                .open
                .as_ref()
                .map(|open| Open::understand(open, config.private_addresses, issues)),
            unused: days(config.unused_days),
            secret_life: (config.secret_days > 0).then(|| days(config.secret_days)),
            disabled: config.disabled_clients.iter().cloned().collect(),
        }
    }
}

impl InitialToken {
    fn understand(
        (config, private): (&InitialAccessTokenConfig, bool),
        at: &str,
        issues: &mut Issues<'_>,
    ) -> Option<Self> {
        let hash = SecretHash::parse(&config.secret_hash)
            .inspect_err(|problem| issues.add(&format!("{at}.secret_hash"), problem));
        let until = config.until.as_deref().map(instant);
        if until == Some(None) {
            issues.add(
                &format!("{at}.until"),
                "must be a time like `2030-01-31T00:00:00Z`",
            );
        }
        let bounds = Bounds::understand(&config.bounds, private, at, issues);
        Some(Self {
            name: config.name.clone(),
            hash: hash.ok()?,
            until: until.flatten(),
            bounds,
        })
    }
}

impl Open {
    fn understand(config: &OpenRegistrationConfig, private: bool, issues: &mut Issues<'_>) -> Self {
        if config.attempts == 0 {
            issues.add("open.attempts", "must be at least 1");
        }
        if !(1..=24 * 3600).contains(&config.window_secs) {
            issues.add("open.window_secs", "must be from 1 to 86400");
        }
        Self {
            attempts: config.attempts,
            window: Duration::from_secs(config.window_secs),
            bounds: Bounds::understand(&config.bounds, private, "open", issues),
        }
    }
}

impl Bounds {
    /// `at`: the section that has them under `bounds`; empty where they stand by themselves.
    pub(in crate::registry) fn understand(
        config: &RegistrationBoundsConfig,
        private_addresses: bool,
        at: &str,
        issues: &mut Issues<'_>,
    ) -> Self {
        let at = |key: &str| match at {
            "" => key.to_owned(),
            at => format!("{at}.bounds.{key}"),
        };
        let scope = Scope::parse(&config.scope).unwrap_or_else(|error| {
            issues.add(&at("scope"), &error.to_string());
            Scope::empty()
        });
        if config.scope.trim().is_empty() {
            issues.add(&at("scope"), "must name at least one scope token");
        }
        if !(1..=MOST_CLIENTS).contains(&config.clients) {
            issues.add(&at("clients"), &format!("must be from 1 to {MOST_CLIENTS}"));
        }
        if config.grant_types.is_empty() || config.grant_types.contains(&GrantType::TokenExchange) {
            issues.add(
                &at("grant_types"),
                "must name at least one, and never `token_exchange`: it belongs to `clients`",
            );
        }
        if config.auth_methods.is_empty() {
            issues.add(&at("auth_methods"), "must name at least one");
        }
        if config.id_token_signed_response_algs.is_empty() {
            issues.add(
                &at("id_token_signed_response_algs"),
                "must name at least one",
            );
        }
        let hosts = config.redirect_hosts.iter().flatten();
        for host in
            hosts.filter(|host| host.contains(['*', '/', ':']) || **host != host.to_lowercase())
        {
            issues.add(
                &at("redirect_hosts"),
                &format!("`{host}` is not a host's name in small letters"),
            );
        }
        Self {
            scope,
            clients: usize::try_from(config.clients).unwrap_or(usize::MAX),
            grant_types: config.grant_types.iter().copied().collect(),
            auth_methods: config.auth_methods.iter().copied().collect(),
            redirect_hosts: config.redirect_hosts.clone().map(BTreeSet::from_iter),
            loopback_redirects: config.loopback_redirects,
            private_use_redirects: config.private_use_redirects,
            id_token_algs: config.id_token_signed_response_algs.clone(),
            private_addresses,
        }
    }
}

fn instant(text: &str) -> Option<UnixTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(UnixTime::from_secs(
        u64::try_from(at.unix_timestamp()).ok()?,
    ))
}
