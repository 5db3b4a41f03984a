//! Spans of a real PDP: sent before it ends, lost without harm while the collector is away, and
//! taken again when it is back.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::http::{client, get, send};
use e2e::process::{Process, cedargate, own_address, repository};
use e2e::recorder::Recorder;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn pdp(folder: &Path, address: SocketAddr, collector: SocketAddr) -> Process {
    let policies = repository().join("policies/records");
    let config = folder.join("pdp.yaml");
    std::fs::write(folder.join("headers"), "Authorization: Bearer s3cret\n").expect("headers");
    let text = format!(
        "admin: {{ listen: \"{}:{}\" }}\ntracing:\n  otlp_endpoint: http://{collector}\n  \
         headers_file: headers\npdp:\n  listen: \"{address}\"\n  policies: {policies:?}\n",
        address.ip(),
        address.port() + 1000,
    );
    std::fs::write(&config, text).expect("configuration");
    let mut command = Command::new(cedargate());
    command.args(["pdp", "-c"]).arg(&config);
    let mut process = Process::start("pdp", folder, &mut command);
    process.await_port(address);
    process
}

/// Asks in a caller's trace, which is recorded.
async fn ask(address: SocketAddr) {
    let question = r#"{"subject":{"type":"User","id":"CANARY"},"action":{"name":"view_record"},
        "resource":{"type":"Record","id":"CANARY"}}"#;
    let request = client()
        .post(format!("http://{address}/access/v1/evaluation"))
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .body(question);
    let answer = send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The batches that a collector has, joined.
fn bytes(collector: &Recorder) -> Vec<u8> {
    let batches = collector.requests();
    for batch in &batches {
        assert_eq!((&*batch.method, &*batch.target), ("POST", "/v1/traces"));
        let key = ("authorization".to_owned(), "Bearer s3cret".to_owned());
        assert!(batch.headers.contains(&key), "{batch:?}");
    }
    let bodies = batches.into_iter().filter_map(|batch| batch.body);
    bodies.collect::<Vec<_>>().concat()
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|found| found == part)
}

fn check(bytes: &[u8]) {
    let trace = u128::from_str_radix(TRACE, 16).expect("hex").to_be_bytes();
    assert!(has(bytes, &trace), "the caller's trace");
    for text in ["cedargate-pdp", "POST /access/v1/evaluation", "view_record"] {
        assert!(has(bytes, text.as_bytes()), "no `{text}`");
    }
    assert!(!has(bytes, b"CANARY") && !has(bytes, b"s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_are_sent_before_the_process_ends() {
    let folder = tempfile::tempdir().expect("folder");
    let host = own_address();
    let (address, at) = (
        SocketAddr::from((host, 7301)),
        SocketAddr::from((host, 4318)),
    );
    let collector = Recorder::default();
    collector.start_upstream(at).await;
    let mut pdp = pdp(folder.path(), address, at);
    ask(address).await;
    pdp.terminate();
    assert!(pdp.wait(Duration::from_secs(20)).success());
    check(&bytes(&collector));
    let log = pdp.output();
    assert!(log.contains(&format!("\"trace_id\":\"{TRACE}\"")), "{log}");
    assert!(!log.contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_harms_nobody_and_is_found_again() {
    let folder = tempfile::tempdir().expect("folder");
    let host = own_address();
    let (address, at) = (
        SocketAddr::from((host, 7302)),
        SocketAddr::from((host, 4318)),
    );
    let mut pdp = pdp(folder.path(), address, at);
    let began = Instant::now();
    ask(address).await;
    pdp.await_output("the collector does not take spans");
    assert!(began.elapsed() < Duration::from_secs(20));
    for _ in 0..20 {
        ask(address).await;
    }
    let collector = Recorder::default();
    collector.start_upstream(at).await;
    pdp.await_output("the collector takes spans again");
    check(&bytes(&collector));
    let metrics = get(&format!("http://{host}:8302/metrics"), None).await.body;
    assert!(
        metrics.contains("traces_dropped_total{reason=\"full\"} 0"),
        "{metrics}"
    );
    assert_eq!(
        pdp.output()
            .matches("the collector does not take spans")
            .count(),
        1
    );
    pdp.terminate();
    assert!(pdp.wait(Duration::from_secs(20)).success());
}
