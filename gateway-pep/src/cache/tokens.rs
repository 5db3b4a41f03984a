//! Swapped tokens: what an opaque token stands for at one upstream.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use authzen::Subject;
use http::HeaderValue;
use oauth::{
    ActiveToken, Introspection, IntrospectionError, OpaqueToken, ResourceId, SwapAnswer,
    TokenIntrospector,
};
use service_kit::UnixTime;

use super::flight::Flights;
use super::generations::Generations;
use super::keyed::KeyedHash;
use super::sealed::{Entry, SealedAccess};
use super::validity::Validity;
use super::{Moment, Source};
use crate::subject::subject_of;

/// A live token, ready for use: who calls, and what the upstream gets.
#[derive(Debug)]
pub(crate) struct Swapped {
    pub(crate) token: Arc<ActiveToken>,
    pub(crate) subject: Subject,
    /// Stands for the whole of `subject` in decision keys.
    pub(crate) subject_hash: u128,
    /// `Bearer <JWT>`.
    pub(crate) authorization: HeaderValue,
    /// For [`Validity::is_revoked`].
    names: Box<[u128]>,
}

/// What a token is worth.
#[derive(Debug, Clone)]
pub(crate) enum Swap {
    Live(Rc<Swapped>),
    Inactive,
}

/// An answer, or why there is none; shared by all who asked.
pub(crate) type SwapResult = Result<(Swap, Source), Rc<IntrospectionError>>;

/// How long answers may be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenLimits {
    pub(crate) capacity: usize,
    pub(crate) ttl: Duration,
    pub(crate) inactive_ttl: Duration,
    pub(crate) ask: Duration,
}

/// One worker's swapped tokens. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct TokenCache(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    introspector: Arc<dyn TokenIntrospector>,
    shared: Option<SealedAccess>,
    limits: TokenLimits,
    hash: KeyedHash,
    known: RefCell<Generations<Known>>,
    flights: Flights<SwapResult>,
    validity: Rc<RefCell<Validity>>,
}

#[derive(Debug)]
struct Known {
    swap: Swap,
    until: UnixTime,
    generation: u64,
}

/// What is asked: one token, at one upstream.
#[derive(Debug, Clone)]
struct Ask {
    token: OpaqueToken,
    resource: ResourceId,
    key: u128,
    generation: u64,
    trusted_from: UnixTime,
    moment: Moment,
}

impl TokenCache {
    pub(crate) fn new(
        introspector: Arc<dyn TokenIntrospector>,
        shared: Option<SealedAccess>,
        limits: TokenLimits,
        hash: KeyedHash,
        validity: Rc<RefCell<Validity>>,
    ) -> Self {
        Self(Rc::new(Inner {
            introspector,
            shared,
            limits,
            hash,
            known: RefCell::new(Generations::new(limits.capacity)),
            flights: Flights::default(),
            validity,
        }))
    }

    /// What is remembered about a token, if that may be used now.
    pub(crate) fn recall(&self, token: &[u8], upstream: usize, moment: &Moment) -> Option<Swap> {
        if !moment.trusted {
            return None;
        }
        let inner = &*self.0;
        let mut known = inner.known.borrow_mut();
        let key = inner.hash.of_pair(upstream, token);
        let found = known.find(key)?;
        let validity = inner.validity.borrow();
        let holds = moment.unix < found.until
            && found.generation == validity.tokens().generation
            && match &found.swap {
                Swap::Live(live) => !validity.is_revoked(&live.names),
                Swap::Inactive => true,
            };
        if holds {
            return Some(found.swap.clone());
        }
        known.remove(key);
        None
    }

    /// Asks, once for all who want to know.
    pub(crate) async fn ask(
        &self,
        token: OpaqueToken,
        upstream: usize,
        resource: &ResourceId,
        moment: Moment,
    ) -> SwapResult {
        let epoch = self.0.validity.borrow().tokens();
        let ask = Ask {
            key: self.0.hash.of_pair(upstream, token.reveal().as_bytes()),
            token,
            resource: resource.clone(),
            generation: epoch.generation,
            trusted_from: epoch.trusted_from,
            moment,
        };
        if !moment.trusted {
            // Nobody else's answer, however fresh: we may not have heard what voids it.
            return self.introspect(&ask).await;
        }
        let asking = self.clone();
        let flight = (ask.key, ask.generation);
        let answer = self.0.flights.join(flight, move || asking.find(ask)).await;
        let (swap, source) =
            answer.unwrap_or_else(|| Err(Rc::new(IntrospectionError::Unavailable(None))))?;
        // What was revoked while we asked is not used either.
        match swap {
            Swap::Live(live) if self.0.validity.borrow().is_revoked(&live.names) => {
                Ok((Swap::Inactive, source))
            }
            swap => Ok((swap, source)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.known.borrow().len()
    }

    /// The second level, then whoever knows; what comes back is remembered.
    async fn find(self, ask: Ask) -> SwapResult {
        if let Some(shared) = &self.0.shared {
            let question = question(&ask);
            if let Some(entry) = shared.find::<SwapAnswer>(&question, ask.trusted_from).await {
                let latest = entry.as_of.min(ask.moment.unix).plus(shared.ttl());
                if let Ok(Introspection::Active(token)) = entry.answer.into_introspection()
                    && ask.moment.unix < latest
                    && let Some(swap) = self.live(token, ask.moment.unix)
                {
                    self.remember(&ask, &swap, latest);
                    return Ok((swap, Source::L2));
                }
            }
        }
        let (swap, source) = self.introspect(&ask).await?;
        let ttl = match swap {
            Swap::Live(_) => self.0.limits.ttl,
            Swap::Inactive => self.0.limits.inactive_ttl,
        };
        self.remember(&ask, &swap, ask.moment.unix.plus(ttl));
        if let (Swap::Live(live), Some(shared)) = (&swap, self.0.shared.clone()) {
            let entry = Entry {
                as_of: ask.moment.unix,
                answer: SwapAnswer::active(&live.token),
            };
            let question = question(&ask);
            tokio::task::spawn_local(async move { shared.share(&question, &entry).await });
        }
        Ok((swap, source))
    }

    async fn introspect(&self, ask: &Ask) -> SwapResult {
        let answer = self.0.introspector.introspect(&ask.token, &ask.resource);
        let answer = tokio::time::timeout(self.0.limits.ask, answer)
            .await
            .unwrap_or(Err(IntrospectionError::Timeout))
            .map_err(Rc::new)?;
        let swap = match answer {
            Introspection::Active(token) => self.live(token, ask.moment.unix),
            Introspection::Inactive => None,
        };
        Ok((swap.unwrap_or(Swap::Inactive), Source::Remote))
    }

    /// None where the token has ended, or its JWT cannot be a header.
    fn live(&self, token: Arc<ActiveToken>, now: UnixTime) -> Option<Swap> {
        if UnixTime::from_secs(token.exp) <= now {
            return None;
        }
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {}", token.jwt.reveal())).ok()?;
        authorization.set_sensitive(true);
        let subject = subject_of(&token.facts);
        let subject_hash = self.0.hash.of(&serde_json::to_vec(&subject).ok()?);
        let names = self.0.validity.borrow().names(&token);
        Some(Swap::Live(Rc::new(Swapped {
            token,
            subject,
            subject_hash,
            authorization,
            names,
        })))
    }

    fn remember(&self, ask: &Ask, swap: &Swap, latest: UnixTime) {
        let validity = self.0.validity.borrow();
        // Everything became void while we asked: the answer may be from before that.
        if validity.tokens().generation != ask.generation {
            return;
        }
        let until = match swap {
            Swap::Live(live) if validity.is_revoked(&live.names) => return,
            Swap::Live(live) => latest.min(UnixTime::from_secs(live.token.exp)),
            Swap::Inactive => latest,
        };
        let known = Known {
            swap: swap.clone(),
            until,
            generation: ask.generation,
        };
        self.0.known.borrow_mut().insert(ask.key, known);
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
