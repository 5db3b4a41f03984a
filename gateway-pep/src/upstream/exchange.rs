//! A request on its way to an upstream, over as many tries as it takes. Every try sends the same request; between
//! two of them, whoever drives it looks whether it may still be sent.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::connections::{Connections, Sender, Visit, Wanted};
use super::sending::{Answered, copy, exchange, has_ended, is_unprocessed};
use super::{Counted, Lease, Place, Pool, UpstreamError};
use crate::body::{Progress, RequestBody};
use crate::plan::{Retries, UpstreamPlan, UpstreamTimes, is_repeatable};

/// One request, and what is known of its tries.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) pool: Rc<Pool>,
    pub(super) key: Option<u64>,
    /// What the next try sends. None: there can be none.
    pub(super) request: Option<Box<Request<RequestBody>>>,
    /// Endpoints that have failed.
    pub(super) tried: Vec<Rc<Connections>>,
    /// The place that it takes among the upstream's requests, as long as it has no answer.
    counted: Option<Counted>,
    times: UpstreamTimes,
    /// Of all tries.
    deadline: Option<Instant>,
    /// Where the next try goes, if that is settled.
    next: Next,
    pub(super) retries: u32,
    /// Tries at an endpoint that has not begun on the one before.
    again: u32,
    /// Whether there is another endpoint at all.
    has_others: bool,
    /// Where the try goes beside which there may be another one.
    pub(super) beside: Option<Beside>,
}

/// Where a try has gone, once that is settled.
type Beside = Rc<RefCell<Option<Rc<Connections>>>>;

/// Where the next try goes.
#[derive(Debug)]
enum Next {
    Chosen,
    /// To the same endpoint, whose kept connection had ended.
    Same(Visit),
}

impl Exchange {
    pub(super) fn new(
        pool: &Rc<Pool>,
        (request, key): (Box<Request<RequestBody>>, Option<u64>),
        times: UpstreamTimes,
    ) -> Self {
        let has_others = pool.selection.borrow().all().len() > 1;
        if has_others {
            pool.budget.earn();
        }
        Self {
            pool: pool.clone(),
            key,
            request: Some(request),
            tried: Vec::new(),
            counted: None,
            times,
            deadline: None,
            next: Next::Chosen,
            retries: 0,
            again: 0,
            has_others,
            beside: None,
        }
    }

    /// The same request once more, to be sent beside the next try: somewhere else, and once.
    pub(super) fn beside(&mut self, request: Box<Request<RequestBody>>) -> Self {
        let beside = Beside::default();
        self.beside = Some(beside.clone());
        let deadline = Instant::now() + self.times.to_head();
        let deadline = *self.deadline.get_or_insert(deadline);
        Self {
            pool: self.pool.clone(),
            key: self.key,
            request: Some(request),
            tried: self.tried.clone(),
            counted: None,
            times: self.times,
            deadline: Some(deadline),
            next: Next::Chosen,
            retries: u32::MAX,
            again: 0,
            has_others: self.has_others,
            beside: Some(beside),
        }
    }

    /// Whether the next try sends a body.
    pub(crate) fn has_body(&self) -> bool {
        let request = self.request.as_ref();
        request.is_some_and(|request| !request.body().is_end_stream())
    }

    /// Sends the request to one endpoint and waits for the response's head.
    pub(crate) async fn attempt(&mut self) -> Result<(Response<Incoming>, Lease), UpstreamError> {
        let pool = self.pool.clone();
        let plan = pool.plan().ok_or(UpstreamError::Missing)?;
        let mut request = self.request.take().ok_or(UpstreamError::Missing)?;
        self.take_in(&mut request).await?;
        let counted = match self.counted.take() {
            Some(counted) => counted,
            None => pool.place().await?,
        };
        let visit = match std::mem::replace(&mut self.next, Next::Chosen) {
            Next::Same(visit) => visit,
            Next::Chosen => pool.choose_soon(plan, self.key, &self.tried).await?,
        };
        let at = visit.at().clone();
        if let Some(beside) = &self.beside {
            *beside.borrow_mut() = Some(at.clone());
        }
        if let Some(metrics) = &at.endpoint.metrics {
            metrics.requests.inc();
        }
        let progress = pool.roster.counts().then(|| request.body().progress());
        let answered = self.send(plan, &at, request).await;
        // One that ended while it was kept says nothing about its endpoint.
        let is_same = matches!(&answered, Err(Failed { is_stale: true, .. }));
        if let Some(progress) = progress.filter(|_| !is_same) {
            let answer = answered.as_ref().map(|it| &it.0);
            let has_failed = has_failed(plan, answer.map_err(|failed| &failed.error), &progress);
            pool.roster.ended(&at.endpoint, has_failed);
        }
        match answered {
            Ok((response, sender)) => {
                // Only where another one may be asked for a better answer.
                if self.has_others {
                    self.tried.push(at);
                }
                let place = Place {
                    pool,
                    visit,
                    _counted: counted,
                };
                Ok((response, Lease { sender, place }))
            }
            Err(failed) => {
                self.counted = Some(counted);
                if is_same {
                    self.next = Next::Same(visit);
                } else {
                    self.tried.push(at);
                }
                Err(failed.error)
            }
        }
    }

    /// After a failure: whether there is another try. It is counted as one.
    pub(crate) fn goes_on(&mut self) -> bool {
        let Some(request) = &self.request else {
            return false;
        };
        // What the client has broken off is not whole anywhere.
        if request.body().progress().failure.get().is_some() {
            return false;
        }
        if matches!(self.next, Next::Same(_)) {
            self.count(|retries| &retries.kept_connection);
            return true;
        }
        let goes_on = self.may_go_elsewhere();
        if goes_on {
            self.count(|retries| &retries.failure);
        }
        goes_on
    }

    /// After an answer: whether another endpoint is asked for a better one. It is counted as a try.
    pub(crate) fn wants_another(&mut self, response: &Response<Incoming>) -> bool {
        let wants = |retries: &Retries| retries.want_another(response.status());
        let wants = self.plan().is_some_and(wants);
        let goes_on = wants && self.request.is_some() && self.may_go_elsewhere();
        if goes_on {
            self.count(|retries| &retries.status);
        }
        goes_on
    }

    /// None: it goes to one endpoint, and no other.
    pub(super) fn plan(&self) -> Option<&Retries> {
        let plan = self.pool.plan().filter(|_| self.has_others);
        plan?.retries.as_ref()
    }

    pub(super) fn count(&self, of: impl Fn(&super::RetryMetrics) -> &prometheus::IntCounter) {
        if let Some(metrics) = self.pool.metrics.upstream(self.pool.upstream) {
            of(&metrics.retries).inc();
        }
    }

    fn may_go_elsewhere(&mut self) -> bool {
        let attempts = self.plan().map_or(0, |retries| retries.attempts);
        let is_late = self.deadline.is_some_and(|it| it <= Instant::now());
        if self.retries >= attempts || is_late {
            return false;
        }
        let Some(plan) = self.pool.plan() else {
            return false;
        };
        if self.pool.choose(plan, self.key, &self.tried).is_none() {
            return false;
        }
        if !self.pool.budget.spend() {
            self.count(|retries| &retries.beyond_budget);
            return false;
        }
        self.retries += 1;
        true
    }

    /// Whether the request may be sent again once it may have left.
    fn is_repeatable(&self, request: &Request<RequestBody>) -> bool {
        let is_left = |retries: &Retries| self.retries < retries.attempts;
        self.plan().is_some_and(is_left) && is_repeatable(request.method(), request.headers())
    }

    /// Reads a short body before anything is sent, where it may have to be sent twice.
    async fn take_in(&self, request: &mut Request<RequestBody>) -> Result<(), UpstreamError> {
        let Some(plan) = self.plan() else {
            return Ok(());
        };
        let length = request.body().size_hint().exact();
        let is_short = length.is_some_and(|length| (1..=plan.body_bytes).contains(&length));
        if !is_short || request.body().is_at_hand() || !self.is_repeatable(request) {
            return Ok(());
        }
        let most = usize::try_from(plan.body_bytes).unwrap_or(usize::MAX);
        let read = request.body_mut().read_whole(most).await;
        read.map(drop).map_err(|_| UpstreamError::Client)
    }

    fn to_connect(&self, deadline: Instant) -> Duration {
        let left = deadline.saturating_duration_since(Instant::now());
        left.min(self.times.connect)
    }

    /// To one endpoint. What may be sent again is there afterwards.
    async fn send(
        &mut self,
        plan: &UpstreamPlan,
        at: &Connections,
        request: Box<Request<RequestBody>>,
    ) -> Result<Answered, Failed> {
        let now = Instant::now();
        let deadline = *self.deadline.get_or_insert(now + self.times.to_head());
        let per_try = self.plan().and_then(|retries| retries.per_try);
        let is_repeatable = self.is_repeatable(&request);
        let deadline = match per_try {
            // The last try has all that is left.
            Some(per_try) if is_repeatable => deadline.min(now + per_try),
            Some(_) | None => deadline,
        };
        let wanted = Wanted::by(&request);
        let kept = (wanted == Wanted::ForRequest).then(|| at.checkout(plan));
        let (sender, is_old) = match kept.flatten() {
            Some((sender, is_old)) => (sender, Some(is_old)),
            // It is seldom, and large.
            None => match Box::pin(
                self.pool
                    .connect(plan, (at, wanted), self.to_connect(deadline)),
            )
            .await
            {
                Ok(sender) => (sender, None),
                Err(error) => {
                    // It has never left.
                    self.request = Some(request);
                    return Err(error.into());
                }
            },
        };
        let is_shared = matches!(sender, Sender::Http2(_));
        let is_plain = request.method().is_safe() && request.body().is_end_stream();
        // Its endpoint has most likely closed it already.
        // One for many is lost to all of them at once, however new it is: servers that are exchanged leave what they have
        // accepted without a word.
        let may_be_stale = is_plain && (is_old == Some(true) || is_shared);
        // Whether it was begun on is told where others are under way beside it, and only afterwards.
        if may_be_stale || is_repeatable || is_shared {
            self.request = copy(&request);
        }
        let (error, unsent) = match exchange(sender, request, deadline).await {
            Ok(answered) => {
                if !is_repeatable {
                    self.request = None;
                }
                return Ok(answered);
            }
            Err(failed) => failed,
        };
        let never_begun = unsent.is_some() || (is_shared && is_unprocessed(&error));
        let is_stale = matches!(error, UpstreamError::Exchange(_))
            && if is_shared {
                (never_begun || (may_be_stale && has_ended(&error))) && self.again < AGAIN
            } else {
                is_old.is_some() && (unsent.is_some() || may_be_stale)
            };
        if is_stale && is_shared {
            self.again += 1;
        } else if is_stale {
            // The others are as old: the next connection is a new one.
            at.close_kept();
        }
        self.request = unsent.or_else(|| self.request.take());
        // SECURITY: what may have been begun on goes nowhere else, but where that does no harm.
        if is_shared && !never_begun && !is_stale && !is_repeatable {
            self.request = None;
        }
        Err(Failed { error, is_stale })
    }
}

/// A request that an endpoint has not begun on is sent there again so often: it has ended the connection, or has too
/// much to do on it.
const AGAIN: u32 = 2;

/// Why a try has no answer.
struct Failed {
    error: UpstreamError,
    /// A kept connection had ended, and the request can be sent on another one.
    is_stale: bool,
}

impl From<UpstreamError> for Failed {
    fn from(error: UpstreamError) -> Self {
        let is_stale = false;
        Self { error, is_stale }
    }
}

/// Whether an endpoint has done badly. What its client has broken off, or was too slow to send, says nothing about
/// it: or anybody could have all endpoints ejected.
fn has_failed(
    plan: &UpstreamPlan,
    answered: Result<&Response<Incoming>, &UpstreamError>,
    progress: &Progress,
) -> bool {
    match answered {
        Ok(response) => {
            let outliers = plan.health.outliers.as_ref();
            outliers.is_some_and(|outliers| outliers.counts(response.status()))
        }
        Err(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout) => true,
        Err(UpstreamError::ResponseTimeout) => progress.is_whole.get(),
        Err(UpstreamError::Exchange(_)) => progress.failure.get().is_none(),
        Err(
            UpstreamError::Full
            | UpstreamError::NoEndpoint
            | UpstreamError::Client
            | UpstreamError::NoTunnel
            | UpstreamError::Missing,
        ) => false,
    }
}
