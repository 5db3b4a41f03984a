//! What is wrong with a part of the configuration, each problem with its place; and the kinds of values
//! that many parts have.

use std::sync::Arc;

use jose::KeySet;
use oauth::Scope;
use serde_json::Value;
use service_kit::{ConfigIssue, Secret};
use url::Url;

use super::{Credential, RedirectUri, SecretHash};
use crate::record::{FEDERATED, FederatedUser};

/// Collects what is wrong, each with its place in the configuration.
pub(super) struct Issues<'a> {
    all: &'a mut Vec<ConfigIssue>,
    /// `token_service.clients[2]`
    at: String,
}

impl Issues<'_> {
    pub(super) fn add(&mut self, key: &str, problem: &str) {
        self.all
            .push(ConfigIssue::new(format!("`{}.{key}`: {problem}", self.at)));
    }

    pub(super) fn id(&mut self, id: &str) {
        if id.is_empty() || id.len() > 200 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.add("id", "must be 1 to 200 visible ASCII characters");
        }
    }

    /// Nobody of the configuration may pass for somebody who logs in elsewhere.
    pub(super) fn not_federated(&mut self, key: &str, id: &str) {
        if FederatedUser::is_sub(id) {
            let problem =
                format!("must not begin with `{FEDERATED}`: so do those who log in elsewhere");
            self.add(key, &problem);
        }
    }

    pub(super) fn uris(&mut self, key: &str, texts: &[String]) -> Vec<RedirectUri> {
        let mut uris = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match RedirectUri::parse(text) {
                Ok(uri) => uris.push(uri),
                Err(problem) => {
                    self.add(&format!("{key}[{index}]"), &format!("`{text}` {problem}"));
                }
            }
        }
        uris
    }

    pub(super) fn at(at: String, all: &mut Vec<ConfigIssue>) -> Issues<'_> {
        Issues { all, at }
    }

    /// Asked by ourselves, so that it must be a place on the network.
    pub(super) fn web_uri(&mut self, key: &str, text: &str) -> Option<Url> {
        let parsed = RedirectUri::parse(text).and_then(|_| {
            let url = Url::parse(text).map_err(|_| "is not an absolute URI")?;
            let is_web = matches!(url.scheme(), "https" | "http");
            is_web
                .then_some(url)
                .ok_or("must be `https`, or `http` on loopback")
        });
        parsed
            .inspect_err(|problem| self.add(key, &format!("`{text}` {problem}")))
            .ok()
    }

    pub(super) fn scope(&mut self, text: &str) -> Scope {
        Scope::parse(text).unwrap_or_else(|error| {
            self.add("scope", &error.to_string());
            Scope::empty()
        })
    }

    pub(super) fn credential(
        &mut self,
        hash: Option<&Secret>,
        jwks: Option<&Value>,
    ) -> Option<Credential> {
        match (hash, jwks) {
            (Some(hash), None) => self.secret_hash(hash).map(Credential::Secret),
            (None, Some(jwks)) => self.keys(jwks).map(Credential::Keys),
            (Some(_), Some(_)) => {
                self.add("jwks", "cannot be given beside `secret_hash`");
                None
            }
            (None, None) => None,
        }
    }

    pub(super) fn keys(&mut self, jwks: &Value) -> Option<Arc<KeySet>> {
        KeySet::parse(jwks.to_string().as_bytes())
            .map(Arc::new)
            .inspect_err(|problem| self.add("jwks", problem))
            .ok()
    }

    pub(super) fn secret_hash(&mut self, hash: &Secret) -> Option<SecretHash> {
        SecretHash::parse(hash)
            .inspect_err(|problem| self.add("secret_hash", problem))
            .ok()
    }
}
