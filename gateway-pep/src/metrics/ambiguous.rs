//! Requests that have no canonical form, and paths that have encoded what some readers decode: what strictness
//! refuses, and what would be refused where a route is not to take it any more.

use std::sync::{Arc, OnceLock};

use prometheus::{IntCounter, IntCounterVec};
use service_kit::Metrics;
use service_kit::metrics::MetricError;

use crate::canonical::{Ambiguity, Encoded};
use crate::config::EncodedCharacter;
use crate::plan::Plan;

/// By character, each by [`RESULTS`].
type Counters = [[IntCounter; 2]; EncodedCharacter::ALL.len()];

const RESULTS: [&str; 2] = ["refused", "accepted"];

#[derive(Debug)]
pub(crate) struct AmbiguousMetrics {
    /// In the order of [`Ambiguity::ALL`].
    kinds: [IntCounter; Ambiguity::ALL.len()],
    encoded: IntCounterVec,
    /// Handles of a route are made when it first needs them: nearly none ever does.
    routes: Vec<(Arc<str>, OnceLock<Counters>)>,
    unrouted: (Arc<str>, OnceLock<Counters>),
}

impl AmbiguousMetrics {
    pub(super) fn new(metrics: &Metrics, plan: &Plan) -> Result<Self, MetricError> {
        let kinds = metrics.counters(
            "pep_ambiguous_requests_total",
            "Requests that have no canonical form, by what is in the way",
            &["kind"],
        )?;
        let routes = plan.routes.iter();
        Ok(Self {
            kinds: Ambiguity::ALL.map(|(_, kind)| kinds.with_label_values(&[kind])),
            encoded: metrics.counters(
                "pep_encoded_characters_total",
                "Requests whose path has a character encoded that some readers would decode",
                &["http_route", "character", "result"],
            )?,
            routes: routes
                .map(|route| (route.template.clone(), OnceLock::new()))
                .collect(),
            unrouted: ("".into(), OnceLock::new()),
        })
    }

    /// One that was refused.
    pub(crate) fn refused(&self, ambiguity: Ambiguity) {
        let mut all = Ambiguity::ALL.iter().zip(&self.kinds);
        if let Some((_, counter)) = all.find(|((known, _), _)| *known == ambiguity) {
            counter.inc();
        }
    }

    /// A path that has some encoded. Without a route, none takes it.
    pub(crate) fn encoded(&self, route: Option<usize>, encoded: Encoded, is_accepted: bool) {
        let (name, made) = route
            .and_then(|route| self.routes.get(route))
            .unwrap_or(&self.unrouted);
        let counters = made.get_or_init(|| {
            EncodedCharacter::ALL.map(|character| {
                RESULTS.map(|result| {
                    let labels = [&**name, character.as_str(), result];
                    self.encoded.with_label_values(&labels)
                })
            })
        });
        for (character, [refused, accepted]) in EncodedCharacter::ALL.iter().zip(counters) {
            if encoded.has(*character) {
                if is_accepted { accepted } else { refused }.inc();
            }
        }
    }
}
