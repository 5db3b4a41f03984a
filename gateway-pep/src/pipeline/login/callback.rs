//! Back from the provider: `state` held against the browser that was sent, the code redeemed, the ID token
//! verified whole, and a session begun under an id that nobody has had before.

use http::Response;
use http::header::HeaderValue;
use relying_party::{Fault, refused, seconds};
use service_kit::UnixTime;

use crate::canonical::CanonicalRequest;
use crate::login::cookies;
use crate::login::pending::{PATIENCE, Pending, State};
use crate::login::record::{Session, SessionId};
use crate::login::store::SessionStore;
use crate::login::{Kind, Login, Logins};
use crate::metrics::LoginOutcome;
use crate::pipeline::login::page::Page;
use crate::pipeline::login::page::see_other;
use crate::pipeline::record::Record;
use crate::pipeline::response_body::ResponseBody;
use crate::session::renewal::tokens_of;
use crate::worker::Worker;

/// What the provider says, each parameter at most once.
#[derive(Default)]
struct Answer {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// Why there is no session.
enum Stop {
    /// The browser has begun no such login, or has come back before.
    Unknown,
    Fault(Fault),
    Store(store::StoreError),
}

pub(super) async fn callback(
    worker: &Worker,
    (logins, index): (&Logins, usize),
    request: &CanonicalRequest,
    record: &mut Record,
) -> Option<Response<ResponseBody>> {
    let (login, store) = (logins.all.get(index)?, worker.sessions.store()?);
    let arriving = Arriving {
        logins,
        login,
        store,
        now: record.moment.unix,
    };
    let mut gone = None;
    let page = match arriving.arrive(request, &mut gone).await {
        Ok((back, session)) => {
            worker.core.metrics.login(index, LoginOutcome::Completed);
            let cookie = logins
                .attributes
                .set(&login.cookie, session.reveal(), None)?;
            return Some(see_other(back, gone.into_iter().chain([cookie])));
        }
        Err(stop) => arriving.tell(worker, index, stop, record),
    };
    Some(page.response(gone))
}

struct Arriving<'a> {
    logins: &'a Logins,
    login: &'a Login,
    store: &'a SessionStore,
    now: UnixTime,
}

impl Arriving<'_> {
    /// `gone`: the cookie of the login, once that is over.
    async fn arrive(
        &self,
        request: &CanonicalRequest,
        gone: &mut Option<HeaderValue>,
    ) -> Result<(HeaderValue, SessionId), Stop> {
        let answer = Answer::read(request.query().unwrap_or_default()).ok_or(Stop::Unknown)?;
        let state = answer.state.as_deref().and_then(State::parse);
        let state = state.ok_or(Stop::Unknown)?;
        let origin = self.logins.origin(request).ok_or(Stop::Unknown)?;
        let plan = (self.logins, self.login);
        let read = Pending::read(plan, &state, request.headers(), self.now);
        // SECURITY: first of all. A browser that was not sent uses up nobody's login, and has nothing asked.
        let (pending, expired) = read.ok_or(Stop::Unknown)?;
        if pending.origin != origin {
            return Err(Stop::Unknown);
        }
        *gone = Some(expired);
        if self.store.is_used(state.reveal()).await? {
            return Err(Stop::Unknown);
        }
        let session = self.session(&answer, &state, &pending).await?;
        let before = cookies::find(request.headers(), &self.login.cookie);
        let before = before.ok().flatten().and_then(SessionId::parse);
        let id = SessionId::mint().map_err(|_| Fault::Down("there is no randomness"))?;
        let by = (state.reveal(), PATIENCE);
        let place = (before.as_ref(), self.login);
        if !self.store.begin((&id, &session), by, place).await? {
            return Err(Stop::Unknown);
        }
        let back = HeaderValue::try_from(pending.back);
        let back = back.unwrap_or(HeaderValue::from_static("/"));
        Ok((back, id))
    }

    async fn session(
        &self,
        answer: &Answer,
        state: &State,
        pending: &Pending,
    ) -> Result<Session, Fault> {
        let party = &self.login.party;
        let metadata = party.metadata().await?;
        party.check_issuer(&metadata, answer.iss.as_deref())?;
        if let Some(error) = &answer.error {
            return Err(refused(error));
        }
        let redirect_uri = format!("{}{}", pending.origin, self.login.path(Kind::Callback));
        let client = party.client(&metadata, redirect_uri)?;
        let code = (answer.code.as_deref(), state.verifier(&self.logins.seal));
        let parameters = self.login.token_parameters();
        let given = party.redeem(&client, code, &parameters).await?;
        let nonce = state.nonce(&self.logins.seal);
        let said = party.verified(&metadata, &given, &nonce, self.now).await?;
        let sid = &said.additional_claims().0;
        let sid = sid.get("sid").and_then(serde_json::Value::as_str);
        Ok(Session {
            login: self.login.name.to_string(),
            origin: pending.origin.clone(),
            sub: said.subject().to_string(),
            sid: sid.filter(|sid| !sid.is_empty()).map(str::to_owned),
            issued: seconds(said.issue_time().timestamp()),
            began: self.now,
            seen: self.now,
            tokens: tokens_of(&given, self.now)?,
            renewal: None,
        })
    }

    fn tell(&self, worker: &Worker, index: usize, stop: Stop, record: &mut Record) -> Page {
        let (login, request_id) = (&*self.login.name, record.id.as_str());
        let (page, outcome, error) = match stop {
            Stop::Unknown => (Page::Unknown, LoginOutcome::Refused, "login_unknown"),
            Stop::Fault(fault) => {
                tracing::warn!(login, request_id, %fault, "a login has failed");
                match fault {
                    Fault::Down(_) => (Page::Down, LoginOutcome::Failed, "login_failed"),
                    Fault::Denied(_) | Fault::Stale | Fault::Unwanted(_) => {
                        (Page::Denied, LoginOutcome::Refused, "login_denied")
                    }
                    Fault::Invalid(_) => (Page::Invalid, LoginOutcome::Refused, "login_invalid"),
                }
            }
            Stop::Store(error) => {
                tracing::warn!(login, request_id, %error, "a session cannot be kept");
                (
                    Page::Down,
                    LoginOutcome::Failed,
                    "session_store_unavailable",
                )
            }
        };
        record.failed(error);
        worker.core.metrics.login(index, outcome);
        page
    }
}

impl Answer {
    /// None: a parameter is there twice (RFC 6749 section 3.1).
    fn read(query: &str) -> Option<Self> {
        let mut answer = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut answer.state,
                "code" => &mut answer.code,
                "iss" => &mut answer.iss,
                "error" => &mut answer.error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(answer)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<store::StoreError> for Stop {
    fn from(error: store::StoreError) -> Self {
        Self::Store(error)
    }
}
