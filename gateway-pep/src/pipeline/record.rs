//! What becomes known of a request on its way; logged and counted when it is over.

mod over;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use service_kit::{ClientCertificate, KnownMethod, UnixTime, traces};
use tokio::time::Instant;

use super::authorize::permitted::Permitted;
use super::forwarded::Spoken;
use super::held::{Held, Standing};
use super::presented::Scheme;
use super::traced::Asked;
use super::traced::Trace;
use crate::body::{BodyError, Progress};
use crate::cache::verdict::Verdict;
use crate::cache::{Moment, Source};
use crate::canonical::{Authority, CanonicalRequest};
use crate::grpc;
use crate::identity::Identity;
use crate::names::RequestId;
use crate::obligation::rate::Drawn;
use crate::plan::said;
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
    method: KnownMethod,
    request: Option<Named>,
    trace: Trace,
    asked: Cell<Asked>,
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
    upstream: Option<(usize, Duration)>,
    /// Why the upstream has not answered, in the words of RFC 9209.
    proxy_error: Option<&'static str>,
    error: Option<&'static str>,
    /// Nobody has sent it: it is neither counted nor logged.
    is_aside: bool,
    /// A call of gRPC: its status is said in gRPC's words.
    is_call: bool,
    grounds: Grounds,
    drawn: Vec<Drawn>,
}

/// What the request was permitted by.
#[derive(Debug)]
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
    /// Those that are logged beside it. Mostly none.
    headers: Vec<Option<HeaderValue>>,
}

/// What a question about a token is called.
pub(crate) const SWAP: &str = "swap token";

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
            method: KnownMethod::Other,
            request: None,
            trace: Trace::Unrecorded(None),
            asked: Cell::default(),
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
            proxy_error: None,
            error: None,
            is_aside,
            is_call: false,
            grounds: Grounds::Nothing,
            drawn: Vec::new(),
        })
    }

    /// What the request says to be, whatever else is wrong with it.
    pub(crate) fn by_method(&mut self, method: &Method) {
        self.method = method.into();
    }

    /// Looks whether it is a call of gRPC, which comes by HTTP/2.
    pub(crate) fn arrived(&mut self, method: &Method, headers: &HeaderMap) {
        self.is_call = self.connection.is_http2() && grpc::is_call(method, headers);
    }

    pub(crate) fn is_call(&self) -> bool {
        self.is_call
    }

    /// Leaves of what comes after an answer's body what may come there, and what nobody else has said before.
    pub(crate) fn settle_trailers(&self, trailers: &mut HeaderMap) {
        let plan = &self.worker.core.plan;
        let route = self.route.and_then(|route| plan.routes.get(route));
        let changes = route.and_then(|route| route.rewrite.as_ref());
        let of_route = changes.map(|rewrite| &rewrite.response);
        let obligations = self.permitted().and_then(Permitted::obligations);
        let of_policy = obligations.map(|it| &it.response_headers);
        plan.reserved
            .scrub_trailers(trailers, said(of_route, of_policy));
    }

    pub(crate) fn canonical(&mut self, request: &CanonicalRequest) {
        self.by_method(request.method());
        if !self.is_aside {
            self.trace = Trace::of(&self.worker.core, request);
        }
        if self.worker.access_log.is_on() {
            self.request = Some(Named {
                method: request.method().clone(),
                authority: request.authority().clone(),
                target: request.target().clone(),
                user_agent: request.headers().get(header::USER_AGENT).cloned(),
                headers: self.logged_headers(request),
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

    fn logged_headers(&self, request: &CanonicalRequest) -> Vec<Option<HeaderValue>> {
        let names = self.worker.core.plan.lines.headers.iter();
        names
            .map(|name| request.headers().get(name).cloned())
            .collect()
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

    /// Says to whoever gets these headers which trace it is in.
    pub(crate) fn hand_on_trace(&mut self, headers: &mut HeaderMap) {
        self.trace.hand_on(headers, &self.id);
    }

    /// Asks somebody about it, who is to know which trace it is in. `source`: who has answered.
    pub(crate) async fn ask<T, E>(
        &self,
        name: &'static str,
        question: impl Future<Output = Result<T, E>>,
        source: impl FnOnce(&T) -> Source,
    ) -> Result<T, E> {
        let (asking, context) = self.trace.asking(name);
        let plan = &self.worker.core.plan;
        let began = plan
            .diagnostics(self.route)
            .server_timing
            .then(Instant::now);
        let answer = traces::within(context, question).await;
        if let Some(began) = began {
            self.took(name, began.elapsed());
        }
        asking.answered(answer.as_ref().ok().map(source).map(Source::as_str));
        answer
    }

    fn took(&self, question: &'static str, took: Duration) {
        let mut asked = self.asked.get();
        if question == SWAP {
            asked.token += took;
        } else {
            asked.decision += took;
        }
        self.asked.set(asked);
    }

    /// How long others were asked, where that is measured.
    pub(crate) fn asked(&self) -> Asked {
        self.asked.get()
    }

    /// How long the upstream took, if it has answered.
    pub(crate) fn upstream(&self) -> Option<Duration> {
        self.upstream.map(|(_, took)| took)
    }

    /// Since the request began.
    pub(crate) fn age(&self) -> Duration {
        self.began.0.elapsed()
    }

    /// It goes to an upstream, and comes back.
    pub(crate) fn forwards(&mut self, upstream: &str) {
        self.trace.forwards(self.method, upstream);
    }

    /// None: there is no response.
    pub(crate) fn forwarded(&mut self, status: Option<StatusCode>) {
        self.trace.forwarded(status, self.proxy_error);
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

    /// Why a request that lasts has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Withdrawn> {
        match &self.grounds {
            Grounds::Held(held) => held.ended(),
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

    pub(crate) fn method(&self) -> KnownMethod {
        self.method
    }

    pub(crate) fn upstream_took(&mut self, upstream: usize, duration: Duration) {
        self.upstream = Some((upstream, duration));
    }

    /// The upstream has not answered. None: that was the client's doing.
    pub(crate) fn upstream_failed(&mut self, error: Option<&'static str>) {
        self.proxy_error = error;
    }

    pub(crate) fn proxy_error(&self) -> Option<&'static str> {
        self.proxy_error
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
}
