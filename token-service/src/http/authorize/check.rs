//! Checking an authorization request. First the client and its redirect URI: until both are
//! certain, nothing is sent anywhere (RFC 9700 section 4.11).

use oauth::Scope;
use service_kit::digest;
use url::Url;

use crate::config::GrantType;
use crate::core::Core;
use crate::http::id_token_hint::Hint;
use crate::params::Params;
use crate::record::{AuthorizationRequest, LoginWanted};
use crate::refusal::ErrorCode;
use crate::registry::{Client, Registry};

/// A request that is in order.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) request: AuthorizationRequest,
    pub(super) prompt: Prompt,
}

/// `prompt`, as far as it changes anything.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Prompt {
    pub(super) none: bool,
    pub(super) login: bool,
    pub(super) consent: bool,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Through the browser, which may have been made to change it.
    Browser,
    /// From the client itself (RFC 9126).
    Pushed,
}

/// What is wrong with a request, and who may be told.
#[derive(Debug)]
pub(super) enum Flaw<'a> {
    /// Only the person at the browser.
    Page(&'static str),
    /// The client, at its redirect URI.
    Redirect {
        uri: &'a str,
        code: ErrorCode,
        text: &'static str,
    },
}

pub(in crate::http) type Problem = (ErrorCode, &'static str);

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'a> {
    /// Whom the request names, where there is such a client.
    pub(super) client: Option<&'a Client>,
    pub(super) params: &'a Params,
    pub(super) way: Way,
}

pub(super) fn check<'a>(
    core: &Core,
    registry: &Registry,
    received: Received<'a>,
) -> Result<Checked, Flaw<'a>> {
    let Received {
        client,
        params,
        way,
    } = received;
    if params.get("client_id").is_none() {
        return Err(Flaw::Page("`client_id` is missing"));
    }
    let client = client.ok_or(Flaw::Page("the client is not known"))?;
    let given = params.get("redirect_uri");
    let uri = match (given, client.redirect_uris.as_slice()) {
        (Some(uri), _) if client.accepts_redirect(uri) => uri,
        (Some(_), _) => {
            return Err(Flaw::Page(
                "`redirect_uri` is not registered for the client",
            ));
        }
        (None, [only]) => only.as_str(),
        (None, _) => return Err(Flaw::Page("`redirect_uri` is missing")),
    };
    let may_come = way == Way::Pushed || !(registry.only_pushed || client.only_pushed);
    let checked = if may_come {
        let sub = expected(core, client, params);
        sub.and_then(|sub| rest(registry, client, params, (uri, given.is_some()), sub))
    } else {
        Err((
            ErrorCode::InvalidRequest,
            "the request must be pushed (RFC 9126)",
        ))
    };
    checked.map_err(|(code, text)| Flaw::Redirect { uri, code, text })
}

fn rest(
    registry: &Registry,
    client: &Client,
    params: &Params,
    (uri, redirect_uri_given): (&str, bool),
    sub: Option<String>,
) -> Result<Checked, Problem> {
    unsupported(params)?;
    within_bounds(params)?;
    if !client.may_use(GrantType::AuthorizationCode) {
        return Err((
            ErrorCode::UnauthorizedClient,
            "the client may not use this flow",
        ));
    }
    let prompt = prompt(params)?;
    let max_age_secs = params
        .get("max_age")
        .map(str::parse)
        .transpose()
        .map_err(|_| {
            (
                ErrorCode::InvalidRequest,
                "`max_age` must be a number of seconds",
            )
        })?;
    Ok(Checked {
        request: AuthorizationRequest {
            client_id: client.id.clone(),
            redirect_uri: uri.to_owned(),
            redirect_uri_given,
            state: params.get("state").map(str::to_owned),
            nonce: params.get("nonce").map(str::to_owned),
            challenge: challenge(client, params)?,
            key: key(params)?,
            scope: scope(client, params)?,
            resources: resources(registry, params)?,
            prompt_consent: prompt.consent,
            login_hint: login_hint(params),
            wanted: LoginWanted {
                max_age_secs: if prompt.login { Some(0) } else { max_age_secs },
                acr_values: words(params.get("acr_values")).map(str::to_owned).collect(),
                sub,
            },
        },
        prompt,
    })
}

/// What is kept while the person reads: anybody can ask for pages, and each is a record.
fn within_bounds(params: &Params) -> Result<(), Problem> {
    const LONGEST: usize = 2048;
    for (name, text) in [
        ("state", "`state` is longer than 2048 bytes"),
        ("nonce", "`nonce` is longer than 2048 bytes"),
        ("acr_values", "`acr_values` is longer than 2048 bytes"),
    ] {
        if params.get(name).is_some_and(|value| value.len() > LONGEST) {
            return Err((ErrorCode::InvalidRequest, text));
        }
    }
    Ok(())
}

/// What is not spoken here. A request object by reference is never fetched.
fn unsupported(params: &Params) -> Result<(), Problem> {
    for (name, code) in [
        ("request", ErrorCode::RequestNotSupported),
        ("request_uri", ErrorCode::RequestUriNotSupported),
        ("registration", ErrorCode::RegistrationNotSupported),
    ] {
        if params.get(name).is_some() {
            return Err((code, "the parameter is not supported"));
        }
    }
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => {
            return Err((
                ErrorCode::UnsupportedResponseType,
                "`response_type` must be `code`",
            ));
        }
        None => return Err((ErrorCode::InvalidRequest, "`response_type` is missing")),
    }
    match params.get("response_mode") {
        None | Some("query") => Ok(()),
        Some(_) => Err((ErrorCode::InvalidRequest, "`response_mode` must be `query`")),
    }
}

/// RFC 7636 section 4.3; S256 alone, and for every client that is not configured otherwise.
fn challenge(client: &Client, params: &Params) -> Result<Option<String>, Problem> {
    let is_absent =
        ["code_challenge", "code_challenge_method"].map(|name| params.get(name).is_none());
    if !client.requires_pkce && is_absent == [true, true] {
        return Ok(None);
    }
    let is_s256 = params.get("code_challenge_method") == Some("S256");
    params
        .get("code_challenge")
        .filter(|text| is_s256 && digest::is_sha256_base64url(text))
        .map(|text| Some(text.to_owned()))
        .ok_or((
            ErrorCode::InvalidRequest,
            "`code_challenge` with `code_challenge_method=S256` is required",
        ))
}

/// The key that the code is to be bound to (RFC 9449 section 10).
fn key(params: &Params) -> Result<Option<String>, Problem> {
    match params.get("dpop_jkt") {
        None => Ok(None),
        Some(text) if digest::is_sha256_base64url(text) => Ok(Some(text.to_owned())),
        Some(_) => Err((
            ErrorCode::InvalidRequest,
            "`dpop_jkt` must be a SHA-256 thumbprint",
        )),
    }
}

/// What is requested and the client may have; all that it may have where nothing is requested.
pub(in crate::http) fn scope(client: &Client, params: &Params) -> Result<Scope, Problem> {
    let requested = params
        .get("scope")
        .map(Scope::parse)
        .transpose()
        .map_err(|_| (ErrorCode::InvalidScope, "the scope is malformed"))?;
    let scope = requested.map_or_else(
        || client.scope.clone(),
        |requested| requested.intersection(&client.scope),
    );
    if scope.is_empty() {
        return Err((
            ErrorCode::InvalidScope,
            "the client may have nothing of the scope",
        ));
    }
    Ok(scope)
}

/// RFC 8707 section 2: silently ignoring one would give out a token for more than was asked.
pub(in crate::http) fn resources(
    registry: &Registry,
    params: &Params,
) -> Result<Vec<String>, Problem> {
    let is_good = |id: &String| {
        Url::parse(id).is_ok_and(|url| url.fragment().is_none()) && registry.resource(id).is_some()
    };
    if params.resources().iter().all(is_good) {
        Ok(params.resources().to_vec())
    } else {
        Err((ErrorCode::InvalidTarget, "a resource is not known"))
    }
}

/// A name to begin with; whoever is at the browser may type another.
fn login_hint(params: &Params) -> Option<String> {
    const LONGEST: usize = 255;
    let hint = params.get("login_hint");
    hint.filter(|hint| hint.len() <= LONGEST).map(str::to_owned)
}

/// Whom the client expects, by an ID token that it was given before (OpenID Connect Core section 3.1.2.1).
fn expected(core: &Core, client: &Client, params: &Params) -> Result<Option<String>, Problem> {
    let Some(text) = params.get("id_token_hint") else {
        return Ok(None);
    };
    match Hint::read(core, text) {
        Some(hint) if hint.client == client.id => Ok(Some(hint.sub)),
        _ => Err((
            ErrorCode::InvalidRequest,
            "`id_token_hint` is no ID token of the client, or too old to be looked at",
        )),
    }
}

fn words(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default()
        .split(' ')
        .filter(|word| !word.is_empty())
}

fn prompt(params: &Params) -> Result<Prompt, Problem> {
    let mut prompt = Prompt::default();
    let words: Vec<&str> = words(params.get("prompt")).collect();
    for word in &words {
        match *word {
            "none" => prompt.none = true,
            // Whoever logs in selects the account.
            "login" | "select_account" => prompt.login = true,
            "consent" => prompt.consent = true,
            _ => return Err((ErrorCode::InvalidRequest, "`prompt` is not understood")),
        }
    }
    if prompt.none && words.len() > 1 {
        return Err((ErrorCode::InvalidRequest, "`prompt=none` stands alone"));
    }
    Ok(prompt)
}
