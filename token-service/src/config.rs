//! The configuration of the token service, as it is written. What the values mean together is
//! checked where they become a [`crate::registry::Registry`].

mod api_keys;
mod assertion_issuer;
mod client_documents;
mod event_receiver;
mod exchange;
mod identity_provider;
mod limits;
mod mtls;
mod registration;
mod transaction_tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service_kit::{Secret, TlsConfig};

pub use api_keys::ApiKeysConfig;
pub use assertion_issuer::{AssertionIssuerConfig, SubjectIs};
pub use client_documents::ClientDocumentsConfig;
pub use event_receiver::{EventReceiverConfig, SubjectFormat};
pub use exchange::{ExchangeConfig, Semantics};
pub use identity_provider::{ClaimMapping, IdentityProviderConfig, LinkRule};
pub use limits::LimitsConfig;
pub use mtls::{MtlsConfig, SelfSignedTlsClientAuthConfig, TlsClientAuthConfig};
pub use registration::{
    AuthMethod, InitialAccessTokenConfig, OpenRegistrationConfig, RegistrationBoundsConfig,
    RegistrationConfig,
};
pub use transaction_tokens::TransactionTokensConfig;

/// Section `token_service`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenServiceConfig {
    /// Where it listens.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Serves by TLS, with an `https` issuer. Absent: plain HTTP, for loopback and behind a proxy.
    /// Nobody is asked for a certificate here; that is what `mtls` is for.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// A second listener, for clients and resource servers with certificates.
    #[serde(default)]
    pub mtls: Option<MtlsConfig>,
    /// The issuer identifier: the URL under which clients reach the service, without a trailing
    /// slash. Never taken from a request.
    #[serde(default = "default_issuer")]
    pub issuer: String,
    /// The root secret, at least 32 bytes. Replicas share it; every key at rest depends on it.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// File with the root secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// How long things live.
    #[serde(default)]
    pub ttl: TtlConfig,
    /// How signing keys rotate.
    #[serde(default)]
    pub keys: KeysConfig,
    /// Limits on guessing passwords.
    #[serde(default)]
    pub login: LoginConfig,
    /// Limits on what needs no credential.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Authorization requests must be pushed, whatever the client (RFC 9126 section 5).
    #[serde(default)]
    pub require_pushed_authorization_requests: bool,
    /// DPoP proofs must repeat a nonce of ours (RFC 9449 section 8), which they are told.
    #[serde(default)]
    pub require_dpop_nonce: bool,
    /// Who may ask for tokens.
    #[serde(default)]
    pub clients: Vec<ClientConfig>,
    /// Keys that people and clients make for programs. Absent: there are none, and those that were made
    /// are dead.
    #[serde(default)]
    pub api_keys: Option<ApiKeysConfig>,
    /// Clients that register themselves (RFC 7591). Absent: nobody does.
    #[serde(default)]
    pub registration: Option<RegistrationConfig>,
    /// Clients whose id is the URL of a document that describes them (OAuth Client ID Metadata
    /// Documents). Absent: there are none.
    #[serde(default)]
    pub client_id_metadata_documents: Option<ClientDocumentsConfig>,
    /// Who may log in.
    #[serde(default)]
    pub users: Vec<UserConfig>,
    /// Where else they may log in.
    #[serde(default)]
    pub identity_providers: Vec<IdentityProviderConfig>,
    /// What a scope allows, for whoever is asked to approve it: `see your records`.
    #[serde(default)]
    pub scope_meanings: BTreeMap<String, String>,
    /// What tokens are swapped for.
    #[serde(default)]
    pub resources: Vec<ResourceConfig>,
    /// Who may introspect: gateways, and resource servers without one.
    #[serde(default)]
    pub resource_servers: Vec<ResourceServerConfig>,
    /// Whose word is taken for users (RFC 7523).
    #[serde(default)]
    pub assertion_issuers: Vec<AssertionIssuerConfig>,
    /// Who outside is told when a login ends or a user is disabled (OpenID Shared Signals Framework,
    /// CAEP).
    #[serde(default)]
    pub event_receivers: Vec<EventReceiverConfig>,
    /// What workloads tell each other of one transaction. Absent: there are no such tokens.
    #[serde(default)]
    pub transaction_tokens: Option<TransactionTokensConfig>,
}

/// Lifetimes, in seconds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TtlConfig {
    /// Authorization codes. At most 60.
    pub code_secs: u64,
    /// Opaque access tokens.
    pub access_token_secs: u64,
    /// A grant and its chain of refresh tokens, from the first to the last.
    pub refresh_token_secs: u64,
    /// A refresh token that nobody uses.
    pub refresh_token_idle_secs: u64,
    /// For so long after its use, a refresh token gets the same answer again: the first may have been
    /// lost. At most 60; 0: never.
    pub refresh_retry_secs: u64,
    /// JWTs that an access token is swapped for, where the resource does not say otherwise.
    pub jwt_secs: u64,
    /// ID tokens.
    pub id_token_secs: u64,
    /// A login in a browser.
    pub session_secs: u64,
    /// From the authorization request to the answer of the person at the browser.
    pub interaction_secs: u64,
    /// From the moment at which a request is pushed (RFC 9126) to the browser that brings it. From 5
    /// to 600.
    pub pushed_request_secs: u64,
    /// From a device's request (RFC 8628) to its last poll: a person finds the page, logs in, types
    /// the code and approves meanwhile. From 60 to 1800.
    pub device_code_secs: u64,
    /// How long a device waits between two polls, before it was told to slow down. At most 60.
    pub device_poll_secs: u64,
    /// Longest time for which whoever introspects with `Accept: application/jwt` is told that it
    /// may keep the answer, and so the longest delay of a revocation there.
    pub introspection_cache_secs: u64,
}

/// Signing keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeysConfig {
    /// A key signs for this long, in seconds.
    pub rotate_secs: u64,
    /// A key is published this long before it signs, in seconds.
    pub publish_ahead_secs: u64,
}

/// Logins by password. Addresses of IPv6 count by network (/64); a proxy's counts for everybody behind it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoginConfig {
    /// What a login by password is called (`acr`): in ID tokens, in JWTs, for policies, and as what
    /// `acr_values` may ask for. Absent: nothing is said of it.
    pub acr: Option<String>,
    /// Attempts for one username from one address, right and wrong alike.
    pub attempts: u64,
    /// Wrong passwords for one username, from wherever they come; then nobody logs in by that name until
    /// a window has passed. Whoever has very many addresses can bring that about.
    pub failures_per_username: u64,
    /// Wrong passwords from one address, for whatever usernames; then nobody logs in from there until a
    /// window has passed.
    pub failures_per_address: u64,
    /// The window in which they are counted, in seconds.
    pub window_secs: u64,
}

/// One client.
#[expect(
    clippy::struct_excessive_bools,
    reason = "as it is written in the file, each by its own name"
)]
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// The `client_id`.
    pub id: String,
    /// Shown on the consent page; the id where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// `sha256:` and the base64url of the SHA-256 of a random secret of 256 bits.
    #[serde(default)]
    pub secret_hash: Option<Secret>,
    /// Public keys (a JSON Web Key Set, RFC 7517): the client signs assertions in the place of a
    /// secret (`private_key_jwt`, RFC 7523).
    #[serde(default)]
    pub jwks: Option<Value>,
    /// The client shows a certificate that an authority vouches for (`tls_client_auth`, RFC 8705).
    #[serde(default)]
    pub tls_client_auth: Option<TlsClientAuthConfig>,
    /// The client shows a certificate of its own making (`self_signed_tls_client_auth`, RFC 8705).
    #[serde(default)]
    pub self_signed_tls_client_auth: Option<SelfSignedTlsClientAuthConfig>,
    /// A client without a secret: an app on somebody's machine, or in a browser.
    #[serde(default)]
    pub public: bool,
    /// What it may use at the token endpoint.
    pub grant_types: Vec<GrantType>,
    /// Compared exactly; only the port of `http://127.0.0.1` and `http://[::1]` is free, and
    /// only for a public client.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Where the browser may be sent after a logout (OpenID Connect RP-Initiated Logout). Compared
    /// exactly.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    /// Is told when a login ends that the client took part in (OpenID Connect Back-Channel Logout):
    /// `https`, or `http` on loopback.
    #[serde(default)]
    pub backchannel_logout_uri: Option<String>,
    /// The most that it may ever be granted; scope tokens separated by spaces.
    #[serde(default)]
    pub scope: String,
    /// Attributes of the client itself, for decisions when it acts on its own behalf.
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// Whether the person at the browser is asked.
    #[serde(default)]
    pub consent: ConsentMode,
    /// Authorization requests must be pushed (RFC 9126 section 6).
    #[serde(default)]
    pub require_pushed_authorization_requests: bool,
    /// Its authorization requests must have a challenge (PKCE, RFC 7636). `false` is for OpenID Connect
    /// clients that know no PKCE and have a credential; where they send a challenge, it counts.
    #[serde(default = "default_require_pkce")]
    pub require_pkce: bool,
    /// How its ID tokens and logout tokens are signed.
    #[serde(default)]
    pub id_token_signed_response_alg: SigningAlgorithm,
    /// Gets no tokens but such as are bound to a key of its own (RFC 9449 section 5.2).
    #[serde(default)]
    pub dpop_bound_access_tokens: bool,
    /// Its access tokens are bound to the certificate that it has shown when it asked for them, whatever
    /// it authenticates by (RFC 8705 section 3); it gets none without.
    #[serde(default)]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// What it may exchange, and for what; belongs to `token_exchange`.
    #[serde(default)]
    pub exchange: Option<ExchangeConfig>,
    /// Who may act with its tokens (RFC 8693 section 4.4): clients, and users who come with an actor
    /// token. Where absent, what the exchanging client is configured for decides alone.
    #[serde(default)]
    pub may_act: Option<Vec<String>>,
    /// Gets nothing, and what it has is dead.
    #[serde(default)]
    pub disabled: bool,
}

/// Grant types of RFC 6749, RFC 7523, RFC 8628 and RFC 8693.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// A person logs in, the client gets a code.
    AuthorizationCode,
    /// The client acts on its own behalf.
    ClientCredentials,
    /// A rotated token keeps a grant alive.
    RefreshToken,
    /// A client gets a token for one that it was sent (RFC 8693).
    TokenExchange,
    /// A device shows a code, a person types it in a browser elsewhere.
    DeviceCode,
    /// A trusted issuer says for whom the client asks (RFC 7523).
    JwtBearer,
}

/// How something is signed (RFC 7518, RFC 8037).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
pub enum SigningAlgorithm {
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// With Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
}

impl SigningAlgorithm {
    pub(crate) const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// The word of the IANA registry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

/// Whether approval is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentMode {
    /// Once for each scope; the answer is remembered.
    #[default]
    Ask,
    /// The operator has approved for everybody.
    Skip,
}

/// One person.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The subject identifier; the username where absent. Never given to another person.
    #[serde(default)]
    pub sub: Option<String>,
    /// What is typed at login. Case does not matter.
    pub username: String,
    /// Argon2id, as a PHC string (`$argon2id$v=19$…`).
    pub password_hash: Secret,
    /// Full name.
    #[serde(default)]
    pub name: Option<String>,
    /// Email address.
    #[serde(default)]
    pub email: Option<String>,
    /// For decisions (`roles`, `groups` …) and, where a resource says so, for its JWTs.
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// Who may act for this person (RFC 8693 section 4.4): clients, and users who come with an actor
    /// token. Where absent, what the exchanging client is configured for decides alone.
    #[serde(default)]
    pub may_act: Option<Vec<String>>,
    /// Cannot log in, and every token is dead.
    #[serde(default)]
    pub disabled: bool,
}

/// One protected resource (RFC 8707).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceConfig {
    /// An absolute URI without a fragment: the `aud` of its JWTs.
    pub id: String,
    /// The scope tokens that mean something here.
    pub scope: String,
    /// User attributes that go into its JWTs; `name`, `email` and `preferred_username` too.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Each of the claims goes in only where the decision point permits it: the subject, `see_claim`, a
    /// `Claim` of its name.
    #[serde(default)]
    pub claims_by_policy: bool,
    /// How its JWTs are signed.
    #[serde(default)]
    pub jwt_alg: SigningAlgorithm,
    /// Lifetime of its JWTs, in seconds; `ttl.jwt_secs` where absent.
    #[serde(default)]
    pub jwt_ttl_secs: Option<u64>,
}

/// One credential for introspection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceServerConfig {
    /// The user name of HTTP Basic.
    pub id: String,
    /// As for clients. Without it the credential works only inside the process.
    #[serde(default)]
    pub secret_hash: Option<Secret>,
    /// As for clients.
    #[serde(default)]
    pub jwks: Option<Value>,
    /// As for clients.
    #[serde(default)]
    pub tls_client_auth: Option<TlsClientAuthConfig>,
    /// As for clients.
    #[serde(default)]
    pub self_signed_tls_client_auth: Option<SelfSignedTlsClientAuthConfig>,
    /// How signed introspection is signed for it (RFC 9701).
    #[serde(default)]
    pub introspection_signed_response_alg: SigningAlgorithm,
    /// The resources that it may ask about.
    pub resources: Vec<String>,
}

impl Default for TtlConfig {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            code_secs: 60,
            access_token_secs: 900,
            refresh_token_secs: 30 * DAY,
            refresh_token_idle_secs: 14 * DAY,
            refresh_retry_secs: 10,
            jwt_secs: 120,
            id_token_secs: 600,
            session_secs: 8 * 3600,
            interaction_secs: 900,
            pushed_request_secs: 90,
            device_code_secs: 600,
            device_poll_secs: 5,
            introspection_cache_secs: 60,
        }
    }
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self {
            rotate_secs: 7 * 24 * 3600,
            publish_ahead_secs: 3600,
        }
    }
}

impl Default for LoginConfig {
    fn default() -> Self {
        Self {
            acr: None,
            attempts: 10,
            failures_per_username: 100,
            failures_per_address: 300,
            window_secs: 300,
        }
    }
}

impl GrantType {
    /// Every one that the token endpoint knows.
    pub(crate) const ALL: [Self; 6] = [
        Self::AuthorizationCode,
        Self::ClientCredentials,
        Self::RefreshToken,
        Self::TokenExchange,
        Self::DeviceCode,
        Self::JwtBearer,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    /// None for a word that is not (or no longer) a grant type here.
    pub fn from_wire(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// A person has answered in a browser, and need not be there again: what this gives can be renewed.
    pub(crate) fn is_renewable(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::DeviceCode)
    }
}

fn default_require_pkce() -> bool {
    true
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8081))
}

fn default_issuer() -> String {
    "http://127.0.0.1:8081".into()
}
