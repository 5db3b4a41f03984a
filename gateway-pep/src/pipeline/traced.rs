//! Which trace a request is in, and its spans where these are recorded: of the request, of what is asked about it,
//! and of its way to the upstream. They say words of the configuration and outcomes, never who asked for what.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use service_kit::traces::{Span, Stranger};
use service_kit::{KnownMethod, TraceContext};

use crate::canonical::CanonicalRequest;
use crate::core::Core;
use crate::headers::{TRACEPARENT, TRACESTATE};
use crate::names::{RequestId, begin_trace, trace, trace_id};

/// Of one request.
#[derive(Debug)]
pub(crate) enum Trace {
    /// Spans are sent nowhere: the header that its client has sent, or that the upstream gets.
    Unrecorded(Option<HeaderValue>),
    /// Spans are sent; of this one, or not.
    Ours(Box<Ours>),
}

/// See [`Trace::Ours`].
#[derive(Debug)]
pub(crate) struct Ours {
    context: TraceContext,
    span: Option<Span>,
    upstream: Option<Span>,
}

/// What came of a request, as its span says it.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) method: KnownMethod,
    pub(crate) route: Option<&'a str>,
    /// None: nobody was there for an answer.
    pub(crate) status: Option<StatusCode>,
    pub(crate) error: Option<&'static str>,
    pub(crate) token_source: Option<&'static str>,
    /// Whether it was permitted, and who said so.
    pub(crate) decision: Option<(bool, &'static str)>,
}

/// How long others were asked. Nothing is measured where nobody wants to know.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) token: Duration,
    pub(crate) decision: Duration,
}

/// Somebody is being asked about a request.
#[derive(Debug, Default)]
pub(crate) struct Asking(Option<Span>);

impl Trace {
    pub(crate) fn of(core: &Core, request: &CanonicalRequest) -> Self {
        let headers = request.headers();
        if core.traces.is_on() {
            let sent = TraceContext::from_headers(headers);
            if let (Some(context), mut span) = core.traces.receive(sent, core.client_traces) {
                if let Some(span) = &mut span {
                    span.set("url.scheme", request.scheme().as_str());
                }
                return Self::Ours(Box::new(Ours {
                    context,
                    span,
                    upstream: None,
                }));
            }
        }
        let sent = trace(headers).filter(|_| core.client_traces == Stranger::Continue);
        Self::Unrecorded(sent.cloned())
    }

    /// Says it to whoever gets these headers, in the place of what the client has said.
    pub(crate) fn hand_on(&mut self, headers: &mut HeaderMap, id: &RequestId) {
        match self {
            Self::Unrecorded(sent) => {
                // The client's stands there already.
                if sent.is_some() {
                    return;
                }
                *sent = begin_trace(headers, id);
            }
            Self::Ours(ours) => {
                headers.remove(TRACEPARENT);
                headers.remove(TRACESTATE);
                let upstream = ours.upstream.as_ref().map(Span::context);
                upstream.unwrap_or(&ours.context).write(headers);
            }
        }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn id(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Unrecorded(sent) => sent.as_ref().and_then(trace_id).map(Cow::Borrowed),
            Self::Ours(ours) => Some(Cow::Owned(ours.context.trace_id())),
        }
    }

    /// Begins a question about the request.
    pub(crate) fn asking(&self, name: &'static str) -> (Asking, Option<TraceContext>) {
        let Self::Ours(ours) = self else {
            return (Asking(None), None);
        };
        let span = ours.context.call(name);
        let context = span.as_ref().map_or(&ours.context, Span::context);
        let context = Some(context.clone());
        (Asking(span), context)
    }

    /// Begins the way to the upstream.
    pub(crate) fn forwards(&mut self, method: KnownMethod, upstream: &str) {
        if let Self::Ours(ours) = self
            && let Some(mut span) = ours.context.call(method.span_name())
        {
            span.set("http.request.method", method.as_str());
            span.set("cedargate.upstream", upstream.to_owned());
            ours.upstream = Some(span);
        }
    }

    /// Ends it, with the head of the response.
    pub(crate) fn forwarded(&mut self, status: Option<StatusCode>, error: Option<&'static str>) {
        if let Self::Ours(ours) = self
            && let Some(mut span) = ours.upstream.take()
        {
            say(&mut span, status, error);
            // Of a client, 4xx is a failure, too.
            if status.is_some_and(|status| status.is_client_error()) {
                span.fail(status.unwrap_or_default().as_str().to_owned());
            }
            span.finish();
        }
    }

    /// The request is over.
    pub(crate) fn end(&mut self, told: &Told<'_>) {
        let Self::Ours(ours) = self else {
            return;
        };
        let Some(mut span) = ours.span.take() else {
            return;
        };
        span.set("http.request.method", told.method.as_str());
        let method = told.method.span_name();
        if let Some(route) = told.route {
            span.rename(format!("{method} {route}"));
            span.set("http.route", route.to_owned());
        } else {
            // What strangers ask for can be anything, and is not said.
            span.rename(method.to_owned());
        }
        if let Some(source) = told.token_source {
            span.set("cedargate.token.source", source);
        }
        if let Some((permits, source)) = told.decision {
            span.set(
                "cedargate.decision",
                if permits { "permit" } else { "deny" },
            );
            span.set("cedargate.decision.source", source);
        }
        say(&mut span, told.status, told.error);
        span.finish();
    }
}

impl Asking {
    /// Who has answered, if anybody has.
    pub(crate) fn answered(self, source: Option<&'static str>) {
        let Some(mut span) = self.0 else {
            return;
        };
        match source {
            Some(source) => span.set("cedargate.source", source),
            None => span.fail("unavailable"),
        }
        span.finish();
    }
}

fn say(span: &mut Span, status: Option<StatusCode>, error: Option<&'static str>) {
    if let Some(status) = status {
        span.set("http.response.status_code", i64::from(status.as_u16()));
    }
    match (error, status) {
        (Some(error), _) => span.fail(error),
        (None, Some(status)) if status.is_server_error() => span.fail(status.as_str().to_owned()),
        (None, _) => {}
    }
}
