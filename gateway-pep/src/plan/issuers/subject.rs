//! The subjects of issuers: how each one's claims are read, and that no two issuers' can be one.

use std::collections::BTreeMap;

use oauth::SubjectKind;
use serde_json::Value;
use service_kit::ConfigIssue;

use super::{Building, Compiled};
use crate::config::{Config, IssuerConfig, SubjectConfig, SubjectType, TOKEN_SERVICE};
use crate::identity::mapping::{KindRule, Mapping, Namespace};
use crate::subject::OWN_PROPERTIES;

/// The name space of each issuer whose tokens may be taken.
pub(super) fn namespaces<'c>(
    config: &'c Config,
    issues: &mut Vec<ConfigIssue>,
) -> Vec<(&'c str, String)> {
    let issuers = config.gateway.issuers.iter();
    let mut all: Vec<(&str, String)> = issuers
        .map(|(name, issuer)| {
            let own = match issuer {
                IssuerConfig::Jwt(jwt) => &jwt.subject.namespace,
                IssuerConfig::Introspection(introspection) => &introspection.subject.namespace,
                IssuerConfig::Certificate(certificate) => &certificate.subject.namespace,
            };
            (name.as_str(), namespace(own.as_ref(), name))
        })
        .collect();
    if config.needs_token_service() {
        all.push((TOKEN_SERVICE, String::new()));
    }
    for (index, (name, own)) in all.iter().enumerate() {
        let mut others = all.iter().skip(index + 1);
        let overlapping = others.find(|(_, other)| match (own.as_str(), other.as_str()) {
            ("", "") => true,
            ("", _) | (_, "") => false,
            (own, other) => own.starts_with(other) || other.starts_with(own),
        });
        if let Some((other, _)) = overlapping {
            issues.push(
                ConfigIssue::new(format!(
                    "subjects of the issuers `{name}` and `{other}` could not be told apart"
                ))
                .hint(
                    "give each its own `subject.namespace`, none of which begins with another; the \
                     token service has none",
                ),
            );
        }
    }
    all
}

fn namespace(own: Option<&String>, issuer: &str) -> String {
    own.cloned().unwrap_or_else(|| format!("{issuer}:"))
}

impl Building<'_> {
    pub(super) fn namespace(&self, kind: &str, own: Option<&String>) -> Compiled<Namespace> {
        let namespace = namespace(own, self.name);
        if namespace.len() > 64 || !namespace.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = "must be at most 64 visible ASCII characters";
            return Err(self.issue(&format!("{kind}.subject.namespace"), problem));
        }
        Ok(Namespace {
            own: namespace,
            taken: self.taken.clone(),
        })
    }

    pub(super) fn mapping(
        &self,
        kind: &str,
        subject: &SubjectConfig,
        require: &BTreeMap<String, Vec<Value>>,
    ) -> Compiled<Mapping> {
        let key = |name: &str| format!("{kind}.{name}");
        if let Some((claim, _)) = require.iter().find(|(_, good)| good.is_empty()) {
            return Err(self.issue(
                &key("require"),
                &format!("has no value that is good for `{claim}`"),
            ));
        }
        let own = |name: &&String| OWN_PROPERTIES.contains(&name.as_str()) || name.is_empty();
        if let Some(name) = subject.attributes.keys().find(own) {
            let problem = format!("cannot have `{name}`: the gateway says that itself");
            return Err(self.issue(&key("subject.attributes"), &problem));
        }
        Ok(Mapping {
            namespace: self.namespace(kind, subject.namespace.as_ref())?,
            kind: match subject.kind {
                SubjectType::BySub => KindRule::BySub,
                SubjectType::User => KindRule::Always(SubjectKind::User),
                SubjectType::Client => KindRule::Always(SubjectKind::Client),
            },
            client_id: subject.client_id_claim.clone(),
            scope: subject.scope_claim.clone(),
            username: subject.username_claim.clone(),
            attributes: subject.attributes.clone(),
            require: require.clone(),
        })
    }
}
