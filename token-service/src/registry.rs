//! Who and what the service knows: clients, users, resources and credentials for introspection,
//! checked against each other. Immutable; a reload builds another.

mod api_keys;
mod assertion_issuer;
mod build;
mod certificate;
mod client_documents;
mod exchange;
mod issues;
mod receiver;
mod redirect;
mod registration;
mod transaction_tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::KeySet;
use oauth::Scope;
use serde::Serialize;
use serde_json::{Map, Value};
use service_kit::random::RandomError;
use service_kit::{Secret, UnixTime, WantedCertificate, digest, random};
use url::Url;

use crate::config::{ConsentMode, GrantType, SigningAlgorithm};
use crate::error::{TokenServiceError, Trouble};
use crate::provider::Provider;
pub(crate) use api_keys::{API_KEYS, ApiKeyRules};
pub(crate) use assertion_issuer::AssertionIssuer;
pub(crate) use certificate::Mtls;
pub(crate) use client_documents::{ClientDocuments, DocumentUrl};
pub(crate) use exchange::Exchange;
pub(crate) use receiver::EventReceiver;
pub(crate) use redirect::RedirectUri;
pub(crate) use registration::Registration;
pub(crate) use transaction_tokens::TransactionTokens;

/// Everything that configuration names.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Registry {
    /// Every authorization request must be pushed (RFC 9126 section 5).
    pub(crate) only_pushed: bool,
    /// Whose certificates can be looked at.
    #[serde(skip)]
    mtls: Mtls,
    /// What scopes allow, in words for people.
    #[serde(skip)]
    meanings: BTreeMap<String, String>,
    clients: BTreeMap<String, Arc<Client>>,
    users: BTreeMap<String, Arc<User>>,
    /// From the lower-case username to the `sub`.
    #[serde(skip)]
    usernames: BTreeMap<String, String>,
    /// Where else people may log in.
    pub(crate) providers: BTreeMap<String, Arc<Provider>>,
    resources: BTreeMap<String, Resource>,
    resource_servers: BTreeMap<String, ResourceServer>,
    assertion_issuers: BTreeMap<String, AssertionIssuer>,
    /// None: there are none.
    pub(crate) transaction_tokens: Option<TransactionTokens>,
    /// None: there are no API keys.
    pub(crate) api_keys: Option<ApiKeyRules>,
    /// None: no client registers itself.
    pub(crate) registration: Option<Registration>,
    /// None: no URL names a client.
    pub(crate) client_documents: Option<ClientDocuments>,
    #[serde(skip)]
    pub(crate) event_receivers: Vec<EventReceiver>,
}

/// A client, enabled or not.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own about the client"
)]
#[derive(Debug, Serialize)]
pub(crate) struct Client {
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) name: String,
    /// None: public.
    #[serde(skip)]
    pub(crate) credential: Option<Credential>,
    pub(crate) grant_types: BTreeSet<GrantType>,
    pub(crate) redirect_uris: Vec<RedirectUri>,
    pub(crate) post_logout_redirect_uris: Vec<RedirectUri>,
    /// Where it is told of the end of a login.
    #[serde(skip)]
    pub(crate) backchannel_logout: Option<Url>,
    pub(crate) scope: Scope,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) consent: ConsentMode,
    /// Its authorization requests must be pushed.
    pub(crate) only_pushed: bool,
    /// Its authorization requests must have a challenge (RFC 7636).
    pub(crate) requires_pkce: bool,
    /// Its access tokens must be bound to a key.
    pub(crate) only_bound: bool,
    /// Its access tokens are bound to the certificate that it shows.
    pub(crate) certificate_bound: bool,
    /// Of its ID tokens and logout tokens.
    #[serde(skip)]
    pub(crate) id_token_alg: SigningAlgorithm,
    pub(crate) exchange: Option<Exchange>,
    /// Who may act with its tokens; none: not restricted.
    pub(crate) may_act: Option<BTreeSet<String>>,
    pub(crate) disabled: bool,
    #[serde(skip)]
    pub(crate) provenance: Provenance,
}

/// Who says that there is a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provenance {
    Configured,
    /// It has registered itself (RFC 7591).
    Registered {
        /// When it last got a token, to a day.
        used: Option<UnixTime>,
        /// What it names may lead to addresses that are not public.
        is_trusted_with_addresses: bool,
    },
    /// The document that is its id.
    Document {
        is_trusted_with_addresses: bool,
    },
}

/// A person, enabled or not.
#[derive(Debug, Serialize)]
pub(crate) struct User {
    pub(crate) sub: String,
    pub(crate) username: String,
    /// None: they log in elsewhere.
    #[serde(skip)]
    pub(crate) password_hash: Option<Secret>,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) attributes: Map<String, Value>,
    /// Who may act for this person; none: not restricted.
    pub(crate) may_act: Option<BTreeSet<String>>,
    pub(crate) disabled: bool,
}

/// A protected resource.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Resource {
    pub(crate) id: String,
    pub(crate) scope: Scope,
    pub(crate) claims: Vec<String>,
    pub(crate) claims_by_policy: bool,
    pub(crate) jwt_ttl_secs: u64,
    pub(crate) jwt_alg: SigningAlgorithm,
}

/// Who may introspect tokens for which resources.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ResourceServer {
    pub(crate) id: String,
    /// None: it works only inside the process.
    #[serde(skip)]
    pub(crate) credential: Option<Credential>,
    #[serde(skip)]
    pub(crate) introspection_alg: SigningAlgorithm,
    pub(crate) resources: Vec<String>,
}

/// How a client or a resource server proves who it is.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// `client_secret_basic`, `client_secret_post`.
    Secret(SecretHash),
    /// `private_key_jwt`: the public halves.
    Keys(Arc<KeySet>),
    /// `tls_client_auth`, `self_signed_tls_client_auth`: one of these.
    Certificates(Vec<WantedCertificate>),
}

/// Hash of a random secret of 256 bits: nothing slow is needed to guard it.
#[derive(Debug, Clone)]
pub(crate) struct SecretHash(Secret);

/// What `secret_hash` in the configuration is for a secret.
pub fn secret_hash(secret: &str) -> String {
    format!(
        "{SECRET_HASH_PREFIX}{}",
        digest::sha256_base64url(secret.as_bytes())
    )
}

/// Makes a random secret of 256 bits for a client or a resource server, and the `secret_hash`
/// that the configuration keeps of it.
pub fn new_client_secret() -> Result<(String, String), TokenServiceError> {
    Ok(fresh_secret().map_err(Trouble::from)?)
}

/// The same in process.
pub(crate) fn fresh_secret() -> Result<(String, String), RandomError> {
    let bytes = random::bytes::<32>()?;
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let hash = secret_hash(&secret);
    Ok((secret, hash))
}

pub(crate) const SECRET_HASH_PREFIX: &str = "sha256:";

impl Registry {
    /// The client of the configuration, where it is there and enabled. Whoever is asked for by a
    /// stranger is found by [`crate::clients`].
    pub(crate) fn configured_client(&self, id: &str) -> Option<&Arc<Client>> {
        self.clients.get(id).filter(|client| !client.disabled)
    }

    /// A user of the configuration, where there and enabled. Whoever is not sure that it is one asks
    /// [`crate::users`].
    pub(crate) fn local_user(&self, sub: &str) -> Option<&Arc<User>> {
        self.users.get(sub).filter(|user| !user.disabled)
    }

    /// The user who logs in by this name, where there and enabled.
    pub(crate) fn user_named(&self, username: &str) -> Option<&Arc<User>> {
        self.local_user(self.usernames.get(&username.to_lowercase())?)
    }

    /// Whether a user of the configuration is called so, enabled or not.
    pub(crate) fn has_username(&self, username: &str) -> bool {
        self.usernames.contains_key(&username.to_lowercase())
    }

    /// Every user of the configuration, enabled or not.
    pub(crate) fn local_users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    pub(crate) fn provider(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.get(id)
    }

    pub(crate) fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.get(id)
    }

    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.values()
    }

    pub(crate) fn resource_server(&self, id: &str) -> Option<&ResourceServer> {
        self.resource_servers.get(id)
    }

    /// Every scope token that some client may be granted.
    pub(crate) fn scopes(&self) -> Scope {
        self.clients
            .values()
            .filter(|client| !client.disabled)
            .map(|client| &client.scope)
            .chain(&self.registration.as_ref().map(Registration::scopes))
            .chain(self.client_documents.as_ref().map(ClientDocuments::scope))
            .fold(Scope::empty(), |all, scope| all.union(scope))
    }

    /// What clients of the configuration are called.
    fn client_names(&self) -> impl Iterator<Item = &str> {
        let clients = self.clients.values();
        clients.flat_map(|client| [client.id.as_str(), client.name.as_str()])
    }

    /// What a scope allows, in words for people.
    pub(crate) fn meaning(&self, scope: &str) -> Option<&str> {
        let own = self.meanings.get(scope).map(String::as_str);
        own.or(match scope {
            "openid" => Some("know who you are"),
            "profile" => Some("see your name"),
            "email" => Some("see your email address"),
            "offline_access" => Some("stay connected when you are away"),
            API_KEYS => Some("make and end keys that act for you until they expire"),
            _ => None,
        })
    }

    /// Every algorithm that something is signed by.
    pub(crate) fn signing_algorithms(&self) -> BTreeSet<SigningAlgorithm> {
        let clients = self.clients.values().map(|client| client.id_token_alg);
        let resources = self.resources().map(|resource| resource.jwt_alg);
        let servers = self.resource_servers.values();
        let servers = servers.map(|server| server.introspection_alg);
        let registered = self.registration.iter();
        let registered = registered.flat_map(Registration::signing_algorithms);
        let documents = self.client_documents.iter();
        let documents = documents.flat_map(ClientDocuments::signing_algorithms);
        let all = clients.chain(resources).chain(servers);
        let receivers = self.event_receivers.iter().map(|receiver| receiver.alg);
        let all = all.chain(registered).chain(documents);
        let transactions = self.transaction_tokens.iter().map(|tokens| tokens.alg);
        all.chain(receivers).chain(transactions).collect()
    }

    /// A hash to copy the cost of password verification from.
    pub(crate) fn any_password_hash(&self) -> Option<&str> {
        let mut hashes = self
            .users
            .values()
            .filter_map(|user| user.password_hash.as_ref());
        hashes.next().map(Secret::reveal)
    }

    /// The longest life of a JWT for any resource or transaction, in seconds.
    pub(crate) fn longest_jwt(&self) -> u64 {
        let transactions = self.transaction_tokens.iter();
        self.resources()
            .map(|resource| resource.jwt_ttl_secs)
            .chain(transactions.map(|tokens| tokens.ttl.as_secs()))
            .max()
            .unwrap_or_default()
    }

    /// Differs where anything differs that a swapped token could depend on. Holds no secret.
    pub(crate) fn fingerprint(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        digest::sha256_base64url(&text)
    }
}

impl Provenance {
    /// Whether what the client has named may be asked wherever it is.
    pub(crate) fn is_trusted_with_addresses(self) -> bool {
        match self {
            Self::Configured => true,
            Self::Registered {
                is_trusted_with_addresses,
                ..
            }
            | Self::Document {
                is_trusted_with_addresses,
            } => is_trusted_with_addresses,
        }
    }
}

impl Client {
    pub(crate) fn is_public(&self) -> bool {
        self.credential.is_none()
    }

    pub(crate) fn may_use(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// Whether the browser may be sent there after a logout.
    pub(crate) fn accepts_after_logout(&self, given: &str) -> bool {
        let mut uris = self.post_logout_redirect_uris.iter();
        uris.any(|uri| uri.as_str() == given)
    }

    /// The registered redirect URI that `given` stands for.
    pub(crate) fn accepts_redirect(&self, given: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|uri| uri.matches(given, self.is_public()))
    }

    /// Whether it is certain that what is sent to a redirect URI of it reaches the client, and not just
    /// some program of the person's machine (RFC 8252 section 8.6).
    pub(crate) fn is_certain_at(&self, redirect_uri: &str) -> bool {
        !self.is_public() || !redirect::may_be_any_program(redirect_uri)
    }
}

impl ResourceServer {
    pub(crate) fn fronts(&self, resource: &str) -> bool {
        self.resources.iter().any(|id| id == resource)
    }
}

impl Credential {
    pub(crate) fn secret(&self) -> Option<&SecretHash> {
        match self {
            Self::Secret(hash) => Some(hash),
            Self::Keys(_) | Self::Certificates(_) => None,
        }
    }

    pub(crate) fn keys(&self) -> Option<&KeySet> {
        match self {
            Self::Secret(_) | Self::Certificates(_) => None,
            Self::Keys(keys) => Some(keys),
        }
    }
}

impl SecretHash {
    /// Reads `sha256:…`. The error never repeats what was given: it may be the secret itself.
    pub(crate) fn parse(text: &Secret) -> Result<Self, &'static str> {
        let encoded = text.reveal().strip_prefix(SECRET_HASH_PREFIX).ok_or(
            "must be `sha256:` and a hash; a plain secret does not belong in a configuration file",
        )?;
        if digest::is_sha256_base64url(encoded) {
            Ok(Self(Secret::new(encoded)))
        } else {
            Err("must hold the 43 characters of a SHA-256 in base64url after `sha256:`")
        }
    }

    /// A hash that no secret has: for comparing where there is nothing to compare with.
    pub(crate) fn of_nothing() -> Self {
        Self(Secret::new("-".repeat(43)))
    }

    /// Whether the secret has this hash; time does not depend on either.
    pub(crate) fn is_of(&self, secret: &str) -> bool {
        self.0.matches(&digest::sha256_base64url(secret.as_bytes()))
    }
}
