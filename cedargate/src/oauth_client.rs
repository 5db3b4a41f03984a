//! The terminal as an OAuth client: authorization code with PKCE through the login page,
//! client credentials, revocation and introspection, all over HTTP as any client would.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use service_kit::{Secret, digest, outbound, random};
use url::Url;

/// Talks to one token service.
#[derive(Debug)]
pub struct OauthClient {
    http: reqwest::Client,
    issuer: Url,
    metadata: Value,
    cookies: BTreeMap<String, String>,
}

/// Who the client is.
#[derive(Debug, Clone)]
pub struct Credential {
    pub client_id: String,
    /// None: a public client.
    pub client_secret: Option<Secret>,
}

/// An authorization code, and the verifier that makes it ours.
#[derive(Debug)]
pub struct Granted {
    code: Secret,
    verifier: Secret,
}

/// An answer that was read whole.
#[derive(Debug)]
struct Page {
    url: Url,
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// Longer answers are refused. Bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Steps between the authorization request and the client's redirect URI.
const MAX_STEPS: usize = 10;
/// Where the browser would be sent; nothing has to listen there, for the code is in the URL.
const REDIRECT_URI: &str = "http://127.0.0.1:51789/callback";

impl OauthClient {
    /// Reads the token service's metadata.
    pub async fn discover(issuer: &Url) -> anyhow::Result<Self> {
        let http = outbound::client(Duration::from_secs(10)).build()?;
        let mut client = Self {
            http,
            issuer: issuer.clone(),
            metadata: Value::Null,
            cookies: BTreeMap::new(),
        };
        let mut url = issuer.clone();
        url.set_path(&format!(
            "{}/.well-known/openid-configuration",
            issuer.path().trim_end_matches('/')
        ));
        let page = client.send(client.http.get(url)).await.with_context(|| {
            format!("no token service answers at `{issuer}`; is it running? (`--issuer` names it)")
        })?;
        if page.status != StatusCode::OK {
            bail!(
                "`{issuer}` has no OpenID configuration: status {}",
                page.status
            );
        }
        client.metadata = serde_json::from_str(&page.body)?;
        Ok(client)
    }

    /// Authorization code with PKCE, whole. Returns the token answer.
    pub async fn log_in(
        &mut self,
        credential: &Credential,
        username: &str,
        password: &Secret,
        scope: &str,
    ) -> anyhow::Result<Value> {
        let granted = self
            .authorize(credential, username, password, scope)
            .await?;
        self.redeem(credential, &granted).await
    }

    /// The front half: fills in the login page and approves the consent page.
    pub async fn authorize(
        &mut self,
        credential: &Credential,
        username: &str,
        password: &Secret,
        scope: &str,
    ) -> anyhow::Result<Granted> {
        let verifier = URL_SAFE_NO_PAD.encode(random::bytes::<32>()?);
        let state = random::id()?;
        let mut url = self.endpoint("authorization_endpoint")?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &credential.client_id)
            .append_pair("redirect_uri", REDIRECT_URI)
            .append_pair("scope", scope)
            .append_pair("state", &state)
            .append_pair(
                "code_challenge",
                &digest::sha256_base64url(verifier.as_bytes()),
            )
            .append_pair("code_challenge_method", "S256");
        let answer = self.walk(url, username, password).await?;
        let returned: BTreeMap<String, String> = answer.query_pairs().into_owned().collect();
        if let Some(error) = returned.get("error") {
            let text = returned.get("error_description").map_or("", String::as_str);
            bail!("the token service refused: {error} {text}");
        }
        if returned.get("state") != Some(&state) {
            bail!("the answer's `state` is not ours");
        }
        let issuer = self.metadata.get("issuer").and_then(Value::as_str);
        if returned.get("iss").map(String::as_str) != issuer {
            bail!("the answer's `iss` is not the token service's");
        }
        let code = returned
            .get("code")
            .ok_or_else(|| anyhow!("the answer has no `code`"))?;
        Ok(Granted {
            code: Secret::new(code),
            verifier: Secret::new(verifier),
        })
    }

    /// The back half: trades the code for tokens. Returns the token answer.
    pub async fn redeem(
        &self,
        credential: &Credential,
        granted: &Granted,
    ) -> anyhow::Result<Value> {
        self.token(
            credential,
            &[
                ("grant_type", "authorization_code"),
                ("code", granted.code.reveal()),
                ("redirect_uri", REDIRECT_URI),
                ("code_verifier", granted.verifier.reveal()),
            ],
        )
        .await
    }

    /// A token for the client itself.
    pub async fn client_credentials(
        &self,
        credential: &Credential,
        scope: &str,
    ) -> anyhow::Result<Value> {
        self.token(
            credential,
            &[("grant_type", "client_credentials"), ("scope", scope)],
        )
        .await
    }

    /// Revokes a token of the client's.
    pub async fn revoke(&self, credential: &Credential, token: &str) -> anyhow::Result<()> {
        let url = self.endpoint("revocation_endpoint")?;
        let page = self.post(url, credential, &[("token", token)]).await?;
        if page.status == StatusCode::OK {
            return Ok(());
        }
        bail!("not revoked: {}", error_text(&page))
    }

    /// What the token is worth, as a resource server sees it.
    pub async fn introspect(
        &self,
        credential: &Credential,
        token: &str,
        resource: Option<&str>,
    ) -> anyhow::Result<Value> {
        let url = self.endpoint("introspection_endpoint")?;
        let mut form = vec![("token", token)];
        form.extend(resource.map(|resource| ("resource", resource)));
        let page = self.post(url, credential, &form).await?;
        if page.status != StatusCode::OK {
            bail!("not introspected: {}", error_text(&page));
        }
        Ok(serde_json::from_str(&page.body)?)
    }

    async fn token(&self, credential: &Credential, form: &[(&str, &str)]) -> anyhow::Result<Value> {
        let url = self.endpoint("token_endpoint")?;
        let page = self.post(url, credential, form).await?;
        if page.status != StatusCode::OK {
            bail!("no token: {}", error_text(&page));
        }
        Ok(serde_json::from_str(&page.body)?)
    }

    /// Follows pages and redirects until the client's own redirect URI comes up.
    async fn walk(&mut self, url: Url, username: &str, password: &Secret) -> anyhow::Result<Url> {
        let mut page = self.send(self.with_cookies(self.http.get(url))).await?;
        let mut logged_in = false;
        for _ in 0..MAX_STEPS {
            self.keep_cookies(&page);
            if page.status.is_redirection() {
                let target = page
                    .headers
                    .get(header::LOCATION)
                    .and_then(|value| value.to_str().ok())
                    .ok_or_else(|| anyhow!("a redirect without a location"))?;
                let target = page.url.join(target)?;
                if target.as_str().starts_with(REDIRECT_URI) {
                    return Ok(target);
                }
                self.require_same_origin(&target)?;
                page = self.send(self.with_cookies(self.http.get(target))).await?;
                continue;
            }
            let form = Form::find(&page.body).ok_or_else(|| {
                anyhow!(
                    "the token service showed no form to fill in: status {}",
                    page.status
                )
            })?;
            if form.asks_for("password") {
                if logged_in {
                    bail!("username or password not accepted");
                }
                logged_in = true;
            }
            let target = page.url.join(&form.action)?;
            self.require_same_origin(&target)?;
            let mut fields = form.hidden.clone();
            if form.asks_for("password") {
                fields.push(("username".into(), username.into()));
                fields.push(("password".into(), password.reveal().into()));
            } else {
                fields.push(("decision".into(), "approve".into()));
            }
            let request = self
                .http
                .post(target)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::ORIGIN, self.issuer.origin().ascii_serialization())
                .body(encode(
                    fields
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.as_str())),
                ));
            page = self.send(self.with_cookies(request)).await?;
        }
        bail!("too many pages between the request and its answer")
    }

    /// Passwords and cookies go nowhere but to the token service.
    fn require_same_origin(&self, target: &Url) -> anyhow::Result<()> {
        if target.origin() == self.issuer.origin() {
            return Ok(());
        }
        bail!(
            "the token service leads elsewhere, to `{}`",
            target.origin().ascii_serialization()
        )
    }

    async fn post(
        &self,
        url: Url,
        credential: &Credential,
        form: &[(&str, &str)],
    ) -> anyhow::Result<Page> {
        let mut fields = form.to_vec();
        let mut request = self
            .http
            .post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        match &credential.client_secret {
            Some(secret) => {
                let basic = oauth::basic_authorization(&credential.client_id, secret.reveal());
                let basic = basic.context("the credential cannot be sent")?;
                request = request.header(header::AUTHORIZATION, basic);
            }
            None => fields.push(("client_id", &credential.client_id)),
        }
        self.send(request.body(encode(fields.into_iter()))).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Page> {
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        let body = outbound::body(&mut response, MAX_ANSWER).await?;
        Ok(Page {
            url: response.url().clone(),
            status: response.status(),
            headers: response.headers().clone(),
            body: String::from_utf8(body)?,
        })
    }

    fn endpoint(&self, name: &str) -> anyhow::Result<Url> {
        let text = self
            .metadata
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| anyhow!("the token service has no `{name}`"))?;
        let url = Url::parse(text)?;
        self.require_same_origin(&url)?;
        Ok(url)
    }

    fn with_cookies(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.cookies.is_empty() {
            return request;
        }
        let pairs: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        request.header(header::COOKIE, pairs.join("; "))
    }

    fn keep_cookies(&mut self, page: &Page) {
        for cookie in page.headers.get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().ok().and_then(|text| text.split(';').next());
            if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
                self.cookies
                    .insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
    }
}

/// The first form of a page of ours: its action and hidden fields.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    action: String,
    hidden: Vec<(String, String)>,
    visible: Vec<String>,
}

impl Form {
    fn find(page: &str) -> Option<Self> {
        let (_, rest) = page.split_once("<form")?;
        let (head, rest) = rest.split_once('>')?;
        let (body, _) = rest.split_once("</form>")?;
        let mut form = Self {
            action: attribute(head, "action").unwrap_or_default(),
            hidden: Vec::new(),
            visible: Vec::new(),
        };
        for input in body.split("<input").skip(1) {
            let head = input.split('>').next().unwrap_or_default();
            let Some(name) = attribute(head, "name") else {
                continue;
            };
            if attribute(head, "type").as_deref() == Some("hidden") {
                form.hidden
                    .push((name, attribute(head, "value").unwrap_or_default()));
            } else {
                form.visible.push(name);
            }
        }
        Some(form)
    }

    fn asks_for(&self, name: &str) -> bool {
        self.visible.iter().any(|visible| visible == name)
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(
        value
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

fn error_text(page: &Page) -> String {
    let body: Value = serde_json::from_str(&page.body).unwrap_or_default();
    let field = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    format!(
        "{} {} ({})",
        field("error"),
        field("error_description"),
        page.status
    )
}

fn encode<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// A token as it may be pasted: surrounding space and `Bearer ` are dropped.
pub fn clean(token: &str) -> String {
    let token = token.trim();
    token.strip_prefix("Bearer ").unwrap_or(token).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_hidden_fields() {
        let page = r#"<html><form method="post" action="/login?x=1&amp;y=2"><input type="hidden" name="csrf" value="a&quot;b"><input name="username"><input type="password" name="password"></form>"#;
        let form = Form::find(page).unwrap();
        assert_eq!(form.action, "/login?x=1&y=2");
        assert_eq!(form.hidden, [("csrf".to_owned(), "a\"b".to_owned())]);
        assert!(form.asks_for("password") && !form.asks_for("csrf"));
    }
}
