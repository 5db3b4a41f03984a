//! Where an issuer's keys are: in the configuration, in a file, at a URL, or where its metadata say.

use std::path::PathBuf;

use http::HeaderValue;
use reqwest::Url;
use serde_json::Value;
use service_kit::outbound;
use strict_json::parse_object;

/// See the module.
#[derive(Debug)]
pub(crate) enum Source {
    /// They never change.
    Fixed(Vec<u8>),
    File(PathBuf),
    Url {
        client: reqwest::Client,
        url: Url,
    },
    /// OpenID Connect Discovery, RFC 8414.
    Metadata {
        client: reqwest::Client,
        issuer: Url,
    },
}

/// Longer answers are not read. Bytes.
const LONGEST: usize = 256 << 10;

impl Source {
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// What is there without asking anybody.
    pub(super) fn at_hand(&self) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Fixed(text) => Ok(Some(text.clone())),
            Self::File(path) => std::fs::read(path)
                .map(Some)
                .map_err(|error| format!("`{}` cannot be read: {error}", path.display())),
            Self::Url { .. } | Self::Metadata { .. } => Ok(None),
        }
    }

    pub(super) async fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::File(path) => tokio::fs::read(path)
                .await
                .map_err(|error| format!("`{}` cannot be read: {error}", path.display())),
            Self::Url { client, url } => fetch(client, url).await,
            Self::Metadata { client, issuer } => {
                let url = jwks_uri(client, issuer).await?;
                fetch(client, &url).await
            }
        }
    }
}

/// What the metadata say, of either kind.
async fn jwks_uri(client: &reqwest::Client, issuer: &Url) -> Result<Url, String> {
    let [openid, oauth] = metadata_urls(issuer);
    let text = match fetch(client, &openid).await {
        Ok(text) => text,
        Err(first) => fetch(client, &oauth)
            .await
            .map_err(|second| format!("`{openid}`: {first}; `{oauth}`: {second}"))?,
    };
    read_metadata(&text, issuer)
}

/// OpenID Connect Discovery puts its path behind the issuer's, RFC 8414 section 3.1 before it.
fn metadata_urls(issuer: &Url) -> [Url; 2] {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    [
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
    ]
}

fn read_metadata(text: &[u8], issuer: &Url) -> Result<Url, String> {
    let metadata = parse_object(text).map_err(|error| format!("its metadata: {error}"))?;
    let said = |name: &str| metadata.get(name).and_then(Value::as_str);
    // RFC 8414 section 3.3: or whoever can write there could speak for another issuer.
    let is_it = said("issuer")
        .and_then(|said| Url::parse(said).ok())
        .as_ref()
        == Some(issuer);
    if !is_it {
        return Err("its metadata are another issuer's".into());
    }
    let url = said("jwks_uri").ok_or("its metadata have no `jwks_uri`")?;
    let url = Url::parse(url).map_err(|_| "its `jwks_uri` is no URL".to_owned())?;
    if !outbound::is_trusted(&url, issuer.scheme() == "http") {
        return Err("its `jwks_uri` is not https".into());
    }
    Ok(url)
}

async fn fetch(client: &reqwest::Client, url: &Url) -> Result<Vec<u8>, String> {
    let json = HeaderValue::from_static("application/json");
    outbound::fetch(client, url, json, LONGEST).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn metadata_are_looked_for_behind_and_before_the_path_of_the_issuer() {
        for (issuer, openid, oauth) in [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example/realms/x",
                "https://a.example/realms/x/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/realms/x",
            ),
        ] {
            let found = metadata_urls(&url(issuer)).map(String::from);
            assert_eq!(found, [openid.to_owned(), oauth.to_owned()]);
        }
    }

    #[test]
    fn metadata_are_the_issuers_and_lead_nowhere_that_is_not_safe() {
        let read = |issuer: &str, metadata: Value| {
            read_metadata(metadata.to_string().as_bytes(), &url(issuer)).map(String::from)
        };
        let far = "https://a.example";
        let good = read(
            far,
            json!({ "issuer": far, "jwks_uri": "https://keys.example/k" }),
        );
        assert_eq!(good.as_deref(), Ok("https://keys.example/k"));
        for (metadata, why) in [
            (
                json!({ "issuer": "https://b.example", "jwks_uri": "https://a.example/k" }),
                "another",
            ),
            (json!({ "jwks_uri": "https://a.example/k" }), "another"),
            (json!({ "issuer": far }), "no `jwks_uri`"),
            (
                json!({ "issuer": far, "jwks_uri": "http://a.example/k" }),
                "not https",
            ),
            (
                json!({ "issuer": far, "jwks_uri": "http://127.0.0.1/k" }),
                "not https",
            ),
            (
                json!({ "issuer": far, "jwks_uri": "file:///etc/passwd" }),
                "not https",
            ),
        ] {
            let refused = read(far, metadata.clone()).unwrap_err();
            assert!(refused.contains(why), "{metadata}: {refused}");
        }
        let near = "http://127.0.0.1:9";
        let good = read(
            near,
            json!({ "issuer": near, "jwks_uri": "http://127.0.0.1:8/k" }),
        );
        assert!(good.is_ok());
        let twice = format!(r#"{{"issuer":"{far}","issuer":"{far}","jwks_uri":"{far}/k"}}"#);
        assert!(read_metadata(twice.as_bytes(), &url(far)).is_err());
    }
}
