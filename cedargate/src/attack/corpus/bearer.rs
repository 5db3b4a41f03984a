//! Credentials: none, dead, doubled, elsewhere; and answers of token service and PDP that are no.

use super::super::case::{Case, Class, Expect};
use super::super::stubs::{BOUND, DENIED, JWT, OUTAGE, UNDECIDED, UNKNOWN, WITHOUT_SCOPE};
use super::super::target::{Target, latin1};

pub(super) fn cases(all: &[Target], read: &Target) -> Vec<Case> {
    let mut cases = Vec::new();
    for target in all.iter().filter(|target| target.token.is_some()) {
        let name = |what: &str| format!("{} {}: {what}", target.method, target.template);
        let mut case = |class: Class, what: &str, fields: &str, allowed: &'static [u16]| {
            let bytes = plain(target, &target.path, fields);
            cases.push(Case::new(
                class,
                target,
                name(what),
                bytes,
                Expect::Status(allowed),
            ));
        };
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        case(Class::Bearer, "no token", "", &[401]);
        case(Class::Bearer, "a dead token", &bearer(UNKNOWN), &[401]);
        case(
            Class::Bearer,
            "a token of who proves a key, without proof",
            &bearer(BOUND),
            &[401],
        );
        case(
            Class::FailClosed,
            "the token service is away",
            &bearer(OUTAGE),
            &[503],
        );
        // A route that wants a certain login may ask for it first.
        case(
            Class::FailClosed,
            "the PDP is away",
            &bearer(UNDECIDED),
            &[401, 503],
        );
        case(
            Class::FailClosed,
            "the PDP denies",
            &bearer(DENIED),
            &[401, 403],
        );
        if target.is_scoped {
            case(
                Class::Bearer,
                "a token without the scope",
                &bearer(WITHOUT_SCOPE),
                &[401, 403],
            );
        }
    }
    if let Some(token) = &read.token {
        cases.extend(spelled(read, token));
    }
    cases
}

/// A live token, in ways that are none.
#[expect(
    clippy::too_many_lines,
    reason = "a list of cases reads best in one piece"
)]
fn spelled(read: &Target, token: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for fields in [
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        "Authorization:\r\n".to_owned(),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Bearer{token}\r\n"),
        format!("Authorization: Bearer\t{token}\r\n"),
        format!("Authorization: Bearer {token} x\r\n"),
        format!("Authorization: Bearer {token},{token}\r\n"),
        format!("Authorization: Bearer {token}, Bearer {token}\r\n"),
        format!("Authorization: Bearer {token};a=b\r\n"),
        format!("Authorization: Bearer {token}=\r\n"),
        format!("Authorization: Bearer {token}\u{a0}\r\n"),
        format!("Authorization: Bearer \"{token}\"\r\n"),
        format!("Authorization: Bearer x {token}\r\n"),
        format!("Authorization: Bearer {token}%20\r\n"),
        format!("Authorization: Bearer {token}.\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: DPoP {token}\r\n"),
        format!("Authorization: Bearer Bearer {token}\r\n"),
        format!("Authorization: Bearer {JWT}\r\n"),
        "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.\r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", "a".repeat(6000)),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {UNKNOWN}\r\n"),
        format!("Authorization: Basic eDp5\r\nAuthorization: Bearer {token}\r\n"),
        format!("Proxy-Authorization: Bearer {token}\r\n"),
        format!("X-Authorization: Bearer {token}\r\n"),
        format!("X-Forwarded-Access-Token: {token}\r\n"),
        format!("Cookie: access_token={token}; Authorization=Bearer {token}\r\n"),
        format!("Authorization : Bearer {token}\r\n"),
        format!("Authorization:\r\n Bearer {token}\r\n"),
    ] {
        let title = fields.trim_end().escape_default().to_string();
        let title = title.chars().take(90).collect::<String>();
        let bytes = plain(read, &read.path, &fields);
        cases.push(Case::new(
            Class::Bearer,
            read,
            title,
            bytes,
            Expect::Refused,
        ));
    }
    for query in ["access_token", "token", "jwt", "bearer_token"] {
        let target = format!("{}?{query}={token}", read.path);
        let bytes = plain(read, &target, "");
        let title = format!("the token as `{query}` in the query");
        cases.push(Case::new(
            Class::Bearer,
            read,
            title,
            bytes,
            Expect::Refused,
        ));
    }
    let both = format!("{}?access_token={token}", read.path);
    let bytes = read.request_to(&both, "");
    let title = "a token in the header and one in the query";
    cases.push(Case::new(
        Class::Bearer,
        read,
        title,
        bytes,
        Expect::Refused,
    ));
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "PROPFIND",
    ] {
        let line = format!("{method} {} HTTP/1.1", read.path);
        let bytes = latin1(&format!(
            "{line}\r\nHost: {}\r\nConnection: close\r\n\r\n",
            read.host
        ));
        let title = format!("{method} without a token");
        cases.push(Case::new(
            Class::Bearer,
            read,
            title,
            bytes,
            Expect::Refused,
        ));
    }
    for scheme in ["bearer ", "BEARER "] {
        let bytes = plain(
            read,
            &read.path,
            &format!("Authorization: {scheme}{token}\r\n"),
        );
        let title = format!("the scheme as `{scheme}`");
        cases.push(Case::new(
            Class::Bearer,
            read,
            title,
            bytes,
            Expect::passes(read),
        ));
    }
    cases
}

/// A request with no credential but what the fields hold.
fn plain(target: &Target, path: &str, fields: &str) -> Vec<u8> {
    latin1(&format!(
        "{} {path} HTTP/1.1\r\nHost: {}\r\n{fields}Connection: close\r\n\r\n",
        target.method, target.host
    ))
}
