//! What is counted. Handles are made when a gateway opens, so that a request looks nothing up.

mod ambiguous;
mod durations;
mod mirror;
mod route;
pub(crate) mod upstream;

use prometheus::{Histogram, IntCounter, IntGauge};
use service_kit::Metrics;
use service_kit::metrics::MetricError;

use crate::cache::Source;
use crate::identity::jwks::KeyReadings;
use crate::plan::Plan;
use crate::withdrawn::Withdrawn;
use ambiguous::AmbiguousMetrics;
use mirror::MirrorMetrics;
use route::RouteMetrics;
use upstream::UpstreamMetrics;

/// Handles of one gateway.
#[derive(Debug)]
pub(crate) struct GatewayMetrics {
    pub(crate) in_flight: IntGauge,
    pub(crate) connections: IntGauge,
    pub(crate) refused: ConnectionsRefused,
    pub(crate) handshakes: IntCounter,
    pub(crate) failed_handshakes: IntCounter,
    pub(crate) revocation_lag: Histogram,
    pub(crate) events: IntCounter,
    pub(crate) log_dropped: IntCounter,
    /// In the order of their names.
    pub(crate) notifications_dropped: Vec<IntCounter>,
    pub(crate) token_entries: IntGauge,
    pub(crate) decision_entries: IntGauge,
    pub(crate) streams: IntGauge,
    pub(crate) streams_asked: StreamsAsked,
    streams_ended: [IntCounter; 4],
    /// By issuer, then by source.
    swaps: Vec<Vec<[IntCounter; 3]>>,
    /// By issuer.
    key_readings: Vec<KeyReadings>,
    logins: Vec<[IntCounter; LOGIN_OUTCOMES.len()]>,
    rejected: Vec<(&'static str, IntCounter)>,
    pub(crate) ambiguous: AmbiguousMetrics,
    pub(crate) mirror: MirrorMetrics,
    routes: Vec<RouteMetrics>,
    unrouted: RouteMetrics,
    upstreams: Vec<UpstreamMetrics>,
}

/// Why a connection is not taken on.
#[derive(Debug)]
pub(crate) struct ConnectionsRefused {
    /// The worker has as many as it may.
    pub(crate) full: IntCounter,
    /// The address has.
    pub(crate) address: IntCounter,
    /// The system has given none: no descriptor was left, say.
    pub(crate) accept: IntCounter,
    /// A trusted proxy has not said for whom it passes bytes on.
    pub(crate) proxy_protocol: IntCounter,
}

impl ConnectionsRefused {
    fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        let refused = metrics.counters(
            "pep_connections_refused_total",
            "Client connections that were not taken on",
            &["reason"],
        )?;
        Ok(Self {
            full: refused.with_label_values(&["full"]),
            address: refused.with_label_values(&["address"]),
            accept: refused.with_label_values(&["accept"]),
            proxy_protocol: refused.with_label_values(&["proxy_protocol"]),
        })
    }
}

/// Answers about streams.
#[derive(Debug)]
pub(crate) struct StreamsAsked {
    pub(crate) permit: IntCounter,
    pub(crate) deny: IntCounter,
    pub(crate) unknown: IntCounter,
}

/// How a swap ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SwapOutcome {
    Live,
    Inactive,
    Unknown,
}

/// What became of a login or of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginOutcome {
    /// A browser was sent to the provider.
    Begun,
    Completed,
    /// The provider said no, or what it said does not hold.
    Refused,
    /// Somebody did not answer.
    Failed,
    Renewed,
    RenewalRefused,
    RenewalFailed,
    LoggedOut,
    BackchannelLogout,
}

const LOGIN_OUTCOMES: [(LoginOutcome, &str); 9] = [
    (LoginOutcome::Begun, "begun"),
    (LoginOutcome::Completed, "completed"),
    (LoginOutcome::Refused, "refused"),
    (LoginOutcome::Failed, "failed"),
    (LoginOutcome::Renewed, "renewed"),
    (LoginOutcome::RenewalRefused, "renewal_refused"),
    (LoginOutcome::RenewalFailed, "renewal_failed"),
    (LoginOutcome::LoggedOut, "logged_out"),
    (LoginOutcome::BackchannelLogout, "backchannel_logout"),
];

impl GatewayMetrics {
    pub(crate) fn new(
        metrics: &Metrics,
        plan: &Plan,
        reasons: &[&'static str],
    ) -> Result<Self, MetricError> {
        let logins = login_metrics(metrics, plan)?;
        let rejected = metrics.counters(
            "pep_rejected_requests_total",
            "Requests that the gateway answered itself",
            &["reason"],
        )?;
        let [handshakes, failed_handshakes] = handshake_metrics(metrics)?;
        let (routes, unrouted) = RouteMetrics::all(metrics, plan)?;
        Ok(Self {
            in_flight: metrics.gauge("http_server_active_requests", "Requests being answered")?,
            connections: metrics.gauge("pep_connections", "Open client connections")?,
            refused: ConnectionsRefused::new(metrics)?,
            handshakes,
            failed_handshakes,
            revocation_lag: metrics.latency(
                "pep_revocation_lag_seconds",
                "Time between two answers of the event log: an announcement waited at most so long",
            )?,
            events: metrics.counter("pep_events_total", "Announcements received")?,
            log_dropped: metrics
                .counter("pep_access_log_dropped_total", "Access log lines lost")?,
            notifications_dropped: notifications_dropped(metrics, plan)?,
            token_entries: metrics.gauge("pep_cache_token_entries", "Swapped tokens remembered")?,
            decision_entries: metrics
                .gauge("pep_cache_decision_entries", "Decisions remembered")?,
            streams: metrics.gauge(
                "pep_streams",
                "Answers, uploads and tunnels that last, and whose grounds are looked at",
            )?,
            streams_asked: streams_asked(metrics)?,
            streams_ended: streams_ended(metrics)?,
            swaps: swap_metrics(metrics, plan)?,
            key_readings: key_readings(metrics, plan)?,
            logins,
            rejected: reasons
                .iter()
                .map(|reason| (*reason, rejected.with_label_values(&[reason])))
                .collect(),
            ambiguous: AmbiguousMetrics::new(metrics, plan)?,
            mirror: MirrorMetrics::new(metrics)?,
            routes,
            unrouted,
            upstreams: UpstreamMetrics::all(metrics, plan)?,
        })
    }

    /// Of a route, or of what led to none.
    pub(crate) fn route(&self, route: Option<usize>) -> &RouteMetrics {
        route
            .and_then(|route| self.routes.get(route))
            .unwrap_or(&self.unrouted)
    }

    pub(crate) fn upstream(&self, upstream: usize) -> Option<&UpstreamMetrics> {
        self.upstreams.get(upstream)
    }

    pub(crate) fn key_readings(&self, issuer: usize) -> Option<&KeyReadings> {
        self.key_readings.get(issuer)
    }

    pub(crate) fn swapped(&self, issuer: usize, source: Source, outcome: SwapOutcome) {
        let counter = self
            .swaps
            .get(issuer)
            .and_then(|sources| sources.get(place(source)))
            .map(|[live, inactive, unknown]| match outcome {
                SwapOutcome::Live => live,
                SwapOutcome::Inactive => inactive,
                SwapOutcome::Unknown => unknown,
            });
        if let Some(counter) = counter {
            counter.inc();
        }
    }

    pub(crate) fn login(&self, login: usize, outcome: LoginOutcome) {
        let place = LOGIN_OUTCOMES.iter().position(|(own, _)| *own == outcome);
        let of_login = self.logins.get(login);
        if let Some(counter) = of_login.zip(place).and_then(|(all, place)| all.get(place)) {
            counter.inc();
        }
    }

    pub(crate) fn stream_ended(&self, withdrawn: Withdrawn) {
        let place = Withdrawn::ALL.iter().position(|it| *it == withdrawn);
        if let Some(counter) = place.and_then(|place| self.streams_ended.get(place)) {
            counter.inc();
        }
    }

    /// Swaps so far: from memory, from what is shared, from issuers, from what is too old.
    pub(crate) fn swaps_by_source(&self) -> [u64; 4] {
        by_place(self.swaps.iter().flatten())
    }

    /// Decisions so far, likewise.
    pub(crate) fn decisions_by_source(&self) -> [u64; 4] {
        let routes = self.routes.iter().chain([&self.unrouted]);
        by_place(routes.filter_map(RouteMetrics::counted).flatten())
    }

    pub(crate) fn reject(&self, reason: &str) {
        if let Some((_, counter)) = self.rejected.iter().find(|(known, _)| *known == reason) {
            counter.inc();
        }
    }
}

/// Rows of counters, of which every fourth is about the same source.
fn by_place<'m, const N: usize>(rows: impl Iterator<Item = &'m [IntCounter; N]>) -> [u64; 4] {
    let mut sums = [0; 4];
    for (index, row) in rows.enumerate() {
        if let Some(sum) = sums.get_mut(index % 4) {
            *sum += row.iter().map(IntCounter::get).sum::<u64>();
        }
    }
    sums
}

fn place(source: Source) -> usize {
    match source {
        Source::L1 => 0,
        Source::L2 => 1,
        Source::Remote => 2,
        Source::Stale => 3,
    }
}

fn handshake_metrics(metrics: &Metrics) -> Result<[IntCounter; 2], MetricError> {
    let handshakes = metrics.counters(
        "pep_tls_handshakes_total",
        "TLS handshakes with clients",
        &["result"],
    )?;
    Ok(["ok", "failed"].map(|result| handshakes.with_label_values(&[result])))
}

fn login_metrics(
    metrics: &Metrics,
    plan: &Plan,
) -> Result<Vec<[IntCounter; LOGIN_OUTCOMES.len()]>, MetricError> {
    let Some(logins) = &plan.logins else {
        return Ok(Vec::new());
    };
    let counters = metrics.counters(
        "pep_logins_total",
        "What became of logins and sessions of people with a browser",
        &["login", "outcome"],
    )?;
    let of = |name: &str| LOGIN_OUTCOMES.map(|(_, word)| counters.with_label_values(&[name, word]));
    Ok(logins.all.iter().map(|login| of(&login.name)).collect())
}

fn swap_metrics(metrics: &Metrics, plan: &Plan) -> Result<Vec<Vec<[IntCounter; 3]>>, MetricError> {
    let swaps = metrics.counters(
        "pep_token_swaps_total",
        "Tokens that somebody was asked about, by issuer and by where the answer came from",
        &["issuer", "source", "result"],
    )?;
    let by_source = |name: &str| {
        let counters = Source::ALL.iter().map(|source| {
            ["active", "inactive", "unknown"]
                .map(|result| swaps.with_label_values(&[name, source.as_str(), result]))
        });
        counters.collect()
    };
    let issuers = plan.issuers.iter();
    Ok(issuers.map(|issuer| by_source(&issuer.name)).collect())
}

fn key_readings(metrics: &Metrics, plan: &Plan) -> Result<Vec<KeyReadings>, MetricError> {
    let readings = metrics.counters(
        "pep_issuer_keys_read_total",
        "Readings of the keys of an issuer",
        &["issuer", "result"],
    )?;
    let of = |name: &str| KeyReadings {
        ok: readings.with_label_values(&[name, "ok"]),
        failed: readings.with_label_values(&[name, "failed"]),
    };
    let issuers = plan.issuers.iter();
    Ok(issuers.map(|issuer| of(&issuer.name)).collect())
}

fn notifications_dropped(metrics: &Metrics, plan: &Plan) -> Result<Vec<IntCounter>, MetricError> {
    let dropped = metrics.counters(
        "pep_notifications_dropped_total",
        "Notifications lost",
        &["to"],
    )?;
    let names = plan.abilities.notifications.keys();
    Ok(names
        .map(|name| dropped.with_label_values(&[name]))
        .collect())
}

fn streams_asked(metrics: &Metrics) -> Result<StreamsAsked, MetricError> {
    let asked = metrics.counters(
        "pep_streams_reauthorized_total",
        "Times that a stream was asked about again",
        &["result"],
    )?;
    let counter = |result: &str| asked.with_label_values(&[result]);
    Ok(StreamsAsked {
        permit: counter("permit"),
        deny: counter("deny"),
        unknown: counter("unknown"),
    })
}

fn streams_ended(metrics: &Metrics) -> Result<[IntCounter; 4], MetricError> {
    let ended = metrics.counters(
        "pep_streams_ended_total",
        "Streams that were ended because they may not go on",
        &["reason"],
    )?;
    Ok(Withdrawn::ALL.map(|withdrawn| ended.with_label_values(&[withdrawn.as_str()])))
}
