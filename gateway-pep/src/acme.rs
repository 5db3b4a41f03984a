//! Certificates that the gateway gets itself (ACME, RFC 8555): ordered by one gateway, used by all that share the
//! store, and renewed before they end.
//!
//! It never gives up one that holds for one that it may get, and never shows one that does not hold.

mod account;
mod kept;
mod order;
mod plan;
mod web;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier};
use prometheus::{IntCounter, IntGaugeVec};
use service_kit::tls::{Issuance, Issued};
use service_kit::{Health, Metrics, SharedClock, Status, Tasks, UnixTime};
use store::{Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::GatewayError;
use kept::{Kept, Record, Turn};
pub(crate) use plan::AcmePlan;

/// The certificates of one gateway. Clones share.
#[derive(Debug, Clone)]
pub struct Acme(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plan: AcmePlan,
    kept: Arc<Kept>,
    issuance: Arc<Issuance>,
    clock: SharedClock,
    health: Health,
    told: Told,
    held: Mutex<Vec<Held>>,
}

/// What is known of one certificate. Nothing: there is none yet.
#[derive(Debug, Default)]
struct Held {
    record: Option<Record>,
    issued: Option<Issued>,
    /// When the authority is asked again whether it is to be renewed sooner.
    ask_at: Option<Instant>,
    /// What it has answered.
    sooner: Option<UnixTime>,
}

#[derive(Debug)]
struct Told {
    ordered: IntCounter,
    failed: IntCounter,
    not_after: IntGaugeVec,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the authority: {0}")]
    Authority(#[from] instant_acme::Error),
    #[error("the authority offers no challenge of the configured kind for `{0}`")]
    NoChallenge(String),
    #[error("the authority wants to see what was not asked for")]
    AnotherIdentifier,
    #[error("the authority has not seen that the names are ours")]
    NotShown,
    #[error("what the authority has issued: {0}")]
    Issued(#[from] service_kit::tls::IssuedError),
    #[error(
        "what the authority has issued is not for the names that were asked for, or holds no more"
    )]
    AnotherCertificate,
    #[error("what is in the store cannot be sealed")]
    Seal,
}

/// How often the store is looked at for what other gateways have got.
const LOOK: Duration = Duration::from_secs(5);
/// The first try after one that has failed; each one later waits twice as long.
const BACK_OFF: Duration = Duration::from_mins(2);
const MOST_BACK_OFF: Duration = Duration::from_hours(6);
/// How often an authority is asked when to renew (RFC 9773 section 4.3), where it says nothing sensible.
const ASK: (Duration, Duration) = (Duration::from_hours(1), Duration::from_hours(24));

impl Acme {
    /// Of a configuration that has `gateway.acme`; nothing, where it has none. Nobody is asked yet.
    pub fn open(
        config: &Config,
        base: &Path,
        store: Arc<dyn Store>,
        told: (SharedClock, &Metrics, Health),
    ) -> Result<Option<Self>, GatewayError> {
        let plan = AcmePlan::compile(config, base).map_err(GatewayError::Config)?;
        let acme = plan.map(|plan| Self::new(plan, store, told)).transpose();
        acme.map_err(GatewayError::Metric)
    }

    fn new(
        plan: AcmePlan,
        store: Arc<dyn Store>,
        (clock, metrics, health): (SharedClock, &Metrics, Health),
    ) -> Result<Self, service_kit::metrics::MetricError> {
        let orders = metrics.counters(
            "pep_acme_orders_total",
            "Certificates that were ordered",
            &["result"],
        )?;
        let names = plan.certificates.iter().flatten().cloned().collect();
        let kept = Kept::new(store, plan.seal.clone(), clock.clone(), names);
        let kept = Arc::new(kept);
        let challenges = plan.is_shown_by_tls().then(|| kept.clone() as _);
        Ok(Self(Arc::new(Inner {
            held: Mutex::new(plan.certificates.iter().map(|_| Held::default()).collect()),
            issuance: Issuance::new(challenges),
            told: Told {
                ordered: orders.with_label_values(&["ok"]),
                failed: orders.with_label_values(&["failed"]),
                not_after: metrics.gauges(
                    "pep_acme_certificate_not_after_seconds",
                    "Until when a certificate holds, in Unix seconds; 0: there is none",
                    &["name"],
                )?,
            },
            kept,
            clock,
            health,
            plan,
        })))
    }

    /// What TLS shows.
    pub(crate) fn issuance(&self) -> Arc<Issuance> {
        self.0.issuance.clone()
    }

    /// What is answered to a request for a challenge of this token (RFC 8555 section 8.3). None: there is none, or
    /// that is not known.
    pub async fn http_answer(&self, token: &str) -> Option<String> {
        self.0.kept.by_token(token).await
    }

    /// Reads what there is, before anybody is served.
    pub async fn load(&self) {
        self.0.look(&mut self.0.held.lock().await).await;
    }

    /// Keeps certificates new until the tasks drain.
    pub(crate) fn follow(&self, tasks: &Tasks) {
        let (inner, draining) = (self.0.clone(), tasks.draining());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = inner.turn() => {}
                    () = draining.cancelled() => return,
                }
                // Not all gateways at once.
                let pause = LOOK.mul_f64(0.8 + 0.4 * fastrand::f64());
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = draining.cancelled() => return,
                }
            }
        });
    }
}

impl Inner {
    async fn turn(&self) {
        let mut held = self.held.lock().await;
        self.look(&mut held).await;
        let mut has_renewed = false;
        for (names, held) in self.plan.certificates.iter().zip(held.iter_mut()) {
            self.ask_when(held).await;
            if !held.is_due(self.clock.now()) {
                continue;
            }
            let Ok(Some(turn)) = self.kept.take_turn(names).await else {
                continue;
            };
            self.renew(names, held, turn).await;
            has_renewed = true;
        }
        if has_renewed {
            self.show(&held);
        }
    }

    /// Takes over what the store has.
    async fn look(&self, held: &mut [Held]) {
        for (names, held) in self.plan.certificates.iter().zip(held.iter_mut()) {
            match self.kept.record(names).await {
                Ok(record) if record != held.record => held.take(record, names),
                Ok(_) => {}
                // What is there serves on.
                Err(error) => tracing::warn!(%error, "certificates in the store cannot be read"),
            }
        }
        self.show(held);
    }

    /// SECURITY: none that is over, or is not yet.
    fn show(&self, held: &[Held]) {
        let now = self.clock.now();
        let mut missing = Vec::new();
        let mut shown = Vec::new();
        for (names, held) in self.plan.certificates.iter().zip(held) {
            let name = names.first().map_or("", String::as_str);
            let holds = held.issued.as_ref().filter(|issued| holds(issued, now));
            let until = holds.map_or(0, |issued| issued.not_after);
            let until = i64::try_from(until).unwrap_or(i64::MAX);
            self.told.not_after.with_label_values(&[name]).set(until);
            match holds {
                Some(issued) => shown.push(issued.clone()),
                None => missing.push(name),
            }
        }
        self.issuance.set(shown);
        if missing.is_empty() {
            self.health.set(PART, Status::Ready);
        } else {
            let reason = format!("no certificate for {}: handshakes fail", missing.join(", "));
            self.health.set(PART, Status::Stale { reason });
        }
    }

    async fn renew(&self, names: &[String], held: &mut Held, turn: Turn) {
        // Somebody may have got it while this one was about to.
        if let Ok(record) = self.kept.record(names).await
            && record != held.record
        {
            held.take(record, names);
            if !held.is_due(self.clock.now()) {
                return self.kept.end_turn(turn, 0, Duration::ZERO).await;
            }
        }
        tracing::info!(?names, "ordering a certificate");
        match order::order(&self.plan, &self.kept, names).await {
            Ok((issued, mut record)) => {
                record.renew_at = renew_at(&issued);
                let put = self.kept.put_record(names, &record).await;
                if let Err(error) = put {
                    // It serves here, and nobody else has it.
                    tracing::error!(%error, ?names, "a certificate cannot be kept");
                }
                self.told.ordered.inc();
                tracing::info!(
                    ?names,
                    not_after = issued.not_after,
                    "a certificate was issued"
                );
                *held = Held {
                    record: Some(record),
                    issued: Some(issued),
                    // It has just been made: nobody knows better yet.
                    ask_at: Some(Instant::now() + ASK.0),
                    sooner: None,
                };
                self.kept.end_turn(turn, 0, Duration::ZERO).await;
            }
            Err(error) => {
                self.told.failed.inc();
                let failures = turn.failures.saturating_add(1);
                let wait = back_off(failures);
                let secs = wait.as_secs();
                tracing::error!(%error, ?names, secs, "no certificate was issued; trying again then");
                self.kept.end_turn(turn, failures, wait).await;
            }
        }
    }

    /// Asks the authority whether a certificate is to be renewed sooner (RFC 9773).
    async fn ask_when(&self, held: &mut Held) {
        let now = Instant::now();
        let Some(issued) = &held.issued else {
            return;
        };
        let Some((authority, serial)) = &issued.identifier else {
            return;
        };
        if held.ask_at.is_some_and(|at| now < at) {
            return;
        }
        let account: Result<Account, AcmeError> = account::account(&self.plan, &self.kept).await;
        let id = CertificateIdentifier::new(authority.as_slice().into(), serial.as_slice().into());
        let asked = match account {
            Ok(account) => account.renewal_info(&id).await.map_err(AcmeError::from),
            Err(error) => Err(error),
        };
        let mut again = ASK.0;
        match asked {
            Ok((info, wait)) => {
                again = wait.clamp(ASK.0, ASK.1);
                let secs = |at: i64| u64::try_from(at).unwrap_or_default();
                let window = info.suggested_window;
                let (start, end) = (
                    secs(window.start.unix_timestamp()),
                    secs(window.end.unix_timestamp()),
                );
                let at = start + fastrand::u64(0..=end.saturating_sub(start));
                held.sooner = Some(UnixTime::from_secs(at));
            }
            Err(error) => tracing::debug!(%error, "the authority does not say when to renew"),
        }
        held.ask_at = Some(now + again);
    }
}

impl Held {
    fn take(&mut self, record: Option<Record>, names: &[String]) {
        let issued = record.as_ref().map(Record::issued).transpose();
        match issued {
            // What is not there any more, or cannot be read, is no reason to have nothing.
            Ok(None) => self.record = None,
            Ok(Some(issued)) => {
                *self = Self {
                    record,
                    issued: Some(issued),
                    ask_at: None,
                    sooner: None,
                }
            }
            Err(error) => {
                tracing::error!(%error, ?names, "a certificate in the store cannot be used");
                self.record = record;
                if let Some(record) = &mut self.record {
                    record.renew_at = UnixTime::from_secs(0);
                }
            }
        }
    }

    fn is_due(&self, now: UnixTime) -> bool {
        let holds = self
            .issued
            .as_ref()
            .is_some_and(|issued| holds(issued, now));
        let record = self.record.as_ref();
        let is_told = self.sooner.is_some_and(|at| now >= at);
        !holds || is_told || record.is_none_or(|record| now >= record.renew_at)
    }
}

fn holds(issued: &Issued, now: UnixTime) -> bool {
    // An authority's clock may be a little ahead of ours, and the certificate is as good.
    now < UnixTime::from_secs(issued.not_after)
}

/// When two thirds of its time are over, and not when everybody does.
fn renew_at(issued: &Issued) -> UnixTime {
    let life = issued.not_after.saturating_sub(issued.not_before);
    let jitter = fastrand::u64(0..=life / 30);
    UnixTime::from_secs(issued.not_after - life / 3 - jitter.min(issued.not_after))
}

fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(12));
    doubled
        .min(MOST_BACK_OFF)
        .mul_f64(0.8 + 0.4 * fastrand::f64())
}

const PART: &str = "certificates";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fails_waits_longer_each_time_and_never_the_same() {
        for (failures, secs) in [
            (1, 120),
            (2, 240),
            (5, 1920),
            (9, 21_600),
            (u32::MAX, 21_600),
        ] {
            let wait = back_off(failures).as_secs_f64();
            let expected = f64::from(secs);
            assert!(
                (expected * 0.8..=expected * 1.2).contains(&wait),
                "{failures}: {wait}"
            );
        }
        let waits: std::collections::BTreeSet<_> = (0..20).map(|_| back_off(3)).collect();
        assert!(waits.len() > 1);
    }
}
