//! Deciding here, by a real decision point over real sockets: the same answers, soon after each change, and none
//! once it has been gone for too long.

mod hostile;
mod same;

use std::net::SocketAddr;
use std::path::Path;

use ::http::{Method, StatusCode};
use authzen::Decision;
use axum::body::Body;
use serde_json::{Value, json};
use service_kit::line_sink::LineTarget;
use service_kit::{ManualClock, Metrics, Secret, Tasks, Traces, UnixTime};
use strict_json::Arena;
use tokio::net::TcpListener;

use super::*;
use crate::config::{CallerConfig, EntityRight, SnapshotsConfig};
use crate::fixture::{Fixture, POLICIES};

/// A decision point that hands out snapshots.
struct Remote {
    fixture: Fixture,
    pdp: Pdp,
    address: SocketAddr,
}

/// A process that decides by them.
struct Local {
    pdp: LocalPdp,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    health: Health,
}

/// On a machine that has much else to do, unoptimized.
const LONGEST_LAG: Duration = Duration::from_secs(4);

fn write_key(folder: &Path, name: &str) -> rcgen::KeyPair {
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.pub")), key.public_key_pem()).unwrap();
    key
}

fn handing_out(fixture: &mut Fixture) {
    write_key(fixture.folder.path(), "snapshots");
    fixture.config.entities_without_callers = EntityRight::Write;
    fixture.config.snapshots_without_callers = true;
    fixture.config.snapshots = Some(SnapshotsConfig {
        signing_key_file: "snapshots.key".into(),
        max_bytes: 8 << 20,
    });
}

impl Remote {
    async fn start() -> Self {
        let mut fixture = Fixture::new();
        handing_out(&mut fixture);
        Self::of(fixture).await
    }

    async fn of(fixture: Fixture) -> Self {
        let pdp = fixture.open();
        pdp.watch();
        pdp.hand_out();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = fixture.tasks.clone();
        tasks.spawn(service_kit::serve::serve(
            listener,
            pdp.api(),
            tasks.clone(),
        ));
        Self {
            fixture,
            pdp,
            address,
        }
    }

    fn config(&self) -> LocalConfig {
        LocalConfig {
            key_file: self.fixture.folder.path().join("snapshots.pub"),
            max_age_ms: 1500,
            max_bytes: 8 << 20,
            decision_log: Some(LineTarget::Off),
            decision_log_sample_permits: 1.0,
            decision_log_sample_denies: 1.0,
            decision_log_mask: None,
        }
    }

    /// In a process of its own, and once it decides.
    async fn local(&self) -> Local {
        let local = Local::start(&self.config(), self.address);
        eventually("a snapshot decides", || local.is_fresh()).await;
        local
    }

    fn edit(&self, policies: &str) {
        let folder = self.fixture.folder.path();
        std::fs::write(folder.join(".new"), policies).unwrap();
        std::fs::rename(folder.join(".new"), folder.join("policies.cedar")).unwrap();
    }

    async fn write(&self, change: &Value) -> Value {
        let (status, answer) = self
            .call(Method::POST, "/cedar/v1/entities", Some(change))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let request = ::http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body.map_or(Body::empty(), |body| Body::from(body.to_string())));
        let response = self.pdp.api().oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        let body = body.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn end(self) {
        self.fixture.tasks.drain();
        assert!(self.fixture.tasks.finish(Duration::from_secs(5)).await);
    }
}

impl Local {
    fn start(config: &LocalConfig, address: SocketAddr) -> Self {
        Self::try_start(config, address).unwrap()
    }

    fn try_start(config: &LocalConfig, address: SocketAddr) -> Result<Self, PdpError> {
        let (metrics, health) = (Metrics::new(), Health::new());
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let parts = PdpParts {
            clock: clock.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
            tasks: Tasks::new(),
            store: None,
            traces: Traces::off(),
        };
        let url = format!("http://{address}").parse().unwrap();
        let remote = HttpDecisionPointConfig::new(url);
        Ok(Self {
            pdp: LocalPdp::open(config, Path::new("."), &remote, parts)?,
            clock,
            metrics,
            health,
        })
    }

    fn is_fresh(&self) -> bool {
        self.pdp.0.is_fresh(Instant::now())
    }

    fn version(&self) -> authzen::SnapshotVersion {
        self.pdp.0.engine.changes().borrow().clone()
    }

    async fn ask(&self, question: &Value) -> Result<Evaluation, DecisionError> {
        if let Some(answer) = self.ask_now(question) {
            return answer;
        }
        let request = EvaluationRequest::from_json(question.to_string().as_bytes()).unwrap();
        self.pdp.evaluate(&request).await
    }

    fn ask_now(&self, question: &Value) -> Option<Result<Evaluation, DecisionError>> {
        let request = EvaluationRequest::from_json(question.to_string().as_bytes()).unwrap();
        let arena = Arena::new();
        self.pdp.evaluate_now(&request.lend(&arena).asked())
    }

    /// The value of a series, by how its line begins.
    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    fn status(&self) -> Status {
        self.health.parts().get(PART).cloned().unwrap()
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    for _ in 0..2000 {
        if holds() {
            return began.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}

fn question(subject: &str, resource: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": subject },
        "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc", "id": resource },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_decides_here_soon_after_it_decides_there() {
    let remote = Remote::start().await;
    let local = remote.local().await;
    let decision = async || local.ask(&question("ben", "d1")).await.unwrap().decision;
    assert!(local.ask_now(&question("ben", "d1")).is_some());
    assert_eq!(decision().await, Decision::Permit);
    assert!(local.metric("pdp_local_decisions_total{by=\"local\"}") > 0.0);
    let mut changes = local.pdp.changes();
    changes.mark_unchanged();

    let closed = format!("{POLICIES}\n@id(\"closed\") forbid (principal, action, resource);\n");
    remote.edit(&closed);
    eventually("the edit decides there", || {
        remote.pdp.changes().borrow().epoch == 2
    })
    .await;
    let lag = eventually("the edit decides here", || local.version().epoch == 2).await;
    assert_eq!(decision().await, Decision::Deny);
    assert!(changes.has_changed().unwrap());
    println!("policies: {lag:?} after they decide there");
    assert!(lag < LONGEST_LAG, "{lag:?}");

    remote.edit(POLICIES);
    eventually("the way back decides here", || local.version().epoch == 3).await;
    assert_eq!(decision().await, Decision::Permit);

    // Somebody who was not there.
    assert_eq!(
        local.ask(&question("zoe", "d1")).await.unwrap().decision,
        Decision::Deny
    );
    let mut lags = Vec::new();
    for n in 0..20 {
        let owner = json!({ "type": "User", "id": format!("zoe{n}") });
        let written = json!({ "upsert": [
            { "uid": owner, "attrs": { "name": "zoe" }, "parents": [] },
            { "uid": { "type": "Doc", "id": format!("z{n}") }, "attrs": { "owner": owner }, "parents": [] },
        ]});
        let revision = remote.write(&written).await["revision"].as_u64().unwrap();
        lags.push(eventually("it decides here", || local.version().revision >= revision).await);
        let asked = question(&format!("zoe{n}"), &format!("z{n}"));
        assert_eq!(local.ask(&asked).await.unwrap().decision, Decision::Permit);
    }
    lags.sort();
    println!("entities: median {:?}, longest {:?}", lags[10], lags[19]);
    assert!(lags[19] < LONGEST_LAG, "{lags:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_decision_point_a_snapshot_decides_for_a_time_and_no_longer() {
    let remote = Remote::start().await;
    let local = remote.local().await;
    let mut changes = local.pdp.changes();
    changes.mark_unchanged();
    assert_eq!(local.status(), Status::Ready);
    remote.end().await;
    let gone = Instant::now();
    let mut answers = 0;
    let error = loop {
        match local.ask(&question("ben", "d1")).await {
            Ok(answer) => assert_eq!(answer.decision, Decision::Permit),
            Err(error) => break error,
        }
        answers += 1;
        assert!(gone.elapsed() < Duration::from_secs(5), "it never stops");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let lasted = gone.elapsed();
    assert!(local.ask_now(&question("ben", "d1")).is_none());
    assert!(matches!(error, DecisionError::Unavailable(_)), "{error:?}");
    // It was heard last up to a third of the age before it was gone.
    let age = Duration::from_millis(1500);
    assert!(lasted >= age / 2 && lasted <= age + age / 2, "{lasted:?}");
    assert!(answers > 20, "{answers}");
    // Nobody remembers what was decided here, and health says why.
    eventually("it is told", || changes.has_changed().unwrap()).await;
    assert!(matches!(local.status(), Status::Stale { reason } if reason.contains("max_age_ms")));
    assert!(local.metric("pdp_local_snapshots_total{result=\"unreachable\"}") > 0.0);
    assert!(local.metric("pdp_local_age_seconds") >= 1.0);
}

#[tokio::test]
async fn a_snapshot_is_for_callers_with_a_right_to_it() {
    let path = "/cedar/v1/snapshot?nonce=0123456789abcdef&wait_ms=2000";
    let mut remote = Remote::start().await;
    assert_eq!(remote.call(Method::GET, path, None).await.0, StatusCode::OK);
    for bad in [
        "",
        "?nonce=short",
        "?nonce=0123456789abcde%2f",
        "?nonce=0123456789abcdef&x=1",
    ] {
        let path = format!("/cedar/v1/snapshot{bad}");
        assert_eq!(
            remote.call(Method::GET, &path, None).await.0,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
    remote.fixture.config.snapshots_without_callers = false;
    remote.fixture.metrics = Metrics::new();
    let closed = Remote::of(remote.fixture).await;
    let (status, problem) = closed.call(Method::GET, path, None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("snapshots: true"),
        "{problem}"
    );
    let mut fixture = closed.fixture;
    fixture.metrics = Metrics::new();
    fixture.config.snapshots_without_callers = true;
    let caller = |name: &str, snapshots| CallerConfig {
        name: name.into(),
        api_key: Some(Secret::new(format!("key of {name}, which is long enough"))),
        snapshots,
        ..CallerConfig::default()
    };
    fixture.config.callers = vec![caller("gateway", true), caller("other", false)];
    let known = Remote::of(fixture).await;
    for (name, expected) in [("gateway", 200), ("other", 403), ("nobody", 401)] {
        let answer = reqwest::Client::builder()
            .build()
            .unwrap()
            .get(format!("http://{}{path}", known.address))
            .bearer_auth(format!("key of {name}, which is long enough"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{name}");
        assert_eq!(
            answer
                .headers()
                .contains_key("cedargate-snapshot-statement"),
            expected == 200
        );
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_at_the_start() {
    let remote = Remote::start().await;
    let refused = |change: fn(&mut LocalConfig), part: &str| {
        let mut config = remote.config();
        change(&mut config);
        let error = Local::try_start(&config, remote.address)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(|it| it.max_age_ms = 999, "max_age_ms");
    refused(|it| it.key_file = "nowhere.pub".into(), "cannot read");
    refused(
        |it| {
            it.key_file.set_extension("key");
        },
        "no public key",
    );
    let mut fixture = Fixture::new();
    handing_out(&mut fixture);
    fixture.config.attribute_providers = vec![serde_saphyr::from_str(PROVIDER).unwrap()];
    let error = fixture.try_open().unwrap_err().to_string();
    assert!(
        error.contains("attribute_providers") && error.contains("snapshots"),
        "{error}"
    );
}

const PROVIDER: &str = "
name: hr
entity_type: User
attributes: [age]
http: { url: 'https://hr.example/{id}' }
";
