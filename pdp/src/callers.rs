//! Who may ask over HTTP: callers from the configuration, each known in one way, or everyone.

mod claims;
mod fault;
mod issuers;
mod keys;
mod presented;
mod way;

use std::path::Path;
use std::sync::Arc;

use ::http::HeaderMap;
use service_kit::{
    ClientCertificate, ClientCertificates, ConfigIssue, Metrics, Secret, Tasks, Tls, UnixTime,
    WantedCertificate,
};

use crate::PdpConfig;
use crate::config::{CallerConfig, EntityRight, ExplainRight};
use crate::rate::Rate;
use issuers::Issuers;
use presented::Presented;
use way::Way;

/// The configured callers. None configured: nobody is asked for anything.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    keys: Vec<Known>,
    issuers: Issuers,
    certificates: Vec<(WantedCertificate, Caller)>,
}

/// A caller that is known by a key.
#[derive(Debug)]
struct Known {
    caller: Caller,
    basic_user: Option<Secret>,
    key: Secret,
}

/// A caller that showed who it is.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) name: Arc<str>,
    pub(crate) rate: Option<Arc<Rate>>,
    pub(crate) entities: EntityRight,
    pub(crate) explain: ExplainRight,
    pub(crate) residuals: bool,
    pub(crate) snapshots: bool,
}

/// Why a request is not a caller's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 401, with these challenges.
    Unknown(Vec<&'static str>),
    /// The keys of the token's issuer have never been had, so it cannot be known.
    NoKeys,
}

const BEARER: &str = "Bearer";
const INVALID: &str = "Bearer error=\"invalid_token\"";
const BASIC: &str = "Basic realm=\"pdp\", charset=\"UTF-8\"";
/// No registered scheme stands for client certificates, and a 401 needs a challenge.
const CERTIFICATE: &str = "Certificate realm=\"pdp\"";

impl Callers {
    /// Reads what the configuration names; nothing is fetched yet.
    pub(crate) fn new(config: &PdpConfig, base: &Path) -> Result<Self, ConfigIssue> {
        let authorities = config
            .tls
            .as_ref()
            .and_then(|tls| tls.client_ca_file.as_ref());
        let mut callers = Self::default();
        let mut issuers = Issuers::building(config);
        for configured in &config.callers {
            let caller = Caller::of(configured);
            match configured.way(base)? {
                Way::Key { basic_user, key } => {
                    if callers
                        .keys
                        .iter()
                        .any(|other| other.key.matches(key.reveal()))
                    {
                        return Err(configured.issue("the key is another caller's"));
                    }
                    callers.keys.push(Known {
                        caller,
                        basic_user,
                        key,
                    });
                }
                Way::Jwt(jwt) => issuers.add(jwt, configured, caller)?,
                Way::Certificate(_) if authorities.is_none() => {
                    return Err(configured
                        .issue("it has a `certificate`, and nothing says whose are believed")
                        .hint("give `pdp.tls.client_ca_file`"));
                }
                Way::Certificate(wanted) => {
                    let mut others = callers.certificates.iter();
                    if others.any(|(other, _)| *other == wanted) {
                        return Err(configured.issue("the certificate is another caller's"));
                    }
                    callers.certificates.push((wanted, caller));
                }
            }
        }
        callers.issuers = issuers.build();
        Ok(callers)
    }

    /// Else anybody who can connect may ask, and nobody has a name.
    pub(crate) fn are_configured(&self) -> bool {
        !(self.keys.is_empty() && self.issuers.is_empty() && self.certificates.is_empty())
    }

    /// Begins to keep the keys of issuers up to date.
    pub(crate) fn follow(
        &self,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<(), service_kit::metrics::MetricError> {
        self.issuers.follow(metrics, tasks)
    }

    /// By what the HTTP API is served, where it is not plain HTTP.
    pub(crate) fn tls(&self, config: &PdpConfig, base: &Path) -> Result<Option<Tls>, ConfigIssue> {
        // A client may do without a certificate where there is another way to be known.
        let clients = if self.keys.is_empty() && self.issuers.is_empty() {
            ClientCertificates::Required
        } else {
            ClientCertificates::Optional
        };
        let tls = config.tls.as_ref();
        tls.map(|tls| Tls::open("pdp.tls", tls, base, clients))
            .transpose()
    }

    /// Nobody, where nobody is configured; else who showed who it is.
    ///
    /// What is sent in `Authorization` counts alone. A certificate counts where nothing is sent.
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ClientCertificate>,
        now: UnixTime,
    ) -> Result<Option<Caller>, Refusal> {
        if !self.are_configured() {
            return Ok(None);
        }
        let found = match Presented::read(headers) {
            Presented::Nothing => {
                let found = certificate.and_then(|certificate| self.of_certificate(certificate));
                return found.map(Some).ok_or_else(|| self.refuse(BEARER));
            }
            Presented::Broken => None,
            Presented::Basic { user, key } => self.of_key(Some(&user), &key),
            Presented::Bearer(token) => match self.of_key(None, token) {
                Some(caller) => Some(caller),
                None => Box::pin(self.issuers.identify(token, now)).await?,
            },
        };
        found.map(Some).ok_or_else(|| self.refuse(INVALID))
    }

    fn of_key(&self, user: Option<&str>, shown: &str) -> Option<Caller> {
        // SECURITY: every key is compared, so that time does not tell which came near.
        let mut found = None;
        for known in &self.keys {
            let key = known.key.matches(shown);
            let user = match (&known.basic_user, user) {
                (Some(expected), Some(user)) => expected.matches(user),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if key & user {
                found = Some(known.caller.clone());
            }
        }
        found
    }

    /// Nobody, where one certificate would be two callers.
    fn of_certificate(&self, shown: &ClientCertificate) -> Option<Caller> {
        let mut found = self
            .certificates
            .iter()
            .filter(|(wanted, _)| wanted.is_met(shown));
        match (found.next(), found.next()) {
            (Some((_, caller)), None) => Some(caller.clone()),
            (Some((_, one)), Some((_, other))) => {
                tracing::warn!(
                    callers = ?[&one.name, &other.name],
                    "a client certificate is more than one caller's, and so nobody's"
                );
                None
            }
            (None, _) => None,
        }
    }

    /// One challenge for each way that some caller uses.
    fn refuse(&self, bearer: &'static str) -> Refusal {
        let has_basic = self.keys.iter().any(|known| known.basic_user.is_some());
        let has_bearer = self.keys.iter().any(|known| known.basic_user.is_none());
        let mut challenges = Vec::new();
        if has_bearer || !self.issuers.is_empty() {
            challenges.push(bearer);
        }
        if has_basic {
            challenges.push(BASIC);
        }
        if challenges.is_empty() {
            challenges.push(CERTIFICATE);
        }
        Refusal::Unknown(challenges)
    }
}

impl Caller {
    fn of(configured: &CallerConfig) -> Self {
        let now = tokio::time::Instant::now();
        Self {
            name: configured.name.as_str().into(),
            rate: configured
                .rate_per_second
                .map(|per_second| Arc::new(Rate::new(per_second, now))),
            entities: configured.entities,
            explain: configured.explain,
            residuals: configured.residuals,
            snapshots: configured.snapshots,
        }
    }
}

#[cfg(test)]
mod tests;
