//! `GET /config`: the configuration in force, as its file says it, without its secrets.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::redact::redacted;
use crate::config::Loaded;

/// The configuration in force, shown. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct Shown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: String,
    /// The sections that this process plays a role by.
    roles: Vec<&'static str>,
    /// JSON text: a tree of many routes would take several times that.
    now: RwLock<Arc<str>>,
}

/// Null, where it is of no file.
fn shown(loaded: &Loaded) -> Value {
    let text = loaded.text.reveal();
    // It was understood before.
    let read = service_kit::config::parse_file(&loaded.file, text, &loaded.variables);
    read.map(redacted).unwrap_or_default()
}

impl Shown {
    pub(crate) fn new(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        let roles = [
            ("pdp", config.pdp.is_some()),
            ("token_service", config.token_service.is_some()),
            ("gateway", config.gateway.is_some()),
            ("demo_upstream", config.demo_upstream.is_some()),
        ];
        let roles = roles.into_iter().filter(|(_, is_played)| *is_played);
        Self(Arc::new(Inner {
            file: loaded.file.display().to_string(),
            roles: roles.map(|(role, _)| role).collect(),
            now: RwLock::new(shown(loaded).to_string().into()),
        }))
    }

    /// Some sections have changed; the others stay as they were at the start, whatever the file says.
    pub(crate) fn replace(&self, loaded: &Loaded, sections: &[&str]) {
        let mut next = serde_json::from_str(&self.now()).unwrap_or_default();
        if let (Value::Object(next), Value::Object(read)) = (&mut next, &shown(loaded)) {
            for section in sections {
                match read.get(*section) {
                    Some(value) => next.insert((*section).to_owned(), value.clone()),
                    None => next.remove(*section),
                };
            }
        }
        let mut now = self.0.now.write().unwrap_or_else(PoisonError::into_inner);
        *now = next.to_string().into();
    }

    fn now(&self) -> Arc<str> {
        let now = self.0.now.read().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    /// For the admin listener.
    pub(crate) fn router(self) -> Router {
        Router::new().route("/config", get(|| async move { self.answer() }))
    }

    fn answer(&self) -> Response {
        let (file, roles) = (json!(self.0.file), json!(self.0.roles));
        let now = self.now();
        let text = format!(r#"{{"file":{file},"roles":{roles},"config":{now}}}"#);
        ([(CONTENT_TYPE, "application/json")], text).into_response()
    }
}
