//! New tokens for a session, before the old ones end: once for all requests and all gateways that want them.
//!
//! Whoever renews says so in the session's record, by a write that only one can make; the others wait, or go
//! on with the old token while it is good. A refresh token that is refused ends the session.

use std::rc::Rc;
use std::time::Duration;

use openidconnect::{OAuth2TokenResponse as _, TokenResponse as _};
use relying_party::{Fault, RelyingParty};
use service_kit::{Secret, UnixTime};
use store::StoreError;

use crate::login::record::{Renewal, Session, SessionId, Tokens};
use crate::login::store::{Kept, SessionStore};
use crate::login::{Kind, Login};
use crate::metrics::LoginOutcome;
use crate::session::SessionCache;

/// The session with tokens that may be used; none: it has ended.
pub(crate) type Renewed = Result<Option<Rc<Kept>>, Unrenewed>;

/// Nobody can say what will become of the session; asking again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unrenewed {
    #[error("the store of sessions does not answer")]
    Store,
    #[error("the provider does not answer")]
    Provider,
}

/// Longer than a provider may take to answer: after it, whoever renews is taken to be dead.
const LEASE: Duration = Duration::from_secs(15);
/// After a failure, nobody tries for so long.
const REST: Duration = Duration::from_secs(3);
/// So long a request waits for somebody else's renewal, and so often it looks.
const WAIT: Duration = Duration::from_secs(12);
const LOOK: Duration = Duration::from_millis(50);

impl SessionCache {
    /// The session with an access token that has not ended, renewed if it is time.
    pub(crate) async fn usable(
        &self,
        login: usize,
        id: &SessionId,
        kept: Rc<Kept>,
        now: UnixTime,
    ) -> Renewed {
        let tokens = &kept.session.tokens;
        if !tokens.end_soon(now) {
            return Ok(Some(kept));
        }
        let has_ended = tokens.have_ended(now);
        if tokens.refresh.is_none() && !has_ended {
            return Ok(Some(kept));
        }
        let rests = kept.session.renewal.is_some_and(|it| now < it.until);
        if !has_ended {
            if !rests {
                let (this, id, kept) = (self.clone(), id.clone(), kept.clone());
                tokio::task::spawn_local(async move { this.renewed(login, &id, kept).await });
            }
            return Ok(Some(kept));
        }
        self.renewed(login, id, kept).await
    }

    /// The session with other tokens than it has now.
    pub(crate) async fn renewed(&self, login: usize, id: &SessionId, kept: Rc<Kept>) -> Renewed {
        let (this, id) = (self.clone(), id.clone());
        let flight = (self.flight(login, &kept), 0, 0);
        let renewed = self.0.renewals.join(flight, move || async move {
            let (Some(plan), Some(store)) = (this.0.login(login), &this.0.store) else {
                return Ok(None);
            };
            let asked = this.0.asked();
            let renewing = Renewing {
                cache: &this,
                index: login,
                login: plan,
                store,
            };
            let renewed = renewing.run(&kept).await;
            if let Ok(Some(kept)) = &renewed {
                this.put(login, &id, kept, asked);
            }
            renewed
        });
        renewed.await.unwrap_or(Err(Unrenewed::Store))
    }

    fn flight(&self, login: usize, kept: &Kept) -> u128 {
        self.0.of_numbered(login, kept.names.session.as_bytes())
    }
}

struct Renewing<'a> {
    cache: &'a SessionCache,
    index: usize,
    login: &'a Login,
    store: &'a SessionStore,
}

impl Renewing<'_> {
    fn now(&self) -> UnixTime {
        self.cache.0.core.clock.now()
    }

    fn count(&self, outcome: LoginOutcome) {
        self.cache.0.core.metrics.login(self.index, outcome);
    }

    async fn load(&self, name: &str) -> Result<Option<Kept>, Unrenewed> {
        let read = self.store.load(name, self.login, self.now()).await;
        read.map_err(unknown)
    }

    /// Until somebody has renewed: we, or whoever was first.
    async fn run(&self, old: &Kept) -> Renewed {
        let end = tokio::time::Instant::now() + WAIT;
        loop {
            let Some(kept) = self.load(&old.names.session).await? else {
                return Ok(None);
            };
            if is_other(&kept, old) {
                return Ok(Some(Rc::new(kept)));
            }
            let now = self.now();
            match kept.session.renewal.filter(|renewal| now < renewal.until) {
                Some(renewal) if renewal.has_failed => return Err(Unrenewed::Provider),
                Some(_) => {
                    if tokio::time::Instant::now() >= end {
                        return Err(Unrenewed::Provider);
                    }
                    tokio::time::sleep(LOOK).await;
                }
                None => {
                    let mut session = kept.session.clone();
                    session.renewal = Some(Renewal {
                        until: now.plus(LEASE),
                        has_failed: false,
                    });
                    let marked = self.store.replace(&kept, session, self.login, now).await;
                    if let Some(marked) = marked.map_err(unknown)? {
                        return self.renew(marked).await;
                    }
                }
            }
        }
    }

    async fn renew(&self, marked: Kept) -> Renewed {
        match self.ask(&marked.session).await {
            Ok(tokens) => {
                self.count(LoginOutcome::Renewed);
                let written = self.write(marked, |session, now| {
                    session.tokens = tokens.clone();
                    session.seen = now;
                    session.renewal = None;
                });
                written.await
            }
            Err(
                fault @ (Fault::Denied(_) | Fault::Invalid(_) | Fault::Stale | Fault::Unwanted(_)),
            ) => {
                tracing::info!(login = &*self.login.name, %fault, "a session ends: it is not renewed");
                self.count(LoginOutcome::RenewalRefused);
                let ending = self.store.end_session(&marked.names.session).await;
                ending.map_err(unknown)?;
                Ok(None)
            }
            Err(fault @ Fault::Down(_)) => {
                tracing::warn!(login = &*self.login.name, %fault, "a session cannot be renewed now");
                self.count(LoginOutcome::RenewalFailed);
                let noted = self.write(marked, |session, now| {
                    session.renewal = Some(Renewal {
                        until: now.plus(REST),
                        has_failed: true,
                    });
                });
                let _ = noted.await;
                Err(Unrenewed::Provider)
            }
        }
    }

    /// Writes over whatever others have noted meanwhile, but for an end.
    async fn write(&self, marked: Kept, change: impl Fn(&mut Session, UnixTime)) -> Renewed {
        let name = marked.names.session.clone();
        let token = marked.session.tokens.access.clone();
        let mut kept = marked;
        loop {
            let now = self.now();
            let mut session = kept.session.clone();
            change(&mut session, now);
            let written = self.store.replace(&kept, session, self.login, now).await;
            if let Some(written) = written.map_err(unknown)? {
                return Ok(Some(Rc::new(written)));
            }
            let Some(fresh) = self.load(&name).await? else {
                return Ok(None);
            };
            if fresh.session.tokens.access.reveal() != token.reveal() {
                return Ok(Some(Rc::new(fresh)));
            }
            kept = fresh;
        }
    }

    async fn ask(&self, session: &Session) -> Result<Tokens, Fault> {
        let refresh = session.tokens.refresh.as_ref();
        let refresh = refresh.ok_or(Fault::Denied("there is no refresh token"))?;
        let party: &RelyingParty = &self.login.party;
        let metadata = party.metadata().await?;
        let redirect_uri = format!("{}{}", session.origin, self.login.path(Kind::Callback));
        let client = party.client(&metadata, redirect_uri)?;
        let begun = self.now();
        let parameters = self.login.token_parameters();
        let renewed = party
            .renew(
                (&client, &metadata),
                (refresh.reveal(), &session.sub),
                &parameters,
                begun,
            )
            .await?;
        let mut tokens = tokens_of(&renewed.tokens, begun)?;
        // RFC 6749 section 6: without a new one, the old one goes on.
        tokens.refresh = tokens.refresh.or_else(|| Some(refresh.clone()));
        tokens.id_token = tokens.id_token.or_else(|| session.tokens.id_token.clone());
        Ok(tokens)
    }
}

/// Longer ID tokens are not kept: they would have to go into a URL. Bytes.
const LONGEST_HINT: usize = 4 << 10;

/// What the provider gave out, asked for at `begun`.
pub(crate) fn tokens_of(given: &relying_party::Tokens, begun: UnixTime) -> Result<Tokens, Fault> {
    let access = given.access_token().secret();
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if access.is_empty() || !access.bytes().all(is_usual) {
        return Err(Fault::Invalid("the access token is none that can be sent"));
    }
    let id_token = given.id_token().map(ToString::to_string);
    let id_token = id_token.filter(|text| text.len() <= LONGEST_HINT);
    Ok(Tokens {
        access: Secret::new(access.clone()),
        ends: given.expires_in().map(|secs| begun.plus(secs)),
        obtained: begun,
        refresh: given
            .refresh_token()
            .map(|token| Secret::new(token.secret().clone())),
        id_token: id_token.map(Secret::new),
    })
}

fn is_other(kept: &Kept, old: &Kept) -> bool {
    kept.session.tokens.access.reveal() != old.session.tokens.access.reveal()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is mapped over results that own their error"
)]
fn unknown(error: StoreError) -> Unrenewed {
    tracing::warn!(%error, "a session cannot be read or written");
    Unrenewed::Store
}
