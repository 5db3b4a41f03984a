//! Fields that upstreams believe, and that a client must not be able to send: as they are, with `_`
//! for `-`, in other letters, and hidden by `Connection`.

use super::super::case::{Case, Class, Expect, MARKER};
use super::super::target::Target;

const BELIEVED: &[&str] = &[
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-User",
    "X-Forwarded-Groups",
    "X-Forwarded-Email",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Tls-Client-Cert",
    "Forwarded",
    "X-Real-IP",
    "Client-IP",
    "True-Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "CF-Connecting-IP",
    "X-Original-URL",
    "X-Original-Uri",
    "X-Original-Method",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Auth-Subject",
    "X-Auth-Request-User",
    "X-Auth-Roles",
    "X-Authenticated-User",
    "X-Authenticated-Userid",
    "X-User",
    "X-User-Id",
    "X-User-Roles",
    "X-Username",
    "X-Userinfo",
    "X-Role",
    "X-Roles",
    "X-Subject",
    "Remote-User",
    "Remote-Groups",
    "X-Remote-User",
    "X-Remote-Addr",
    "SSL-Client-Verify",
    "SSL-Client-S-DN",
    "X-Client-Cert",
    "X-Internal-Call",
    "X-Envoy-Internal",
    "X-Envoy-Original-Path",
    "X-Middleware-Subrequest",
    "X-Amzn-Oidc-Data",
    "X-Amzn-Oidc-Identity",
    "X-Goog-Authenticated-User-Email",
    "X-Pep-Decision",
    "X-Request-Id",
    "Baggage",
    "Via",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-Connection",
    "HTTP2-Settings",
];

/// For one hop, or named by `Connection` as such.
const HOPS: &[(&str, &str)] = &[
    (
        "Connection names a field",
        "Connection: X-Hop\r\nX-Hop: cg-marker\r\n",
    ),
    (
        "Connection names it in other letters",
        "Connection: x-HOP\r\nX-Hop: cg-marker\r\n",
    ),
    (
        "Connection names it after others",
        "Connection: a, b,X-Hop\r\nX-Hop: cg-marker\r\n",
    ),
    (
        "Connection names it after nothing",
        "Connection: ,, X-Hop\r\nX-Hop: cg-marker\r\n",
    ),
    ("Keep-Alive", "Keep-Alive: cg-marker\r\n"),
    ("TE", "TE: trailers, cg-marker\r\n"),
    ("Trailer", "Trailer: cg-marker\r\n"),
    (
        "Upgrade to what is unknown",
        "Upgrade: cg-marker\r\nConnection: upgrade\r\n",
    ),
    ("Proxy-Authenticate", "Proxy-Authenticate: cg-marker\r\n"),
];

/// What the gateway sets cannot be taken away.
const TAKEN: &[&str] = &[
    "Authorization",
    "Host",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Request-Id",
    "Content-Length",
    "Cookie",
    "close, Authorization, Host",
];

pub(super) fn cases(read: &Target, reserved: &[String]) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut hidden = |title: String, fields: &str| {
        let bytes = read.request(fields);
        let case = Case::new(Class::Headers, read, title, bytes, Expect::passes(read));
        cases.push(case.hiding_marker());
    };
    let configured = reserved.iter().map(|name| match name.strip_suffix('-') {
        Some(prefix) => format!("{prefix}-Cg"),
        None => name.clone(),
    });
    let names = BELIEVED.iter().map(|name| (*name).to_owned());
    for name in names.chain(configured) {
        for spelled in spellings(&name) {
            let fields = format!("{spelled}: {MARKER}\r\n");
            hidden(spelled, &fields);
        }
        let twice = format!("{name}: a\r\nX-A: b\r\n{name}: {MARKER}\r\n");
        hidden(format!("{name} twice"), &twice);
    }
    for (title, fields) in HOPS {
        hidden((*title).to_owned(), fields);
    }
    for name in [
        "Authorization",
        "Content-Length",
        "Transfer-Encoding",
        "Host",
    ] {
        let name = name.replace('-', "_");
        if name.contains('_') {
            hidden(name.clone(), &format!("{name}: {MARKER}\r\n"));
        }
    }
    for name in TAKEN {
        let fields = format!("Connection: {name}\r\n");
        let title = format!("Connection takes away {name}");
        let bytes = read.request(&fields);
        // A credential of this hop alone is none.
        let is_credential = read.token.is_some() && name.contains("Authorization");
        let expect = if is_credential {
            Expect::Status(&[401])
        } else {
            Expect::passes(read)
        };
        cases.push(Case::new(Class::Headers, read, title, bytes, expect));
    }
    cases
}

/// A name as it is, and as some upstream takes for the same.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned(), name.to_ascii_uppercase()];
    if name.contains('-') {
        all.push(name.replace('-', "_"));
        all.push(name.to_ascii_lowercase().replacen('-', "_", 1));
    }
    all
}
