//! The demo's protected service: a records API that holds personal data, and knows nothing of
//! tokens or policies. It shows at `/whoami` what headers reached it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};
use service_kit::Problem;

type Records = Arc<Mutex<BTreeMap<String, Map<String, Value>>>>;

/// A body longer than this is refused. Bytes.
const MAX_BODY: usize = 64 << 10;

/// The API, with its few records fresh.
pub fn router() -> axum::Router {
    axum::Router::new()
        .route("/records", get(list))
        .route("/records/{id}", get(view).put(update))
        .route("/whoami", get(whoami).post(whoami))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(Mutex::new(seed())))
}

async fn list(State(records): State<Records>) -> Response {
    let records = records.lock().unwrap_or_else(PoisonError::into_inner);
    let summaries: Vec<_> = records
        .iter()
        .map(|(id, record)| json!({ "id": id, "owner": record.get("owner"), "plan": record.get("plan") }))
        .collect();
    pretty(StatusCode::OK, &json!({ "records": summaries }))
}

async fn view(State(records): State<Records>, Path(id): Path<String>) -> Response {
    let records = records.lock().unwrap_or_else(PoisonError::into_inner);
    match records.get(&id) {
        Some(record) => pretty(StatusCode::OK, &Value::Object(record.clone())),
        None => Problem::new(StatusCode::NOT_FOUND, "no-such-record").into_response(),
    }
}

/// Merges the body's members into a record; `id` and `owner` stay as they are.
async fn update(
    State(records): State<Records>,
    Path(id): Path<String>,
    body: bytes::Bytes,
) -> Response {
    let Ok(Value::Object(changes)) = serde_json::from_slice(&body) else {
        return Problem::new(StatusCode::BAD_REQUEST, "not-an-object")
            .detail("send a JSON object of the members to change")
            .into_response();
    };
    let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(record) = records.get_mut(&id) else {
        return Problem::new(StatusCode::NOT_FOUND, "no-such-record").into_response();
    };
    for (name, value) in changes {
        if name != "id" && name != "owner" {
            record.insert(name, value);
        }
    }
    pretty(StatusCode::OK, &Value::Object(record.clone()))
}

/// What this service received: every header, and the claims of the bearer JWT.
async fn whoami(headers: HeaderMap) -> Response {
    let mut seen = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        seen.insert(name.to_string(), json!(values.join(", ")));
    }
    let jwt = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let body = json!({
        "received_headers": seen,
        "jwt_header": jwt.and_then(|jwt| part(jwt, 0)),
        "jwt_claims": jwt.and_then(|jwt| part(jwt, 1)),
    });
    pretty(StatusCode::OK, &body)
}

/// For showing only: this service takes the JWT's word because only the gateway can reach it.
fn part(jwt: &str, index: usize) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(index)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn pretty(status: StatusCode, body: &Value) -> Response {
    let mut text = serde_json::to_string_pretty(body).unwrap_or_default();
    text.push('\n');
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn seed() -> BTreeMap<String, Map<String, Value>> {
    [
        (
            "1001",
            "alice",
            "Alice Archer",
            "078-05-1120",
            "alice@example.com",
            "1987-03-14",
            "gold",
        ),
        (
            "1002",
            "bob",
            "Bob Baker",
            "219-09-9999",
            "bob@example.com",
            "1979-11-02",
            "silver",
        ),
        (
            "1003",
            "carol",
            "Carol Cook",
            "457-55-5462",
            "carol@example.com",
            "1992-07-30",
            "gold",
        ),
    ]
    .into_iter()
    .map(|(id, owner, name, ssn, email, born, plan)| {
        let record = json!({
            "id": id, "owner": owner, "name": name, "ssn": ssn, "email": email,
            "phone": format!("+1-555-0{id}"), "date_of_birth": born, "plan": plan,
        });
        (
            id.to_owned(),
            record.as_object().cloned().unwrap_or_default(),
        )
    })
    .collect()
}
