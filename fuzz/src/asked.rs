//! A PDP on a small domain with every kind of attribute, asked through its HTTP API.

use std::path::Path;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use pdp::{EntityRight, ExplainRight, InlineEntities, Pdp, PdpConfig, PdpParts};
use serde_json::Value;
use service_kit::line_sink::LineTarget;
use service_kit::serve::Client;
use service_kit::{Health, ManualClock, Metrics, Tasks, Traces, UnixTime};
use tempfile::TempDir;

/// What questions are about.
pub const SCHEMA: &str = "
entity Team in [Team];
entity User in [Team] { level?: Long, boss?: User, nets?: Set<ipaddr> } tags String;
entity Doc { owner?: User, size?: Long, open?: Bool, price?: decimal, meta?: { a: Long, b?: String } };
action read appliesTo { principal: [User], resource: [Doc], context: { n?: Long, at?: datetime } };
";

/// Policies that read all of it.
pub const POLICIES: &str = "
@id(\"own\") permit (principal, action, resource) when { resource has owner && resource.owner == principal };
@id(\"sum\") permit (principal, action, resource) when { resource has size && context has n && resource.size * context.n > 3 };
@id(\"team\") permit (principal in Team::\"t\", action, resource) unless { resource has meta && resource.meta.a == 1 };
@id(\"no\") forbid (principal, action, resource) when { principal has boss && principal.boss has level && principal.boss.level < 0 };
";

/// A few entities.
pub const ENTITIES: &str = r#"[
  {"uid": {"type": "User", "id": "a"}, "attrs": {"level": 1}, "parents": [{"type": "Team", "id": "t"}]},
  {"uid": {"type": "User", "id": "b"}, "attrs": {"boss": {"type": "User", "id": "a"}}, "parents": []},
  {"uid": {"type": "Doc", "id": "d"}, "attrs": {"owner": {"type": "User", "id": "a"}, "size": 2}, "parents": []}
]"#;

/// A PDP and the runtime that it is asked on.
#[derive(Debug)]
pub struct Asked {
    runtime: tokio::runtime::Runtime,
    pdp: Pdp,
    _folder: TempDir,
}

impl Default for Asked {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("schema.cedarschema", SCHEMA),
            ("policies.cedar", POLICIES),
            ("entities.json", ENTITIES),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _inside = runtime.enter();
        let pdp = open(folder.path()).expect("a valid folder");
        drop(_inside);
        Self {
            runtime,
            pdp,
            _folder: folder,
        }
    }
}

/// Opens a policy folder, or says what is wrong with it.
pub fn open(folder: &Path) -> Result<Pdp, pdp::PdpError> {
    let config = PdpConfig {
        policies: folder.to_owned(),
        decision_log: LineTarget::Off,
        entities_without_callers: EntityRight::Write,
        explain_without_callers: ExplainRight::Full,
        residuals_without_callers: true,
        inline_entities: InlineEntities::Override,
        second_opinion_every: 0,
        ..PdpConfig::default()
    };
    let parts = PdpParts {
        clock: ManualClock::at(UnixTime::from_secs(1_700_000_000)),
        metrics: Metrics::new(),
        health: Health::new(),
        tasks: Tasks::new(),
        store: None,
        traces: Traces::off(),
    };
    Pdp::open(&config, folder, parts)
}

impl Asked {
    /// Posts a body; the answer must never be the PDP's own fault, and always JSON.
    pub fn post(&self, path: &str, body: &[u8]) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_vec()))
            .expect("a request");
        self.runtime.block_on(async {
            let client = Client::of(([127, 0, 0, 1], 1).into());
            let answer = self.pdp.api().ask(request, &client).await;
            let answer = answer.expect("an answer");
            let status = answer.status();
            assert!(!status.is_server_error(), "{path} answers {status}");
            let body = answer
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes();
            (status, serde_json::from_slice(&body).expect("JSON"))
        })
    }
}
