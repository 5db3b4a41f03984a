//! What a client says of itself, checked against what it may have: the same at its registration and at
//! each update (RFC 7591 section 2, RFC 7592 section 2.2).

use std::collections::BTreeSet;

use jose::KeySet;
use oauth::Scope;
use serde_json::{Map, Value};
use url::Url;

use super::{Bounds, name};
use crate::client_metadata::{ApplicationType, ClientMetadata, Said};
use crate::config::{AuthMethod, GrantType, SigningAlgorithm};
use crate::refusal::ErrorCode;
use crate::registry::{RedirectUri, Registry};

/// What is wrong, in the words of RFC 7591 section 3.2.2.
pub(in crate::registry) type Flaw = (ErrorCode, &'static str);

/// So many URIs of a kind, or people to ask.
const MOST: usize = 10;

/// Of a URI, and of any other text. Bytes.
const LONGEST_URI: usize = 2000;
const LONGEST_TEXT: usize = 255;

impl Bounds {
    /// What is kept of it. Scope is cut to what may be had, as it is for a request; whatever else is
    /// too much is refused.
    pub(crate) fn checked(&self, registry: &Registry, said: Said) -> Result<ClientMetadata, Flaw> {
        let auth_method = self.auth_method(&said)?;
        let grant_types = self.grant_types(&said, auth_method)?;
        let redirect_uris = self.uris(registry, said.redirect_uris.as_deref())?;
        let uses_code = grant_types.contains(&GrantType::AuthorizationCode);
        if uses_code == redirect_uris.is_empty() {
            return Err((
                ErrorCode::InvalidRedirectUri,
                "`redirect_uris` belong to `authorization_code`: give both, or neither",
            ));
        }
        let after_logout = said.post_logout_redirect_uris.as_deref();
        let backchannel = said.backchannel_logout_uri.as_deref();
        if backchannel.is_some_and(|uri| self.backchannel(uri).is_err()) {
            return invalid("`backchannel_logout_uri` must be `https`, at a public address");
        }
        if let Some(name) = &said.client_name {
            name::check(name, registry.client_names()).or_else(invalid)?;
        }
        Ok(ClientMetadata {
            application_type: application_type(&said, &redirect_uris)?,
            post_logout_redirect_uris: self.uris(registry, after_logout)?,
            jwks: jwks(&said, auth_method)?,
            scope: self.scope(&said)?,
            id_token_alg: self.id_token_alg(&said)?,
            about: about(&said)?,
            only_bound: said.dpop_bound_access_tokens.unwrap_or_default(),
            only_pushed: said
                .require_pushed_authorization_requests
                .unwrap_or_default(),
            name: said.client_name,
            backchannel_logout: said.backchannel_logout_uri,
            auth_method,
            grant_types,
            redirect_uris,
        })
    }
}

impl Bounds {
    fn auth_method(&self, said: &Said) -> Result<AuthMethod, Flaw> {
        let method = match said.token_endpoint_auth_method.as_deref() {
            None => Some(self.default_auth_method(said)),
            Some(word) => AuthMethod::from_wire(word),
        };
        match method.filter(|method| self.auth_methods.contains(method)) {
            Some(method) => Ok(method),
            None => invalid("`token_endpoint_auth_method` is one that may not be registered"),
        }
    }

    /// RFC 7591 section 2: `client_secret_basic`. Where that may not be had, section 3.2.1 lets the
    /// server choose, and a client without keys that says nothing, as those of MCP do, can be public
    /// alone.
    fn default_auth_method(&self, said: &Said) -> AuthMethod {
        let may_be = |method| self.auth_methods.contains(&method);
        if may_be(AuthMethod::None) && !may_be(AuthMethod::ClientSecretBasic) && said.jwks.is_none()
        {
            AuthMethod::None
        } else {
            AuthMethod::ClientSecretBasic
        }
    }

    fn grant_types(&self, said: &Said, method: AuthMethod) -> Result<BTreeSet<GrantType>, Flaw> {
        let grant_types = match &said.grant_types {
            None => [GrantType::AuthorizationCode].into(),
            Some(words) => words
                .iter()
                .map(|word| GrantType::from_wire(word))
                .collect::<Option<BTreeSet<_>>>()
                .unwrap_or_default(),
        };
        if grant_types.is_empty() || !grant_types.is_subset(&self.grant_types) {
            return invalid("`grant_types` has one that may not be registered");
        }
        let uses_code = grant_types.contains(&GrantType::AuthorizationCode);
        let mut others = grant_types.iter();
        if grant_types.contains(&GrantType::RefreshToken) && !others.any(|it| it.is_renewable()) {
            return invalid("`refresh_token` needs a grant type that it can refresh");
        }
        if grant_types.contains(&GrantType::ClientCredentials) && method == AuthMethod::None {
            return invalid("`client_credentials` needs a client that authenticates");
        }
        // RFC 7591 section 2.1: the two belong together.
        let fits = match said.response_types.as_deref() {
            None => true,
            Some([]) => !uses_code,
            Some(words) => uses_code && words.iter().all(|word| word == "code"),
        };
        if fits {
            Ok(grant_types)
        } else {
            invalid("`response_types` must be `code` for `authorization_code`, and else empty")
        }
    }

    fn uris(&self, registry: &Registry, said: Option<&[String]>) -> Result<Vec<String>, Flaw> {
        let refuse = |text| Err((ErrorCode::InvalidRedirectUri, text));
        let said = said.unwrap_or_default();
        if said.len() > MOST || said.iter().any(|uri| uri.len() > LONGEST_URI) {
            return refuse("there are too many redirect URIs, or one is too long");
        }
        for text in said {
            let Ok(uri) = RedirectUri::parse(text) else {
                return refuse(
                    "a redirect URI must be `https`, or `http` on loopback, without a fragment, \
                     a wildcard or a user name",
                );
            };
            if let Err(text) = self.takes(registry, &uri) {
                return refuse(text);
            }
        }
        Ok(said.to_vec())
    }

    fn scope(&self, said: &Said) -> Result<Scope, Flaw> {
        let Ok(wanted) = said.scope.as_deref().map(Scope::parse).transpose() else {
            return invalid("`scope` is malformed");
        };
        let scope = wanted.map_or_else(
            || self.scope.clone(),
            |wanted| wanted.intersection(&self.scope),
        );
        if scope.is_empty() {
            return invalid("nothing of `scope` may be registered");
        }
        Ok(scope)
    }

    /// OpenID Connect Registration section 2: who says nothing expects RS256.
    fn id_token_alg(&self, said: &Said) -> Result<SigningAlgorithm, Flaw> {
        let mut allowed = self.id_token_algs.iter();
        let is = |alg: &&SigningAlgorithm, word: &str| alg.as_str() == word;
        let found = match said.id_token_signed_response_alg.as_deref() {
            None => allowed
                .find(|alg| is(alg, "RS256"))
                .or(self.id_token_algs.first()),
            Some(word) => allowed.find(|alg| is(alg, word)),
        };
        found.copied().map_or_else(
            || invalid("`id_token_signed_response_alg` is one that may not be registered"),
            Ok,
        )
    }
}

fn application_type(said: &Said, redirect_uris: &[String]) -> Result<ApplicationType, Flaw> {
    let is_web = redirect_uris.iter().all(|uri| uri.starts_with("https:"));
    match said.application_type.as_deref() {
        None | Some("web") if is_web => Ok(ApplicationType::Web),
        None | Some("native") => Ok(ApplicationType::Native),
        Some("web") => Err((
            ErrorCode::InvalidRedirectUri,
            "a web application has `https` redirect URIs alone",
        )),
        Some(_) => invalid("`application_type` must be `web` or `native`"),
    }
}

/// Public keys, given here and never fetched.
fn jwks(said: &Said, method: AuthMethod) -> Result<Option<Value>, Flaw> {
    if said.jwks_uri.is_some() {
        return invalid("`jwks_uri` is not fetched by this server: give the keys as `jwks`");
    }
    let Some(jwks) = &said.jwks else {
        if method == AuthMethod::PrivateKeyJwt {
            return invalid("`private_key_jwt` needs `jwks`");
        }
        return Ok(None);
    };
    let keys = jwks.get("keys").and_then(Value::as_array);
    let is_private = |key: &Value| PRIVATE.iter().any(|name| key.get(*name).is_some());
    if keys.is_some_and(|keys| keys.iter().any(is_private)) {
        return invalid("`jwks` has a private or symmetric key in it");
    }
    match KeySet::parse(jwks.to_string().as_bytes()) {
        Ok(_) => Ok(Some(jwks.clone())),
        Err(_) => invalid("`jwks` has no key that can be used"),
    }
}

/// Members of private and of symmetric keys (RFC 7518 section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What is only kept.
fn about(said: &Said) -> Result<Map<String, Value>, Flaw> {
    let mut about = Map::new();
    for (name, uri) in [
        ("client_uri", &said.client_uri),
        ("logo_uri", &said.logo_uri),
        ("tos_uri", &said.tos_uri),
        ("policy_uri", &said.policy_uri),
    ] {
        let Some(uri) = uri else { continue };
        if !is_web_page(uri) {
            return invalid(
                "`client_uri`, `logo_uri`, `tos_uri` and `policy_uri` must be web pages",
            );
        }
        about.insert(name.into(), uri.as_str().into());
    }
    let texts = [
        ("software_id", &said.software_id),
        ("software_version", &said.software_version),
    ];
    for (name, text) in texts {
        let Some(text) = text else { continue };
        if !is_line(text) {
            return invalid("`software_id` or `software_version` is too long, or no line of text");
        }
        about.insert(name.into(), text.as_str().into());
    }
    if let Some(contacts) = &said.contacts {
        if contacts.len() > MOST || !contacts.iter().all(|text| is_line(text)) {
            return invalid("`contacts` are too many, too long, or no lines of text");
        }
        about.insert("contacts".into(), contacts.iter().cloned().collect());
    }
    Ok(about)
}

fn is_web_page(text: &str) -> bool {
    text.len() <= LONGEST_URI
        && Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "https" | "http")
                && url.username().is_empty()
                && url.password().is_none()
        })
}

fn is_line(text: &str) -> bool {
    text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control)
}

fn invalid<T>(text: &'static str) -> Result<T, Flaw> {
    Err((ErrorCode::InvalidClientMetadata, text))
}
