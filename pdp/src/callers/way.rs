//! How a configured caller shows who it is: one way, which is checked here.

use std::path::{Path, PathBuf};

use service_kit::{ConfigIssue, Secret, WantedCertificate};

use super::claims::Expected;
use super::keys::Source;
use crate::config::{CallerConfig, CertificateCallerConfig, JwtCallerConfig};

/// How a caller shows who it is.
#[derive(Debug)]
pub(super) enum Way {
    Key {
        basic_user: Option<Secret>,
        key: Secret,
    },
    Jwt(Jwt),
    Certificate(WantedCertificate),
}

/// By a token.
#[derive(Debug)]
pub(super) struct Jwt {
    pub(super) issuer: String,
    pub(super) expected: Expected,
    pub(super) keys: KeysAt,
}

/// Where an issuer's keys are said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeysAt {
    File(PathBuf),
    Url(String),
}

impl CallerConfig {
    pub(super) fn way(&self, base: &Path) -> Result<Way, ConfigIssue> {
        let has_key = self.api_key.is_some() || self.api_key_file.is_some();
        let ways = [has_key, self.jwt.is_some(), self.certificate.is_some()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            return Err(self
                .issue("a caller has one way to show who it is, and there are more")
                .hint("keep one of `api_key`, `api_key_file`, `jwt` and `certificate`"));
        }
        if self.basic_user.is_some() && (self.jwt.is_some() || self.certificate.is_some()) {
            return Err(self.issue("`basic_user` goes with a key, and there is none"));
        }
        match (&self.jwt, &self.certificate) {
            (Some(jwt), _) => self.jwt(jwt, base).map(Way::Jwt),
            (None, Some(certificate)) => self.certificate(certificate).map(Way::Certificate),
            (None, None) => self.key(base),
        }
    }

    fn key(&self, base: &Path) -> Result<Way, ConfigIssue> {
        let inline = self.api_key.clone();
        let key = Secret::from_config("api_key", inline, self.api_key_file.as_ref(), base);
        let key = key.map_err(|issue| issue.within(&self.place()))?;
        if key.reveal().len() < 16 {
            return Err(self
                .issue("the key is too short")
                .hint("use at least 16 characters of randomness"));
        }
        let user = self.basic_user.as_ref();
        if user.is_some_and(|user| user.contains(':')) {
            return Err(self.issue("a `basic_user` cannot have a colon in it"));
        }
        Ok(Way::Key {
            basic_user: self.basic_user.clone().map(Secret::new),
            key,
        })
    }

    fn jwt(&self, jwt: &JwtCallerConfig, base: &Path) -> Result<Jwt, ConfigIssue> {
        let optional = [
            ("jwt.subject", &jwt.subject),
            ("jwt.client_id", &jwt.client_id),
            ("jwt.scope", &jwt.scope),
        ];
        let given = optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let required = [("jwt.issuer", &jwt.issuer), ("jwt.audience", &jwt.audience)];
        for (name, value) in required.into_iter().chain(given) {
            if value.is_empty() {
                return Err(self.issue(&format!("`{name}` is empty")));
            }
        }
        if jwt.scope.as_ref().is_some_and(|scope| scope.contains(' ')) {
            return Err(self.issue("`jwt.scope` is one scope, without spaces"));
        }
        let keys = match (&jwt.jwks_file, &jwt.jwks_url) {
            (Some(file), None) => KeysAt::File(base.join(file)),
            (None, Some(url)) => KeysAt::Url(url.clone()),
            (Some(_), Some(_)) => {
                return Err(
                    self.issue("`jwt.jwks_file` and `jwt.jwks_url` are both given; keep one")
                );
            }
            (None, None) => {
                return Err(self
                    .issue("nothing says where the issuer's keys are")
                    .hint("give `jwt.jwks_url` or `jwt.jwks_file`"));
            }
        };
        Ok(Jwt {
            issuer: jwt.issuer.clone(),
            expected: Expected {
                audience: jwt.audience.clone(),
                subject: jwt.subject.clone(),
                client_id: jwt.client_id.clone(),
                scope: jwt.scope.clone(),
            },
            keys,
        })
    }

    fn certificate(
        &self,
        wanted: &CertificateCallerConfig,
    ) -> Result<WantedCertificate, ConfigIssue> {
        match (&wanted.san_dns, &wanted.san_uri, &wanted.sha256) {
            (Some(name), None, None) => WantedCertificate::dns(name).ok_or_else(|| {
                self.issue("`certificate.san_dns` must be one DNS name")
                    .hint("wildcards name many callers; give each its own")
            }),
            (None, Some(uri), None) => WantedCertificate::uri(uri).ok_or_else(|| {
                self.issue("`certificate.san_uri` is not a URI")
                    .hint("write it whole, such as `spiffe://example.org/gateway`")
            }),
            (None, None, Some(text)) => WantedCertificate::sha256(text).ok_or_else(|| {
                self.issue("`certificate.sha256` must be 64 hexadecimal digits")
                    .hint("`openssl x509 -in FILE -noout -fingerprint -sha256` shows it")
            }),
            _ => Err(self
                .issue("`certificate` must have exactly one of `san_dns`, `san_uri` and `sha256`")),
        }
    }
}

impl KeysAt {
    pub(super) fn source(&self) -> Result<Source, String> {
        match self {
            Self::File(path) => Ok(Source::File(path.clone())),
            Self::Url(url) => Source::url(url),
        }
    }

    /// As the configuration has it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("`jwt.jwks_file` `{}`", path.display()),
            Self::Url(url) => format!("`jwt.jwks_url` `{url}`"),
        }
    }
}
