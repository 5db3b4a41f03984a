//! Sessions that one worker remembers, so that a request need not wait for the store. The rules are those of
//! the other caches: nothing is used while the event log is not heard, nor what has ended meanwhile, and
//! what was read before an end was heard of is not remembered after it.

pub(crate) mod renewal;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use service_kit::UnixTime;
use store::StoreError;

use crate::cache::Moment;
use crate::cache::flight::Flights;
use crate::cache::generations::{Generations, HashedMap};
use crate::cache::keyed::KeyedHash;
use crate::core::Core;
use crate::events::Change;
use crate::login::Login;
use crate::login::record::SessionId;
use crate::login::store::{Kept, SessionStore};

/// What one worker knows of sessions. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct SessionCache(pub(super) Rc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) core: Arc<Core>,
    /// None: there are no logins.
    pub(super) store: Option<SessionStore>,
    hash: KeyedHash,
    known: RefCell<Generations<Known>>,
    pub(super) readings: Flights<Read>,
    pub(super) renewals: Flights<crate::session::renewal::Renewed>,
    /// Names whose sessions have ended, by the number of the news that said so.
    ended: RefCell<HashedMap<u64>>,
    news: Cell<u64>,
    /// Counts the times that all became void.
    generation: Cell<u64>,
}

/// A session, if there is one.
type Read = Result<Option<Rc<Kept>>, Rc<StoreError>>;

#[derive(Debug)]
struct Known {
    kept: Rc<Kept>,
    names: Rc<[u128]>,
    login: usize,
    until: UnixTime,
    /// The last news when the store was asked.
    news: u64,
    generation: u64,
}

/// More ends than this are remembered as "all".
const MOST_ENDED: usize = 100_000;

/// A session is read again after so long: only then is its use noted.
const LONGEST: Duration = Duration::from_secs(30);

impl SessionCache {
    pub(crate) fn new(core: Arc<Core>, store: Option<SessionStore>, hash: KeyedHash) -> Self {
        let cached = core.plan.logins.as_ref().map_or(0, |logins| logins.cached);
        Self(Rc::new(Inner {
            core,
            store,
            hash,
            known: RefCell::new(Generations::new(cached)),
            readings: Flights::default(),
            renewals: Flights::default(),
            ended: RefCell::default(),
            news: Cell::default(),
            generation: Cell::default(),
        }))
    }

    /// Hears one announcement.
    pub(crate) fn apply(&self, change: &Change) {
        let inner = &*self.0;
        match change {
            Change::Sessions(name) => {
                let news = inner.news.get() + 1;
                inner.news.set(news);
                let mut ended = inner.ended.borrow_mut();
                if ended.len() >= MOST_ENDED {
                    ended.clear();
                    inner.generation.set(inner.generation.get() + 1);
                }
                ended.insert(inner.hash.of(name.as_bytes()), news);
            }
            // Something was missed, perhaps.
            Change::Everything { .. } => {
                inner.ended.borrow_mut().clear();
                inner.generation.set(inner.generation.get() + 1);
            }
            Change::Token(_)
            | Change::Grant(_)
            | Change::Client(_)
            | Change::AllTokens { .. }
            | Change::AllDecisions { .. }
            | Change::Purge { .. } => {}
        }
    }

    /// The session of a cookie, if it has not ended. None: there is none.
    pub(crate) async fn find(
        &self,
        login: usize,
        id: &SessionId,
        moment: &Moment,
    ) -> Result<Option<Rc<Kept>>, Rc<StoreError>> {
        let inner = &*self.0;
        let (Some(plan), Some(store)) = (inner.login(login), &inner.store) else {
            return Ok(None);
        };
        let key = inner.hash.of(id.reveal().as_bytes());
        if moment.trusted
            && let Some(kept) = inner.recall(key, login, plan, moment.unix)
        {
            return Ok(Some(kept));
        }
        let name = store.name(id);
        let (asked, this) = (inner.asked(), self.clone());
        let now = moment.unix;
        let read = if moment.trusted {
            let question = inner.hash.of_numbered([login], name.as_bytes());
            let flight = (question, asked.generation, asked.news);
            let read = inner.readings.join(flight, move || async move {
                this.0.read(&name, login, now).await
            });
            read.await
                .unwrap_or_else(|| Err(Rc::new(StoreError::Timeout)))?
        } else {
            // Not by a reading that has begun before: what ended since was perhaps not heard.
            inner.read(&name, login, now).await?
        };
        if let Some(kept) = &read {
            self.note_use(login, kept, moment.unix);
            inner.remember(key, login, (kept, asked), moment.unix);
        }
        Ok(read)
    }

    /// None: nobody logs in here.
    pub(crate) fn store(&self) -> Option<&SessionStore> {
        self.0.store.as_ref()
    }

    /// What is known of ended sessions, before one is looked at.
    pub(crate) fn asked(&self) -> Asked {
        self.0.asked()
    }

    /// Whether nothing was heard of the end of a session since it was looked at.
    pub(crate) fn stands(&self, kept: &Kept, asked: Asked) -> bool {
        asked.generation == self.0.generation.get()
            && !self.0.have_ended(&self.0.names(kept), asked.news)
    }

    /// In the place of what was remembered of the session.
    pub(super) fn put(&self, login: usize, id: &SessionId, kept: &Rc<Kept>, asked: Asked) {
        let key = self.0.hash.of(id.reveal().as_bytes());
        self.0
            .remember(key, login, (kept, asked), self.0.core.clock.now());
    }

    /// Forgets what its own worker has just ended: it need not hear of it.
    pub(crate) fn forget(&self, id: &SessionId) {
        let key = self.0.hash.of(id.reveal().as_bytes());
        self.0.known.borrow_mut().remove(key);
    }

    /// Writes down that a session was used, if that was not done lately. Nobody waits for it.
    fn note_use(&self, login: usize, kept: &Rc<Kept>, now: UnixTime) {
        let Some(plan) = self.0.login(login) else {
            return;
        };
        let session = &kept.session;
        if now.since(session.seen) < plan.idle / 16 || session.renewal.is_some() {
            return;
        }
        let (this, kept) = (self.clone(), kept.clone());
        tokio::task::spawn_local(async move {
            let (Some(plan), Some(store)) = (this.0.login(login), &this.0.store) else {
                return;
            };
            let mut session = kept.session.clone();
            session.seen = now;
            // Whoever has written meanwhile has used it, too.
            if let Err(error) = store.replace(&kept, session, plan, now).await {
                tracing::warn!(%error, "the use of a session cannot be noted");
            }
        });
    }
}

/// What was known when the store was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    news: u64,
    generation: u64,
}

impl Inner {
    pub(super) fn login(&self, login: usize) -> Option<&Login> {
        self.core.plan.logins.as_ref()?.all.get(login)
    }

    pub(super) fn of_numbered(&self, number: usize, bytes: &[u8]) -> u128 {
        self.hash.of_numbered([number], bytes)
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            news: self.news.get(),
            generation: self.generation.get(),
        }
    }

    async fn read(&self, name: &str, login: usize, now: UnixTime) -> Read {
        let (Some(plan), Some(store)) = (self.login(login), &self.store) else {
            return Ok(None);
        };
        let read = store.load(name, plan, now).await.map_err(Rc::new)?;
        Ok(read.map(Rc::new))
    }

    fn recall(&self, key: u128, login: usize, plan: &Login, now: UnixTime) -> Option<Rc<Kept>> {
        let mut known = self.known.borrow_mut();
        let found = known.find(key)?;
        let holds = found.login == login
            && found.generation == self.generation.get()
            && now < found.until
            && !self.have_ended(&found.names, found.news)
            && !found.kept.session.is_over(now, plan.idle, plan.lifetime);
        if holds {
            return Some(found.kept.clone());
        }
        known.remove(key);
        None
    }

    fn remember(&self, key: u128, login: usize, (kept, asked): (&Rc<Kept>, Asked), now: UnixTime) {
        let Some(plan) = self.login(login) else {
            return;
        };
        let names = self.names(kept);
        if asked.generation != self.generation.get() || self.have_ended(&names, asked.news) {
            return;
        }
        let known = Known {
            kept: kept.clone(),
            names,
            login,
            until: now.plus(LONGEST.min(plan.idle / 16)),
            news: asked.news,
            generation: asked.generation,
        };
        self.known.borrow_mut().insert(key, known);
    }

    fn names(&self, kept: &Kept) -> Rc<[u128]> {
        let names = kept.names.all();
        names.map(|name| self.hash.of(name.as_bytes())).collect()
    }

    fn have_ended(&self, names: &[u128], since: u64) -> bool {
        let ended = self.ended.borrow();
        !ended.is_empty()
            && names
                .iter()
                .any(|name| ended.get(name).is_some_and(|news| *news > since))
    }
}
