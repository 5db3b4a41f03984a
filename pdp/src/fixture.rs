//! A PDP on a folder of its own, for tests.

pub(crate) mod postgres;

use std::path::{Path, PathBuf};

use authzen::{DecisionError, DecisionPoint as _, Evaluation, EvaluationRequest};
use serde_json::Value;
use service_kit::line_sink::LineTarget;
use service_kit::{Health, ManualClock, Metrics, Tasks, Traces, UnixTime};
use strict_json::Arena;
use tempfile::TempDir;

use crate::answer::Id;
use crate::mapping::Before;
use crate::snapshot::{Answered, Read, Snapshot};
use crate::{Pdp, PdpConfig, PdpError, PdpParts};

/// A small domain: documents in folders, people in teams.
pub(crate) const SCHEMA: &str = r#"
entity Team in [Team];
@authzen("user")
entity User in [Team] {
  name: String,
  age?: Long,
  manager?: User,
  nets?: Set<ipaddr>,
  address?: { city: String, zip?: String },
};
@authzen("urn:x:doc")
entity Doc { owner?: User, level?: Long, price?: decimal, public?: Bool };
entity Color enum ["red", "green"];
action reading;
@authzen("GET /docs/{id}")
action read in [reading] appliesTo {
  principal: [User], resource: [Doc],
  context: { ip?: ipaddr, at?: datetime, tries?: Long, peer?: User },
};
action delete appliesTo {
  principal: [User], resource: [Doc, Color],
  context: { reason: String, action: { soft?: Bool } },
};
"#;

pub(crate) const POLICIES: &str = r#"
@id("owner-reads") @reason("it is theirs")
permit (principal, action in Action::"reading", resource)
when { resource has owner && resource.owner == principal };

@id("soft-delete") @obligation("notify to=owner")
permit (principal, action == Action::"delete", resource is Doc)
when { context.action has soft && context.action.soft };

@id("managers-read")
permit (principal, action == Action::"read", resource is Doc)
when { resource has owner && resource.owner has manager && resource.owner.manager == principal };

@id("public")
permit (principal, action == Action::"read", resource is Doc)
when { resource has public && resource.public };

@id("barred") @reason("barred by name") @advice("ask somebody else")
forbid (principal, action == Action::"read", resource)
when { principal.name == "mallory" };
"#;

pub(crate) const ENTITIES: &str = r#"[
  {"uid": {"type": "User", "id": "ann"}, "attrs": {"name": "ann", "age": 40}, "parents": []},
  {"uid": {"type": "User", "id": "ben"}, "attrs": {"name": "ben", "manager": {"type": "User", "id": "ann"}}, "parents": [{"type": "Team", "id": "t1"}]},
  {"uid": {"type": "Doc", "id": "d1"}, "attrs": {"owner": {"type": "User", "id": "ben"}}, "parents": []}
]"#;

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) config: PdpConfig,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
    pub(crate) store: Option<std::sync::Arc<dyn store::Store>>,
    pub(crate) traces: Traces,
}

impl Fixture {
    /// The small domain.
    pub(crate) fn new() -> Self {
        let fixture = Self::empty();
        fixture.write("schema.cedarschema", SCHEMA);
        fixture.write("policies.cedar", POLICIES);
        fixture.write("entities.json", ENTITIES);
        fixture
    }

    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            config: PdpConfig {
                residuals_without_callers: true,
                policies: PathBuf::from("."),
                decision_log: LineTarget::Off,
                rescan_ms: 50,
                ..PdpConfig::default()
            },
            health: Health::new(),
            metrics: Metrics::new(),
            tasks: Tasks::new(),
            store: None,
            traces: Traces::off(),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub(crate) fn try_open(&self) -> Result<Pdp, PdpError> {
        self.open_at(self.folder.path())
    }

    pub(crate) fn open_at(&self, base: &Path) -> Result<Pdp, PdpError> {
        let parts = PdpParts {
            clock: ManualClock::at(UnixTime::from_secs(1_700_000_000)),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            tasks: self.tasks.clone(),
            store: self.store.clone(),
            traces: self.traces.clone(),
        };
        Pdp::open(&self.config, base, parts)
    }

    pub(crate) fn open(&self) -> Pdp {
        self.try_open().unwrap()
    }
}

/// A runtime with one thread for work, which is busy until the sender is used or dropped.
pub(crate) fn busy() -> (tokio::runtime::Runtime, std::sync::mpsc::Sender<()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build();
    let runtime = runtime.unwrap();
    let (free, freed) = std::sync::mpsc::channel();
    drop(runtime.spawn_blocking(move || freed.recv()));
    (runtime, free)
}

/// Asks a question given as JSON.
pub(crate) async fn ask(pdp: &Pdp, question: &Value) -> Result<Evaluation, DecisionError> {
    let request = EvaluationRequest::from_json(question.to_string().as_bytes()).unwrap();
    pdp.evaluate(&request).await
}

/// Where the ready domains are.
pub(crate) fn domains() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

/// Asks a snapshot alone, and keeps what a second opinion needs.
pub(crate) fn answer<'s>(
    snapshot: &'s Snapshot,
    request: &EvaluationRequest,
    now: UnixTime,
) -> Result<Answered<'s>, DecisionError> {
    let (arena, mut before) = (Arena::new(), Before::default());
    let lent = request.lend(&arena);
    let asked = lent.asked();
    match snapshot.read(&asked, now, &mut before)? {
        Read::Question(mapped) => snapshot.decide_mapped(mapped, Id::NONE, true),
        Read::Unknown { status, message } => Ok(snapshot.unasked(status, &message, Id::NONE)),
    }
}
