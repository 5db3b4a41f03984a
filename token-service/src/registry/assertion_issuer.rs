//! Issuers whose word is taken for users of ours (RFC 7523 section 2.1): who may bring it, and whom it
//! names.

use std::collections::BTreeSet;
use std::sync::Arc;

use jose::KeySet;
use oauth::Scope;
use serde::Serialize;

use super::issues::Issues;
use super::{Registry, User};
use crate::config::{AssertionIssuerConfig, GrantType, SubjectIs};

/// One of them.
#[derive(Debug, Serialize)]
pub(crate) struct AssertionIssuer {
    issuer: String,
    #[serde(skip)]
    pub(crate) keys: Arc<KeySet>,
    subject: SubjectIs,
    clients: BTreeSet<String>,
    pub(crate) scope: Scope,
}

impl Registry {
    /// The issuer of this name, where the client may bring what it says.
    pub(crate) fn assertion_issuer(&self, issuer: &str, client: &str) -> Option<&AssertionIssuer> {
        let issuer = self.assertion_issuers.get(issuer)?;
        issuer.clients.contains(client).then_some(issuer)
    }

    pub(super) fn add_assertion_issuer(
        &mut self,
        config: &AssertionIssuerConfig,
        own_issuer: &str,
        issues: &mut Issues<'_>,
    ) {
        let issuer = config.issuer.as_str();
        // SECURITY: what is signed for another purpose by the same name must not be good here.
        if issuer.is_empty() || issuer == own_issuer || self.clients.contains_key(issuer) {
            issues.add(
                "issuer",
                "must not be empty, this service itself, or the id of a client",
            );
        }
        if config.clients.is_empty() {
            issues.add("clients", "must name at least one");
        }
        for id in &config.clients {
            let client = self.clients.get(id);
            if !client.is_some_and(|client| client.may_use(GrantType::JwtBearer)) {
                issues.add("clients", &format!("`{id}` is no client with `jwt_bearer`"));
            }
        }
        let keys = issues.keys(&config.jwks);
        let scope = issues.scope(&config.scope);
        let Some(keys) = keys else { return };
        let read = AssertionIssuer {
            issuer: issuer.to_owned(),
            keys,
            subject: config.subject,
            clients: config.clients.iter().cloned().collect(),
            scope,
        };
        let before = self.assertion_issuers.insert(issuer.to_owned(), read);
        if before.is_some() {
            issues.add("issuer", &format!("`{issuer}` is there twice"));
        }
    }

    /// The user whom an issuer calls so, where there, enabled, and the only one.
    pub(crate) fn user_of_assertion(
        &self,
        issuer: &AssertionIssuer,
        sub: &str,
    ) -> Option<&Arc<User>> {
        match issuer.subject {
            SubjectIs::Sub => self.local_user(sub),
            SubjectIs::Username => self.user_named(sub),
            SubjectIs::Email => self.user_with_email(sub),
        }
    }

    fn user_with_email(&self, email: &str) -> Option<&Arc<User>> {
        let mut users = self.users.values().filter(|user| {
            let own = user.email.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(email))
        });
        let user = users.next()?;
        (users.next().is_none() && !user.disabled).then_some(user)
    }
}
