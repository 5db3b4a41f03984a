//! What a client says of itself (RFC 7591 section 2, OpenID Connect Registration section 2): as it comes,
//! and as it is kept once it was checked. Names that are not here are ignored.

use std::collections::BTreeSet;

use oauth::Scope;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::{AuthMethod, GrantType, SigningAlgorithm};

/// As it comes. `software_statement` is not read: it must be ignored where it is not supported (RFC
/// 7591 section 3.1.1).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Said {
    pub(crate) redirect_uris: Option<Vec<String>>,
    pub(crate) post_logout_redirect_uris: Option<Vec<String>>,
    pub(crate) token_endpoint_auth_method: Option<String>,
    pub(crate) grant_types: Option<Vec<String>>,
    pub(crate) response_types: Option<Vec<String>>,
    pub(crate) client_name: Option<String>,
    pub(crate) client_uri: Option<String>,
    pub(crate) logo_uri: Option<String>,
    pub(crate) tos_uri: Option<String>,
    pub(crate) policy_uri: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) contacts: Option<Vec<String>>,
    pub(crate) jwks: Option<Value>,
    pub(crate) jwks_uri: Option<String>,
    pub(crate) application_type: Option<String>,
    pub(crate) id_token_signed_response_alg: Option<String>,
    pub(crate) dpop_bound_access_tokens: Option<bool>,
    pub(crate) require_pushed_authorization_requests: Option<bool>,
    pub(crate) backchannel_logout_uri: Option<String>,
    pub(crate) software_id: Option<String>,
    pub(crate) software_version: Option<String>,
}

/// Everything in it was checked against what was allowed then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientMetadata {
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) post_logout_redirect_uris: Vec<String>,
    pub(crate) auth_method: AuthMethod,
    pub(crate) grant_types: BTreeSet<GrantType>,
    /// For people: nobody has looked whether it is true.
    pub(crate) name: Option<String>,
    /// `client_uri`, `logo_uri` and the like, and who to ask: kept, and never fetched or shown.
    pub(crate) about: Map<String, Value>,
    pub(crate) scope: Scope,
    pub(crate) jwks: Option<Value>,
    pub(crate) application_type: ApplicationType,
    pub(crate) id_token_alg: SigningAlgorithm,
    pub(crate) only_bound: bool,
    pub(crate) only_pushed: bool,
    pub(crate) backchannel_logout: Option<String>,
}

/// OpenID Connect Registration section 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApplicationType {
    Web,
    Native,
}

impl Said {
    /// None: a member is of another type than it has to be.
    pub(crate) fn read(members: Map<String, Value>) -> Option<Self> {
        serde_json::from_value(Value::Object(members)).ok()
    }
}

impl ClientMetadata {
    /// As RFC 7591 section 3.2.1 wants it repeated: what was registered, and not what was asked for.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let mut members = self.about.clone();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        let uses_code = self.grant_types.contains(&GrantType::AuthorizationCode);
        let grant_types = self.grant_types.iter().map(|kind| kind.as_str());
        put("redirect_uris", json!(self.redirect_uris));
        put("grant_types", grant_types.collect());
        put(
            "response_types",
            if uses_code {
                json!(["code"])
            } else {
                json!([])
            },
        );
        put(
            "token_endpoint_auth_method",
            self.auth_method.as_str().into(),
        );
        put("scope", self.scope.to_string().into());
        put("application_type", json!(self.application_type));
        put(
            "id_token_signed_response_alg",
            self.id_token_alg.as_str().into(),
        );
        put("dpop_bound_access_tokens", self.only_bound.into());
        put(
            "require_pushed_authorization_requests",
            self.only_pushed.into(),
        );
        if let Some(name) = &self.name {
            put("client_name", name.as_str().into());
        }
        if !self.post_logout_redirect_uris.is_empty() {
            put(
                "post_logout_redirect_uris",
                json!(self.post_logout_redirect_uris),
            );
        }
        if let Some(uri) = &self.backchannel_logout {
            put("backchannel_logout_uri", uri.as_str().into());
            // Every logout token says which login (`sid`).
            put("backchannel_logout_session_required", true.into());
        }
        if let Some(jwks) = &self.jwks {
            put("jwks", jwks.clone());
        }
        members
    }
}
