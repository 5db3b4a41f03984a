//! A line as JSON.

use std::borrow::Cow;

use http::{Method, header};

use super::{Line, masked};
use crate::cache::Source;
use crate::plan::LinePlan;

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
    json.text("request_id", line.id.as_str());
    json.maybe("trace_id", line.trace);
    json.maybe(
        "client_ip",
        masked::address(line.client, plan.address).as_deref(),
    );
    json.maybe("method", line.method.map(Method::as_str));
    json.maybe("host", line.host);
    if let Some(target) = line.target {
        let masked = plan.masked(line.route_index);
        json.text("path", &masked::path(target.path(), masked));
        json.maybe("query", masked::query(target.query(), plan).as_deref());
    }
    json.maybe("route", line.route);
    json.number("status", u64::from(line.status));
    json.number("bytes_in", line.bytes_in);
    json.number("bytes_out", line.bytes_out);
    json.number("duration_us", line.duration_us);
    if let Some(upstream_us) = line.upstream_us {
        json.number("upstream_us", upstream_us);
    }
    json.maybe("upstream", line.upstream);
    json.maybe("login", line.login);
    if let Some(caller) = line.caller {
        json.text("subject", &caller.vouched.facts.sub);
        json.text("client_id", &caller.vouched.facts.client_id);
        json.text("issuer", &caller.issuer);
    }
    json.maybe("token_source", line.token_source.map(Source::as_str));
    if let Some((verdict, source)) = line.decision {
        json.text(
            "decision",
            if verdict.is_permit() {
                "permit"
            } else {
                "deny"
            },
        );
        json.text("decision_source", source.as_str());
        json.maybe("decision_id", verdict.id.as_deref());
        json.maybe("policy_version", verdict.version.as_deref());
    }
    if !line.logged.is_empty() {
        json.text("obligations", &line.logged.join(" "));
    }
    json.maybe(
        "user_agent",
        line.user_agent.and_then(|value| value.to_str().ok()),
    );
    json.headers(line, plan);
    json.maybe("error", line.error);
    json.0.extend_from_slice(b"}\n");
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
                self.name("headers");
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

    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.0
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.value(value);
    }

    fn value(&mut self, value: &str) {
        let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
        if value.bytes().all(plain) {
            self.0.push(b'"');
            self.0.extend_from_slice(value.as_bytes());
            self.0.push(b'"');
        } else if serde_json::to_writer(&mut *self.0, value).is_err() {
            // Writing to memory does not fail; if it did, the line must stay JSON.
            self.0.extend_from_slice(b"null");
        }
    }
}
