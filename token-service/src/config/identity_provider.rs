//! Identity providers, as they are written: who else may say who somebody is, and what becomes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use service_kit::Secret;

/// One OpenID provider at which people may log in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityProviderConfig {
    /// Lower-case letters, digits and `-`. Part of the redirect URI `<issuer>/federation/<id>/callback`
    /// and of who somebody is here: one that changes makes everybody a stranger.
    pub id: String,
    /// Written on the button; the id where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Its issuer identifier, exactly as its discovery document says it.
    pub issuer: String,
    /// What we are called there.
    pub client_id: String,
    /// Our secret there.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// File with our secret there.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for beside `openid`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// Sent along with every authorization request: `hd`, `domain_hint` and the like.
    #[serde(default)]
    pub authorization_parameters: BTreeMap<String, String>,
    /// PEM file with the certificates that are believed there, in the place of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// What its claims become.
    #[serde(default)]
    pub claims: ClaimMapping,
    /// Who may come in: each claim must be there with one of these values, or, where it is a list, hold
    /// one of them. A claim is named as in `claims`.
    #[serde(default)]
    pub require: BTreeMap<String, Vec<Value>>,
    /// Who may not: subject identifiers (`sub`) of the provider. Their tokens are dead, too.
    #[serde(default)]
    pub blocked: Vec<String>,
    /// Which user of the configuration somebody from there is.
    #[serde(default)]
    pub link: LinkRule,
    /// Whoever is no user of the configuration becomes a user of their own.
    #[serde(default = "yes")]
    pub create: bool,
    /// What a login from there is called (`acr`). Absent: nothing is said of it.
    #[serde(default)]
    pub acr: Option<String>,
    /// What the provider says of the login (`acr`, `amr`) is taken over, and `acr_values` are passed on
    /// to it. `acr` stands where it says nothing.
    #[serde(default)]
    pub trust_acr: bool,
    /// Whoever logs out here is logged out there (OpenID Connect RP-Initiated Logout).
    #[serde(default)]
    pub logout: bool,
}

/// From claims of the ID token and of userinfo, of which the ID token counts first. A claim is named, or
/// with a slash before it pointed to (`/realm_access/roles`, RFC 6901).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimMapping {
    /// The username that is shown, and that `link: username` compares.
    pub username: String,
    /// Full name.
    pub name: String,
    /// Email address.
    pub email: String,
    /// From an attribute of ours to the claim that it is taken from.
    pub attributes: BTreeMap<String, String>,
}

/// How somebody who logs in elsewhere is found among `users`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkRule {
    /// Nobody is.
    #[default]
    Never,
    /// By an email address that the provider says it has verified (`email_verified: true`), and that
    /// one user alone has.
    VerifiedEmail,
    /// By the username: only for a provider that lets nobody choose theirs.
    Username,
}

impl Default for ClaimMapping {
    fn default() -> Self {
        Self {
            username: "preferred_username".into(),
            name: "name".into(),
            email: "email".into(),
            attributes: BTreeMap::new(),
        }
    }
}

fn default_scopes() -> Vec<String> {
    vec!["profile".into(), "email".into()]
}

fn yes() -> bool {
    true
}
