//! When endpoints get no requests, compiled.

use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Uri};
use service_kit::ConfigIssue;

use crate::config::{HealthCheckConfig, OutlierDetectionConfig, UpstreamConfig};

/// What decides whether an endpoint gets requests, beside the choice among them.
#[derive(Debug, Clone)]
pub(crate) struct HealthPlan {
    /// None: whatever requests come to, nobody is ejected.
    pub(crate) outliers: Option<Outliers>,
    /// None: nobody is asked.
    pub(crate) check: Option<HealthCheck>,
    /// How long it takes an endpoint that has come back to its whole share. Zero: it has it at once.
    pub(crate) slow_start: Duration,
    /// Where fewer are well, all get requests.
    pub(crate) panic_percent: usize,
}

/// [`OutlierDetectionConfig`], compiled.
#[derive(Debug, Clone)]
pub(crate) struct Outliers {
    pub(crate) failures: u32,
    statuses: Vec<StatusCode>,
    pub(crate) ejection: Duration,
    pub(crate) max_ejection: Duration,
    pub(crate) max_percent: usize,
}

/// [`HealthCheckConfig`], compiled.
#[derive(Debug, Clone)]
pub(crate) struct HealthCheck {
    pub(crate) path: PathAndQuery,
    pub(crate) host: HeaderValue,
    statuses: Vec<StatusCode>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) unhealthy: u32,
    pub(crate) healthy: u32,
}

impl HealthPlan {
    /// `host`: what the upstream is called.
    pub(super) fn compile(
        name: &str,
        config: &UpstreamConfig,
        host: &HeaderValue,
    ) -> Result<Self, ConfigIssue> {
        let at = |key: &str| format!("upstreams.{name}.{key}");
        if config.panic_threshold_percent > 100 {
            return Err(of_hundred(&at("panic_threshold_percent")));
        }
        let outliers = Outliers::compile(&at("outlier_detection"), &config.outlier_detection)?;
        let check = config.health_check.as_ref();
        let check = check.map(|check| HealthCheck::compile(&at("health_check"), check, host));
        Ok(Self {
            // One that is alone is never ejected.
            outliers: outliers.filter(|_| config.endpoints.len() > 1 || config.dns.is_some()),
            check: check.transpose()?,
            slow_start: Duration::from_secs(config.slow_start_secs),
            panic_percent: config.panic_threshold_percent.into(),
        })
    }

    /// Whether endpoints can come and go.
    pub(crate) fn is_any(&self) -> bool {
        self.outliers.is_some() || self.check.is_some()
    }
}

impl Outliers {
    fn compile(at: &str, config: &OutlierDetectionConfig) -> Result<Option<Self>, ConfigIssue> {
        if config.max_ejected_percent > 100 {
            return Err(of_hundred(&format!("{at}.max_ejected_percent")));
        }
        if config.ejection_secs == 0 || config.max_ejection_secs < config.ejection_secs {
            return Err(ConfigIssue::new(format!(
                "`{at}`: `ejection_secs` must not be 0, nor more than `max_ejection_secs`"
            )));
        }
        let statuses = statuses(at, &config.statuses, 500)?;
        Ok((config.consecutive_failures > 0).then(|| Self {
            failures: config.consecutive_failures,
            statuses,
            ejection: Duration::from_secs(config.ejection_secs),
            max_ejection: Duration::from_secs(config.max_ejection_secs),
            max_percent: config.max_ejected_percent.into(),
        }))
    }

    /// Whether an answer counts as a failure.
    pub(crate) fn counts(&self, status: StatusCode) -> bool {
        status.is_server_error() && self.statuses.contains(&status)
    }
}

impl HealthCheck {
    fn compile(
        at: &str,
        config: &HealthCheckConfig,
        host: &HeaderValue,
    ) -> Result<Self, ConfigIssue> {
        let uri = config.path.parse::<Uri>().ok();
        let uri = uri.filter(|uri| config.path.starts_with('/') && uri.authority().is_none());
        let path = uri.and_then(|uri| uri.path_and_query().cloned());
        let path = path.ok_or_else(|| {
            ConfigIssue::new(format!("`{at}.path`: `{}` is no path", config.path))
                .hint("write what is asked for, beginning with `/`: `/healthz`")
        })?;
        for (key, is_zero) in [
            ("interval_ms", config.interval_ms == 0),
            ("timeout_ms", config.timeout_ms == 0),
            ("unhealthy_threshold", config.unhealthy_threshold == 0),
            ("healthy_threshold", config.healthy_threshold == 0),
        ] {
            if is_zero {
                return Err(ConfigIssue::new(format!("`{at}.{key}` must not be 0")));
            }
        }
        Ok(Self {
            path,
            host: host.clone(),
            statuses: statuses(at, &config.statuses, 100)?,
            interval: Duration::from_millis(config.interval_ms),
            timeout: Duration::from_millis(config.timeout_ms),
            unhealthy: config.unhealthy_threshold,
            healthy: config.healthy_threshold,
        })
    }

    /// Whether it is well who answers so.
    pub(crate) fn expects(&self, status: StatusCode) -> bool {
        match &*self.statuses {
            [] => status.is_success(),
            expected => expected.contains(&status),
        }
    }
}

pub(super) fn of_hundred(key: &str) -> ConfigIssue {
    ConfigIssue::new(format!("`{key}` must be from 0 to 100"))
}

pub(super) fn statuses(
    at: &str,
    written: &[u16],
    least: u16,
) -> Result<Vec<StatusCode>, ConfigIssue> {
    let read = |status: &u16| {
        let is_known = (least..600).contains(status);
        let known = StatusCode::from_u16(*status).ok().filter(|_| is_known);
        known.ok_or_else(|| {
            ConfigIssue::new(format!(
                "`{at}.statuses`: `{status}` is not from {least} to 599"
            ))
        })
    };
    written.iter().map(read).collect()
}
