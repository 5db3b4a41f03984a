//! A line as JSON.

use std::borrow::Cow;

use http::{HeaderValue, header};

use super::{Line, masked};
use crate::plan::LinePlan;

/// A member's name, as it stands behind another member.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Appends a line. `stamp` writes the time.
pub(super) fn write(
    line: &Line<'_>,
    plan: &LinePlan,
    stamp: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let json = &mut Json(out);
    json.0.extend_from_slice(b"{\"ts\":\"");
    stamp(json.0);
    json.0.push(b'"');
    json.word(member!("request_id"), line.id.as_str());
    if let Some(trace) = line.trace {
        json.word(member!("trace_id"), trace);
    }
    if let Some(address) = masked::address(line.client, plan.address) {
        json.word(member!("client_ip"), &address);
    }
    if let Some(method) = line.method {
        json.word(member!("method"), method.as_str());
    }
    if let Some(host) = line.host {
        json.word(member!("host"), host);
    }
    if let Some(target) = line.target {
        let masked = plan.masked(line.route);
        json.text(member!("path"), &masked::path(target.path(), masked));
        json.maybe(
            member!("query"),
            masked::query(target.query(), plan).as_deref(),
        );
    }
    if let Some(route) = line.route.and_then(|route| plan.routes.get(route)) {
        json.0.extend_from_slice(member!("route").as_bytes());
        json.0.extend_from_slice(route.as_bytes());
    }
    json.number(member!("status"), u64::from(line.status));
    json.number(member!("bytes_in"), line.bytes_in);
    json.number(member!("bytes_out"), line.bytes_out);
    json.number(member!("duration_us"), line.duration_us);
    if let Some(upstream_us) = line.upstream_us {
        json.number(member!("upstream_us"), upstream_us);
    }
    json.maybe(member!("upstream"), line.upstream);
    json.maybe(member!("login"), line.login);
    decided(line, json);
    if !line.logged.is_empty() {
        json.text(member!("obligations"), &line.logged.join(" "));
    }
    if let Some(agent) = line.user_agent {
        json.agent(member!("user_agent"), agent);
    }
    json.headers(line, plan);
    json.maybe(member!("error"), line.error);
    json.0.extend_from_slice(b"}\n");
}

/// Who has asked, and what was decided.
fn decided(line: &Line<'_>, json: &mut Json<'_>) {
    if let Some(caller) = line.caller {
        let said = caller.said.get_or_init(|| {
            spelled(|json| {
                json.text(member!("subject"), &caller.vouched.facts.sub);
                json.text(member!("client_id"), &caller.vouched.facts.client_id);
                json.text(member!("issuer"), &caller.issuer);
            })
        });
        json.0.extend_from_slice(said);
    }
    if let Some(source) = line.token_source {
        json.word(member!("token_source"), source.as_str());
    }
    if let Some((verdict, source)) = line.decision {
        let decision = if verdict.is_permit() {
            "permit"
        } else {
            "deny"
        };
        json.word(member!("decision"), decision);
        json.word(member!("decision_source"), source.as_str());
        let said = verdict.said.get_or_init(|| {
            spelled(|json| {
                json.maybe(member!("decision_id"), verdict.id.as_deref());
                json.maybe(member!("policy_version"), verdict.version.as_deref());
            })
        });
        json.0.extend_from_slice(said);
    }
}

/// Members that are the same in the lines of many requests, to be kept.
fn spelled(members: impl FnOnce(&mut Json<'_>)) -> Box<[u8]> {
    let mut text = Vec::new();
    members(&mut Json(&mut text));
    text.into()
}

/// An object under construction; its first member is written by hand.
struct Json<'b>(&'b mut Vec<u8>);

impl Json<'_> {
    /// Those that the configuration names and the request has.
    fn headers(&mut self, line: &Line<'_>, plan: &LinePlan) {
        let mut is_first = true;
        for (name, value) in plan.headers.iter().zip(line.headers) {
            let Some(value) = value else {
                continue;
            };
            if is_first {
                self.0.extend_from_slice(member!("headers").as_bytes());
                self.0.push(b'{');
            } else {
                self.0.push(b',');
            }
            is_first = false;
            self.0.push(b'"');
            self.0.extend_from_slice(name.as_str().as_bytes());
            self.0.extend_from_slice(b"\":");
            let value = if *name == header::REFERER {
                masked::referer(value)
            } else {
                Cow::Borrowed(value.as_bytes())
            };
            self.value(&String::from_utf8_lossy(&value));
        }
        if !is_first {
            self.0.push(b'}');
        }
    }

    /// `member`: see [`member!`].
    fn number(&mut self, member: &str, value: u64) {
        self.0.extend_from_slice(member.as_bytes());
        self.0
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn maybe(&mut self, member: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(member, value);
        }
    }

    fn text(&mut self, member: &str, value: &str) {
        self.0.extend_from_slice(member.as_bytes());
        self.value(value);
    }

    /// A value that has nothing to escape in it, whoever asks.
    fn word(&mut self, member: &str, value: &str) {
        self.0.extend_from_slice(member.as_bytes());
        self.quoted(value.as_bytes());
    }

    /// Nothing of what is no text.
    fn agent(&mut self, member: &str, value: &HeaderValue) {
        if is_plain(value.as_bytes()) {
            self.0.extend_from_slice(member.as_bytes());
            self.quoted(value.as_bytes());
        } else {
            self.maybe(member, value.to_str().ok());
        }
    }

    fn quoted(&mut self, value: &[u8]) {
        self.0.push(b'"');
        self.0.extend_from_slice(value);
        self.0.push(b'"');
    }

    fn value(&mut self, value: &str) {
        if is_plain(value.as_bytes()) {
            self.quoted(value.as_bytes());
        } else if serde_json::to_writer(&mut *self.0, value).is_err() {
            // Writing to memory does not fail; if it did, the line must stay JSON.
            self.0.extend_from_slice(b"null");
        }
    }
}

/// Printable ASCII, and nothing to escape in it.
fn is_plain(value: &[u8]) -> bool {
    // To the end in any case: several bytes are looked at together then.
    let others = value.iter().fold(0, |others, byte| {
        let is_sign = matches!(byte, b'"' | b'\\');
        others | u8::from(is_sign) | u8::from(!(0x20..=0x7e).contains(byte))
    });
    others == 0
}
