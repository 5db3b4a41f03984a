//! Somebody's web server, with a document at every path, and a token service that may ask it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use service_kit::tls::{ClientCertificates, Tls, TlsConfig};
use service_kit::{Tasks, serve};
use tempfile::TempDir;

use crate::tests::harness::{World, authorize_uri, config};

pub(super) const JSON: (header::HeaderName, &str) = (header::CONTENT_TYPE, "application/json");

/// See the module.
pub(super) struct Site {
    pub(super) port: u16,
    shared: Arc<Shared>,
    pub(super) folder: TempDir,
    _tasks: Tasks,
}

#[derive(Default)]
struct Shared {
    asked: AtomicUsize,
    answer: Mutex<Option<Said>>,
}

#[derive(Clone)]
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Site {
    pub(super) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&key, &authority).unwrap();
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("server.pem", own.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let files = TlsConfig {
            certificate_file: "server.pem".into(),
            key_file: "server.key".into(),
            client_ca_file: None,
            client_crl_file: None,
        };
        let tls = Tls::open("site", &files, folder.path(), ClientCertificates::Optional).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let tasks = Tasks::new();
        tasks.spawn(serve::serve_tls(listener, tls, router, tasks.clone()));
        Self {
            port,
            shared,
            folder,
            _tasks: tasks,
        }
    }

    /// A token service that trusts this server and may ask it.
    pub(super) async fn world(&self, more: &str) -> World {
        let ca = self.folder.path().join("ca.pem").display().to_string();
        let section = format!(
            "client_id_metadata_documents: {{ scope: openid orders:read orders:write, grant_types: [authorization_code,
              refresh_token, client_credentials], ca_file: '{ca}', {more} }}\nclients:\n"
        );
        World::with(config(|text| text.replacen("clients:\n", &section, 1))).await
    }

    pub(super) fn id(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub(super) fn callback(&self) -> String {
        self.id("/cb")
    }

    /// Whatever is asked for, this is there.
    pub(super) fn says(&self, status: u16, headers: &[(header::HeaderName, &str)], body: &str) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()));
        *self.shared.answer.lock().unwrap() = Some(Said {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.to_owned(),
        });
    }

    pub(super) fn serves(&self, document: &Value) {
        self.says(200, &[JSON], &document.to_string());
    }

    pub(super) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// A document in order.
    pub(super) fn document(&self) -> Value {
        json!({
            "client_id": self.id("/client.json"),
            "client_name": "Paper",
            "redirect_uris": [self.callback()],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "openid orders:read admin",
        })
    }

    pub(super) fn authorize(&self, id: &str) -> String {
        let callback = self.callback();
        authorize_uri(&[
            ("client_id", id),
            ("redirect_uri", &callback),
            ("scope", "openid orders:read"),
        ])
    }
}

async fn answer(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let said = shared.answer.lock().unwrap().clone();
    match said {
        Some(said) => (said.status, said.headers, said.body).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
