//! Who outside is told when a login ends or a user is disabled.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use service_kit::{ConfigIssue, Secret};
use url::Url;

use super::Registry;
use super::issues::Issues;
use crate::config::{EventReceiverConfig, SigningAlgorithm, SubjectFormat, TokenServiceConfig};

/// A receiver of security event tokens.
#[derive(Debug, Serialize)]
pub(crate) struct EventReceiver {
    pub(crate) id: String,
    pub(crate) audience: String,
    pub(crate) endpoint: Url,
    /// Sent as a bearer token.
    #[serde(skip)]
    pub(crate) secret: Option<Secret>,
    pub(crate) subject: SubjectFormat,
    /// Empty: all.
    pub(crate) clients: BTreeSet<String>,
    pub(crate) alg: SigningAlgorithm,
}

impl Registry {
    /// The receiver of this name.
    pub(crate) fn event_receiver(&self, id: &str) -> Option<&EventReceiver> {
        self.event_receivers.iter().find(|it| it.id == id)
    }

    /// The `sub` of each user who is there and enabled.
    pub(crate) fn enabled_users(&self) -> BTreeSet<String> {
        let users = self.users.values().filter(|user| !user.disabled);
        users.map(|user| user.sub.clone()).collect()
    }

    /// Adds the receivers of events, and every problem of theirs to `issues`.
    pub(crate) fn add_event_receivers(
        &mut self,
        config: &TokenServiceConfig,
        base: &Path,
        issues: &mut Vec<ConfigIssue>,
    ) {
        for (index, receiver) in config.event_receivers.iter().enumerate() {
            let at = format!("token_service.event_receivers[{index}]");
            let secret = secret(receiver, &at, base, issues);
            let mut issues = Issues::at(at, issues);
            issues.id(&receiver.id);
            if self.event_receivers.iter().any(|it| it.id == receiver.id) {
                issues.add("id", &format!("`{}` is there twice", receiver.id));
            }
            if receiver.audience.is_empty() {
                issues.add("audience", "is empty");
            }
            for client in &receiver.clients {
                if !self.clients.contains_key(client) {
                    issues.add("clients", &format!("`{client}` is not among `clients`"));
                }
            }
            let Some(endpoint) = issues.web_uri("endpoint", &receiver.endpoint) else {
                continue;
            };
            self.event_receivers.push(EventReceiver {
                id: receiver.id.clone(),
                audience: receiver.audience.clone(),
                endpoint,
                secret,
                subject: receiver.subject,
                clients: receiver.clients.iter().cloned().collect(),
                alg: receiver.jwt_alg,
            });
        }
    }
}

fn secret(
    config: &EventReceiverConfig,
    at: &str,
    base: &Path,
    issues: &mut Vec<ConfigIssue>,
) -> Option<Secret> {
    let file = config.secret_file.as_ref();
    if config.secret.is_none() && file.is_none() {
        return None;
    }
    let name = format!("{at}.secret");
    match Secret::from_config(&name, config.secret.clone(), file, base) {
        Ok(secret) if secret.reveal().is_empty() || !secret.reveal().bytes().all(is_sendable) => {
            issues.push(ConfigIssue::new(format!(
                "`{name}`: must be visible ASCII characters, as they are sent in a header"
            )));
            None
        }
        Ok(secret) => Some(secret),
        Err(issue) => {
            issues.push(issue);
            None
        }
    }
}

fn is_sendable(byte: u8) -> bool {
    byte.is_ascii_graphic()
}
