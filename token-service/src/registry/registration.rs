//! Registration as it is configured: who may register clients, and what these may have. A registered
//! client becomes a [`Client`] here, each time it is looked up, within what is allowed at that moment.

mod check;
mod name;
mod understand;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jose::KeySet;
use oauth::Scope;
use serde::Serialize;
use serde_json::Map;
use service_kit::{Secret, UnixTime};
use url::{Host, Url};

use super::{Client, Credential, Provenance, RedirectUri, Registry, SecretHash};
use crate::client_metadata::ClientMetadata;
use crate::config::{AuthMethod, ConsentMode, GrantType, SigningAlgorithm};
use crate::public_web;
use crate::record::{RegisteredClient, Registrar};
pub(super) use check::Flaw;

/// Who may register, and what stands over all registered clients.
#[derive(Debug, Serialize)]
pub(crate) struct Registration {
    tokens: Vec<InitialToken>,
    pub(crate) open: Option<Open>,
    /// Without a token for so long, a client is forgotten.
    #[serde(skip)]
    pub(crate) unused: Duration,
    /// None: secrets are good for ever.
    #[serde(skip)]
    pub(crate) secret_life: Option<Duration>,
    disabled: BTreeSet<String>,
}

/// An initial access token (RFC 7591 section 1.2).
#[derive(Debug, Serialize)]
struct InitialToken {
    name: String,
    #[serde(skip)]
    hash: SecretHash,
    #[serde(skip)]
    until: Option<UnixTime>,
    bounds: Bounds,
}

/// Registration without a token.
#[derive(Debug, Serialize)]
pub(crate) struct Open {
    #[serde(skip)]
    pub(crate) attempts: u64,
    #[serde(skip)]
    pub(crate) window: Duration,
    bounds: Bounds,
}

/// The most that a registered client may have.
#[derive(Debug, Serialize)]
pub(crate) struct Bounds {
    pub(crate) scope: Scope,
    #[serde(skip)]
    pub(crate) clients: usize,
    grant_types: BTreeSet<GrantType>,
    auth_methods: BTreeSet<AuthMethod>,
    /// None: any.
    redirect_hosts: Option<BTreeSet<String>>,
    loopback_redirects: bool,
    private_use_redirects: bool,
    /// At least one.
    pub(super) id_token_algs: Vec<SigningAlgorithm>,
    /// Back-channel logout may go to addresses that are not public.
    #[serde(skip)]
    private_addresses: bool,
}

impl Registration {
    /// Whose an initial access token is, where it is good now.
    pub(crate) fn registrar(&self, shown: &str, now: UnixTime) -> Option<Registrar> {
        // Each is compared, and in the same time whichever it is.
        let fitting = self.tokens.iter().filter(|token| token.hash.is_of(shown));
        let fitting: Vec<_> = fitting.collect();
        let token = fitting.first()?;
        let is_good = token.until.is_none_or(|until| now < until);
        is_good.then(|| Registrar::Token(token.name.clone()))
    }

    /// None: by such leave nobody may be there any more.
    pub(crate) fn bounds(&self, by: &Registrar) -> Option<&Bounds> {
        match by {
            Registrar::Open => self.open.as_ref().map(|open| &open.bounds),
            Registrar::Token(name) => {
                let mut tokens = self.tokens.iter();
                tokens
                    .find(|token| token.name == *name)
                    .map(|token| &token.bounds)
            }
        }
    }

    /// Every scope token that somebody may register for.
    pub(super) fn scopes(&self) -> Scope {
        let all = self.all_bounds();
        all.fold(Scope::empty(), |all, bounds| all.union(&bounds.scope))
    }

    pub(super) fn signing_algorithms(&self) -> impl Iterator<Item = SigningAlgorithm> {
        self.all_bounds()
            .flat_map(|bounds| bounds.id_token_algs.iter().copied())
    }

    fn all_bounds(&self) -> impl Iterator<Item = &Bounds> {
        let open = self.open.iter().map(|open| &open.bounds);
        self.tokens.iter().map(|token| &token.bounds).chain(open)
    }
}

impl Registry {
    /// What a registered client is now. None: nobody.
    pub(crate) fn registered(
        &self,
        id: &str,
        kept: &RegisteredClient,
        now: UnixTime,
    ) -> Option<Client> {
        let registration = self.registration.as_ref()?;
        let bounds = registration.bounds(&kept.by)?;
        if now >= kept.exp || registration.disabled.contains(id) {
            return None;
        }
        let provenance = Provenance::Registered {
            used: kept.used,
            is_trusted_with_addresses: bounds.private_addresses,
        };
        let credential = credential(kept, now);
        bounds.client(self, id, &kept.metadata, credential, provenance)
    }

    /// Whether a configured client has this redirect URI. Loopback is everybody's.
    fn is_taken(&self, uri: &RedirectUri) -> bool {
        !uri.as_str().starts_with("http:")
            && self
                .clients
                .values()
                .any(|client| client.redirect_uris.contains(uri))
    }
}

impl Bounds {
    /// What a client is within them. None: it may not be there. `credential` none: it is public.
    pub(super) fn client(
        &self,
        registry: &Registry,
        id: &str,
        metadata: &ClientMetadata,
        credential: Option<Credential>,
        provenance: Provenance,
    ) -> Option<Client> {
        if !self.auth_methods.contains(&metadata.auth_method) {
            return None;
        }
        let uris = |texts: &[String]| -> Vec<RedirectUri> {
            let parsed = texts
                .iter()
                .filter_map(|text| RedirectUri::parse(text).ok());
            parsed
                .filter(|uri| self.takes(registry, uri).is_ok())
                .collect()
        };
        let mut algs = self.id_token_algs.iter();
        let alg = algs.find(|alg| **alg == metadata.id_token_alg);
        let backchannel = metadata.backchannel_logout.as_deref();
        let grant_types = metadata.grant_types.intersection(&self.grant_types);
        Some(Client {
            id: id.to_owned(),
            name: metadata.name.clone().unwrap_or_else(|| id.to_owned()),
            credential,
            grant_types: grant_types.copied().collect(),
            redirect_uris: uris(&metadata.redirect_uris),
            post_logout_redirect_uris: uris(&metadata.post_logout_redirect_uris),
            backchannel_logout: backchannel.and_then(|text| self.backchannel(text).ok()),
            scope: metadata.scope.intersection(&self.scope),
            attributes: Map::new(),
            consent: ConsentMode::Ask,
            only_pushed: metadata.only_pushed,
            requires_pkce: true,
            // It has no certificate to be known by: none can be registered.
            certificate_bound: false,
            only_bound: metadata.only_bound,
            id_token_alg: *alg.or(self.id_token_algs.first())?,
            exchange: None,
            may_act: None,
            disabled: false,
            provenance,
        })
    }

    /// Asked by ourselves, at the word of a stranger.
    fn backchannel(&self, text: &str) -> Result<Url, &'static str> {
        RedirectUri::parse(text)?;
        let url = Url::parse(text).map_err(|_| "is not an absolute URI")?;
        match url.scheme() {
            "https" if self.private_addresses || public_web::may_be_public(&url) => Ok(url),
            "http" if self.private_addresses => Ok(url),
            _ => Err("must be `https`, at a public address"),
        }
    }

    /// Whether a registered client may send people there.
    fn takes(&self, registry: &Registry, uri: &RedirectUri) -> Result<(), &'static str> {
        if registry.is_taken(uri) {
            return Err("a redirect URI is another client's");
        }
        let url = Url::parse(uri.as_str()).map_err(|_| "a redirect URI is malformed")?;
        let is_allowed = match (url.scheme(), url.host()) {
            ("https", Some(Host::Domain(host))) => self.takes_host(host),
            ("https", Some(host)) => self.takes_host(&host.to_string()),
            ("http", _) => self.loopback_redirects,
            _ => self.private_use_redirects,
        };
        is_allowed
            .then_some(())
            .ok_or("a redirect URI has a scheme or a host that may not be registered")
    }

    fn takes_host(&self, host: &str) -> bool {
        let hosts = self.redirect_hosts.as_ref();
        hosts.is_none_or(|hosts| hosts.contains(host))
    }
}

/// None: public. What cannot be read, or has ended, nobody can prove.
fn credential(kept: &RegisteredClient, now: UnixTime) -> Option<Credential> {
    let proven = match kept.metadata.auth_method {
        AuthMethod::None => return None,
        AuthMethod::PrivateKeyJwt => return keys(&kept.metadata),
        AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => {
            let secret = kept.secret.as_ref();
            let live = secret.filter(|secret| secret.exp.is_none_or(|exp| now < exp));
            let hash = live.and_then(|it| SecretHash::parse(&Secret::new(it.hash.as_str())).ok());
            hash.map(Credential::Secret)
        }
    };
    Some(proven.unwrap_or_else(|| Credential::Secret(SecretHash::of_nothing())))
}

/// The same of a client that can have no secret.
pub(super) fn keys(metadata: &ClientMetadata) -> Option<Credential> {
    if metadata.auth_method == AuthMethod::None {
        return None;
    }
    let jwks = metadata.jwks.as_ref().map(ToString::to_string);
    let keys = jwks.and_then(|jwks| KeySet::parse(jwks.as_bytes()).ok());
    Some(match keys {
        Some(keys) => Credential::Keys(Arc::new(keys)),
        None => Credential::Secret(SecretHash::of_nothing()),
    })
}
