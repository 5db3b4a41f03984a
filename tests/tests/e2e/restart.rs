//! A process that takes the place of another one under load: no request is lost, on any listener and by any protocol;
//! and whoever may not take over, or does not come up, changes nothing.

mod hostile;
mod lasting;

use std::net::SocketAddr;
use std::time::Duration;

use e2e::Site;
use e2e::http::{client, get, send};
use e2e::load::{Load, Manner, Target};
use e2e::tokens;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

const PATIENCE: Duration = Duration::from_secs(60);
/// What the log says of a process that is the one now.
const TAKEN: &str = "gateway listens on";

/// Adds what lets others take over.
fn with_handover(text: String) -> String {
    text + "\nlifecycle: { handover_socket: ../run/handover.sock, finish_secs: 20, handover_finish_secs: 20 }\n"
}

fn with_h2c(text: &str) -> String {
    assert!(text.contains("\ngateway:\n"));
    text.replacen("\ngateway:\n", "\ngateway:\n  h2c: true\n", 1)
}

/// Waits until others can ask to take over.
fn await_socket(site: &Site) -> std::path::PathBuf {
    let socket = site.path("run/handover.sock");
    let end = std::time::Instant::now() + PATIENCE;
    while !socket.exists() {
        assert!(std::time::Instant::now() < end, "{}", site.pdp.output());
        std::thread::sleep(Duration::from_millis(20));
    }
    socket
}

fn report(failures: &[String]) -> String {
    let some: Vec<_> = failures.iter().take(20).cloned().collect();
    format!("{} failed:\n{}", failures.len(), some.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_in_one_with_its_file_is_replaced_under_load() {
    let mut site = Site::all_in_one_with(|text| with_handover(with_h2c(&text)));
    let alice = tokens::access_token(&site, "alice").await;
    let at = |port: u16| SocketAddr::from((site.host, port));
    let target = |port: u16, path: &str, status: u16| Target {
        address: at(port),
        path: path.to_owned(),
        bearer: (port == 8080).then(|| alice.clone()),
        status,
        authority: None,
    };
    let records = target(8080, "/records/1001", 200);
    let load = Load::start([
        (Manner::Kept, records.clone()),
        (Manner::Kept, records.clone()),
        (Manner::New, records.clone()),
        (Manner::New, records.clone()),
        (Manner::Http2, records.clone()),
        (
            Manner::Kept,
            target(8081, "/.well-known/openid-configuration", 200),
        ),
        (
            Manner::New,
            target(8082, "/.well-known/authzen-configuration", 200),
        ),
        (Manner::Kept, target(9901, "/livez", 200)),
    ]);
    load.go_on_for(100).await;
    for round in 0..4 {
        let mut next = site.take_over("all-in-one");
        next.await_output_times(TAKEN, round + 2);
        let mut before = std::mem::replace(&mut site.pdp, next);
        assert!(before.wait(PATIENCE).success(), "{}", before.output());
        load.go_on_for(100).await;
        // What was known before is known: tokens are in the file. Writes go on.
        let bob = tokens::access_token(&site, "bob").await;
        let own = get(&site.gateway_url("/records/1002"), Some(&bob)).await;
        assert_eq!(own.status, 200, "{}", own.body);
        tokens::revoke(&site, &bob).await;
        let gone = get(&site.gateway_url("/records/1002"), Some(&bob)).await;
        assert_eq!(gone.status, 401);
    }
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{}", report(&failures));
    assert!(answered > 500, "{answered}");
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    Authority::self_signed(params, key).expect("authority")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_tls_and_each_of_its_neighbours_are_replaced_under_load() {
    let authority = authority();
    let mut site = Site::split_prepared(|folder| {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("text");
        let text = read("config/gateway.yaml");
        let host = e2e::site::host(&text);
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new([host]).expect("params");
        let certificate = params.signed_by(&key, &authority).expect("certificate");
        std::fs::write(folder.join("config/own.pem"), certificate.pem()).expect("write");
        std::fs::write(folder.join("config/own.key"), key.serialize_pem()).expect("write");
        let tls = "\ngateway:\n  workers: 3\n  tls: { certificates: [{ certificate_file: own.pem, key_file: own.key }] }\n";
        let gateway = with_handover(text.replacen("\ngateway:\n", tls, 1));
        std::fs::write(folder.join("config/gateway.yaml"), gateway).expect("write");
        for name in ["token-service", "pdp"] {
            let name = format!("config/{name}.yaml");
            let of_its_own = format!("run/{}.sock", name.len());
            let text = with_handover(read(&name)).replace("run/handover.sock", &of_its_own);
            std::fs::write(folder.join(name), text).expect("write");
        }
    });
    let alice = tokens::access_token(&site, "alice").await;
    let records = Target {
        address: SocketAddr::from((site.host, 8080)),
        path: "/records/1001".to_owned(),
        bearer: Some(alice),
        status: 200,
        authority: Some(CertificateDer::from(authority.der().to_vec())),
    };
    let manners = [Manner::Kept, Manner::New, Manner::Http2];
    let clients = manners.into_iter().cycle().take(8);
    let load = Load::start(clients.map(|manner| (manner, records.clone())));
    load.go_on_for(100).await;
    for (round, workers) in [1, 4, 2].into_iter().enumerate() {
        let file = site.path("config/gateway.yaml");
        let text = std::fs::read_to_string(&file).expect("text");
        let (before, after) = text.split_once("  workers: ").expect("workers");
        let after = after.split_once('\n').expect("a line").1;
        let text = format!("{before}  workers: {workers}\n{after}");
        std::fs::write(&file, text).expect("write");
        let mut next = site.take_over("gateway");
        next.await_output_times(TAKEN, round + 2);
        let mut before = site.gateway.replace(next).expect("a gateway");
        assert!(before.wait(PATIENCE).success(), "{}", before.output());
        load.go_on_for(100).await;
        for (name, line) in [
            ("pdp", "pdp listens on"),
            ("token-service", "token service listens on"),
        ] {
            let mut next = site.take_over(name);
            next.await_output_times(line, round + 2);
            let mut before = match name {
                "pdp" => std::mem::replace(&mut site.pdp, next),
                _ => site.token_service.replace(next).expect("it runs"),
            };
            assert!(before.wait(PATIENCE).success(), "{}", before.output());
        }
        load.go_on_for(50).await;
    }
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{}", report(&failures));
    assert!(answered > 500, "{answered}");
    let ready = send(client().get(format!("http://{}:9901/readyz", site.host))).await;
    assert_eq!(ready.status, 200, "{}", ready.body);
}
