//! The site of the soak: Redis, the decision point, the token service, two gateways with TLS, two endpoints.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cedargate::oauth_client::OauthClient;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use service_kit::Secret;

use super::endpoint::{OWNERS, RECORDS};
use super::ledger::Ledger;
use super::line::NAME;
use super::wallet::{LIFE, Token, Wallet};
use crate::Site;
use crate::drills::{issue, revoke};
use crate::process::{Process, program, repository};
use crate::redis_server::RedisServer;
use crate::tokens::{SCOPE, cli, text};

/// The program whose tokens are used and taken back.
pub const PROGRAM: &str = "nightly-report";

/// People with tokens, and their passwords. One of them is disabled now and then.
pub const PEOPLE: [(&str, &str); 4] = [
    ("alice", "alice-demo-password"),
    ("bob", "bob-demo-password"),
    ("sam", "sam-demo-password"),
    (DISABLED, "bob-demo-password"),
];
pub const DISABLED: &str = "dora";

/// What runs, each part behind a lock of its own so that it can be killed.
pub struct Stage {
    pub hosts: [Ipv4Addr; 2],
    pub site: Mutex<Site>,
    pub second: Mutex<Process>,
    pub endpoints: [Mutex<Process>; 2],
    /// Held while a part is out, and by whoever cannot have that.
    pub outages_held: Arc<tokio::sync::Mutex<()>>,
    pub is_disabled: AtomicBool,
    pub orders: Mutex<Orders>,
    pub ledger: Ledger,
    pub wallet: Wallet,
    pub http: reqwest::Client,
    pub tls: ClientConfig,
    authority: CertifiedIssuer<'static, KeyPair>,
    urls: Urls,
}

/// Orders by their numbers.
#[derive(Debug, Default)]
pub struct Orders {
    /// Those that may be taken twice.
    pub keyed: BTreeSet<u64>,
    /// Those that were answered 200.
    pub answered: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Urls {
    token_service: String,
    pdp: String,
}

impl Stage {
    pub fn start() -> Self {
        let authority = authority();
        let site = Site::split_prepared(|folder| prepare(folder, &authority));
        let (other, second) = site.another_gateway("gateway-2", |text| {
            text.replace("access-1.jsonl", "access-2.jsonl")
        });
        let endpoints = [0, 1].map(|index| Mutex::new(start_endpoint(&site, index)));
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
        roots.add(root).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            hosts: [site.host, other],
            urls: Urls {
                token_service: site.token_service_url(""),
                pdp: site.pdp_url("/access/v1/evaluation"),
            },
            site: Mutex::new(site),
            second: Mutex::new(second),
            endpoints,
            outages_held: Arc::default(),
            orders: Mutex::default(),
            is_disabled: AtomicBool::new(false),
            ledger: Ledger::new(),
            wallet: Wallet::default(),
            http: crate::http::client(),
            tls,
            authority,
        }
    }

    pub fn gateway(&self, index: usize) -> SocketAddr {
        SocketAddr::from((self.hosts[index], 8080))
    }

    pub fn restart_endpoint(&self, index: usize) {
        let started = start_endpoint(&self.site.lock().expect("lock"), index);
        *self.endpoints[index].lock().expect("lock") = started;
    }

    /// The processes that are looked at, by name.
    ///
    /// None while one of them starts.
    pub fn processes(&self) -> Option<Vec<(&'static str, u32)>> {
        let site = self.site.try_lock().ok()?;
        let id = |process: &Option<Process>| process.as_ref().map_or(0, Process::id);
        Some(vec![
            ("gateway 1", id(&site.gateway)),
            ("gateway 2", self.second.lock().expect("lock").id()),
            ("pdp", site.pdp.id()),
            ("token service", id(&site.token_service)),
            ("redis", site.redis.as_ref().map_or(0, RedisServer::id)),
        ])
    }

    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.site.lock().expect("lock").path(name)
    }

    /// For whoever has to understand a failure: logs, journals and configurations outlive the site.
    pub fn keep_files(&self, seed: u64) {
        let kept = repository().join(format!("target/soak-{seed}"));
        for part in ["", "config", "data"] {
            let (from, to) = (self.file(part), kept.join(part));
            std::fs::create_dir_all(&to).expect("folder");
            for entry in std::fs::read_dir(from).expect("folder").flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let is_wanted = path.is_file() && path.extension().is_none_or(|it| it != "aof");
                if is_wanted {
                    std::fs::copy(&path, to.join(name)).expect("a copy");
                }
            }
        }
        println!("logs are kept in {}", kept.display());
    }

    /// A token of the program; none where nobody gives one out.
    pub async fn program_token(&self) -> Option<Arc<Token>> {
        let asked = self.ledger.now();
        let text = issue(&self.http, &self.urls.token_service).await?;
        let got = self.ledger.now();
        Some(Token::new(text, PROGRAM, asked, got))
    }

    /// A token of somebody who logs in now.
    pub async fn person_token(&self, name: &'static str) -> anyhow::Result<Arc<Token>> {
        let password = PEOPLE.iter().find(|(it, _)| *it == name).map(|it| it.1);
        let password = Secret::new(password.unwrap_or_default());
        let asked = self.ledger.now();
        let issuer = self.urls.token_service.parse()?;
        let mut client = OauthClient::discover(&issuer).await?;
        let answer = client.log_in(&cli(), name, &password, SCOPE).await?;
        let got = self.ledger.now();
        Ok(Token::new(text(&answer, "access_token"), name, asked, got))
    }

    /// Whether the end of a token is acknowledged.
    pub async fn revoke(&self, token: &Token) -> bool {
        if token.subject == PROGRAM {
            return revoke(&self.http, &self.urls.token_service, &token.text).await;
        }
        let Ok(issuer) = self.urls.token_service.parse() else {
            return false;
        };
        match OauthClient::discover(&issuer).await {
            Ok(client) => client.revoke(&cli(), &token.text).await.is_ok(),
            Err(_) => false,
        }
    }

    /// What the decision point itself says of the policy that comes and goes.
    pub async fn switch_at_pdp(&self) -> Option<bool> {
        let question = json!({
            "subject": { "type": "User", "id": "alice" },
            "action": { "name": "view_switch" },
            "resource": { "type": "Service", "id": "switch" },
        });
        let request = self
            .http
            .post(&self.urls.pdp)
            .header("content-type", "application/json")
            .body(question.to_string());
        let answer = crate::http::try_send(request).await?;
        (answer.status == 200).then(|| answer.json()["decision"] == json!(true))
    }

    /// Another certificate for the gateways, and its key.
    pub fn certificate(&self) -> (String, String) {
        certificate(&self.authority)
    }
}

fn start_endpoint(site: &Site, index: usize) -> Process {
    let address = SocketAddr::from((site.host, 9001 + index as u16));
    let name = format!("endpoint-{}", index + 1);
    let journal = site.path(&format!("data/{name}.journal"));
    let mut command = Command::new(program("drill"));
    command
        .args(["soak-endpoint", &address.to_string()])
        .arg(journal);
    let mut process = Process::start(&name, site.folder.path(), &mut command);
    process.await_port(address);
    process
}

fn prepare(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>) {
    let fixture = repository().join("tests/fixtures/soak");
    let policies = folder.join("policies/records");
    std::fs::remove_dir_all(&policies).expect("remove");
    std::fs::create_dir_all(&policies).expect("folder");
    for name in ["schema.cedarschema", "soak.cedar"] {
        std::fs::copy(fixture.join(name), policies.join(name)).expect(name);
    }
    std::fs::write(policies.join("entities.json"), entities()).expect("entities");
    std::fs::write(policies.join("switch.cedar"), super::changes::SWITCH_ON).expect("switch");
    std::fs::create_dir_all(folder.join("tls")).expect("folder");
    let (pem, key) = certificate(authority);
    std::fs::write(folder.join("tls/gate.pem"), pem).expect("certificate");
    std::fs::write(folder.join("tls/gate.key"), key).expect("key");
    let change = |name: &str, change: &dyn Fn(String) -> String| {
        let path = folder.join("config").join(name);
        let text = std::fs::read_to_string(&path).expect(name);
        let changed = change(text.clone());
        assert!(changed != text, "nothing to change in {name}");
        std::fs::write(path, changed).expect(name);
    };
    let log = "rotating: { path: ../data/decisions.jsonl, max_bytes: 33554432, keep: 1 }";
    change("pdp.yaml", &|text| {
        text.replace(
            "decision_log: stdout",
            &format!("decision_log: {{ {log} }}"),
        )
    });
    change("token-service.yaml", &token_service);
    change("gateway.yaml", &|text| {
        let host = crate::site::host(&text);
        let (head, _) = text.split_once("\ngateway:").expect("a gateway section");
        let part = std::fs::read_to_string(fixture.join("gateway-part.yaml")).expect("part");
        format!("{head}\n{}", part.replace("HOST", &host))
    });
}

/// A second resource, another user, and tokens that expire while it runs.
fn token_service(text: String) -> String {
    let (before, bob) = text.split_once("    - username: bob\n").expect("bob");
    let (bob, after) = bob.split_once("    - username: sam\n").expect("sam");
    let dora = bob
        .replace("bob@", "dora@")
        .replace("Bob Baker", "Dora Dale");
    let orders = "    - id: https://orders.demo.internal\n      scope: records:read records:write records:list\n";
    format!(
        "{before}    - username: bob\n{bob}    - username: {DISABLED}\n{dora}    - username: sam\n{after}"
    )
    .replace("  resource_servers:\n", &format!("{orders}  resource_servers:\n"))
    .replace(
        "resources: [https://records.demo.internal]",
        "resources: [https://records.demo.internal, https://orders.demo.internal]",
    )
    .replace(
        "  users:\n",
        &format!("  ttl: {{ access_token_secs: {} }}\n  users:\n", LIFE.as_secs()),
    )
}

fn entities() -> String {
    let uid = |kind: &str, id: &str| json!({ "type": kind, "id": id });
    let people = PEOPLE
        .iter()
        .map(|(name, _)| json!({ "uid": uid("User", name), "attrs": {}, "parents": [] }));
    let records = OWNERS.iter().flat_map(|owner| {
        (0..RECORDS).map(move |number| {
            json!({
                "uid": uid("Record", &format!("{owner}-{number}")),
                "attrs": { "owner": { "__entity": uid("User", owner) } },
                "parents": [],
            })
        })
    });
    json!(people.chain(records).collect::<Vec<_>>()).to_string()
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

fn certificate(authority: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let mut params = CertificateParams::new([NAME.to_owned()]).expect("parameters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().expect("key");
    let issued = params.signed_by(&key, authority).expect("a certificate");
    (issued.pem(), key.serialize_pem())
}

/// How long a part that came back may still be found missing by what had begun before.
pub const SETTLE: Duration = Duration::from_millis(1_000);
