//! A gateway between clients and readers, in this process: who decides keeps every question, and the access
//! log is a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use authzen::{
    DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest, SearchRequest,
    SearchResults,
};
use cedargate::config::FileConfig;
use gateway_pep::{Gateway, GatewayParts, RunningGateway};
use oauth::{
    ActiveToken, Introspection, IntrospectionError, OpaqueToken, PhantomJwt, ResourceId, Scope,
    SubjectFacts, SubjectKind, TokenIntrospector,
};
use serde::Deserialize;
use service_kit::{Health, Metrics, SystemClock, Tasks, Traces, Variables};
use store::MemoryStore;
use tempfile::TempDir;

use super::readers::{ALL, Readers};
use crate::site::eventually;

/// The one token that is live.
pub const TOKEN: &str = "drill_token";

/// What was decided upon, or logged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    #[serde(default)]
    pub method: String,
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub status: u16,
}

/// Permits everybody, and keeps what was asked.
#[derive(Debug, Default)]
pub struct Asked(Mutex<Vec<Line>>);

#[derive(Debug)]
struct OneToken;

#[derive(Debug)]
pub struct Stage {
    running: RunningGateway,
    tasks: Tasks,
    asked: Arc<Asked>,
    log: PathBuf,
    _folder: TempDir,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Stage {
    pub async fn start(readers: &Readers) -> Self {
        let folder = TempDir::new().expect("temporary folder");
        let log = folder.path().join("access.log");
        let (asked, health, tasks) = (Arc::<Asked>::default(), Health::new(), Tasks::new());
        let parts = GatewayParts {
            introspector: Some(Arc::new(OneToken)),
            decisions: asked.clone(),
            events: Arc::new(MemoryStore::new()),
            event_log: "events".into(),
            proofs: Arc::new(MemoryStore::new()),
            rates: Arc::new(MemoryStore::new()),
            shared_tokens: None,
            shared_decisions: None,
            acme: None,
            clock: Arc::new(SystemClock),
            metrics: Metrics::new(),
            health: health.clone(),
            tasks: tasks.clone(),
            traces: Traces::off(),
        };
        let config = configuration(readers, &log);
        let gateway = config.gateway().expect("a gateway");
        let gateway = Gateway::open(&gateway, Path::new("."), parts).expect("opens");
        let running = gateway.start(([127, 0, 0, 1], 0).into()).expect("starts");
        eventually("the gateway is ready", PATIENCE, || async {
            health.is_ready()
        })
        .await;
        Self {
            running,
            tasks,
            asked,
            log,
            _folder: folder,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.addr()
    }

    /// Ends the gateway; what was decided upon, and what is in the log.
    pub async fn end(self) -> (Vec<Line>, Vec<Line>) {
        self.running.finish(PATIENCE).await;
        self.tasks.finish(PATIENCE).await;
        let text = std::fs::read_to_string(&self.log).expect("a log");
        let line = |line: &str| serde_json::from_str(line).expect("a line of JSON");
        let logged = text.lines().map(line).collect();
        (
            std::mem::take(&mut *self.asked.0.lock().expect("lock")),
            logged,
        )
    }
}

fn configuration(readers: &Readers, log: &Path) -> FileConfig {
    let mut text = format!(
        "gateway: {{ workers: 2, access_log: {{ file: '{}' }}, cache: {{ tokens: 0, decisions: 0 }}, timeouts: {{ head_secs: 3, idle_body_secs: 3 }} }}\nconnect: {{ token_service: {{ introspection_url: 'http://127.0.0.1:9/', client_secret: x }}, pdp: {{ url: 'http://127.0.0.1:9' }} }}\nupstreams:\n",
        log.display()
    );
    for name in ALL {
        let at = readers.address(name);
        text += &format!("  {name}: {{ url: 'http://{at}', preserve_host: true }}\n");
    }
    text += "routes:\n";
    for name in ALL {
        text += &format!(
            "  - {{ match: '/{name}/{{*rest}}', methods: ['*'], upstream: {name}, action: view, resource: 'Record/{{rest}}' }}\n"
        );
    }
    service_kit::config::parse(&text, &Variables::default())
        .map_err(|issue| issue.to_string())
        .expect("a configuration")
}

#[async_trait]
impl TokenIntrospector for OneToken {
    async fn introspect(
        &self,
        token: &OpaqueToken,
        _resource: &ResourceId,
    ) -> Result<Introspection, IntrospectionError> {
        if token.reveal() != TOKEN {
            return Ok(Introspection::Inactive);
        }
        Ok(Introspection::Active(Arc::new(ActiveToken {
            facts: SubjectFacts {
                kind: SubjectKind::User,
                sub: "drill".to_owned(),
                client_id: "drill".to_owned(),
                scope: Scope::empty(),
                username: None,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                act: None,
                api_key: None,
                attributes: serde_json::Map::new(),
            },
            jwt: PhantomJwt::new("e30.e30.drill".to_owned()),
            exp: u64::MAX / 4,
            token_ref: "drill".to_owned(),
            grant: "drill".to_owned(),
            origins: Vec::new(),
            confirmation: None,
        })))
    }
}

#[async_trait]
impl DecisionPoint for Asked {
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError> {
        let text = |name: &str| {
            let value = request.context.get(name).and_then(|value| value.as_str());
            value.unwrap_or_default().to_owned()
        };
        self.0.lock().expect("lock").push(Line {
            method: text("method"),
            host: text("host"),
            path: text("path"),
            status: 0,
        });
        Ok(Evaluation::permit())
    }

    async fn evaluate_many(
        &self,
        _request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        Err(DecisionError::Unavailable(None))
    }

    async fn search(&self, _request: &SearchRequest) -> Result<SearchResults, DecisionError> {
        Err(DecisionError::Unavailable(None))
    }
}
