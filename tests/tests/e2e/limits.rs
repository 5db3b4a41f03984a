//! A process that may have few files open: it says so, takes on fewer, and outlives having none left.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use e2e::Site;
use e2e::http::get;
use e2e::process::Process;
use e2e::site::eventually;
use e2e::tokens;

fn gateway(site: &Site) -> SocketAddr {
    SocketAddr::from((site.host, 8080))
}

/// So many that are open, as far as the system lets them.
fn connections(site: &Site, number: usize) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect_timeout(&gateway(site), Duration::from_secs(1)).ok();
    (0..number).filter_map(connect).collect()
}

async fn answers(site: &Site, token: &str) -> bool {
    let request = e2e::http::client().get(site.gateway_url("/records/1001"));
    let answer = e2e::http::try_send(request.bearer_auth(token)).await;
    answer.is_some_and(|answer| answer.status == 200)
}

fn metric(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_takes_on_no_more_than_the_limit_of_files_holds() {
    let mut site = Site::all_in_one();
    let token = tokens::access_token(&site, "alice").await;
    site.pdp.kill();
    site.pdp = site.restart_with_files(400);
    site.pdp.await_port(gateway(&site));
    let log = site.pdp.output();
    assert!(log.contains("the limit of open files is too low"), "{log}");
    let open = connections(&site, 600);
    assert!(open.len() > 300, "{}", open.len());
    // Those that were not taken on are closed; nothing is at its end, though, and the admin listener answers.
    let metrics = format!("http://{}:9901/metrics", site.host);
    let refused = || async {
        let text = get(&metrics, None).await.body;
        metric(&text, "pep_connections_refused_total{reason=\"full\"}") > 100.0
    };
    eventually("some are refused", Duration::from_secs(10), refused).await;
    let text = get(&metrics, None).await.body;
    assert!(
        metric(&text, "pep_connections_refused_total{reason=\"accept\"}") == 0.0,
        "{text}"
    );
    drop(open);
    eventually("it answers", Duration::from_secs(10), || {
        answers(&site, &token)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_descriptor_left_goes_on_when_there_are_some() {
    let site = Site::all_in_one();
    let token = tokens::access_token(&site, "alice").await;
    assert!(answers(&site, &token).await);
    let metrics = format!("http://{}:9901/metrics", site.host);
    // Its connection is open before there are none any more.
    let admin = e2e::http::client();
    let scrape = || async {
        let text = e2e::http::try_send(admin.get(&metrics)).await;
        text.map(|answer| answer.body).unwrap_or_default()
    };
    scrape().await;
    limit(&site.pdp, 60);
    let open = connections(&site, 200);
    let is_out = || async {
        metric(
            &scrape().await,
            "pep_connections_refused_total{reason=\"accept\"}",
        ) > 0.0
    };
    eventually("nothing is accepted", Duration::from_secs(10), is_out).await;
    drop(open);
    eventually("it answers", Duration::from_secs(10), || {
        answers(&site, &token)
    })
    .await;
    limit(&site.pdp, 4096);
    // Each worker still accepts: the system gives connections to whichever it likes.
    for _ in 0..50 {
        assert!(answers(&site, &token).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_could_take_on_nobody_does_not_start() {
    let mut site = Site::all_in_one();
    site.pdp.kill();
    let mut process = site.restart_with_files(100);
    assert!(!process.wait(Duration::from_secs(20)).success());
    let log = process.output();
    assert!(log.contains("may have 100 files open"), "{log}");
    assert!(log.contains("ulimit -n"), "{log}");
}

/// While it runs.
fn limit(process: &Process, files: u32) {
    let status = Command::new("prlimit")
        .args(["--pid", &process.id().to_string()])
        .arg(format!("--nofile={files}:"))
        .status();
    assert!(status.expect("prlimit, of util-linux").success());
}
