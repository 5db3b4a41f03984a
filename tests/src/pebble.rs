//! Pebble, an authority that speaks ACME, and the names that it looks up. Both are built by `script/test install`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::process::{Process, repository};

/// One that runs; gone when dropped.
#[derive(Debug)]
pub struct Pebble {
    authority: Process,
    _names: Process,
    host: Ipv4Addr,
    folder: PathBuf,
}

/// Where it looks, and how long what it issues holds.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    pub http_port: u16,
    pub tls_port: u16,
    pub secs: u64,
    /// Accounts are made for those who have this one: its id and its key, in base64url.
    pub external_account: Option<(&'static str, &'static str)>,
}

impl Pebble {
    /// On an address of its own; every name leads to `names_lead_to`.
    pub fn start(host: Ipv4Addr, names_lead_to: Ipv4Addr, folder: &Path, looks: Looks) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let root = CertifiedIssuer::self_signed(params, key).expect("authority");
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new([host.to_string()]).expect("params");
        let own = params.signed_by(&key, &root).expect("certificate");
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("write");
            path
        };
        write("pebble-ca.pem", root.pem());
        let config = json!({ "pebble": {
            "listenAddress": format!("{host}:14000"),
            "managementListenAddress": format!("{host}:15000"),
            "certificate": write("pebble.pem", own.pem()),
            "privateKey": write("pebble.key", key.serialize_pem()),
            "httpPort": looks.http_port,
            "tlsPort": looks.tls_port,
            "retryAfter": { "authz": 1, "order": 1 },
            "externalAccountBindingRequired": looks.external_account.is_some(),
            "externalAccountMACKeys": looks.external_account.into_iter().collect::<BTreeMap<_, _>>(),
            "profiles": { "default": { "description": "default", "validityPeriod": looks.secs } },
        } });
        let config = write("pebble.json", config.to_string());
        let at = |port: u16| SocketAddr::from((host, port)).to_string();
        let mut command = Command::new(program("pebble-challtestsrv"));
        command
            .args(["-dnsserver", &at(8053), "-management", &at(8055)])
            .args([
                "-defaultIPv4",
                &names_lead_to.to_string(),
                "-defaultIPv6",
                "",
            ])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]);
        let mut names = Process::start("names", folder, &mut command);
        names.await_port(SocketAddr::from((host, 8055)));
        let mut command = Command::new(program("pebble"));
        command
            .arg("-config")
            .arg(config)
            .args(["-dnsserver", &at(8053)])
            .env("PEBBLE_VA_NOSLEEP", "1");
        let mut authority = Process::start("pebble", folder, &mut command);
        authority.await_port(SocketAddr::from((host, 14000)));
        Self {
            authority,
            _names: names,
            host,
            folder: folder.to_owned(),
        }
    }

    pub fn directory(&self) -> String {
        format!("https://{}:14000/dir", self.host)
    }

    /// Whose certificate it shows.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("pebble-ca.pem")
    }

    /// Whose certificates it gives out.
    pub async fn root(&self) -> CertificateDer<'static> {
        let url = format!("https://{}:15000/roots/0", self.host);
        let answer = self.client().get(url).send().await.expect("answer");
        let pem = answer.bytes().await.expect("root");
        CertificateDer::from_pem_slice(&pem).expect("a root")
    }

    /// Has it say of a certificate that it was to be renewed long ago.
    pub async fn wants_renewed(&self, certificate: &[u8]) {
        let window = json!({ "suggestedWindow": {
            "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z",
        } });
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        let pem = lines.join("\n");
        let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
        let body = json!({ "Certificate": pem, "ARIResponse": window.to_string() });
        let url = format!("https://{}:15000/set-renewal-info/", self.host);
        let asked = self.client().post(url).body(body.to_string()).send().await;
        let answer = asked.expect("answer");
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    }

    fn client(&self) -> reqwest::Client {
        let pem = std::fs::read(self.ca_file()).expect("authority");
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&pem).expect("certificate")])
            .no_proxy()
            .user_agent("tests")
            .build()
            .expect("client")
    }

    pub fn kill(&mut self) {
        self.authority.kill();
    }

    /// Everything that it has printed.
    pub fn output(&self) -> String {
        self.authority.output()
    }
}

fn program(name: &str) -> PathBuf {
    let path = repository().join("tests/acme/bin").join(name);
    assert!(
        path.exists(),
        "`{}` is not there: `script/test install` builds it",
        path.display()
    );
    path
}
