//! The cases of the corpus that are not HTTP/1.1 without TLS: HTTP/2 is written frame by frame, with
//! and without TLS, and a handshake is cut into pieces or begun early.

use std::sync::Arc;
use std::time::Duration;

use e2e::http2_frames::{self as h2, Frames, Outcome as Answered};
use e2e::process::Process;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;

/// A gateway that takes HTTP/2 in one way.
struct Gateway {
    address: SocketAddr,
    process: Process,
    /// None: it is without TLS.
    clients: Option<Clients>,
}

/// Whom the gateway with TLS knows.
struct Clients {
    roots: RootCertStore,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Gateway {
    fn scheme(&self) -> &'static str {
        match self.clients {
            None => "http",
            Some(_) => "https",
        }
    }

    fn tls(&self) -> &Clients {
        self.clients.as_ref().expect("TLS")
    }

    /// What becomes of the request on the first stream.
    async fn send(&self, bytes: &[u8]) -> Answered {
        async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Answered {
            let mut frames = Frames::begin(stream).await;
            frames.bytes(bytes).await;
            frames.outcome(1).await
        }
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let Some(clients) = &self.clients else {
            return exchange(stream, bytes).await;
        };
        let mut config = clients.config(true);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("gw.test").expect("name");
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
        exchange(shaken.await.expect("handshake"), bytes).await
    }

    async fn is_alive(&self) -> bool {
        let fields = [
            (":method", "GET"),
            (":scheme", self.scheme()),
            (":authority", "gw.test"),
            (":path", "/public/ok"),
        ];
        let answered = self.send(&h2::head(1, &fields, true)).await;
        answered.status() == Some(200)
    }

    /// What it has in memory.
    fn memory_mib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a size") / 1024
    }
}

impl Clients {
    fn config(&self, shows_certificate: bool) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots.clone());
        if shows_certificate {
            let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("key");
            let chain = vec![self.certificate.clone()];
            builder.with_client_auth_cert(chain, key).expect("identity")
        } else {
            builder.with_no_client_auth()
        }
    }
}

/// Two more beside the gateway of the site, with its routes.
fn start(site: &Site) -> [Gateway; 2] {
    let with = |line: &str| format!("\ngateway:\n  {line}\n");
    let (host, process) = site.another_gateway("gateway-h2c", |text| {
        text.replace("\ngateway:\n", &with("h2c: true"))
    });
    let cleartext = Gateway {
        address: SocketAddr::from((host, 8080)),
        process,
        clients: None,
    };
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key"));
    let authority = authority.expect("authority");
    let issue = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("key");
        (
            params.signed_by(&key, &authority).expect("certificate"),
            key,
        )
    };
    let put = |name: &str, text: &str| {
        std::fs::write(site.path("config").join(name), text).expect("write");
    };
    let mut pairs = Vec::new();
    for (name, names) in [
        ("gw", &["gw.test", "b.gw.test"][..]),
        ("admin", &["admin.gw.test"]),
    ] {
        let (certificate, key) = issue(names);
        put(&format!("{name}.pem"), &certificate.pem());
        put(&format!("{name}.key"), &key.serialize_pem());
        pairs.push(format!(
            "{{ certificate_file: {name}.pem, key_file: {name}.key }}"
        ));
    }
    put("clients.pem", &authority.pem());
    let (host, process) = site.another_gateway("gateway-tls", |text| {
        let clients = "client_ca_file: clients.pem, client_certificates: required";
        let tls = format!("tls: {{ certificates: [{}], {clients} }}", pairs.join(", "));
        text.replace("\ngateway:\n", &with(&tls))
    });
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("root");
    let (certificate, key) = issue(&["client.test"]);
    let by_tls = Gateway {
        address: SocketAddr::from((host, 8080)),
        process,
        clients: Some(Clients {
            roots,
            certificate: certificate.der().clone(),
            key,
        }),
    };
    [cleartext, by_tls]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hostile_frame_or_handshake_gets_through_the_gateway() {
    let text = std::fs::read_to_string(repository().join("tests/vectors/gateway-attacks.json"));
    let corpus: Value = serde_json::from_str(&text.expect("corpus")).expect("JSON");
    let recorder = Recorder::default();
    let site = Site::for_attacks(&recorder).await;
    let words = [
        ("{TOKEN}", tokens::access_token(&site, "alice").await),
        ("{TOKEN_ADMIN}", tokens::access_token(&site, "ada").await),
        ("{HOST}", "gw.test".to_owned()),
        ("{ADMIN_HOST}", "admin.gw.test".to_owned()),
    ];
    let fill = |text: &str| {
        let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
        words.iter().fold(text.to_owned(), fill)
    };
    let gateways = start(&site);
    let (mut failed, mut fired) = (Vec::new(), 0);
    for case in corpus["cases"].as_array().expect("cases") {
        let (id, transport) = (case["id"].as_str().expect("id"), &case["transport"]);
        let is_carried = transport == "h2" || transport == "tls";
        for gateway in gateways
            .iter()
            .filter(|_| is_carried && reason(id).is_none())
        {
            if transport == "tls" && gateway.clients.is_none() {
                continue;
            }
            recorder.clear();
            let before = gateway.memory_mib();
            let mut outcome = fire(gateway, id, case, &fill).await;
            outcome.requests = recorder.requests();
            outcome.questions = recorder.questions();
            outcome.grown_mib = gateway.memory_mib().saturating_sub(before);
            fired += 1;
            let scheme = gateway.scheme();
            if let Err(why) = judge(&case["expectation"], &outcome) {
                failed.push(format!("{id} by {scheme}: {why}"));
            }
            if !gateway.is_alive().await {
                failed.push(format!("{id} by {scheme}: nobody is served after it"));
            }
        }
    }
    println!("gateway attack corpus beyond HTTP/1.1: {fired} fired");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(fired, 2 * 7 + 2);
}

async fn fire(
    gateway: &Gateway,
    id: &str,
    case: &Value,
    fill: &impl Fn(&str) -> String,
) -> Outcome {
    let request = || fill(case["raw_request"].as_str().expect("bytes"));
    let bytes = match id {
        "HOST-011" => return handshake_in_pieces(gateway, request()).await,
        "UPG-010" => return early_data(gateway, request()).await,
        "DOS-002" => rapid_resets(gateway.scheme()),
        "DOS-004" => endless_head(),
        _ => {
            let fields = case["h2_headers"].as_array().expect("fields").iter();
            let fields: Vec<(String, String)> = fields
                .map(|pair| {
                    let [name, value] = [0, 1].map(|at| fill(pair[at].as_str().expect("text")));
                    // Of another scheme than its connection's everything is refused.
                    let is_scheme = name == ":scheme";
                    (
                        name,
                        if is_scheme {
                            gateway.scheme().to_owned()
                        } else {
                            value
                        },
                    )
                })
                .collect();
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            h2::head(1, &fields, true)
        }
    };
    let answered = gateway.send(&bytes).await;
    Outcome {
        status: answered.status(),
        end: match &answered {
            Answered::Answer(400, _) => Some("400"),
            // RFC 9113 section 5.4.1: an error of a stream may be taken for one of the connection.
            Answered::Reset(1) | Answered::GoAway(1) => Some("RST_STREAM PROTOCOL_ERROR"),
            Answered::GoAway(_) => Some("GOAWAY"),
            Answered::Silence => Some("silence"),
            Answered::Answer(..) | Answered::Reset(_) | Answered::Closed => None,
        },
        ..Outcome::default()
    }
}

fn rapid_resets(scheme: &str) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", scheme),
        (":authority", "gw.test"),
        (":path", "/public/ok"),
    ];
    let mut bytes = Vec::new();
    for stream in (1..2000).step_by(2) {
        bytes.extend(h2::head(stream, &fields, true));
        bytes.extend(h2::frame(h2::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    bytes
}

/// Ten megabytes of it.
fn endless_head() -> Vec<u8> {
    let mut bytes = h2::frame(h2::HEADERS, h2::END_STREAM, 1, &[]);
    let more = h2::block(&[("x-flood", &"a".repeat(1000))]).repeat(10);
    for _ in 0..1000 {
        bytes.extend(h2::frame(h2::CONTINUATION, 0, 1, &more));
    }
    bytes
}

/// Its hello comes in records of a few bytes, and each of these in several segments.
async fn handshake_in_pieces(gateway: &Gateway, request: String) -> Outcome {
    use std::io::{Read as _, Write as _};
    let mut config = gateway.tls().config(false);
    config.max_fragment_size = Some(32);
    let name = ServerName::try_from("admin.gw.test").expect("name");
    let mut session = ClientConnection::new(Arc::new(config), name).expect("session");
    let address = gateway.address;
    let exchange = move || {
        let mut stream = std::net::TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("no delay");
        let patience = Some(Duration::from_secs(3));
        stream.set_read_timeout(patience).expect("timeout");
        let mut hello = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut hello).expect("hello");
        }
        for piece in hello.chunks(7) {
            stream.write_all(piece).expect("sends");
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut tls = rustls::StreamOwned::new(session, stream);
        let mut answer = Vec::new();
        let ended = tls.write_all(request.as_bytes());
        let ended = ended.and_then(|()| tls.read_to_end(&mut answer).map(drop));
        (answer, ended.err().map(|error| error.to_string()))
    };
    let exchanged = tokio::task::spawn_blocking(exchange).await;
    let (answer, error) = exchanged.expect("exchange");
    let is_alert = error.is_some_and(|error| error.contains("CertificateRequired"));
    Outcome {
        status: raw_status(&answer),
        end: is_alert.then_some("tls_alert"),
        answer,
        ..Outcome::default()
    }
}

/// A second connection of a client that would send early, and cannot.
async fn early_data(gateway: &Gateway, request: String) -> Outcome {
    use std::io::{Read as _, Write as _};
    let mut config = gateway.tls().config(true);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let address = gateway.address;
    let exchange = move || {
        let name = ServerName::try_from("gw.test").expect("name");
        // The session of the first would be in the configuration, had it one that can be resumed.
        let mut session = ClientConnection::new(config.clone(), name).expect("session");
        let is_early = session.early_data().is_some();
        let stream = std::net::TcpStream::connect(address).expect("connects");
        let mut tls = rustls::StreamOwned::new(session, stream);
        tls.write_all(request.as_bytes()).expect("sends");
        let mut answer = Vec::new();
        let _ = tls.read_to_end(&mut answer);
        assert_eq!(raw_status(&answer), Some(200), "sent late, it passes");
        is_early || tls.conn.is_early_data_accepted()
    };
    let exchanges = move || exchange() || exchange();
    let accepted = tokio::task::spawn_blocking(exchanges).await;
    Outcome {
        end: (!accepted.expect("exchanges")).then_some("early_data refused"),
        ..Outcome::default()
    }
}
