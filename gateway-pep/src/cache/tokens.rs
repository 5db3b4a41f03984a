//! Tokens that are known: who calls with one, at one upstream, on routes that accept the same issuers.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use oauth::{ActiveToken, Introspection, ResourceId, SwapAnswer};
use service_kit::{Secret, UnixTime};
use tokio::time::Instant;

use super::flight::Flights;
use super::generations::Generations;
use super::keyed::KeyedHash;
use super::sealed::{Entry, SealedAccess};
use super::validity::Validity;
use super::{Moment, Source};
use crate::events::{Purge, token_name};
use crate::identity::answer::Answer;
use crate::identity::fault::Unknown;
use crate::identity::issuer::{Issuer, Kind};
use crate::identity::{Identity, Vouched};
use crate::subject::subject_of;

/// What a token is worth.
#[derive(Debug, Clone)]
pub(crate) enum Swap {
    Live(Rc<Identity>),
    Inactive,
}

/// The same, with what events call it: for [`Validity::is_revoked`].
#[derive(Debug, Clone)]
struct Found {
    swap: Swap,
    names: Rc<[u128]>,
    source: Source,
}

/// An answer, or why there is none; shared by all who asked.
pub(crate) type SwapResult = Result<(Swap, Source), Rc<Unknown>>;

type FoundResult = Result<Found, Rc<Unknown>>;

/// Where a token is shown. What it is worth at one place, it need not be at another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Index into [`crate::plan::Plan::accepted`].
    pub(crate) accepted: usize,
    pub(crate) upstream: usize,
}

/// How long answers may be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenLimits {
    pub(crate) capacity: usize,
    pub(crate) ttl: Duration,
    pub(crate) inactive_ttl: Duration,
    pub(crate) ask: Duration,
}

/// What one worker knows of tokens. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct TokenCache(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    issuers: Arc<[Issuer]>,
    /// Of the token service's tokens alone: what others say is verified here, or asked by each gateway
    /// by its own configuration.
    shared: Option<SealedAccess>,
    limits: TokenLimits,
    hash: KeyedHash,
    /// Keys what purges call tokens.
    secret: Option<Secret>,
    known: RefCell<Generations<Known>>,
    flights: Flights<FoundResult>,
    validity: Rc<RefCell<Validity>>,
}

#[derive(Debug)]
struct Known {
    swap: Swap,
    names: Rc<[u128]>,
    until: UnixTime,
    generation: u64,
    issuer: usize,
    /// Of the issuer, when it was asked.
    version: u64,
    /// What purges call the token.
    name: Box<str>,
}

/// What is asked: one token, at one place, of one issuer.
#[derive(Debug, Clone)]
struct Ask {
    token: Secret,
    issuer: usize,
    resource: ResourceId,
    key: u128,
    generation: u64,
    purges: u64,
    version: Option<u64>,
    trusted_from: UnixTime,
    moment: Moment,
}

impl TokenCache {
    pub(crate) fn new(
        issuers: Arc<[Issuer]>,
        shared: Option<SealedAccess>,
        limits: TokenLimits,
        (hash, secret): (KeyedHash, Option<Secret>),
        validity: Rc<RefCell<Validity>>,
    ) -> Self {
        Self(Rc::new(Inner {
            issuers,
            shared,
            limits,
            hash,
            secret,
            known: RefCell::new(Generations::new(limits.capacity)),
            flights: Flights::default(),
            validity,
        }))
    }

    /// What is remembered about a token, if that may be used now, and of which issuer it is.
    pub(crate) fn recall(
        &self,
        token: &[u8],
        place: Place,
        moment: &Moment,
    ) -> Option<(Swap, usize)> {
        if !moment.trusted {
            return None;
        }
        let inner = &*self.0;
        let mut known = inner.known.borrow_mut();
        let key = inner.key(token, place);
        let found = known.find(key)?;
        let validity = inner.validity.borrow();
        let holds = moment.unix < found.until
            && found.generation == validity.tokens().generation
            && !validity.is_revoked(&found.names)
            // Whoever is not known by the keys of now is not known.
            && inner.version(found.issuer, moment.instant) == Some(found.version);
        if holds {
            return Some((found.swap.clone(), found.issuer));
        }
        known.remove(key);
        None
    }

    /// Asks an issuer, once for all who want to know.
    pub(crate) async fn ask(
        &self,
        token: Secret,
        issuer: usize,
        (place, resource): (Place, &ResourceId),
        moment: Moment,
    ) -> SwapResult {
        let epoch = self.0.validity.borrow().tokens();
        let ask = Ask {
            key: self.0.key(token.reveal().as_bytes(), place),
            token,
            issuer,
            resource: resource.clone(),
            generation: epoch.generation,
            purges: self.0.validity.borrow().purges(),
            version: self.0.version(issuer, moment.instant),
            trusted_from: epoch.trusted_from,
            moment,
        };
        if !moment.trusted {
            // Nobody else's answer, however fresh: we may not have heard what voids it.
            let found = self.ask_issuer(&ask).await.map_err(Rc::new)?.0;
            return Ok((found.swap, found.source));
        }
        let asking = self.clone();
        let flight = (ask.key, ask.generation, ask.purges);
        let answer = self.0.flights.join(flight, move || asking.find(ask)).await;
        let found = answer.unwrap_or_else(|| Err(Rc::new(Unknown::Dropped)))?;
        // What was revoked while we asked is not used either.
        if self.0.validity.borrow().is_revoked(&found.names) {
            return Ok((Swap::Inactive, found.source));
        }
        Ok((found.swap, found.source))
    }

    /// Whoever an issuer vouches for, ready to be asked about.
    ///
    /// `latest`: until then nobody has to be asked again, as far as the token itself lasts.
    pub(crate) fn vouched(
        &self,
        issuer: usize,
        vouched: Vouched,
        (names, latest): (Rc<[u128]>, UnixTime),
    ) -> Option<Rc<Identity>> {
        let issuer = self.0.issuers.get(issuer)?;
        let subject = subject_of(&vouched.facts, issuer.told());
        let subject_hash = self.0.hash.of(&serde_json::to_vec(&subject).ok()?);
        Some(Rc::new(Identity {
            names,
            until: latest.min(vouched.ends),
            vouched,
            issuer: issuer.name.clone(),
            subject,
            subject_hash,
            said: OnceCell::new(),
        }))
    }

    /// Forgets what a purge is about.
    pub(crate) fn purge(&self, purge: &Purge) {
        let of = |known: &Known| match (&known.swap, purge) {
            (_, Purge::Token(name)) => *known.name == **name,
            (Swap::Live(live), Purge::Subject(subject)) => live.subject.id == *subject,
            (Swap::Live(live), Purge::Client(client)) => live.vouched.facts.client_id == *client,
            (_, Purge::Everything) => true,
            (_, Purge::Route(_)) | (Swap::Inactive, _) => false,
        };
        self.0.known.borrow_mut().retain(|known| !of(known));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.known.borrow().len()
    }

    /// The second level, then whoever knows; what comes back is remembered.
    async fn find(self, ask: Ask) -> FoundResult {
        let shared = self.shared(&ask);
        if let Some((shared, question)) = &shared
            && let Some(entry) = shared.find::<SwapAnswer>(question, ask.trusted_from).await
        {
            let latest = entry.as_of.min(ask.moment.unix).plus(shared.ttl());
            if let Ok(Introspection::Active(token)) = entry.answer.into_introspection()
                && ask.moment.unix < latest
                && let Some(found) = self.swapped(&ask, &token, (Source::L2, latest))
            {
                self.remember(&ask, &found, latest);
                return Ok(found);
            }
        }
        let (found, swapped) = self.ask_issuer(&ask).await?;
        let ttl = match found.swap {
            Swap::Live(_) => self.0.limits.ttl,
            Swap::Inactive => self.0.limits.inactive_ttl,
        };
        self.remember(&ask, &found, ask.moment.unix.plus(ttl));
        if let (Some(token), Some((shared, question))) = (swapped, shared) {
            let entry = Entry {
                as_of: ask.moment.unix,
                answer: SwapAnswer::active(&token),
            };
            tokio::task::spawn_local(async move { shared.share(&question, &entry).await });
        }
        Ok(found)
    }

    /// The second level, and the question as it knows it, where gateways share such answers.
    fn shared(&self, ask: &Ask) -> Option<(SealedAccess, Vec<u8>)> {
        let issuer = self.0.issuers.get(ask.issuer)?;
        let is_shared = matches!(issuer.kind, Kind::TokenService(_));
        let shared = self.0.shared.as_ref().filter(|_| is_shared)?;
        Some((shared.clone(), question(ask)))
    }

    /// Beside what is found: what the token service has sent.
    async fn ask_issuer(&self, ask: &Ask) -> Result<(Found, Option<Arc<ActiveToken>>), Unknown> {
        let Some(issuer) = self.0.issuers.get(ask.issuer) else {
            return Ok((inactive(), None));
        };
        let answer = issuer.ask(&ask.token, &ask.resource, ask.moment.unix);
        let answer = tokio::time::timeout(self.0.limits.ask, answer)
            .await
            .unwrap_or(Err(Unknown::Timeout(issuer.name.to_string())))?;
        let now = (Source::Remote, ask.moment.unix.plus(self.0.limits.ttl));
        let live = match answer {
            Answer::Swapped(token) => {
                let found = self.swapped(ask, &token, now);
                found.map(|found| (found, Some(token)))
            }
            Answer::Vouched(vouched) => self
                .live(ask, *vouched, Rc::default(), now)
                .map(|found| (found, None)),
            Answer::Inactive => None,
        };
        Ok(live.unwrap_or_else(|| (inactive(), None)))
    }

    fn swapped(&self, ask: &Ask, token: &ActiveToken, found: (Source, UnixTime)) -> Option<Found> {
        let names = self.0.validity.borrow().names(token);
        self.live(ask, Vouched::of(token)?, names, found)
    }

    /// Found somewhere, and good for so long at most. None where the token has ended.
    fn live(
        &self,
        ask: &Ask,
        vouched: Vouched,
        names: Rc<[u128]>,
        (source, latest): (Source, UnixTime),
    ) -> Option<Found> {
        if vouched.ends <= ask.moment.unix {
            return None;
        }
        Some(Found {
            swap: Swap::Live(self.vouched(ask.issuer, vouched, (names.clone(), latest))?),
            names,
            source,
        })
    }

    fn remember(&self, ask: &Ask, found: &Found, latest: UnixTime) {
        let validity = self.0.validity.borrow();
        // Everything became void while we asked: the answer may be from before that.
        if validity.tokens().generation != ask.generation
            || validity.purges() != ask.purges
            || validity.is_revoked(&found.names)
        {
            return;
        }
        // So did what was verified by other keys than those of now.
        let version = self.0.version(ask.issuer, Instant::now());
        let Some(version) = version.filter(|version| ask.version == Some(*version)) else {
            return;
        };
        let until = match &found.swap {
            Swap::Live(live) => live.until,
            Swap::Inactive if self.0.remembers_refusals(ask.issuer) => latest,
            Swap::Inactive => return,
        };
        let known = Known {
            swap: found.swap.clone(),
            names: found.names.clone(),
            until,
            generation: ask.generation,
            issuer: ask.issuer,
            version,
            name: token_name(self.0.secret.as_ref(), ask.token.reveal().as_bytes()).into(),
        };
        self.0.known.borrow_mut().insert(ask.key, known);
    }
}

impl Inner {
    /// SECURITY: of the place, too: an answer of one route counts on another only where that would
    /// have asked the same.
    fn key(&self, token: &[u8], place: Place) -> u128 {
        self.hash
            .of_numbered([place.accepted, place.upstream], token)
    }

    fn version(&self, issuer: usize, now: Instant) -> Option<u64> {
        self.issuers.get(issuer)?.version(now)
    }

    fn remembers_refusals(&self, issuer: usize) -> bool {
        let issuer = self.issuers.get(issuer);
        issuer.is_some_and(Issuer::remembers_refusals)
    }
}

fn inactive() -> Found {
    Found {
        swap: Swap::Inactive,
        names: Rc::default(),
        source: Source::Remote,
    }
}

/// The name of a shared entry is made of this. Tokens have no NUL.
fn question(ask: &Ask) -> Vec<u8> {
    [
        ask.token.reveal().as_bytes(),
        b"\0",
        ask.resource.as_str().as_bytes(),
    ]
    .concat()
}
