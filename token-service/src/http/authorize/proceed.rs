//! From a checked request to a code: what is asked of the person at the browser, and what is
//! kept while they think.

use axum::response::Response;
use http::request::Parts;
use oauth::Scope;

use crate::audit::audit;
use crate::clients;
use crate::config::{ConsentMode, GrantType};
use crate::core::Core;
use crate::error::Trouble;
use crate::facts::{self, Known};
use crate::http::browser::{self, LoggedIn};
use crate::http::limits::{self, Limited};
use crate::http::pages::{self, SignIn};
use crate::record::{
    self, Asked, AuthorizationRequest, Code, CodeState, Consent, Interaction, Session, Subject,
};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{Client, Provenance};
use crate::scopes::{self, Moment, ScopeQuestion};
use crate::token::{Handle, Kind, Minted, UserCode};

/// What comes after the login.
#[derive(Debug)]
pub(in crate::http) enum Step {
    /// The person has to approve this scope.
    Ask(Scope),
    /// Everything is approved.
    Issue(Scope),
}

/// An interaction that has just been kept.
struct Begun {
    id: Minted,
    browser: Handle,
    /// A browser that was not known before.
    introduced: Option<Minted>,
}

/// An interaction that the browser in question may answer.
pub(in crate::http) struct Open {
    pub(in crate::http) handle: Handle,
    pub(in crate::http) stored: record::Stored<Interaction>,
    pub(in crate::http) browser: Handle,
}

/// What a client wants of whoever is logged in.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Wish<'a> {
    pub(in crate::http) grant_type: GrantType,
    pub(in crate::http) client_id: &'a str,
    pub(in crate::http) scope: &'a Scope,
    pub(in crate::http) resources: &'a [String],
}

/// What the decision point permits whoever has logged in, and whether they are to be asked about it.
pub(in crate::http) async fn next_step(
    core: &Core,
    request: &AuthorizationRequest,
    session: &Session,
) -> Result<Step, Refusal> {
    let wish = Wish {
        grant_type: GrantType::AuthorizationCode,
        client_id: &request.client_id,
        scope: &request.scope,
        resources: &request.resources,
    };
    if !request.wanted.is_of(&session.sub) {
        return Err(Refusal::Denied(
            ErrorCode::LoginRequired,
            "somebody else has logged in than the client expects",
        ));
    }
    let scope = permitted(core, wish, session)
        .await?
        .ok_or(Refusal::Denied(
            ErrorCode::AccessDenied,
            "nothing of the scope is granted",
        ))?;
    let must_ask = request.prompt_consent || !is_approved(core, request, session, &scope).await?;
    Ok(if must_ask {
        Step::Ask(scope)
    } else {
        Step::Issue(scope)
    })
}

/// The part of a wish that the decision point permits before the person is asked. None: nothing,
/// or the client or the user is gone.
pub(in crate::http) async fn permitted(
    core: &Core,
    wish: Wish<'_>,
    session: &Session,
) -> Result<Option<Scope>, Trouble> {
    let denied = |reason: &str| {
        audit!(
            "authorization_refused",
            client = wish.client_id,
            sub = session.sub,
            reason = reason
        );
        Ok(None)
    };
    let registry = core.registry();
    let Some(client) = clients::find(core, &registry, wish.client_id).await? else {
        return denied("the client is gone or disabled");
    };
    let subject = Subject::User(session.sub.clone());
    let login = Some(&session.authentication);
    let known = facts::gather(
        (core, &registry),
        &client,
        &subject,
        login,
        wish.scope.clone(),
    );
    let Some(Known { facts, .. }) = known.await? else {
        return denied("the user is gone or disabled");
    };
    let question = ScopeQuestion {
        facts: &facts,
        grant_type: wish.grant_type,
        moment: Moment::Consent,
        resources: wish.resources,
    };
    let scope = scopes::permitted(&*core.decisions, &question).await?;
    if scope.is_empty() {
        return denied("scope denied");
    }
    Ok(Some(scope))
}

async fn is_approved(
    core: &Core,
    request: &AuthorizationRequest,
    session: &Session,
    scope: &Scope,
) -> Result<bool, Trouble> {
    let Some(client) = clients::find(core, &core.registry(), &request.client_id).await? else {
        return Ok(false);
    };
    if client.consent == ConsentMode::Skip {
        return Ok(true);
    }
    // SECURITY: any program could ask in the name of such a client, and get a code without a word.
    if !client.is_certain_at(&request.redirect_uri) {
        return Ok(false);
    }
    let id = consent_id(Some(&client), request, session);
    let stored = record::load::<Consent>(&*core.store, &id).await?;
    Ok(stored.is_some_and(|stored| scope.is_subset(&stored.record.scope)))
}

/// What a person has approved for a client that says itself what it is, they have approved for the place
/// that the page showed: it could name another afterwards.
fn consent_id(
    client: Option<&Client>,
    request: &AuthorizationRequest,
    session: &Session,
) -> String {
    let is_configured = client.is_some_and(|client| client.provenance == Provenance::Configured);
    if is_configured {
        Consent::id(&session.sub, &request.client_id)
    } else {
        Consent::id_at(&session.sub, &request.client_id, &request.redirect_uri)
    }
}

/// Keeps the request and shows the first page: consent where somebody is logged in, else login.
pub(in crate::http) async fn begin(
    core: &Core,
    parts: &Parts,
    request: &AuthorizationRequest,
    logged_in: Option<(&LoggedIn, &Scope)>,
) -> Result<Response, Refusal> {
    let asked = Asked::Authorization(Box::new(request.clone()));
    let session = logged_in.map(|(login, _)| &login.handle);
    let begun = keep(core, parts, asked, session).await?;
    let text = begun.id.reveal();
    let response = match logged_in {
        None => pages::login(core, &begun.sign_in(Some(request), None)).await?,
        Some((login, scope)) => pages::consent(core, request, text, login, scope).await?,
    };
    Ok(begun.introduced(core, response))
}

/// Shows the login page that leads to the device page.
pub(in crate::http) async fn begin_device(
    core: &Core,
    parts: &Parts,
    code: Option<&UserCode>,
) -> Result<Response, Refusal> {
    let begun = keep(core, parts, Asked::Device, None).await?;
    let response = pages::login(core, &begun.sign_in(None, code)).await?;
    Ok(begun.introduced(core, response))
}

/// Keeps what is asked while the person thinks.
async fn keep(
    core: &Core,
    parts: &Parts,
    asked: Asked,
    session: Option<&Handle>,
) -> Result<Begun, Refusal> {
    limits::check_browser(core, parts, Limited::Page).await?;
    let (browser, introduced) = if let Some(handle) = browser::known(core, parts) {
        (handle, None)
    } else {
        let minted = Kind::Browser.mint(&core.secrets)?;
        (minted.handle.clone(), Some(minted))
    };
    let interaction = Interaction {
        asked,
        browser: browser.as_str().to_owned(),
        session: session.map(|handle| handle.as_str().to_owned()),
        exp: core.now().plus(core.ttl.interaction),
    };
    let id = Kind::Interaction.mint(&core.secrets)?;
    let (name, exp) = (id.handle.as_str(), interaction.exp);
    record::keep(&*core.store, name, &interaction, exp, core.now()).await?;
    Ok(Begun {
        id,
        browser,
        introduced,
    })
}

impl Begun {
    fn sign_in<'a>(
        &'a self,
        request: Option<&'a AuthorizationRequest>,
        code: Option<&'a UserCode>,
    ) -> SignIn<'a> {
        SignIn {
            request,
            code,
            text: self.id.reveal(),
            browser: &self.browser,
            problem: None,
        }
    }

    /// With the cookie of a browser that was not known before.
    fn introduced(&self, core: &Core, mut response: Response) -> Response {
        if let Some(minted) = &self.introduced {
            browser::introduce(core, minted, &mut response);
        }
        response
    }
}

/// The interaction that `text` names, if it is open and the browser is the one that began it.
pub(in crate::http) async fn open_interaction(
    core: &Core,
    parts: &Parts,
    text: Option<&str>,
) -> Result<Open, Refusal> {
    let handle = text
        .and_then(|text| Kind::Interaction.read(text, &core.secrets).ok())
        .ok_or_else(gone)?;
    let browser = browser::known(core, parts).ok_or_else(gone)?;
    let stored = record::load::<Interaction>(&*core.store, handle.as_str())
        .await?
        .filter(|stored| {
            stored.record.browser == browser.as_str() && core.now() < stored.record.exp
        })
        .ok_or_else(gone)?;
    Ok(Open {
        handle,
        stored,
        browser,
    })
}

/// An interaction that waits for a browser which was sent away, under a new name: its old page leads
/// nowhere any more.
pub(in crate::http) async fn renew(
    core: &Core,
    interaction: &str,
    browser: Handle,
) -> Result<(Open, Minted), Refusal> {
    let is_its = |it: &Interaction| it.browser == browser.as_str() && core.now() < it.exp;
    let stored = record::load::<Interaction>(&*core.store, interaction).await?;
    if !stored.is_some_and(|stored| is_its(&stored.record)) {
        return Err(gone());
    }
    let taken = record::take::<Interaction>(&*core.store, interaction).await?;
    let record = taken.ok_or_else(gone)?;
    let id = Kind::Interaction.mint(&core.secrets)?;
    let handle = id.handle.clone();
    record::keep(
        &*core.store,
        handle.as_str(),
        &record,
        record.exp,
        core.now(),
    )
    .await?;
    let bytes = record::encode(&record)?;
    let open = Open {
        handle,
        stored: record::Stored { record, bytes },
        browser,
    };
    Ok((open, id))
}

fn gone() -> Refusal {
    Refusal::Denied(
        ErrorCode::InvalidRequest,
        "this page has been used or is too old, or it was opened in another browser; \
         please start again at the application",
    )
}

/// Remembers what was approved, added to what was approved before.
pub(in crate::http) async fn remember(
    core: &Core,
    session: &Session,
    request: &AuthorizationRequest,
    scope: &Scope,
) -> Result<(), Trouble> {
    let client = clients::find(core, &core.registry(), &request.client_id).await?;
    let id = consent_id(client.as_deref(), request, session);
    let before = record::load::<Consent>(&*core.store, &id).await?;
    let consent = Consent {
        scope: before.map_or_else(|| scope.clone(), |before| before.record.scope.union(scope)),
        at: core.now(),
    };
    let key = record::key::<Consent>(&id);
    core.store
        .put(&key, record::encode(&consent)?, None)
        .await?;
    Ok(())
}

/// Makes the code and sends the browser back with it.
pub(in crate::http) async fn issue(
    core: &Core,
    request: &AuthorizationRequest,
    session: &Session,
    scope: Scope,
) -> Result<Response, Refusal> {
    // What the client may have can have changed while the person was thinking.
    let client = clients::find(core, &core.registry(), &request.client_id).await?;
    if !client.is_some_and(|client| client.accepts_redirect(&request.redirect_uri)) {
        return Err(super::changed());
    }
    let minted = Kind::AuthorizationCode.mint(&core.secrets)?;
    let code = Code {
        state: CodeState::Unused,
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        redirect_uri_given: request.redirect_uri_given,
        challenge: request.challenge.clone(),
        sub: session.sub.clone(),
        scope,
        resources: request.resources.clone(),
        nonce: request.nonce.clone(),
        key: request.key.clone(),
        authentication: session.authentication.clone(),
        exp: core.now().plus(core.ttl.code),
    };
    let id = minted.handle.as_str();
    record::keep(&*core.store, id, &code, code.exp, core.now()).await?;
    audit!(
        "code_issued",
        client = code.client_id,
        sub = code.sub,
        scope = code.scope
    );
    Ok(browser::redirect_code(core, request, &minted))
}
