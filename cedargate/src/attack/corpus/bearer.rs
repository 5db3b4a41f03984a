//! Credentials: none, dead, doubled, elsewhere; and answers of token service and PDP that are no.

use super::super::case::{Case, Class, Expect};
use super::super::stubs::{BOUND, DENIED, JWT, OUTAGE, UNDECIDED, UNKNOWN, WITHOUT_SCOPE};
use super::super::target::Target;

/// A live token, which is `~`, in ways that are none.
const MISSPELT: &[&str] = &[
    "Authorization: Bearer\r\n",
    "Authorization: Bearer \r\n",
    "Authorization:\r\n",
    "Authorization: ~\r\n",
    "Authorization: Bearer~\r\n",
    "Authorization: Bearer\t~\r\n",
    "Authorization: Bearer ~ x\r\n",
    "Authorization: Bearer ~,~\r\n",
    "Authorization: Bearer ~, Bearer ~\r\n",
    "Authorization: Bearer ~;a=b\r\n",
    "Authorization: Bearer ~=\r\n",
    "Authorization: Bearer ~\u{a0}\r\n",
    "Authorization: Bearer \"~\"\r\n",
    "Authorization: Bearer x ~\r\n",
    "Authorization: Bearer ~%20\r\n",
    "Authorization: Bearer ~.\r\n",
    "Authorization: Basic ~\r\n",
    "Authorization: DPoP ~\r\n",
    "Authorization: Bearer Bearer ~\r\n",
    "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.\r\n",
    "Authorization: Bearer ~\r\nAuthorization: Bearer ~\r\n",
    "Authorization: Basic eDp5\r\nAuthorization: Bearer ~\r\n",
    "Proxy-Authorization: Bearer ~\r\n",
    "X-Authorization: Bearer ~\r\n",
    "X-Forwarded-Access-Token: ~\r\n",
    "Cookie: access_token=~; Authorization=Bearer ~\r\n",
    "Authorization : Bearer ~\r\n",
    "Authorization:\r\n Bearer ~\r\n",
];

pub(super) fn cases(all: &[Target], read: &Target) -> Vec<Case> {
    let mut cases = Vec::new();
    for target in all.iter().filter(|target| target.token.is_some()) {
        let name = |what: &str| format!("{} {}: {what}", target.method, target.template);
        let mut case = |class: Class, what: &str, fields: &str, allowed: &'static [u16]| {
            let bytes = target.anonymous().request(fields);
            let expect = Expect::Status(allowed);
            cases.push(Case::new(class, target, name(what), bytes, expect));
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
        if !target.scope.is_empty() {
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

/// A live token where it does not count.
fn spelled(read: &Target, token: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |title: String, bytes: Vec<u8>, expect: Expect| {
        cases.push(Case::new(Class::Bearer, read, title, bytes, expect));
    };
    let plain = read.anonymous();
    let misspelt = MISSPELT.iter().map(|shape| shape.replace('~', token));
    let others = [
        format!("Authorization: Bearer {JWT}\r\n"),
        format!("Authorization: Bearer {}\r\n", "a".repeat(6000)),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {UNKNOWN}\r\n"),
    ];
    for fields in misspelt.chain(others) {
        let title = fields.trim_end().escape_default().to_string();
        let title = title.chars().take(90).collect();
        case(title, plain.request(&fields), Expect::Refused);
    }
    for query in ["access_token", "token", "jwt", "bearer_token"] {
        let target = read.target_with(&format!("{query}={token}"));
        let title = format!("the token as `{query}` in the query");
        case(title, plain.request_to(&target, ""), Expect::Refused);
    }
    let both = read.target_with(&format!("access_token={token}"));
    let title = "a token in the header and one in the query";
    case(
        title.to_owned(),
        read.request_to(&both, ""),
        Expect::Refused,
    );
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "PROPFIND",
    ] {
        let line = format!("{method} {} HTTP/1.1", read.path);
        let bytes = plain.message(&line, "Connection: close\r\n", "");
        case(format!("{method} without a token"), bytes, Expect::Refused);
    }
    for scheme in ["bearer ", "BEARER "] {
        let fields = format!("Authorization: {scheme}{token}\r\n");
        let title = format!("the scheme as `{scheme}`");
        case(title, plain.request(&fields), Expect::passes(read));
    }
    cases
}
