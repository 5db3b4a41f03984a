//! A line as JSON.

use std::borrow::Cow;

use http::header;

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
    json.maybe(member!("trace_id"), line.trace);
    json.maybe(
        member!("client_ip"),
        masked::address(line.client, plan.address).as_deref(),
    );
    if let Some(method) = line.method {
        json.word(member!("method"), method.as_str());
    }
    json.maybe(member!("host"), line.host);
    if let Some(target) = line.target {
        let masked = plan.masked(line.route_index);
        json.text(member!("path"), &masked::path(target.path(), masked));
        json.maybe(
            member!("query"),
            masked::query(target.query(), plan).as_deref(),
        );
    }
    json.maybe(member!("route"), line.route);
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
    json.maybe(
        member!("user_agent"),
        line.user_agent.and_then(|value| value.to_str().ok()),
    );
    json.headers(line, plan);
    json.maybe(member!("error"), line.error);
    json.0.extend_from_slice(b"}\n");
}

/// Who has asked, and what was decided.
fn decided(line: &Line<'_>, json: &mut Json<'_>) {
    if let Some(caller) = line.caller {
        json.text(member!("subject"), &caller.vouched.facts.sub);
        json.text(member!("client_id"), &caller.vouched.facts.client_id);
        json.text(member!("issuer"), &caller.issuer);
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
        json.maybe(member!("decision_id"), verdict.id.as_deref());
        json.maybe(member!("policy_version"), verdict.version.as_deref());
    }
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
        self.0.push(b'"');
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    fn value(&mut self, value: &str) {
        // To the end in any case: several bytes are looked at together then.
        let others = value.bytes().fold(0, |others, byte| {
            let is_sign = matches!(byte, b'"' | b'\\');
            others | u8::from(is_sign) | u8::from(!(0x20..=0x7e).contains(&byte))
        });
        if others == 0 {
            self.0.push(b'"');
            self.0.extend_from_slice(value.as_bytes());
            self.0.push(b'"');
        } else if serde_json::to_writer(&mut *self.0, value).is_err() {
            // Writing to memory does not fail; if it did, the line must stay JSON.
            self.0.extend_from_slice(b"null");
        }
    }
}
