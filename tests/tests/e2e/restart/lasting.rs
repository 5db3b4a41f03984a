//! What lasts longer than a restart, how a supervisor is told, and how a process ends.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::Site;
use e2e::http::{client, get, send};
use e2e::load::{Load, Manner, Target};
use e2e::process::{Process, signal};
use e2e::tokens;

use super::{PATIENCE, report, with_handover};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_sigusr2_a_process_starts_the_next_one_and_the_supervisor_is_told() {
    let site = Site::split();
    let notified = site.path("notify");
    let socket = UnixDatagram::bind(&notified).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let heard = || {
        let mut bytes = [0; 1024];
        let length = socket.recv(&mut bytes).expect("a word");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let file = site.path("config/gateway.yaml");
    let text = std::fs::read_to_string(&file).expect("text");
    std::fs::write(&file, with_handover(text)).expect("write");
    drop(site.gateway);
    let mut command = Command::new(e2e::process::cedargate());
    command
        .args(["gateway", "-c"])
        .arg(&file)
        .env("NOTIFY_SOCKET", &notified)
        .env(
            "CEDARGATE_CACHE_SECRET",
            "another secret of the tests, also long enough",
        )
        .env("CEDARGATE_GATEWAY_SECRET", "demo-secret-of-gateway")
        .env(
            "CEDARGATE_REDIS_URL",
            site.redis.as_ref().expect("redis").url(),
        );
    let mut first = Process::start("supervised", site.folder.path(), &mut command);
    assert_eq!(heard(), format!("MAINPID={}\nREADY=1\n", first.id()));
    first.signal("USR2");
    let said = heard();
    let pid = said
        .strip_prefix("MAINPID=")
        .and_then(|it| it.split_once('\n'));
    let pid: u32 = pid.expect("a process").0.parse().expect("a number");
    assert_ne!(pid, first.id());
    assert!(first.wait(PATIENCE).success(), "{}", first.output());
    let livez = get(&format!("http://{}:9901/livez", site.host), None).await;
    assert_eq!(livez.status, 200);
    signal(pid, "TERM");
    assert_eq!(heard(), "STOPPING=1\n");
    let end = Instant::now() + PATIENCE;
    while std::path::Path::new(&format!("/proc/{pid}/exe")).exists() {
        assert!(Instant::now() < end, "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_end_a_process_is_not_ready_first_and_finishes_what_has_begun() {
    for by_signal in [true, false] {
        let mut site = Site::all_in_one_with(|text| {
            text + "\nlifecycle: { not_ready_secs: 2, finish_secs: 10 }\n"
        });
        let alice = tokens::access_token(&site, "alice").await;
        let records = Target {
            address: (site.host, 8080).into(),
            path: "/records/1001".to_owned(),
            bearer: Some(alice),
            status: 200,
            authority: None,
        };
        let load = Load::start([Manner::Kept, Manner::New].map(|it| (it, records.clone())));
        load.go_on_for(50).await;
        let drain = format!("http://{}:9901/drain", site.host);
        let from_a_page = send(client().post(&drain)).await;
        assert_eq!(from_a_page.status, 415);
        let told = Instant::now();
        if by_signal {
            site.pdp.terminate();
        } else {
            let asked = client()
                .post(&drain)
                .header("content-type", "application/json");
            assert_eq!(send(asked).await.status, 202);
        }
        let readyz = format!("http://{}:9901/readyz", site.host);
        let ready = get(&readyz, None).await;
        assert_eq!(ready.status, 503, "{}", ready.body);
        assert!(ready.json()["parts"]["process"]["reason"].is_string());
        // As long as somebody may not have heard of it, everything is answered.
        tokio::time::sleep(Duration::from_millis(1500).saturating_sub(told.elapsed())).await;
        let (answered, failures) = load.stop().await;
        assert!(failures.is_empty(), "{}", report(&failures));
        assert!(answered > 60, "{answered}");
        assert!(site.pdp.wait(PATIENCE).success(), "{}", site.pdp.output());
        let took = told.elapsed();
        assert!(
            took > Duration::from_secs(2) && took < Duration::from_secs(9),
            "{took:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_twice_it_does_not_wait() {
    let mut site = Site::all_in_one_with(|text| text + "\nlifecycle: { not_ready_secs: 600 }\n");
    site.pdp.terminate();
    site.pdp.await_output("not ready any more");
    let told = Instant::now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    site.pdp.terminate();
    assert!(site.pdp.wait(PATIENCE).success(), "{}", site.pdp.output());
    assert!(told.elapsed() < Duration::from_secs(20));
}
