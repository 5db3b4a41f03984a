//! What each client may exchange (RFC 8693), and who may act for whom: default deny, every name
//! known.

use std::collections::BTreeSet;

use serde::Serialize;

use super::issues::Issues;
use super::{Client, Registry, User};
use crate::config::{ClientConfig, ExchangeConfig, GrantType, Semantics, TokenServiceConfig};
use crate::record::{Exchanged, FederatedUser, Subject};

/// What one client may exchange. Exists only for a confidential client of this grant type.
#[derive(Debug, Serialize)]
pub(crate) struct Exchange {
    /// All known; none only where transaction tokens are all that it exchanges for.
    pub(crate) audiences: BTreeSet<String>,
    subject_clients: SubjectClients,
    subject_resources: BTreeSet<String>,
    pub(crate) without_actor_token: Semantics,
    pub(crate) beyond_jwt_scope: bool,
    pub(crate) jwts: bool,
    pub(crate) transaction_tokens: bool,
}

/// Whose tokens.
#[derive(Debug, Serialize)]
enum SubjectClients {
    Any,
    These(BTreeSet<String>),
}

impl Exchange {
    /// None where the client may exchange nothing.
    pub(super) fn build(
        config: &ClientConfig,
        registry: &Registry,
        issues: &mut Issues<'_>,
    ) -> Option<Self> {
        let is_for_it = config.grant_types.contains(&GrantType::TokenExchange);
        if is_for_it != config.exchange.is_some() {
            issues.add(
                "exchange",
                "belongs to `token_exchange` in `grant_types`: give both, or neither",
            );
        }
        if is_for_it && config.public {
            issues.add(
                "grant_types",
                "`token_exchange` needs a client with a secret",
            );
        }
        let exchange = config.exchange.as_ref()?;
        check(&config.id, exchange, registry, issues);
        Some(Self {
            audiences: exchange.audiences.iter().cloned().collect(),
            subject_clients: if exchange.any_subject_client {
                SubjectClients::Any
            } else {
                SubjectClients::These(exchange.subject_clients.iter().cloned().collect())
            },
            subject_resources: exchange.subject_resources.iter().cloned().collect(),
            without_actor_token: exchange.without_actor_token,
            beyond_jwt_scope: exchange.beyond_jwt_scope,
            jwts: exchange.jwts,
            transaction_tokens: exchange.transaction_tokens,
        })
    }

    /// Whether tokens of this client may be exchanged.
    pub(crate) fn takes_from(&self, client: &str) -> bool {
        match &self.subject_clients {
            SubjectClients::Any => true,
            SubjectClients::These(these) => these.contains(client),
        }
    }

    /// Whether one of these is a resource that the exchanging client is.
    pub(crate) fn is_one_of(&self, resources: &[String]) -> bool {
        resources
            .iter()
            .any(|id| self.subject_resources.contains(id))
    }
}

impl Registry {
    /// Whether `party`, a client or a user, may act for the subject with a token of this client.
    /// `user`: the subject, where it is one.
    pub(crate) fn may_act(
        &self,
        (subject, user): (&Subject, Option<&User>),
        subject_client: &str,
        party: &str,
    ) -> bool {
        let of_client = |id: &str| {
            self.configured_client(id)
                .and_then(|client| client.may_act.as_ref())
        };
        let of_subject = match subject {
            Subject::User(_) => user.and_then(|user| user.may_act.as_ref()),
            Subject::Client(id) => of_client(id),
        };
        [of_subject, of_client(subject_client)]
            .into_iter()
            .flatten()
            .all(|named| named.contains(party))
    }

    /// What the client may exchange, where what was exchanged could still be.
    pub(crate) fn exchange<'r>(
        &self,
        client: &'r Client,
        subject: (&Subject, Option<&User>),
        exchanged: &Exchanged,
    ) -> Option<&'r Exchange> {
        let from = &exchanged.subject_client;
        let exchange = client.exchange.as_ref()?;
        (exchange.takes_from(from) && self.may_act(subject, from, &exchanged.party))
            .then_some(exchange)
    }

    /// Clients and users may name one that comes after them: looked at when all are there.
    pub(super) fn check_names(
        &self,
        config: &TokenServiceConfig,
        add: &mut impl FnMut(String, String),
    ) {
        for (index, client) in config.clients.iter().enumerate() {
            let named = client.exchange.iter().flat_map(|it| &it.subject_clients);
            for id in named.filter(|id| !self.clients.contains_key(*id)) {
                let key = format!("clients[{index}].exchange.subject_clients");
                add(key, format!("`{id}` is not among `clients`"));
            }
        }
        let of_clients = config.clients.iter().map(|client| &client.may_act);
        let of_users = config.users.iter().map(|user| &user.may_act);
        for (section, lists) in [
            ("clients", of_clients.collect::<Vec<_>>()),
            ("users", of_users.collect()),
        ] {
            for (index, list) in lists.into_iter().enumerate() {
                let named = list.iter().flatten();
                for id in named.filter(|id| !self.is_party(id)) {
                    let key = format!("{section}[{index}].may_act");
                    add(
                        key,
                        format!("`{id}` is neither the id of a client nor the `sub` of a user"),
                    );
                }
            }
        }
    }

    fn is_party(&self, id: &str) -> bool {
        self.clients.contains_key(id) || self.users.contains_key(id) || FederatedUser::is_sub(id)
    }
}

/// `own`: the id of the client that exchanges.
fn check(own: &str, exchange: &ExchangeConfig, registry: &Registry, issues: &mut Issues<'_>) {
    if exchange.transaction_tokens {
        registry.check_workload(own, issues);
    } else if exchange.audiences.is_empty() {
        issues.add("exchange.audiences", "must name at least one resource");
    }
    for (key, resources) in [
        ("exchange.audiences", &exchange.audiences),
        ("exchange.subject_resources", &exchange.subject_resources),
    ] {
        for id in resources
            .iter()
            .filter(|id| registry.resource(id).is_none())
        {
            issues.add(key, &format!("`{id}` is not among `resources`"));
        }
    }
    let others = exchange.subject_clients.iter().any(|id| *id != own);
    if (others || exchange.any_subject_client) && exchange.subject_resources.is_empty() {
        issues.add(
            "exchange.subject_resources",
            "is missing: name the resources that this client is; of other clients it takes only \
             tokens that were made out to one of them",
        );
    }
    if exchange.any_subject_client != exchange.subject_clients.is_empty() {
        issues.add(
            "exchange.subject_clients",
            "must name at least one client, or `any_subject_client` be true; not both",
        );
    }
}
