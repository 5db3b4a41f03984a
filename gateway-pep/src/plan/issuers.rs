//! Issuers, compiled: how each one's tokens are verified or asked about, or why they cannot be.

mod subject;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jose::{Accepted, Algorithm};
use oauth::{Scope, SubjectKind, TokenIntrospector};
use service_kit::renewal::{self, Pace};
use service_kit::{ConfigIssue, Secret, outbound, pem};
use url::Url;

use crate::config::{
    AuthMethod, CertificateIssuerConfig, CertificateName, CertificateSubjectType, Config, Forward,
    IntrospectionIssuerConfig, IssuerConfig, JwtIssuerConfig, TOKEN_SERVICE,
};
use crate::identity::answer::Forwarded;
use crate::identity::certificate::{CertificateRules, NameRule};
use crate::identity::introspection::{Credential, Introspector};
use crate::identity::issuer::{Issuer, Kind, TokenService};
use crate::identity::jwks::{Jwks, Source};
use crate::identity::jwt::JwtRules;
use crate::identity::mapping::Namespace;
use subject::namespaces;

/// What every issuer is compiled with.
struct Building<'c> {
    /// As configuration calls it: `gateway.issuers.NAME`.
    at: String,
    name: &'c str,
    base: &'c Path,
    /// For a question that a request waits for.
    patience: Duration,
    /// Those of the others.
    taken: Vec<String>,
}

type Compiled<T> = Result<T, ConfigIssue>;

/// Files of keys are looked at this often.
const FOLLOW: Duration = Duration::from_secs(2);

const MOST_LEEWAY_SECS: u64 = 120;

/// The token service is the first of them.
pub(super) fn compile(
    config: &Config,
    base: &Path,
    introspector: Option<Arc<dyn TokenIntrospector>>,
    issues: &mut Vec<ConfigIssue>,
) -> Arc<[Issuer]> {
    let gateway = &config.gateway;
    let namespaces = namespaces(config, issues);
    let taken = |but: &str| {
        let others = namespaces
            .iter()
            .filter(|(name, own)| *name != but && !own.is_empty());
        others.map(|(_, own)| own.clone()).collect::<Vec<_>>()
    };
    let mut issuers = vec![Issuer {
        name: TOKEN_SERVICE.into(),
        kind: Kind::TokenService(TokenService {
            introspector,
            namespace: Namespace {
                own: String::new(),
                taken: taken(TOKEN_SERVICE),
            },
        }),
    }];
    for (name, issuer) in &gateway.issuers {
        let building = Building {
            at: format!("gateway.issuers.{name}"),
            name,
            base,
            patience: Duration::from_millis(gateway.timeouts.ask_ms),
            taken: taken(name),
        };
        match building.kind(issuer) {
            Ok(kind) => issuers.push(Issuer {
                name: name.as_str().into(),
                kind,
            }),
            Err(issue) => issues.push(issue),
        }
    }
    issuers.into()
}

impl Building<'_> {
    fn issue(&self, key: &str, problem: &str) -> ConfigIssue {
        let at = &self.at;
        ConfigIssue::new(format!("`{at}.{key}` {problem}"))
    }

    fn kind(&self, issuer: &IssuerConfig) -> Compiled<Kind> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.bytes().all(is_plain) {
            return Err(ConfigIssue::new(format!(
                "`{}`: the name must be 1 to 32 lower-case letters, digits and `-`",
                self.at
            )));
        }
        match issuer {
            IssuerConfig::Jwt(jwt) => Ok(Kind::Jwt(Box::new(self.jwt(jwt)?))),
            IssuerConfig::Introspection(introspection) => {
                let introspector = self.introspector(introspection)?;
                Ok(Kind::Introspection(Box::new(introspector)))
            }
            IssuerConfig::Certificate(certificate) => {
                Ok(Kind::Certificate(self.certificate(certificate)?))
            }
        }
    }

    fn jwt(&self, jwt: &JwtIssuerConfig) -> Compiled<JwtRules> {
        let issuer = self.issuer("jwt.issuer", &jwt.issuer)?;
        for (key, is_wrong, must) in [
            (
                "leeway_secs",
                jwt.leeway_secs > MOST_LEEWAY_SECS,
                "must be at most 120",
            ),
            (
                "max_lifetime_secs",
                jwt.max_lifetime_secs == 0,
                "must not be 0",
            ),
            (
                "jwks_refresh_secs",
                jwt.jwks_refresh_secs == 0,
                "must not be 0",
            ),
            ("jwks_rest_secs", jwt.jwks_rest_secs == 0, "must not be 0"),
            (
                "jwks_keep_secs",
                jwt.jwks_keep_secs <= jwt.jwks_refresh_secs,
                "must be more than `jwks_refresh_secs`",
            ),
        ] {
            if is_wrong {
                return Err(self.issue(&format!("jwt.{key}"), must));
            }
        }
        Ok(JwtRules {
            issuer: jwt.issuer.clone(),
            keys: Arc::new(self.keys(jwt, issuer)?),
            audiences: self.audiences("jwt.audiences", &jwt.audiences)?,
            algorithms: self.algorithms(&jwt.algorithms)?,
            types: self.types(&jwt.types)?,
            leeway: Duration::from_secs(jwt.leeway_secs),
            max_lifetime: Duration::from_secs(jwt.max_lifetime_secs),
            mapping: self.mapping("jwt", &jwt.subject, &jwt.require)?,
            forwarded: jwt.forward.into(),
        })
    }

    fn certificate(&self, certificate: &CertificateIssuerConfig) -> Compiled<CertificateRules> {
        let scope = Scope::parse(certificate.scope.as_deref().unwrap_or_default());
        let subject = &certificate.subject;
        Ok(CertificateRules {
            name: match certificate.name {
                CertificateName::SubjectDn => NameRule::SubjectDn,
                CertificateName::SanDns => NameRule::SanDns,
                CertificateName::SanUri => NameRule::SanUri,
                CertificateName::SanEmail => NameRule::SanEmail,
            },
            kind: match subject.kind {
                CertificateSubjectType::Client => SubjectKind::Client,
                CertificateSubjectType::User => SubjectKind::User,
            },
            scope: scope.map_err(|error| {
                self.issue("certificate.scope", &format!("is no scope: {error}"))
            })?,
            namespace: self.namespace("certificate", subject.namespace.as_ref())?,
        })
    }

    fn keys(&self, jwt: &JwtIssuerConfig, issuer: Url) -> Compiled<Jwks> {
        let given = [
            jwt.jwks_uri.is_some(),
            jwt.jwks_file.is_some(),
            jwt.jwks.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(self
                .issue("jwt", "says more than once where the keys are")
                .hint("keep one of `jwks_uri`, `jwks_file` and `jwks`"));
        }
        let at_hand = jwt.jwks_file.is_some() || jwt.jwks.is_some();
        if at_hand && jwt.ca_file.is_some() {
            return Err(self
                .issue("jwt.ca_file", "means nothing where no keys are fetched")
                .hint("remove it"));
        }
        let client = || self.client("jwt.ca_file", jwt.ca_file.as_deref(), renewal::READING);
        let keep = Duration::from_secs(jwt.jwks_keep_secs);
        let fetched = Pace {
            refresh: Duration::from_secs(jwt.jwks_refresh_secs),
            rest: Duration::from_secs(jwt.jwks_rest_secs),
        };
        let read = Pace {
            refresh: FOLLOW,
            rest: FOLLOW,
        };
        let (key, source, pace) = match (&jwt.jwks_uri, &jwt.jwks_file, &jwt.jwks) {
            (Some(url), ..) => {
                let (url, client) = (self.endpoint("jwt.jwks_uri", url)?, client()?);
                ("jwt.jwks_uri", Source::Url { client, url }, fetched)
            }
            (_, Some(file), _) => ("jwt.jwks_file", Source::File(self.base.join(file)), read),
            (.., Some(jwks)) => {
                let text = jwks.to_string().into_bytes();
                ("jwt.jwks", Source::Fixed(text), read)
            }
            (None, None, None) => {
                let client = client()?;
                ("jwt.issuer", Source::Metadata { client, issuer }, fetched)
            }
        };
        Jwks::open(source, pace, keep)
            .map_err(|why| self.issue(key, &format!("is no key set: {why}")))
    }

    fn algorithms(&self, names: &[String]) -> Compiled<Vec<Algorithm>> {
        let key = "jwt.algorithms";
        if names.is_empty() {
            return Err(self
                .issue(key, "is empty")
                .hint("leave it out, or list some"));
        }
        let known = Algorithm::ALL.map(Algorithm::name).join(", ");
        let found = names.iter().map(|name| {
            Algorithm::from_name(name).ok_or_else(|| {
                let why = if name.starts_with("HS") || name.eq_ignore_ascii_case("none") {
                    "whoever can verify such a token can make one"
                } else {
                    "it is not known here"
                };
                self.issue(key, &format!("cannot have `{name}`: {why}"))
                    .hint(format!("known here: {known}"))
            })
        });
        found.collect()
    }

    /// `at+jwt` says what kind of token it is (RFC 9068 section 4); `JWT`, or nothing, does not.
    fn types(&self, names: &[String]) -> Compiled<Accepted> {
        let accepted = |types, untyped| Ok(Accepted { types, untyped });
        let has = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
        let known = |name: &&String| {
            !["at+jwt", "jwt"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        };
        match (has("at+jwt"), has("jwt"), names.iter().find(known)) {
            (true, false, None) => accepted(&["at+jwt"], false),
            (false, true, None) => accepted(&["jwt"], true),
            (true, true, None) => accepted(&["at+jwt", "jwt"], true),
            (.., Some(other)) => Err(self
                .issue("jwt.types", &format!("cannot have `{other}`"))
                .hint("known here: at+jwt, JWT")),
            (false, false, None) => Err(self
                .issue("jwt.types", "is empty")
                .hint("known here: at+jwt, JWT")),
        }
    }

    fn introspector(&self, config: &IntrospectionIssuerConfig) -> Compiled<Introspector> {
        if let Some(issuer) = &config.issuer {
            self.issuer("introspection.issuer", issuer)?;
        }
        if config.client_id.is_empty() {
            return Err(self.issue("introspection.client_id", "is empty"));
        }
        if config.ttl_secs == 0 {
            return Err(self.issue("introspection.ttl_secs", "must not be 0"));
        }
        let secret = Secret::from_config(
            &format!("{}.introspection.client_secret", self.at),
            config.client_secret.clone(),
            config.client_secret_file.as_ref(),
            self.base,
        )?;
        let client_id = config.client_id.clone();
        let credential = match config.auth_method {
            AuthMethod::ClientSecretBasic => {
                oauth::basic_authorization(&client_id, secret.reveal())
                    .map(Credential::Basic)
                    .ok_or_else(|| self.issue("introspection.client_secret", "cannot be sent"))?
            }
            AuthMethod::ClientSecretPost => Credential::Post { client_id, secret },
        };
        let ca_file = config.ca_file.as_deref();
        Ok(Introspector {
            issuer: config.issuer.clone(),
            url: self.endpoint("introspection.introspection_url", &config.introspection_url)?,
            client: self.client("introspection.ca_file", ca_file, self.patience)?,
            credential,
            audiences: self.audiences("introspection.audiences", &config.audiences)?,
            requires_audience: config.requires_audience,
            ttl: Duration::from_secs(config.ttl_secs),
            mapping: self.mapping("introspection", &config.subject, &config.require)?,
            forwarded: config.forward.into(),
        })
    }

    fn audiences(&self, key: &str, audiences: &[String]) -> Compiled<Vec<String>> {
        if audiences.iter().any(String::is_empty) {
            return Err(self.issue(key, "has an empty one"));
        }
        Ok(audiences.to_vec())
    }

    /// RFC 8414 section 2.
    fn issuer(&self, key: &str, text: &str) -> Compiled<Url> {
        let url = self.endpoint(key, text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(self.issue(key, "must have no query and no fragment"));
        }
        Ok(url)
    }

    /// Where nobody can listen or answer in its place: https, or this machine itself.
    fn endpoint(&self, key: &str, text: &str) -> Compiled<Url> {
        let url = Url::parse(text).map_err(|_| self.issue(key, &format!("is no URL: `{text}`")))?;
        let is_bare = url.username().is_empty() && url.password().is_none();
        if is_bare && outbound::is_trusted(&url, true) {
            return Ok(url);
        }
        Err(self
            .issue(
                key,
                &format!(
                    "cannot be trusted: `{}`",
                    url.origin().ascii_serialization()
                ),
            )
            .hint("write `https`, or `http` on loopback, without a user"))
    }

    fn client(
        &self,
        key: &str,
        ca_file: Option<&Path>,
        patience: Duration,
    ) -> Compiled<reqwest::Client> {
        let mut client = outbound::client(patience);
        if let Some(file) = ca_file {
            let (key, path) = (format!("{}.{key}", self.at), self.base.join(file));
            client = client.tls_certs_only(pem::authorities(&key, &path)?);
        }
        client
            .build()
            .map_err(|error| self.issue(key, &format!("makes no HTTP client: {error}")))
    }
}

impl From<Forward> for Forwarded {
    fn from(forward: Forward) -> Self {
        match forward {
            Forward::None => Self::Nothing,
            Forward::Same => Self::Same,
        }
    }
}

#[cfg(test)]
mod tests;
