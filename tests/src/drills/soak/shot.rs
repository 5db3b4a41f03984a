//! One request of the soak: drawn, sent once, and what it must come to while nothing is out of order.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use service_kit::digest::sha256_base64url;

use super::endpoint::{NUMBER, OWNERS, RECORDS, REFUSE};
use super::line::{NAME, Speaks};
use super::wallet::{Token, Wallet};
use crate::drills::random::Random;

/// What kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Own,
    Another,
    Masked,
    Filtered,
    FilteredAndMasked,
    /// Of a program, at the other upstream.
    Report,
    /// With a token that was taken back, or has expired.
    Old,
    Unknown,
    NoToken,
    NoRoute,
    /// A body that must not be taken twice.
    Order,
    /// One that may be: it has an `Idempotency-Key`.
    KeyedOrder,
    RefusedOrder,
    /// By the policy that comes and goes.
    Switch,
    /// On a route that may use what was decided before.
    Remembered,
}

/// As often as it is listed.
const MIX: [Kind; 32] = {
    use Kind::{
        Another, Filtered, FilteredAndMasked, KeyedOrder, Masked, NoRoute, NoToken, Old, Order,
        Own, RefusedOrder, Remembered, Report, Switch, Unknown,
    };
    [
        Own,
        Own,
        Own,
        Own,
        Own,
        Own,
        Another,
        Another,
        Another,
        Masked,
        Masked,
        Filtered,
        Filtered,
        FilteredAndMasked,
        Report,
        Report,
        Report,
        Report,
        Report,
        Old,
        Old,
        Old,
        Unknown,
        NoToken,
        NoRoute,
        Order,
        Order,
        KeyedOrder,
        KeyedOrder,
        RefusedOrder,
        Switch,
        Remembered,
    ]
};

/// What comes of a request by the rules of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Permit,
    Deny,
    /// As the policy that comes and goes has it.
    Switch,
    NoToken,
    UnknownToken,
    NoRoute,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Shot {
    pub kind: Kind,
    pub number: u64,
    pub speaks: Speaks,
    /// Which gateway: 0 or 1.
    pub gateway: usize,
    pub path: String,
    pub token: Option<Arc<Token>>,
    pub body: Bytes,
}

impl Shot {
    /// None: there is no token for it at this time.
    pub fn draw(random: &mut Random, wallet: &Wallet, number: u64) -> Option<Self> {
        let kind = random.pick(&MIX);
        let who = random.pick(&OWNERS);
        let other = OWNERS[(OWNERS.iter().position(|it| *it == who)? + 1) % OWNERS.len()];
        let record = |of: &str, random: &mut Random| format!("{of}-{}", random.below(RECORDS));
        let (path, token) = match kind {
            Kind::Own => (
                format!("/records/{}", record(who, random)),
                wallet.person(who),
            ),
            Kind::Another => (
                format!("/records/{}", record(other, random)),
                wallet.person(who),
            ),
            Kind::Masked => (
                format!("/records/{}", record(who, random)),
                wallet.person("sam"),
            ),
            Kind::Filtered => ("/records".into(), wallet.person(who)),
            Kind::FilteredAndMasked => ("/records".into(), wallet.person("sam")),
            Kind::Report => ("/report".into(), wallet.program(random)),
            Kind::Old => {
                let token = wallet.old(random)?;
                let path = if OWNERS.contains(&&*token.subject) || token.subject == "sam" {
                    "/records".into()
                } else {
                    "/report".into()
                };
                (path, Some(token))
            }
            Kind::Unknown | Kind::NoToken => (format!("/records/{}", record(who, random)), None),
            Kind::NoRoute => (
                format!("/nowhere/{}", record(who, random)),
                wallet.person(who),
            ),
            Kind::Order | Kind::KeyedOrder => ("/orders".into(), wallet.person(who)),
            Kind::RefusedOrder => ("/orders".into(), wallet.person("sam")),
            Kind::Switch => ("/switch".into(), wallet.person(who)),
            Kind::Remembered => (
                format!("/remembered/{}", record(who, random)),
                wallet.person(who),
            ),
        };
        if token.is_none() && !matches!(kind, Kind::Unknown | Kind::NoToken) {
            return None;
        }
        let body = if kind.is_order() {
            let length = random.pick(&[16, 1_000, 20_000]);
            Bytes::from(format!("{number} ").repeat(length / 8))
        } else {
            Bytes::new()
        };
        Some(Self {
            kind,
            number,
            speaks: Speaks::Kept,
            gateway: 0,
            path,
            token,
            body,
        })
    }

    pub fn method(&self) -> Method {
        if self.kind.is_order() {
            Method::POST
        } else {
            Method::GET
        }
    }

    pub fn rule(&self) -> Rule {
        match self.kind {
            Kind::Another | Kind::RefusedOrder => Rule::Deny,
            Kind::Unknown => Rule::UnknownToken,
            Kind::NoToken => Rule::NoToken,
            Kind::NoRoute => Rule::NoRoute,
            Kind::Switch => Rule::Switch,
            _ => Rule::Permit,
        }
    }

    /// Whether a gateway may send it a second time.
    pub fn is_repeatable(&self) -> bool {
        !matches!(self.kind, Kind::Order | Kind::RefusedOrder)
    }

    pub fn request(&self) -> Request<Full<Bytes>> {
        let uri = if self.speaks == Speaks::Two {
            format!("https://{NAME}{}", self.path)
        } else {
            self.path.clone()
        };
        let mut request = Request::builder()
            .method(self.method())
            .uri(uri)
            .header(NUMBER, self.number);
        if self.speaks != Speaks::Two {
            request = request.header("host", NAME);
        }
        if matches!(
            self.rule(),
            Rule::Deny | Rule::NoToken | Rule::UnknownToken | Rule::NoRoute
        ) {
            request = request.header(REFUSE, "yes");
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.text));
        } else if self.kind == Kind::Unknown {
            let text = sha256_base64url(&self.number.to_be_bytes());
            request = request.header("authorization", format!("Bearer {text}"));
        }
        if self.kind == Kind::KeyedOrder {
            request = request.header("idempotency-key", format!("\"{}\"", self.number));
        }
        request
            .body(Full::new(self.body.clone()))
            .expect("a request")
    }

    /// Why the answer is not the one that belongs to it; none where it is.
    pub fn complaint(&self, body: &[u8]) -> Option<String> {
        let Ok(seen) = serde_json::from_slice::<serde_json::Value>(body) else {
            return Some("no JSON".into());
        };
        let claims = &seen["claims"];
        let (host, audience) = if matches!(self.path.as_str(), "/orders" | "/report") {
            ("orders.internal", "https://orders.demo.internal")
        } else {
            ("records.internal", "https://records.demo.internal")
        };
        let aud = &claims["aud"];
        let is_for_it = *aud == json!(audience) || *aud == json!([audience]);
        let subject = self.token.as_ref().map_or("", |it| it.subject.as_str());
        let wanted = [
            ("audience", is_for_it),
            ("host", seen["host"] == host),
            ("subject", claims["sub"] == subject),
            ("path", seen["path"] == self.path),
            ("number", seen["number"] == *self.number.to_string()),
            ("body", seen["body"] == sha256_base64url(&self.body)),
            ("data", self.is_data_right(&seen, subject)),
        ];
        let wrong: Vec<_> = wanted.iter().filter(|(_, is_right)| !is_right).collect();
        let names: Vec<_> = wrong.iter().map(|(name, _)| *name).collect();
        (!names.is_empty()).then(|| format!("another {}", names.join(", ")))
    }

    fn is_data_right(&self, seen: &serde_json::Value, subject: &str) -> bool {
        match self.kind {
            Kind::Own | Kind::Remembered => is_whole(seen) && seen["owner"] == subject,
            Kind::Masked => is_masked(seen),
            _ if self.path == "/records" => {
                let records = seen["records"].as_array().map_or(&[][..], Vec::as_slice);
                if subject == "sam" {
                    records.len() == OWNERS.len() * RECORDS && records.iter().all(is_masked)
                } else {
                    records.len() == RECORDS
                        && records
                            .iter()
                            .all(|it| it["owner"] == subject && is_whole(it))
                }
            }
            _ => true,
        }
    }

    /// For whoever has to understand a failure.
    pub fn story(&self) -> String {
        let token = self.token.as_ref();
        format!(
            "number {}, {:?} by {:?} at gateway {}: {} {} ({} bytes), {}",
            self.number,
            self.kind,
            self.speaks,
            self.gateway + 1,
            self.method(),
            self.path,
            self.body.len(),
            token.map_or_else(|| "no token of ours".into(), |token| token.story())
        )
    }
}

impl Kind {
    pub fn is_order(self) -> bool {
        matches!(self, Self::Order | Self::KeyedOrder | Self::RefusedOrder)
    }
}

fn is_whole(record: &serde_json::Value) -> bool {
    let id = record["id"].as_str().unwrap_or_default();
    let whole = super::endpoint::record(id);
    ["owner", "ssn", "email"]
        .iter()
        .all(|name| record[*name] == whole[*name])
}

/// Nothing of what is blotted out is there; the rest is.
fn is_masked(record: &serde_json::Value) -> bool {
    let id = record["id"].as_str().unwrap_or_default();
    let text = record.to_string();
    record["owner"].is_string()
        && !id.is_empty()
        && !text.contains("ssn of")
        && !text.contains("@example")
}
