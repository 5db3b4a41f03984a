//! The configuration file, read again while the process runs: by SIGHUP, or by `POST /reload` of the admin listener.
//!
//! `gateway`, `upstreams` and `routes` are put in force, and of `token_service` its clients, users, resources and
//! credentials: all of them or nothing. Policies and certificates have files of their own, which are followed. The
//! rest needs a restart; what of it has changed is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use gateway_pep::{GatewayError, RunningGateway};
use http::{HeaderMap, StatusCode};
use prometheus::IntCounter;
use serde::Serialize;
use service_kit::config::ConfigError;
use service_kit::error::chain;
use service_kit::health::{self, Health};
use service_kit::metrics::MetricError;
use service_kit::{Metrics, Problem, Tasks, Variables, digest, lifecycle};
use token_service::{FIXED_KEYS, TokenService, TokenServiceConfig, TokenServiceError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

use crate::admin::config::Shown;
use crate::config::{LOCAL_RESOURCE_SERVER, Loaded};
use crate::explain::from_a_program;

/// Roles that run, and the file that they are configured by. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct Reloader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    variables: Variables,
    /// The sections that need a restart, as they were at the start. None: the configuration is of no file.
    others: Option<Sections>,
    /// What is in force, for whoever wants to see it.
    shown: Shown,
    /// None: they are stopping.
    running: Mutex<Option<Reloaders>>,
    health: Health,
    applied: IntCounter,
    refused: IntCounter,
}

/// What can be given another configuration. One of them at least.
#[derive(Debug)]
pub(crate) struct Reloaders {
    pub(crate) gateway: Option<RunningGateway>,
    pub(crate) tokens: Option<TokenService>,
}

/// SECURITY: a digest of each, since there are secrets in them.
type Sections = BTreeMap<String, [u8; 32]>;

/// What a reload puts in force.
const RELOADED: [&str; 3] = ["gateway", "upstreams", "routes"];
const PART: &str = "configuration";

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Reloaded {
    /// Sections of the file that have changed and are not in force.
    needs_restart: Vec<String>,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error("{0}")]
    File(#[from] ConfigError),
    #[error("{}: there is no section `gateway`", .0.display())]
    NoGateway(PathBuf),
    #[error("{}: there is no section `token_service`", .0.display())]
    NoTokenService(PathBuf),
    #[error(
        "{}: `token_service.resource_servers` has no `{LOCAL_RESOURCE_SERVER}`, which the gateway in this process acts as",
        .0.display()
    )]
    NoCredential(PathBuf),
    #[error("{}: {}", .0.display(), .1)]
    Gateway(PathBuf, #[source] Box<GatewayError>),
    #[error("{}: {}", .0.display(), chain(&**.1))]
    TokenService(PathBuf, #[source] Box<TokenServiceError>),
    #[error("the process is stopping")]
    Stopping,
}

impl Reloader {
    pub(crate) fn new(
        loaded: &Loaded,
        running: Reloaders,
        (metrics, health, shown): (&Metrics, Health, Shown),
    ) -> Result<Self, MetricError> {
        let counters = metrics.counters(
            "config_reloads_total",
            "Times that the configuration file was read again",
            &["result"],
        )?;
        Ok(Self(Arc::new(Inner {
            others: sections(loaded, running.tokens.is_some()).ok(),
            file: loaded.file.clone(),
            variables: loaded.variables.clone(),
            running: Mutex::new(Some(running)),
            health,
            shown,
            applied: counters.with_label_values(&["applied"]),
            refused: counters.with_label_values(&["refused"]),
        })))
    }

    /// Reads the file and puts it in force; one at a time.
    pub(crate) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let inner = &*self.0;
        let file = inner.file.display().to_string();
        let reloaded = Box::pin(self.try_reload()).await;
        match &reloaded {
            Ok(Reloaded { needs_restart }) => {
                inner.applied.inc();
                inner.health.set(PART, health::Status::Ready);
                tracing::info!(file, ?needs_restart, "the configuration is replaced");
            }
            Err(error) => {
                inner.refused.inc();
                let reason = "the file cannot be put in force; what was before is".to_owned();
                inner.health.set(PART, health::Status::Stale { reason });
                tracing::error!(file, %error, "the configuration stays as it was");
            }
        }
        reloaded
    }

    async fn try_reload(&self) -> Result<Reloaded, ReloadError> {
        let inner = &*self.0;
        let mut running = inner.running.lock().await;
        let running = running.as_mut().ok_or(ReloadError::Stopping)?;
        // Once: it may be another a moment later.
        let loaded = Loaded::read(&inner.file, &inner.variables)?;
        let now = sections(&loaded, running.tokens.is_some())?;
        let needs_restart = inner.others.as_ref();
        let needs_restart = needs_restart.map_or_else(Vec::new, |before| differing(before, &now));
        Box::pin(running.reload(&loaded)).await?;
        inner.shown.replace(&loaded, &RELOADED);
        Ok(Reloaded { needs_restart })
    }

    /// For the end: nothing is reloaded any more. None: it was taken before, or there is none.
    pub(crate) async fn take(&self) -> Option<RunningGateway> {
        self.0.running.lock().await.take()?.gateway
    }

    /// For the admin listener.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/reload", post(answer))
            .with_state(self.clone())
    }
}

impl Reloaders {
    /// All of it, or nothing: what can be wrong with a configuration is known before anything of it is in force.
    async fn reload(&mut self, loaded: &Loaded) -> Result<(), ReloadError> {
        let Loaded {
            file, base, config, ..
        } = loaded;
        let section = config.token_service.as_ref();
        let tokens = self.tokens.as_ref().map(|service| {
            let section = section.ok_or_else(|| ReloadError::NoTokenService(file.clone()))?;
            let issues = TokenService::check(section, base);
            if issues.is_empty() {
                Ok((service, section))
            } else {
                let error = TokenServiceError::Config(issues);
                Err(ReloadError::TokenService(file.clone(), Box::new(error)))
            }
        });
        let tokens = tokens.transpose()?;
        let Some(gateway) = &mut self.gateway else {
            return reload_tokens(file, base, tokens).await;
        };
        let wanted = config.gateway();
        let wanted = wanted.ok_or_else(|| ReloadError::NoGateway(file.clone()))?;
        if let Some((_, section)) = tokens
            && wanted.needs_token_service()
            && section
                .resource_servers
                .iter()
                .all(|it| it.id != LOCAL_RESOURCE_SERVER)
        {
            return Err(ReloadError::NoCredential(file.clone()));
        }
        let of_gateway = |error| ReloadError::Gateway(file.clone(), Box::new(error));
        let prepared = gateway.prepare(&wanted, base).await.map_err(of_gateway)?;
        if let Err(error) = reload_tokens(file, base, tokens).await {
            gateway.abandon(&prepared);
            return Err(error);
        }
        Box::pin(gateway.put_in_force(prepared))
            .await
            .map_err(of_gateway)
    }
}

async fn reload_tokens(
    file: &Path,
    base: &Path,
    tokens: Option<(&TokenService, &TokenServiceConfig)>,
) -> Result<(), ReloadError> {
    let Some((service, section)) = tokens else {
        return Ok(());
    };
    let reloaded = service.reload(section, base).await;
    reloaded.map_err(|error| ReloadError::TokenService(file.to_owned(), Box::new(error)))
}

/// Reloads at every SIGHUP, until the process drains. None: there is nothing to reload, and nothing ends of it.
pub(crate) fn follow_hangups(reloader: Option<Reloader>, tasks: &Tasks) -> std::io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    let draining = tasks.draining();
    tasks.spawn(async move {
        while lifecycle::next(&mut hangups, &draining).await {
            if let Some(reloader) = &reloader {
                // What came of it is logged.
                drop(reloader.reload().await);
            } else {
                tracing::warn!("there is neither a gateway nor a token service to be reloaded");
            }
        }
    });
    Ok(())
}

async fn answer(State(reloader): State<Reloader>, headers: HeaderMap) -> Response {
    if let Err(problem) = from_a_program(&headers) {
        return problem.into_response();
    }
    match reloader.reload().await {
        Ok(reloaded) => Json(reloaded).into_response(),
        Err(error @ ReloadError::Stopping) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping")
                .detail(error.to_string())
                .into_response()
        }
        Err(error) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not-reloaded")
            .detail(error.to_string())
            .into_response(),
    }
}

/// The sections that a reload does not touch. Of the token service, where it runs here: its keys of that kind.
fn sections(loaded: &Loaded, has_tokens: bool) -> Result<Sections, ConfigError> {
    let (text, variables) = (loaded.text.reveal(), &loaded.variables);
    let mut sections: BTreeMap<String, serde_json::Value> =
        service_kit::config::parse_file(&loaded.file, text, variables)?;
    if has_tokens && let Some(tokens) = sections.remove("token_service") {
        for key in FIXED_KEYS {
            let mut names = key.split('.');
            if let Some(value) = names.try_fold(&tokens, |within, name| within.get(name)) {
                sections.insert(format!("token_service.{key}"), value.clone());
            }
        }
    }
    let others = sections
        .into_iter()
        .filter(|(name, _)| !RELOADED.contains(&name.as_str()));
    Ok(others
        .map(|(name, section)| (name, digest::sha256(section.to_string().as_bytes())))
        .collect())
}

fn differing(before: &Sections, now: &Sections) -> Vec<String> {
    let names = before.keys().chain(now.keys());
    let mut names: Vec<String> = names
        .filter(|name| before.get(*name) != now.get(*name))
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
