//! How long requests took, by method and by what came of them: OpenTelemetry's `http.server.request.duration` and
//! `http.client.request.duration` as Prometheus writes them.
//!
//! What clients or upstreams can make up becomes one of few words, so that nobody makes series. The first request
//! of a kind makes its handle; all others find it by numbers.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, HistogramVec};
use service_kit::metrics::MetricError;
use service_kit::{KnownMethod, Metrics};

/// Of one route, or of one upstream. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct Durations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Has the labels of [`family`].
    all: HistogramVec,
    name: Arc<str>,
    by_method: [OnceLock<Box<Outcomes>>; KnownMethod::COUNT],
}

/// By status; the last is of requests that have none.
type Outcomes = [Handles; STATUSES.len() + 1];

/// Of one status.
#[derive(Debug, Default)]
struct Handles {
    /// The status says all.
    plain: OnceLock<Histogram>,
    failed: OnceLock<Box<[OnceLock<Histogram>; ERRORS.len()]>>,
}

/// Statuses that IANA has registered. Others count as the first of their class (RFC 9110 section 15).
const STATUSES: &[u16] = &[
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304,
    305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415,
    416, 417, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 506,
    507, 508, 510, 511,
];

/// Why requests fail, where the status alone does not say: the gateway answers 5xx itself, an answer breaks off, an
/// upstream gives none (in the words of RFC 9209). In the order of the alphabet.
const ERRORS: &[&str] = &[
    "client_gone",
    "connection_limit_reached",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "decision_point_unavailable",
    "destination_ip_unroutable",
    "destination_unavailable",
    "http_protocol_error",
    "http_response_incomplete",
    "http_response_timeout",
    "issuer_unavailable",
    "proof_store_unavailable",
    "rate_unknown",
    "response_broken",
    "response_idle",
    "response_overdue",
    "response_too_large",
    "session_store_unavailable",
    "stream_denied",
    "stream_obligation",
    "stream_token_invalid",
    "stream_unanswered",
    "tls_protocol_error",
    "token_service_unavailable",
    "too_many_connections",
    "unmaskable",
    "upstream_failed",
    "upstream_full",
    "upstream_timeout",
    "upstream_unhealthy",
];

/// The histograms of what `by` names; the other labels are the same for all.
pub(super) fn family(
    metrics: &Metrics,
    (name, help): (&str, &str),
    by: &str,
) -> Result<HistogramVec, MetricError> {
    let labels = [
        by,
        "http_request_method",
        "http_response_status_code",
        "error_type",
    ];
    metrics.latencies(name, help, &labels)
}

impl Durations {
    pub(super) fn new(all: &HistogramVec, name: &Arc<str>) -> Self {
        Self(Arc::new(Inner {
            all: all.clone(),
            name: name.clone(),
            by_method: Default::default(),
        }))
    }

    /// `status` is none where nobody has answered, or nobody was there for an answer. `error`: why it failed, where
    /// that is known.
    pub(crate) fn observe(
        &self,
        method: KnownMethod,
        status: Option<StatusCode>,
        error: Option<&str>,
        took: Duration,
    ) {
        let status = status.map(place);
        let error = error.and_then(|error| ERRORS.binary_search(&error).ok());
        if let Some(histogram) = self.handle(method, status, error) {
            histogram.observe(took.as_secs_f64());
        }
    }

    fn handle(
        &self,
        method: KnownMethod,
        status: Option<usize>,
        error: Option<usize>,
    ) -> Option<&Histogram> {
        let of_method = self.0.by_method.get(method.index())?;
        let of_method =
            of_method.get_or_init(|| Box::new(std::array::from_fn(|_| Handles::default())));
        let handles = of_method.get(status.unwrap_or(STATUSES.len()))?;
        let handle = match error {
            None => &handles.plain,
            Some(error) => {
                let failed = &handles.failed;
                let failed =
                    failed.get_or_init(|| Box::new(std::array::from_fn(|_| OnceLock::new())));
                failed.get(error)?
            }
        };
        Some(handle.get_or_init(|| self.make(method, status, error)))
    }

    /// Once for each kind of request.
    fn make(&self, method: KnownMethod, status: Option<usize>, error: Option<usize>) -> Histogram {
        let status = status.and_then(|status| STATUSES.get(status)).copied();
        let text = status.map_or_else(String::new, |status| status.to_string());
        let error = match error.and_then(|error| ERRORS.get(error)) {
            Some(error) => error,
            // As OpenTelemetry has it: a status that is an error stands for itself.
            None if status.is_some_and(|status| status >= 500) => &*text,
            None => "",
        };
        let labels = [&*self.0.name, method.as_str(), &*text, error];
        self.0.all.with_label_values(&labels)
    }
}

/// Of a status, or of the first of its class.
fn place(status: StatusCode) -> usize {
    let status = status.as_u16();
    let found = STATUSES.binary_search(&status);
    let found = found.or_else(|_| STATUSES.binary_search(&(status / 100 * 100)));
    // Of no class that there is.
    found.unwrap_or(STATUSES.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_are_searched_are_in_order() {
        assert!(STATUSES.is_sorted() && ERRORS.is_sorted());
        for class in [100, 200, 300, 400, 500] {
            assert!(STATUSES.contains(&class));
        }
    }

    #[test]
    fn nobody_makes_series() {
        let metrics = Metrics::new();
        let all = family(&metrics, ("durations", "of a test"), "route").unwrap();
        let durations = Durations::new(&all, &"/a".into());
        let observe = |method: &str, status, error: Option<&str>| {
            let method = KnownMethod::from(&method.parse().unwrap());
            let status = StatusCode::from_u16(status).ok();
            durations.observe(method, status, error, Duration::from_millis(1));
        };
        for made_up in 0..2_000u16 {
            let method = format!("M{made_up}");
            let word = format!("word-{made_up}");
            observe(&method, 100 + made_up % 900, Some(&*word));
        }
        let count = || metrics.render().matches("durations_count").count();
        assert_eq!(count(), STATUSES.len() + 1, "{}", metrics.render());
        let text = metrics.render();
        assert!(text.contains("http_response_status_code=\"500\""));
        for label in ["\"599\"", "\"M1\"", "word", "\"GET\""] {
            assert!(!text.contains(label), "{label}");
        }
    }

    #[test]
    fn an_error_is_said_once() {
        let metrics = Metrics::new();
        let all = family(&metrics, ("durations", "of a test"), "route").unwrap();
        let durations = Durations::new(&all, &"/a".into());
        let mut expected = Vec::new();
        for (status, error, labels) in [
            (200, None, ("200", "")),
            (200, Some("response_broken"), ("200", "response_broken")),
            (403, Some("denied"), ("403", "")),
            (503, None, ("503", "503")),
            (503, Some("upstream_full"), ("503", "upstream_full")),
            (0, Some("client_gone"), ("", "client_gone")),
        ] {
            let status = StatusCode::from_u16(status).ok();
            for _ in 0..2 {
                durations.observe(KnownMethod::Get, status, error, Duration::from_millis(1));
            }
            expected.push(format!(
                "durations_count{{error_type=\"{}\",http_request_method=\"GET\",http_response_status_code=\"{}\",\
                 route=\"/a\"}} 2",
                labels.1, labels.0
            ));
        }
        let text = metrics.render();
        assert_eq!(text.matches("durations_count").count(), expected.len());
        for line in expected {
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
