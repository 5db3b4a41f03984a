//! Obligations: the conditions of a permit, and the registry of those that can be kept.
//!
//! A condition that is not understood, in type or in properties, or that this gateway is not configured for, makes
//! the permit a deny (AuthZEN obligations profile). What types there are, `authzen::Condition` says.

pub(crate) mod filter;
pub(crate) mod mask;
pub(crate) mod notice;
pub(crate) mod rate;
mod scan;

use std::collections::BTreeMap;

use authzen::{Condition, Filter, Obligation};
use http::header::{self, HeaderName, HeaderValue};

use crate::headers::Reserved;
use crate::step_up::StepUp;
use mask::Mask;
use notice::Notice;

/// The conditions of one permit, understood.
#[derive(Debug, Default)]
pub(crate) struct Obligations {
    /// `mask`: fields of the response that the caller may not see.
    pub(crate) mask: Option<Mask>,
    /// `filter`: elements of arrays of the response, each of which is asked about.
    pub(crate) filters: Vec<Filter>,
    /// `log`: ids of obligations that the access log must show.
    pub(crate) logged: Vec<String>,
    /// `step_up`: how who calls must have logged in.
    pub(crate) step_ups: Vec<StepUp>,
    /// `headers`: what the upstream gets beside, and what the client gets.
    pub(crate) request_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) response_headers: Vec<(HeaderName, HeaderValue)>,
    /// `rate`: under which limits it counts, as indexes of the plan.
    pub(crate) rates: Vec<usize>,
    /// `notify`: who is told.
    pub(crate) notices: Vec<Notice>,
}

/// What a gateway is configured to do for a condition.
#[derive(Debug)]
pub(crate) struct Abilities {
    pub(crate) reserved: Reserved,
    /// Limits by name, and their places in the plan.
    pub(crate) rates: BTreeMap<String, usize>,
    /// Who can be told, by name.
    pub(crate) notifications: BTreeMap<String, usize>,
}

/// A condition that cannot be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownObligation {
    #[error("the obligation type `{0}` is not known")]
    Kind(String),
    #[error("the obligation `{id}` cannot be understood: {why}")]
    Properties { id: String, why: String },
}

/// What frames a message, carries a credential or is said by us is nobody's to set, beside what is reserved.
static NOT_TO_BE_SET: [HeaderName; 16] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
    header::WWW_AUTHENTICATE,
    header::LOCATION,
    HeaderName::from_static("keep-alive"),
];
const NOT_TO_BE_SET_FAMILIES: [&str; 4] = ["sec-", "ratelimit", "trace", "access-control-"];

impl Obligations {
    /// Whether messages look the same under these as under others.
    pub(crate) fn shapes_as(&self, other: &Self) -> bool {
        self.mask == other.mask
            && self.filters == other.filters
            && self.request_headers == other.request_headers
            && self.response_headers == other.response_headers
    }

    /// Whether the response cannot be passed on as it comes.
    pub(crate) fn rewrites(&self) -> bool {
        self.mask.is_some() || !self.filters.is_empty()
    }

    /// Those of another permit, too.
    pub(crate) fn join(&mut self, other: &Self) -> Result<(), String> {
        if let Some(mask) = &other.mask {
            self.mask.get_or_insert_default().join(mask);
        }
        add_new(&mut self.filters, &other.filters);
        add_new(&mut self.logged, &other.logged);
        add_new(&mut self.step_ups, &other.step_ups);
        add_new(&mut self.rates, &other.rates);
        add_new(&mut self.notices, &other.notices);
        for (fields, more) in [
            (&mut self.request_headers, &other.request_headers),
            (&mut self.response_headers, &other.response_headers),
        ] {
            for (name, value) in more {
                add_field(fields, name.clone(), value.clone())?;
            }
        }
        Ok(())
    }

    /// Whether nothing is wanted, or nothing but a mask.
    pub(crate) fn is_mask_alone(&self) -> bool {
        self.filters.is_empty()
            && self.logged.is_empty()
            && self.step_ups.is_empty()
            && self.request_headers.is_empty()
            && self.response_headers.is_empty()
            && self.rates.is_empty()
            && self.notices.is_empty()
    }

    /// Whether messages get something that whoever else forwards would have to add.
    pub(crate) fn shapes(&self) -> bool {
        self.rewrites() || !self.request_headers.is_empty() || !self.response_headers.is_empty()
    }

    /// All of them, or none.
    pub(crate) fn understand(
        obligations: &[Obligation],
        abilities: &Abilities,
    ) -> Result<Self, UnknownObligation> {
        let mut understood = Self::default();
        for obligation in obligations {
            let unusable = |why| UnknownObligation::Properties {
                id: obligation.id.clone(),
                why,
            };
            let condition = Condition::of(obligation).map_err(unusable)?;
            let condition =
                condition.ok_or_else(|| UnknownObligation::Kind(obligation.kind.clone()))?;
            understood
                .add(&obligation.id, condition, abilities)
                .map_err(unusable)?;
        }
        Ok(understood)
    }

    fn add(&mut self, id: &str, condition: Condition, abilities: &Abilities) -> Result<(), String> {
        match condition {
            Condition::Mask { fields } => {
                let mask = self.mask.get_or_insert_default();
                for field in &fields {
                    mask.add(field);
                }
            }
            Condition::Filter(filter) => self.filters.push(filter),
            Condition::Log => self.logged.push(id.to_owned()),
            Condition::StepUp {
                acr_values,
                max_age_secs,
            } => self.step_ups.push(StepUp::new(acr_values, max_age_secs)),
            Condition::Headers { request, response } => {
                add_fields(&mut self.request_headers, request, abilities)?;
                add_fields(&mut self.response_headers, response, abilities)?;
            }
            Condition::Rate { class } => {
                let rate = abilities.rates.get(&class);
                let rate = *rate.ok_or_else(|| format!("there is no rate `{class}`"))?;
                if !self.rates.contains(&rate) {
                    self.rates.push(rate);
                }
            }
            Condition::Notify { to, is_required } => {
                let known = |name: &String| {
                    let sink = abilities.notifications.get(name).copied();
                    sink.ok_or_else(|| format!("there is no notification `{name}`"))
                };
                self.notices.push(Notice {
                    id: id.to_owned(),
                    to: to.iter().map(known).collect::<Result<_, _>>()?,
                    is_required,
                });
            }
        }
        Ok(())
    }
}

fn add_fields(
    all: &mut Vec<(HeaderName, HeaderValue)>,
    fields: Vec<(HeaderName, HeaderValue)>,
    abilities: &Abilities,
) -> Result<(), String> {
    for (name, value) in fields {
        let folded = name.as_str().replace('_', "-");
        let is_family = |family: &str| folded.starts_with(family);
        if NOT_TO_BE_SET.contains(&name)
            || NOT_TO_BE_SET_FAMILIES.iter().any(|it| is_family(it))
            || abilities.reserved.covers(name.as_str())
        {
            return Err(format!("`{name}` is not to be set by policies"));
        }
        add_field(all, name, value)?;
    }
    Ok(())
}

fn add_field(
    all: &mut Vec<(HeaderName, HeaderValue)>,
    name: HeaderName,
    value: HeaderValue,
) -> Result<(), String> {
    match all.iter().find(|(known, _)| *known == name) {
        None => all.push((name, value)),
        Some((_, known)) if *known == value => {}
        Some(_) => return Err(format!("`{name}` would have two values")),
    }
    Ok(())
}

fn add_new<T: Clone + PartialEq>(all: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn understand(obligations: Value) -> Result<Obligations, String> {
        let obligations: Vec<Obligation> = serde_json::from_value(obligations).unwrap();
        let abilities = Abilities {
            reserved: Reserved::new(&["x-tenant".into()]),
            rates: [("gold".to_owned(), 3)].into(),
            notifications: [("owner".to_owned(), 1)].into(),
        };
        Obligations::understand(&obligations, &abilities).map_err(|error| error.to_string())
    }

    fn headers(request: &Value, response: &Value) -> Value {
        json!([{"id":"h","type":"headers","properties":{"request":request,"response":response}}])
    }

    #[test]
    fn no_policy_sets_what_is_reserved_or_frames_a_message() {
        for name in [
            "authorization",
            "Host",
            "content-length",
            "connection",
            "x-forwarded-for",
            "x_forwarded_for",
            "X-User-Id",
            "x-tenant",
            "set-cookie",
            "sec-websocket-accept",
            "RateLimit-Policy",
            "traceparent",
            "content_length",
        ] {
            for (request, response) in [
                (json!({ name: "1" }), json!({ "x-a": "1" })),
                (json!({ "x-a": "1" }), json!({ name: "1" })),
            ] {
                let error = understand(headers(&request, &response)).unwrap_err();
                assert!(error.contains("not to be set"), "{error}");
            }
        }
        let mut two = headers(&json!({ "x-a": "1" }), &json!({ "x-b": "1" }));
        let known = understand(two.clone()).unwrap();
        assert_eq!(
            (known.request_headers.len(), known.response_headers.len()),
            (1, 1)
        );
        let more = headers(&json!({ "x-a": "2" }), &json!({ "x-b": "1" }))[0].clone();
        two.as_array_mut().unwrap().push(more);
        let error = understand(two).unwrap_err();
        assert!(error.contains("two values"), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (obligations, expected) in [
            (json!([{"id":"1","type":"sms"}]), "type `sms`"),
            (json!([{"id":"1","type":"notify"}]), "`to` is missing"),
            (
                json!([{"id":"1","type":"notify","properties":{"to":["nobody"]}}]),
                "no notification `nobody`",
            ),
            (
                json!([{"id":"1","type":"rate","properties":{"class":"iron"}}]),
                "no rate `iron`",
            ),
            (json!([{"id":"1","type":"mask"}]), "`fields` must be"),
            (
                json!([{"id":"1","type":"mask","properties":{"fields":[]}}]),
                "`fields` must be",
            ),
            (
                json!([{"id":"1","type":"mask","properties":{"fields":["ssn"]}}]),
                "begin with `/`",
            ),
            (
                json!([{"id":"1","type":"mask","properties":{"fields":["/a"],"how":"x"}}]),
                "`how`",
            ),
        ] {
            let error = understand(obligations).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let known = json!([
            {"id":"1","type":"mask","properties":{"fields":["/a"]}},
            {"id":"2","type":"log"},
            {"id":"3","type":"rate","properties":{"class":"gold"}},
            {"id":"4","type":"rate","properties":{"class":["gold"]}},
            {"id":"5","type":"notify","properties":{"to":["owner"]}},
            {"id":"6","type":"step_up","properties":{"max_age":60}},
            {"id":"7","type":"filter","properties":{"type":"R","id":"/id"}},
        ]);
        let obligations = understand(known).unwrap();
        assert!(obligations.mask.is_some());
        assert_eq!(obligations.logged, ["2"]);
        assert_eq!(obligations.rates, [3]);
        assert_eq!(obligations.notices[0].to, [1]);
        assert_eq!(
            (obligations.step_ups.len(), obligations.filters.len()),
            (1, 1)
        );
    }
}
