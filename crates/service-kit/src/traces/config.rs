//! `tracing:` where spans are sent to, and of which requests.

use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{ConfigIssue, Secret};

/// Spans of requests, sent to a collector over OTLP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracingConfig {
    /// Base URL of an OTLP receiver over HTTP (protobuf), such as `http://127.0.0.1:4318`;
    /// `/v1/traces` is added.
    pub otlp_endpoint: String,
    /// The share of the traces that begin here that is recorded, from 0 to 1. A request that is in
    /// a trace already is recorded where its caller records it.
    #[serde(default = "sample")]
    pub sample: f64,
    /// What this process is called in traces. Default: by its role, such as `cedargate-pdp`.
    #[serde(default)]
    pub service_name: Option<String>,
    /// A file with headers to send along, a `Name: value` a line, such as an authorization;
    /// relative to the configuration file.
    #[serde(default)]
    pub headers_file: Option<PathBuf>,
}

/// Where spans are sent, checked.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    /// Their values are marked sensitive.
    pub(super) headers: HeaderMap,
}

/// What the exchange itself says in these is not configured.
const OURS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::HOST,
];

impl TracingConfig {
    /// What is wrong with the values.
    pub fn check(&self, base: &Path) -> Vec<ConfigIssue> {
        let url = self.url().err();
        let headers = self.headers(base).err();
        let sample = self.share().err();
        url.into_iter().chain(headers).chain(sample).collect()
    }

    pub(super) fn target(&self, base: &Path) -> Result<Target, ConfigIssue> {
        Ok(Target {
            url: self.url()?,
            headers: self.headers(base)?,
        })
    }

    pub(super) fn share(&self) -> Result<f64, ConfigIssue> {
        if (0.0..=1.0).contains(&self.sample) {
            return Ok(self.sample);
        }
        Err(ConfigIssue::new("`tracing.sample` must be from 0 to 1"))
    }

    fn url(&self) -> Result<Url, ConfigIssue> {
        // SECURITY: the text is not shown, since somebody may have put a password into it.
        let refuse = |why: &str| {
            ConfigIssue::new(format!("`tracing.otlp_endpoint` {why}"))
                .hint("write the base URL alone, such as `http://127.0.0.1:4318`")
        };
        let mut url = Url::parse(&self.otlp_endpoint)
            .map_err(|error| refuse(&format!("is no URL: {error}")))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(refuse("must be http or https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must not have a user in it")
                .hint("put an `Authorization` into `tracing.headers_file`"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("must have no query and no fragment"));
        }
        if url.path().trim_end_matches('/').ends_with("/v1/traces") {
            return Err(refuse("must not end with `/v1/traces`, which is added"));
        }
        url.path_segments_mut()
            .map_err(|()| refuse("cannot be a base"))?
            .pop_if_empty()
            .extend(["v1", "traces"]);
        Ok(url)
    }

    fn headers(&self, base: &Path) -> Result<HeaderMap, ConfigIssue> {
        let Some(file) = &self.headers_file else {
            return Ok(HeaderMap::new());
        };
        let text = Secret::from_config("tracing.headers", None, Some(file), base)?;
        let mut headers = HeaderMap::new();
        for (at, line) in text.reveal().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            // SECURITY: a line is not shown, whatever is wrong with it.
            let refuse = |why: &str| {
                let at = at + 1;
                ConfigIssue::new(format!("`tracing.headers_file`: line {at} {why}"))
                    .hint("write `Name: value`, one a line")
            };
            let (name, value) = line.split_once(':').ok_or_else(|| refuse("has no colon"))?;
            let name: HeaderName = name
                .trim()
                .parse()
                .map_err(|_| refuse("does not begin with the name of a header"))?;
            if OURS.contains(&name) {
                return Err(refuse("names a header that is not to be chosen"));
            }
            let mut value = HeaderValue::try_from(value.trim())
                .map_err(|_| refuse("has a value that cannot stand in a header"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }
}

fn sample() -> f64 {
    0.01
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> TracingConfig {
        TracingConfig {
            otlp_endpoint: endpoint.into(),
            sample: 0.5,
            service_name: None,
            headers_file: None,
        }
    }

    #[test]
    fn an_endpoint_is_a_base() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
            (
                "https://otlp.example.org/in",
                "https://otlp.example.org/in/v1/traces",
            ),
            (
                "https://otlp.example.org/in/",
                "https://otlp.example.org/in/v1/traces",
            ),
        ] {
            let target = config(endpoint).target(Path::new("")).unwrap();
            assert_eq!(target.url.as_str(), url);
        }
        for (endpoint, why) in [
            ("127.0.0.1:4318", "is no URL"),
            ("grpc://127.0.0.1:4317", "http or https"),
            ("https://me:s3cret@otlp.example.org", "must not have a user"),
            ("https://otlp.example.org?token=s3cret", "no query"),
            ("https://otlp.example.org/v1/traces", "which is added"),
        ] {
            let issues = config(endpoint).check(Path::new(""));
            assert_eq!(issues.len(), 1, "{issues:?}");
            let said = issues[0].to_string();
            assert!(
                said.contains("`tracing.otlp_endpoint`") && said.contains(why),
                "{said}"
            );
            assert!(!said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn a_share_is_from_none_to_all() {
        for (sample, good) in [
            (0.0, true),
            (1.0, true),
            (-0.1, false),
            (1.1, false),
            (f64::NAN, false),
        ] {
            let config = TracingConfig {
                sample,
                ..config("http://127.0.0.1:4318")
            };
            assert_eq!(config.check(Path::new("")).is_empty(), good, "{sample}");
        }
    }

    #[test]
    fn headers_are_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(folder.path().join("headers"), text).unwrap();
            let config = TracingConfig {
                headers_file: Some("headers".into()),
                ..config("http://127.0.0.1:4318")
            };
            config.target(folder.path()).map(|target| target.headers)
        };
        let headers = read("Authorization: Bearer s3cret\n\nx-tenant:  a:b \n").unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-tenant"], "a:b");
        assert!(!format!("{headers:?}").contains("s3cret"));
        for (text, why) in [
            ("s3cret", "line 1 has no colon"),
            ("a: b\nan s3cret: x", "line 2 does not begin"),
            ("Content-Type: s3cret", "not to be chosen"),
            ("a: s3cret\u{1}", "cannot stand in a header"),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(why) && !said.contains("s3cret"), "{said}");
        }
        let config = TracingConfig {
            headers_file: Some("nowhere".into()),
            ..config("http://127.0.0.1:4318")
        };
        let said = config.check(folder.path())[0].to_string();
        assert!(said.contains("`tracing.headers_file`"), "{said}");
    }
}
