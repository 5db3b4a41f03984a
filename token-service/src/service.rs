//! The service as a whole: opened from configuration, served as a router, asked in process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use authzen::DecisionPoint;
use bytes::Bytes;
use oauth::{TokenEvent, TokenIntrospector};
use service_kit::{ConfigIssue, Health, Metrics, Secret, SharedClock, Status, Tasks, Tls};
use store::{Batch, Store};

use crate::backchannel::Backchannel;
use crate::config::{KeysConfig, TokenServiceConfig};
use crate::core::{Attempts, Core, Issuer, Ttl};
use crate::error::{TokenServiceError, Trouble};
use crate::farewells;
use crate::http;
use crate::introspector::LocalIntrospector;
use crate::keys::{self, KeyPlan, Keys, MIN_PUBLISH_AHEAD};
use crate::listeners::Listeners;
use crate::meter::Meter;
use crate::minted::MintedJwts;
use crate::password::Passwords;
use crate::provider;
use crate::push::Push;
use crate::registry::Registry;
use crate::revocation;
use crate::secrets::{MIN_ROOT, Secrets};
use crate::signals;
use crate::web_document::Web;

/// The token service. Clones are the same service.
#[derive(Debug, Clone)]
pub struct TokenService {
    core: Arc<Core>,
    listeners: Listeners,
}

/// What the service works with.
#[derive(Debug)]
pub struct TokenServiceParts {
    pub store: Arc<dyn Store>,
    pub decisions: Arc<dyn DecisionPoint>,
    /// The event log that gateways follow.
    pub event_log: String,
    pub clock: SharedClock,
    pub metrics: Metrics,
    pub health: Health,
    pub tasks: Tasks,
}

/// The configuration as it was understood.
struct Understood {
    issuer: Issuer,
    secret: Secret,
    registry: Registry,
    /// That are believed where documents are fetched, beside the system's.
    authorities: Vec<reqwest::Certificate>,
    listeners: Listeners,
}

/// How often the store is asked whether it is there.
const PING: Duration = Duration::from_secs(5);
/// Name among the parts of [`Health`].
const HEALTH: &str = "token_service";
/// What of a configuration [`TokenService::reload`] does not put in force.
pub const FIXED_KEYS: [&str; 11] = [
    "client_id_metadata_documents.ca_file",
    "issuer",
    "limits",
    "listen",
    "login",
    "mtls",
    "require_dpop_nonce",
    "secret",
    "secret_file",
    "tls",
    "ttl",
];
/// Record of the registry that was last in force, across replicas and restarts.
const REGISTRY_KEY: &str = "registry:fingerprint";

impl TokenService {
    /// Checks the configuration, opens the keys, tells gateways where the registry changed since
    /// the last start, and keeps keys and health fresh until the tasks drain.
    pub async fn open(
        config: &TokenServiceConfig,
        base: &Path,
        parts: TokenServiceParts,
    ) -> Result<Self, TokenServiceError> {
        let Understood {
            issuer,
            secret,
            registry,
            authorities,
            mut listeners,
        } = understand(config, base).map_err(TokenServiceError::Config)?;
        let secrets = Secrets::derive(secret.reveal().as_bytes())?;
        let plan = key_plan(config, &registry);
        let keys = Keys::open(parts.store.clone(), &secrets, plan, parts.clock.now())
            .await
            .map_err(|trouble| match trouble {
                Trouble::Crypto { message } if message == keys::SEALED_WITH_ANOTHER_SECRET => {
                    TokenServiceError::SealedWithAnotherSecret
                }
                other => other.into(),
            })?;
        let core = Arc::new(Core {
            issuer,
            mtls: listeners.mtls_endpoints.take(),
            passwords: Passwords::new(registry.any_password_hash())?,
            registry: ArcSwap::from_pointee(registry),
            secrets,
            keys,
            store: parts.store,
            decisions: parts.decisions,
            event_log: parts.event_log,
            clock: parts.clock,
            ttl: Ttl::new(&config.ttl),
            wants_nonce: config.require_dpop_nonce,
            login_acr: config.login.acr.clone(),
            attempts: Attempts {
                most: config.login.attempts,
                failures_per_username: config.login.failures_per_username,
                failures_per_address: config.login.failures_per_address,
                window: Duration::from_secs(config.login.window_secs),
            },
            limits: config.limits.clone(),
            meter: Meter::new(&parts.metrics)?,
            minted: MintedJwts::default(),
            backchannel: Backchannel::new(parts.tasks.clone())?,
            web: Web::new(&authorities)?,
            push: Push::new()?,
        });
        let service = Self { core, listeners };
        signals::prepare(&service.core, &service.core.registry()).await?;
        service.announce_registry().await?;
        signals::start(service.core.clone(), &parts.tasks);
        parts.health.set(HEALTH, Status::Ready);
        let core = service.core.clone();
        parts
            .tasks
            .spawn(keep_fresh(core, parts.health, parts.tasks.clone()));
        Ok(service)
    }

    /// The HTTP endpoints.
    pub fn router(&self) -> axum::Router {
        http::router(self.core.clone())
    }

    /// By what the endpoints are served, where it is not plain HTTP.
    pub fn tls(&self) -> Option<Tls> {
        self.listeners.tls.clone()
    }

    /// By what the endpoints for clients with certificates are served, and these (RFC 8705). None:
    /// there is no such listener.
    pub fn mtls(&self) -> Option<(Tls, axum::Router)> {
        let tls = self.listeners.mtls.clone()?;
        Some((tls, http::mtls_router(self.core.clone())))
    }

    /// Introspection in process, with the rights of a credential of the configuration. None where
    /// there is no such credential.
    pub fn introspector(&self, resource_server: &str) -> Option<Arc<dyn TokenIntrospector>> {
        let registry = self.core.registry();
        registry.resource_server(resource_server)?;
        Some(Arc::new(LocalIntrospector {
            core: self.core.clone(),
            server: resource_server.to_owned(),
        }))
    }

    /// Puts new clients, users, resources and credentials in force, and voids what gateways have
    /// cached. [`FIXED_KEYS`] stay as they were opened. With an error, everything is as it was.
    pub async fn reload(
        &self,
        config: &TokenServiceConfig,
        base: &Path,
    ) -> Result<(), TokenServiceError> {
        let understood = understand(config, base).map_err(TokenServiceError::Config)?;
        let (core, registry) = (&self.core, understood.registry);
        let before = (core.registry.load_full(), core.keys.plan());
        let replaced = self.replace(key_plan(config, &registry), registry).await;
        if replaced.is_err() {
            // What was told to gateways meanwhile makes them ask again, and nothing else.
            core.registry.store(before.0);
            core.keys.go_by(before.1);
        }
        replaced
    }

    async fn replace(&self, plan: KeyPlan, registry: Registry) -> Result<(), TokenServiceError> {
        let core = &self.core;
        // Before anything is to be signed by a key that there is not.
        core.keys.follow(plan, &core.secrets, core.now()).await?;
        // Before anything can happen that they are to be told.
        signals::prepare(core, &registry).await?;
        core.registry.store(Arc::new(registry));
        self.announce_registry().await
    }

    /// What the background task does about farewells.
    #[cfg(test)]
    pub(crate) async fn say_farewells(&self) {
        farewells::say_due(&self.core).await.unwrap();
    }

    /// What the background task does about keys.
    #[cfg(test)]
    pub(crate) async fn reload_keys(&self) {
        let core = &self.core;
        core.keys.turn(&core.secrets, core.now()).await.unwrap();
    }

    /// Everything that is wrong with the configuration.
    pub fn check(config: &TokenServiceConfig, base: &Path) -> Vec<ConfigIssue> {
        understand(config, base).err().unwrap_or_default()
    }

    /// Says [`TokenEvent::RegistryChanged`] where the registry is not the one that was last in
    /// force.
    async fn announce_registry(&self) -> Result<(), TokenServiceError> {
        let core = &self.core;
        let fingerprint = Bytes::from(core.registry().fingerprint());
        signals::announce_users(core).await?;
        let before = core.store.get(REGISTRY_KEY).await?;
        if before.as_ref() == Some(&fingerprint) {
            return Ok(());
        }
        let mut batch = Batch::new().put(REGISTRY_KEY, fingerprint, None);
        if before.is_some() {
            let event = revocation::encode(&TokenEvent::RegistryChanged)?;
            batch = batch.append(&core.event_log, event);
        }
        // Unconditional: nothing in it can conflict.
        let _ = core.store.commit(batch).await?;
        Ok(())
    }
}

/// Checks everything; all problems at once.
fn understand(config: &TokenServiceConfig, base: &Path) -> Result<Understood, Vec<ConfigIssue>> {
    let mut issues = Vec::new();
    let mut add = |key: &str, problem: &str| {
        let text = format!("`token_service.{key}`: {problem}");
        issues.push(ConfigIssue::new(text));
    };
    let issuer = Issuer::parse(&config.issuer)
        .inspect_err(|problem| add("issuer", problem))
        .ok();
    let ttl = &config.ttl;
    for (key, secs, most) in [
        ("ttl.code_secs", ttl.code_secs, 60),
        ("ttl.access_token_secs", ttl.access_token_secs, 24 * 3600),
        ("ttl.refresh_token_secs", ttl.refresh_token_secs, YEAR),
        (
            "ttl.refresh_token_idle_secs",
            ttl.refresh_token_idle_secs,
            YEAR,
        ),
        ("ttl.jwt_secs", ttl.jwt_secs, 3600),
        ("ttl.id_token_secs", ttl.id_token_secs, 3600),
        ("ttl.session_secs", ttl.session_secs, YEAR),
        ("ttl.interaction_secs", ttl.interaction_secs, 3600),
        ("ttl.device_poll_secs", ttl.device_poll_secs, 60),
        (
            "ttl.introspection_cache_secs",
            ttl.introspection_cache_secs,
            3600,
        ),
        ("login.window_secs", config.login.window_secs, 24 * 3600),
        ("login.attempts", config.login.attempts, 1_000_000),
        ("limits.window_secs", config.limits.window_secs, 24 * 3600),
        ("keys.rotate_secs", config.keys.rotate_secs, YEAR),
    ] {
        if !(1..=most).contains(&secs) {
            add(key, &format!("must be from 1 to {most}"));
        }
    }
    for (key, secs, least, most) in [
        ("ttl.refresh_retry_secs", ttl.refresh_retry_secs, 0, 60),
        ("ttl.pushed_request_secs", ttl.pushed_request_secs, 5, 600),
        ("ttl.device_code_secs", ttl.device_code_secs, 60, 1800),
    ] {
        if !(least..=most).contains(&secs) {
            add(key, &format!("must be from {least} to {most}"));
        }
    }
    add_publish_ahead(&config.keys, &mut add);
    built(config, base, issuer, issues)
}

/// What is made of a configuration whose single values have been looked at.
fn built(
    config: &TokenServiceConfig,
    base: &Path,
    issuer: Option<Issuer>,
    mut issues: Vec<ConfigIssue>,
) -> Result<Understood, Vec<ConfigIssue>> {
    let secret = root_secret(config, base, &mut issues);
    let registry = registry(config, base, &mut issues);
    let authorities = authorities(config, base, &mut issues);
    let listeners = Listeners::open(config, base, &mut issues);
    match (issuer, secret) {
        (Some(issuer), Some(secret)) if issues.is_empty() => Ok(Understood {
            issuer,
            secret,
            registry,
            authorities,
            listeners,
        }),
        _ => Err(issues),
    }
}

fn registry(config: &TokenServiceConfig, base: &Path, issues: &mut Vec<ConfigIssue>) -> Registry {
    let mut registry = Registry::build(config, issues);
    registry.providers = provider::providers(&config.identity_providers, base, issues);
    registry.add_event_receivers(config, base, issues);
    registry
}

const YEAR: u64 = 366 * 24 * 3600;

fn add_publish_ahead(keys: &KeysConfig, add: &mut impl FnMut(&str, &str)) {
    let (ahead, least) = (keys.publish_ahead_secs, MIN_PUBLISH_AHEAD.as_secs());
    if ahead < least || ahead.saturating_mul(2) > keys.rotate_secs {
        let problem = format!("must be from {least} to half of `keys.rotate_secs`");
        add("keys.publish_ahead_secs", &problem);
    }
}

fn root_secret(
    config: &TokenServiceConfig,
    base: &Path,
    issues: &mut Vec<ConfigIssue>,
) -> Option<Secret> {
    let file = config.secret_file.as_ref();
    match Secret::from_config("token_service.secret", config.secret.clone(), file, base) {
        Ok(secret) if secret.reveal().len() < MIN_ROOT => {
            let problem = format!("`token_service.secret`: must be at least {MIN_ROOT} bytes long");
            issues
                .push(ConfigIssue::new(problem).hint("`openssl rand -base64 48` makes a good one"));
            None
        }
        Ok(secret) => Some(secret),
        Err(issue) => {
            issues.push(issue);
            None
        }
    }
}

fn authorities(
    config: &TokenServiceConfig,
    base: &Path,
    issues: &mut Vec<ConfigIssue>,
) -> Vec<reqwest::Certificate> {
    let documents = config.client_id_metadata_documents.as_ref();
    let Some(file) = documents.and_then(|documents| documents.ca_file.as_ref()) else {
        return Vec::new();
    };
    let read = std::fs::read(base.join(file)).ok();
    let found = read.and_then(|text| reqwest::Certificate::from_pem_bundle(&text).ok());
    found.filter(|found| !found.is_empty()).unwrap_or_else(|| {
        issues.push(ConfigIssue::new(
            "`token_service.client_id_metadata_documents.ca_file`: there are no certificates in it",
        ));
        Vec::new()
    })
}

fn key_plan(config: &TokenServiceConfig, registry: &Registry) -> KeyPlan {
    /// Clocks of those who verify may be behind.
    const LEEWAY: u64 = 120;
    let longest = registry
        .longest_jwt()
        .max(config.ttl.jwt_secs)
        .max(config.ttl.id_token_secs)
        // An ID token that has expired says whose login is to end.
        .max(config.ttl.session_secs);
    KeyPlan {
        algorithms: registry.signing_algorithms(),
        rotate: Duration::from_secs(config.keys.rotate_secs),
        publish_ahead: Duration::from_secs(config.keys.publish_ahead_secs),
        longest_token: Duration::from_secs(longest + LEEWAY),
    }
}

/// Keeps readiness true and the keys known, until the tasks drain.
async fn keep_fresh(core: Arc<Core>, health: Health, tasks: Tasks) {
    let draining = tasks.draining();
    let mut since_keys = Duration::ZERO;
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            () = tokio::time::sleep(PING) => {}
        }
        let mut result = core.store.ping().await.map_err(Trouble::from);
        since_keys += PING;
        if result.is_ok() && since_keys >= keys::REFRESH {
            since_keys = Duration::ZERO;
            if let Err(trouble) = farewells::say_due(&core).await {
                tracing::warn!(
                    error = trouble.chain(),
                    "clients do not hear of logouts yet"
                );
            }
            result = core.keys.turn_all(&core.secrets, core.now()).await;
        }
        health.set(
            HEALTH,
            match result {
                Ok(()) => Status::Ready,
                Err(trouble) => {
                    tracing::warn!(error = trouble.chain(), "the token service is not ready");
                    Status::NotReady {
                        reason: trouble.to_string(),
                    }
                }
            },
        );
    }
}
