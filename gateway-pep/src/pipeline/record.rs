//! What becomes known of a request on its way; logged and counted when it is over.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, header};
use service_kit::{ClientCertificate, UnixTime};
use tokio::time::Instant;

use super::authorize::Permitted;
use super::canonical::{Authority, CanonicalRequest};
use super::forwarded::Spoken;
use super::presented::Scheme;
use crate::access_log::Line;
use crate::body::{BodyError, Progress};
use crate::cache::verdict::{Outcome, Verdict};
use crate::cache::{Moment, Source};
use crate::identity::Identity;
use crate::names::{RequestId, trace};
use crate::obligation::rate::Drawn;
use crate::streams::{Held, Standing};
use crate::withdrawn::Withdrawn;
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// Of one request. Dropping it ends the request: with the last byte of the answer, or when the
/// client went away before.
#[derive(Debug)]
pub(crate) struct Record {
    worker: Rc<Worker>,
    pub(crate) id: RequestId,
    began: (Instant, UnixTime),
    /// As of which what is known of the caller, and what was decided, holds.
    pub(crate) moment: Moment,
    connection: Rc<Connection>,
    request: Option<Named>,
    trace: Option<HeaderValue>,
    route: Option<usize>,
    progress: Option<Rc<Progress>>,
    scheme: Option<Scheme>,
    /// The login that it is about, or whose session it came with.
    login: Option<usize>,
    /// Another proxy asks, and forwards it itself.
    is_of_proxy: bool,
    caller: Option<Rc<Identity>>,
    token_source: Option<Source>,
    decision: Option<(Rc<Verdict>, Source)>,
    status: StatusCode,
    bytes_out: u64,
    upstream: Option<Duration>,
    error: Option<&'static str>,
    /// Nobody has sent it: it is neither counted nor logged.
    is_aside: bool,
    grounds: Grounds,
    drawn: Vec<Drawn>,
}

/// What the request was permitted by.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a message like most is not to cost an allocation"
)]
enum Grounds {
    Nothing,
    /// It is a message like most.
    Permitted(Permitted),
    /// It lasts.
    Held(Rc<Held>),
}

/// The canonical request's names, shared with it.
#[derive(Debug)]
struct Named {
    method: Method,
    authority: Authority,
    target: PathAndQuery,
    user_agent: Option<HeaderValue>,
}

/// nginx's word for a client that did not wait.
const CLIENT_GONE: u16 = 499;

impl Record {
    pub(crate) fn begin(worker: Rc<Worker>, connection: Rc<Connection>) -> Box<Self> {
        worker.core.metrics.in_flight.inc();
        Self::of(worker, connection, false)
    }

    /// Of the same request, which is asked about again.
    pub(crate) fn again(
        worker: Rc<Worker>,
        connection: Rc<Connection>,
        id: RequestId,
    ) -> Box<Self> {
        let mut record = Self::of(worker, connection, true);
        record.id = id;
        record
    }

    /// Of a request that nobody has sent.
    pub(crate) fn aside(worker: Rc<Worker>, connection: Rc<Connection>) -> Box<Self> {
        Self::of(worker, connection, true)
    }

    fn of(worker: Rc<Worker>, connection: Rc<Connection>, is_aside: bool) -> Box<Self> {
        let moment = worker.moment();
        worker.enter();
        Box::new(Self {
            id: worker.names.next(),
            began: (moment.instant, moment.unix),
            moment,
            worker,
            connection,
            request: None,
            trace: None,
            route: None,
            progress: None,
            scheme: None,
            login: None,
            is_of_proxy: false,
            caller: None,
            token_source: None,
            decision: None,
            status: StatusCode::from_u16(CLIENT_GONE).unwrap_or_default(),
            bytes_out: 0,
            upstream: None,
            error: None,
            is_aside,
            grounds: Grounds::Nothing,
            drawn: Vec::new(),
        })
    }

    pub(crate) fn canonical(&mut self, request: &CanonicalRequest) {
        self.trace = trace(request.headers()).cloned();
        if self.worker.access_log.is_on() {
            self.request = Some(Named {
                method: request.method().clone(),
                authority: request.authority().clone(),
                target: request.target().clone(),
                user_agent: request.headers().get(header::USER_AGENT).cloned(),
            });
        }
    }

    /// A proxy in front has sent it. What is logged and asked is of the client.
    pub(crate) fn spoken_for(&mut self, Spoken { arrival, id }: &Spoken) {
        let connection = self.connection.on_behalf_of(arrival.client_ip);
        self.connection = Rc::new(connection);
        if let Some(id) = id {
            self.id = *id;
        }
    }

    pub(crate) fn body(&mut self, progress: Rc<Progress>) {
        self.progress = Some(progress);
    }

    /// Why the client's body ended early, if it did.
    pub(crate) fn body_failure(&self) -> Option<BodyError> {
        self.progress
            .as_ref()
            .and_then(|progress| progress.failure.get())
    }

    /// Whether there is more of the client's body than was read.
    pub(crate) fn leaves_body(&self) -> bool {
        let progress = self.progress.as_ref();
        progress.is_some_and(|progress| !progress.is_whole.get())
    }

    /// Whether an answer can end the connection: in HTTP/2 only a stream ends.
    pub(crate) fn ends_connections(&self) -> bool {
        !self.connection.is_http2()
    }

    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// What the client's connection has shown, if it counts now.
    pub(crate) fn certificate(&self) -> Option<Arc<ClientCertificate>> {
        let tls = self.worker.core.tls.as_ref()?;
        self.connection.certificate(tls, self.moment.unix)
    }

    /// Whether a connection like the client's would be taken on now.
    pub(crate) fn is_admitted(&self) -> bool {
        let tls = self.worker.core.tls.as_ref();
        tls.is_none_or(|tls| self.connection.is_admitted(tls, self.moment.unix))
    }

    pub(crate) fn routed(&mut self, route: usize) {
        self.route = Some(route);
    }

    pub(crate) fn route(&self) -> Option<usize> {
        self.route
    }

    pub(crate) fn traced(&mut self, parent: Option<&HeaderValue>) {
        self.trace = parent.cloned();
    }

    pub(crate) fn presented(&mut self, scheme: Scheme) {
        self.scheme = Some(scheme);
    }

    pub(crate) fn by_login(&mut self, login: usize) {
        self.login = Some(login);
    }

    /// Whether nobody has sent it.
    pub(crate) fn is_aside(&self) -> bool {
        self.is_aside
    }

    pub(crate) fn for_proxy(&mut self) {
        self.is_of_proxy = true;
    }

    pub(crate) fn is_of_proxy(&self) -> bool {
        self.is_of_proxy
    }

    /// How the request presents its token, if it has one.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    pub(crate) fn authenticated(&mut self, caller: Rc<Identity>, source: Source) {
        self.caller = Some(caller);
        self.token_source = Some(source);
    }

    pub(crate) fn decided(&mut self, verdict: Rc<Verdict>, source: Source) {
        if !self.is_aside {
            let metrics = self.worker.core.metrics.route(self.route);
            metrics.decided(source, verdict.is_permit());
        }
        self.decision = Some((verdict, source));
    }

    /// Who calls, and who said so.
    pub(crate) fn caller(&self) -> Option<(&Identity, Source)> {
        self.caller.as_deref().zip(self.token_source)
    }

    /// What was decided, and who said so.
    pub(crate) fn decision(&self) -> Option<(&Verdict, Source)> {
        let decision = self.decision.as_ref();
        decision.map(|(verdict, source)| (&**verdict, *source))
    }

    /// It counts under a limit.
    pub(crate) fn drew(&mut self, drawn: Drawn) {
        self.drawn.push(drawn);
    }

    /// The limits that it counts under.
    pub(crate) fn drawn(&self) -> &[Drawn] {
        &self.drawn
    }

    pub(crate) fn take_decision(&mut self) -> Option<(Rc<Verdict>, Source)> {
        self.decision.take()
    }

    /// How far the client's body came.
    pub(crate) fn progress(&self) -> Option<&Rc<Progress>> {
        self.progress.as_ref()
    }

    /// What the request goes on by, kept until it is over.
    pub(crate) fn permit(&mut self, permitted: Permitted) {
        self.grounds = Grounds::Permitted(permitted);
    }

    pub(crate) fn permitted(&self) -> Option<&Permitted> {
        match &self.grounds {
            Grounds::Nothing => None,
            Grounds::Permitted(permitted) => Some(permitted),
            Grounds::Held(held) => Some(&held.permitted),
        }
    }

    /// From now on what it was permitted by is looked at. None: nothing was asked about it.
    pub(crate) fn hold(&mut self) -> Option<&Rc<Held>> {
        if let Some(granted) = self.permitted().and_then(Permitted::granted)
            && matches!(self.grounds, Grounds::Permitted(_))
        {
            let standing = Standing::of(granted, &self.moment);
            let grounds = std::mem::replace(&mut self.grounds, Grounds::Nothing);
            if let Grounds::Permitted(permitted) = grounds {
                let connection = self.connection.clone();
                let held = Held::new(&self.worker, connection, (permitted, standing), self.id);
                self.grounds = Grounds::Held(held);
            }
        }
        match &self.grounds {
            Grounds::Held(held) => Some(held),
            Grounds::Nothing | Grounds::Permitted(_) => None,
        }
    }

    /// Why a request that lasts may not go on; whoever asks before that is woken then.
    pub(crate) fn withdrawn(&self, context: &Context<'_>) -> Option<Withdrawn> {
        match &self.grounds {
            Grounds::Held(held) => held.withdrawn(context),
            Grounds::Nothing | Grounds::Permitted(_) => None,
        }
    }

    pub(crate) fn upstream_took(&mut self, duration: Duration) {
        self.upstream = Some(duration);
    }

    pub(crate) fn failed(&mut self, reason: &'static str) {
        self.error = Some(reason);
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes_out += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        if let Some(progress) = &self.progress {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            progress.bytes.set(progress.bytes.get() + bytes);
        }
    }

    pub(crate) fn broke_off(&mut self, error: BodyError) {
        if let Grounds::Held(held) = &self.grounds
            && let Some(decision) = held.ended_by()
        {
            self.decision = Some(decision);
        }
        self.error = Some(match error {
            BodyError::TooLarge => "response_too_large",
            BodyError::Idle => "response_idle",
            BodyError::Overdue => "response_overdue",
            BodyError::Broken => "response_broken",
            BodyError::Withdrawn(withdrawn) => withdrawn.as_str(),
        });
    }

    fn log(&self, duration: Duration) {
        let core = &self.worker.core;
        let route = self.route.and_then(|route| core.plan.routes.get(route));
        let upstream = route
            .filter(|_| self.upstream.is_some())
            .and_then(|route| core.plan.upstreams.get(route.upstream));
        let logins = core.plan.logins.as_ref();
        let login = logins.zip(self.login);
        let login = login.and_then(|(logins, login)| logins.all.get(login));
        let logged = match &self.decision {
            Some((verdict, _)) => match &verdict.outcome {
                Outcome::Permit(obligations) => obligations.logged.as_slice(),
                Outcome::Deny | Outcome::UnknownObligation => &[],
            },
            None => &[],
        };
        let request = self.request.as_ref();
        self.worker.access_log.write(&Line {
            at: self.began.1,
            id: &self.id,
            trace: self.trace.as_ref(),
            client_ip: self.connection.client_ip_text(),
            method: request.map(|request| &request.method),
            host: request.map(|request| request.authority.host()),
            target: request.map(|request| &request.target),
            route: route.map(|route| &*route.template),
            upstream: upstream.map(|upstream| &*upstream.name),
            user_agent: request.and_then(|request| request.user_agent.as_ref()),
            status: self.status.as_u16(),
            bytes_in: self
                .progress
                .as_ref()
                .map_or(0, |progress| progress.bytes.get()),
            bytes_out: self.bytes_out,
            duration_us: micros(duration),
            upstream_us: self.upstream.map(micros),
            login: login.map(|login| &*login.name),
            caller: self.caller.as_ref(),
            token_source: self.token_source,
            decision: self
                .decision
                .as_ref()
                .map(|(verdict, source)| (verdict, *source)),
            logged,
            error: self.error,
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.worker.leave();
        if let Some(progress) = &self.progress {
            progress.answered();
        }
        if self.is_aside {
            return;
        }
        let duration = self.began.0.elapsed();
        let metrics = &self.worker.core.metrics;
        metrics.in_flight.dec();
        let route = metrics.route(self.route);
        route.duration.observe(duration.as_secs_f64());
        route.answered(self.status.as_u16());
        if self.worker.access_log.is_on() {
            self.log(duration);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
