//! Answers that are tampered with, cut, replayed, of others or older: none is taken, what is held goes on, and
//! the log's reason is counted.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, StatusCode};
use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde_json::json;

use super::*;
use crate::handout::{STATEMENT, STATEMENT_HEADER, Statement, Written};
use crate::signing::SigningKey;

/// One who stands between, and answers as it likes: by the nonce that came.
type Answerer = Box<dyn Fn(&str) -> (String, Vec<u8>) + Send + Sync>;

#[derive(Clone)]
struct Between(Arc<Mutex<Answerer>>);

#[derive(serde::Deserialize)]
struct Asked {
    nonce: String,
}

impl Between {
    async fn start(answerer: Answerer) -> (Self, SocketAddr) {
        let between = Self(Arc::new(Mutex::new(answerer)));
        let serving = between.clone();
        let answer = move |Query(asked): Query<Asked>| {
            let (statement, body) = serving.0.lock().unwrap()(&asked.nonce);
            async move {
                let mut headers = HeaderMap::new();
                headers.insert(STATEMENT_HEADER, statement.parse().unwrap());
                // Not all the time: nothing is waited for.
                tokio::time::sleep(Duration::from_millis(20)).await;
                (StatusCode::OK, headers, body)
            }
        };
        let router = Router::new().route("/cedar/v1/snapshot", get(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Tasks::new().spawn(async move { axum::serve(listener, router).await });
        (between, address)
    }

    fn answers(&self, answerer: Answerer) {
        *self.0.lock().unwrap() = answerer;
    }
}

/// A process of the decision point, as far as it signs.
struct Signer {
    key: SigningKey,
    written: Written,
    instance: &'static str,
}

impl Signer {
    fn new(remote: &Remote, key: &str, epoch: u64, since: u64) -> Self {
        let path = remote.fixture.folder.path().join(format!("{key}.key"));
        let snapshot = remote.pdp.0.snapshot.load();
        let mut written = Written::of(&snapshot, &remote.pdp.0.reading, since).unwrap();
        written.snapshot.epoch = epoch;
        Self {
            key: SigningKey::read("key", &path).unwrap(),
            written,
            instance: "one",
        }
    }

    fn statement(&self, nonce: &str) -> Statement {
        Statement {
            nonce: nonce.into(),
            document: self.written.digest.clone(),
            bytes: self.written.bytes.len(),
            instance: self.instance.into(),
            since: self.written.since,
            snapshot: self.written.snapshot.clone(),
        }
    }

    fn sign(&self, statement: &Statement) -> String {
        let claims = serde_json::to_value(statement).unwrap();
        self.key.sign(STATEMENT, &claims).unwrap()
    }

    fn answerer(self) -> Answerer {
        Box::new(move |nonce| {
            (
                self.sign(&self.statement(nonce)),
                self.written.bytes.to_vec(),
            )
        })
    }
}

/// Two snapshots of one decision point, the second one later.
async fn two() -> (Remote, Signer, Signer) {
    let remote = Remote::start().await;
    write_key(remote.fixture.folder.path(), "other");
    let first = Signer::new(&remote, "snapshots", 1, 1000);
    remote.edit("@id(\"all\") permit (principal, action, resource);");
    eventually("an edit is taken", || {
        remote.pdp.changes().borrow().epoch == 2
    })
    .await;
    let second = Signer::new(&remote, "snapshots", 2, 2000);
    (remote, first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_is_not_signed_whole_for_this_question_is_refused() {
    let (remote, _, good) = two().await;
    let other = Signer::new(&remote, "other", 2, 2000);
    let whole = good.written.bytes.to_vec();
    let (between, address) = Between::start(good.answerer()).await;
    let local = Local::start(&remote.config(), address);
    eventually("a good one is taken", || local.is_fresh()).await;
    let held = local.version();

    // From here on something else is claimed, so that it would have to be taken.
    remote.edit("@id(\"none\") forbid (principal, action, resource);");
    eventually("an edit is taken", || {
        remote.pdp.changes().borrow().epoch == 3
    })
    .await;
    let signer = || Signer::new(&remote, "snapshots", 3, 3000);
    let old = signer();
    let replayed = old.sign(&old.statement("0123456789abcdef"));
    let bytes = old.written.bytes.to_vec();
    let mut flipped = bytes.clone();
    let place = bytes.len() / 2;
    flipped[place] ^= 1;
    let cut = bytes[..bytes.len() - 1].to_vec();
    let longer = [&*bytes, b" "].concat();
    let said = |body: Vec<u8>| -> Answerer {
        let signer = signer();
        Box::new(move |nonce| (signer.sign(&signer.statement(nonce)), body.clone()))
    };
    let changed = |change: fn(&mut Statement)| -> Answerer {
        let signer = signer();
        Box::new(move |nonce| {
            let mut statement = signer.statement(nonce);
            change(&mut statement);
            (signer.sign(&statement), signer.written.bytes.to_vec())
        })
    };
    let kind = |kind: &'static str| -> Answerer {
        let signer = signer();
        Box::new(move |nonce| {
            let claims = serde_json::to_value(signer.statement(nonce)).unwrap();
            (
                signer.key.sign(kind, &claims).unwrap(),
                signer.written.bytes.to_vec(),
            )
        })
    };
    let unsigned: Answerer = {
        let signer = signer();
        Box::new(move |nonce| {
            let signed = signer.sign(&signer.statement(nonce));
            let (text, _) = signed.rsplit_once('.').unwrap();
            (format!("{text}."), signer.written.bytes.to_vec())
        })
    };
    let document = |change: fn(&mut Value)| -> Answerer {
        let signer = signer();
        let mut document: Value = serde_json::from_slice(&signer.written.bytes).unwrap();
        change(&mut document);
        let bytes = document.to_string().into_bytes();
        Box::new(move |nonce| {
            let mut statement = signer.statement(nonce);
            statement.document = service_kit::digest::sha256_base64url(&bytes);
            statement.bytes = bytes.len();
            (signer.sign(&statement), bytes.clone())
        })
    };
    let cases: Vec<(&str, Answerer)> = vec![
        ("tampered", said(flipped)),
        ("tampered", said(cut)),
        ("tampered", said(longer)),
        ("tampered", said(Vec::new())),
        ("tampered", said(whole)),
        (
            "replayed",
            Box::new(move |_| (replayed.clone(), bytes.clone())),
        ),
        ("signature", other.answerer()),
        ("signature", kind("JWT")),
        ("signature", unsigned),
        ("signature", Box::new(|_| ("nonsense".into(), Vec::new()))),
        ("too_large", changed(|it| it.bytes = 9 << 20)),
        (
            "unreadable",
            changed(|it| it.snapshot.version = "other".into()),
        ),
        ("unreadable", changed(|it| it.snapshot.revision = 7)),
        ("unreadable", document(|it| it["format"] = json!(2))),
        ("unreadable", document(|it| it["more"] = json!(true))),
        (
            "unreadable",
            document(|it| it["files"][0]["name"] = json!("../x.cedar")),
        ),
        (
            "unreadable",
            document(|it| it["files"][0]["text"] = json!("// other")),
        ),
        (
            "invalid",
            document(|it| {
                it["written"] =
                    json!([{ "uid": { "type": "Nobody", "id": "x" }, "attrs": {}, "parents": [] }]);
            }),
        ),
    ];
    for (at, (label, answerer)) in cases.into_iter().enumerate() {
        let series = format!("pdp_local_snapshots_total{{result=\"{label}\"}}");
        let before = local.metric(&series);
        between.answers(answerer);
        eventually(&format!("{at}: {label}"), || local.metric(&series) > before).await;
        assert_eq!(local.version(), held, "{at} {label}");
    }
    // Not having been heard for long enough, it decides no more; whoever stands between is no decision point.
    eventually("it is old", || !local.is_fresh()).await;
    assert!(local.ask(&question("ben", "d1")).await.is_err());
    // And what is good is taken again.
    between.answers(signer().answerer());
    eventually("a good one is taken", || local.is_fresh()).await;
    assert_eq!(local.version().epoch, 3);
    assert_eq!(
        local.ask(&question("ben", "d1")).await.unwrap().decision,
        Decision::Deny
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_goes_back_but_another_process_that_knows_more() {
    let (remote, first, second) = two().await;
    let older = |instance, since| {
        let mut signer = Signer::new(&remote, "snapshots", 1, since);
        signer.written = {
            let bytes = first.written.bytes.clone();
            Written {
                bytes,
                digest: first.written.digest.clone(),
                snapshot: first.written.snapshot.clone(),
                since,
            }
        };
        signer.instance = instance;
        signer.answerer()
    };
    let (between, address) = Between::start(second.answerer()).await;
    let mut config = remote.config();
    config.max_age_ms = 60_000;
    let local = Local::start(&config, address);
    eventually("a good one is taken", || local.is_fresh()).await;
    let held = local.version();
    let refused = "pdp_local_snapshots_total{result=\"older\"}";
    for (instance, since) in [("one", 1000), ("one", 9000), ("two", 1999)] {
        let before = local.metric(refused);
        between.answers(older(instance, since));
        eventually("it is refused", || local.metric(refused) > before).await;
        assert_eq!(local.version(), held);
    }
    // Policies were taken back on purpose, and the decision point was started anew.
    let is_back = || local.version().version == first.written.snapshot.version;
    between.answers(older("two", 2001));
    eventually("it is taken", is_back).await;
    // By a clock that was set back. What is held decides for its time, and is then in nobody's way.
    between.answers(Signer::new(&remote, "snapshots", 2, 9000).answerer());
    eventually("it is gone forward", || !is_back()).await;
    let before = local.metric(refused);
    between.answers(older("three", 10));
    eventually("it is refused", || local.metric(refused) > before).await;
    assert!(!is_back());
    local.clock.advance(Duration::from_mins(2));
    eventually("it is taken", is_back).await;
    eventually("it decides", || local.is_fresh()).await;
}

/// Nothing that is a statement.
fn silence() -> Answerer {
    Box::new(|_| ("nonsense".into(), Vec::new()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_said_while_nothing_was_decided_here_is_not_remembered() {
    let (remote, _, good) = two().await;
    let (between, address) = Between::start(good.answerer()).await;
    let local = Local::start(&remote.config(), address);
    eventually("a good one is taken", || local.is_fresh()).await;
    let mut changes = local.pdp.changes();
    changes.mark_unchanged();
    between.answers(silence());
    eventually("it is told that it is old", || {
        changes.has_changed().unwrap()
    })
    .await;
    changes.mark_unchanged();
    // The very same snapshot as before, and who was asked meanwhile may have had another.
    between.answers(Signer::new(&remote, "snapshots", 2, 2000).answerer());
    eventually("it decides again", || local.is_fresh()).await;
    eventually("that is told", || changes.has_changed().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_was_suspended_does_not_take_its_snapshot_for_a_fresh_one() {
    let (remote, _, good) = two().await;
    let (between, address) = Between::start(good.answerer()).await;
    let mut config = remote.config();
    config.max_age_ms = 60_000;
    let local = Local::start(&config, address);
    eventually("a good one is taken", || local.is_fresh()).await;
    between.answers(silence());
    let refused = "pdp_local_snapshots_total{result=\"signature\"}";
    eventually("nothing is heard", || local.metric(refused) > 0.0).await;
    let age = "pdp_local_age_seconds";
    eventually("its age is known", || local.metric(age) >= 0.0).await;
    let mut changes = local.pdp.changes();
    changes.mark_unchanged();
    assert!(local.is_fresh());
    // The calendar alone goes on.
    local.clock.advance(Duration::from_hours(1));
    assert!(!local.is_fresh());
    assert!(local.ask(&question("ben", "d1")).await.is_err());
    eventually("it is told", || changes.has_changed().unwrap()).await;
    between.answers(Signer::new(&remote, "snapshots", 2, 2000).answerer());
    eventually("it decides again", || local.is_fresh()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_no_use_is_not_fetched_all_the_time() {
    let (remote, _, good) = two().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let answerer = move |nonce: &str| {
        counted.fetch_add(1, Ordering::SeqCst);
        let mut statement = good.statement(nonce);
        statement.snapshot.revision += 1;
        (good.sign(&statement), good.written.bytes.to_vec())
    };
    let (_between, address) = Between::start(Box::new(answerer)).await;
    let mut config = remote.config();
    config.max_age_ms = 60_000;
    let local = Local::start(&config, address);
    let refused = "pdp_local_snapshots_total{result=\"unreadable\"}";
    eventually("it is refused", || local.metric(refused) > 0.0).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
