//! A request is over: it is counted, its span ends, and it is logged.

use std::time::Duration;

use http::StatusCode;

use super::{CLIENT_GONE, Record};
use crate::access_log::Line;
use crate::cache::Source;
use crate::cache::verdict::Outcome;
use crate::pipeline::traced::{Told, Trace};

impl Record {
    fn log(&self, duration: Duration) {
        let core = &self.worker.core;
        let upstream = self.upstream.as_ref();
        let upstream = upstream.and_then(|(upstream, _)| core.plan.upstreams.get(*upstream));
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
        let trace = self.trace.id();
        let line = Line {
            at: self.began.1,
            id: &self.id,
            trace: trace.as_deref(),
            client: (
                self.connection.client_ip(),
                self.connection.client_ip_text(),
            ),
            is_http2: self.connection.is_http2(),
            method: request.map(|request| &request.method),
            host: request.map(|request| request.authority.host()),
            target: request.map(|request| &request.target),
            route: self.route,
            upstream: upstream.map(|upstream| &*upstream.name),
            user_agent: request.and_then(|request| request.user_agent.as_ref()),
            headers: request.map_or(&[], |request| &request.headers),
            status: self.status.as_u16(),
            bytes_in: self
                .progress
                .as_ref()
                .map_or(0, |progress| progress.bytes.get()),
            bytes_out: self.bytes_out,
            duration_us: micros(duration),
            upstream_us: self.upstream.map(|(_, took)| micros(took)),
            login: login.map(|login| &*login.name),
            caller: self.caller.as_ref(),
            token_source: self.token_source,
            decision: self
                .decision
                .as_ref()
                .map(|(verdict, source)| (verdict, *source)),
            logged,
            error: self.error,
        };
        self.worker.access_log.write(&line, &core.plan.lines);
    }

    fn end_trace(&mut self, status: Option<StatusCode>, error: Option<&'static str>) {
        let plan = &self.worker.core.plan;
        let route = self.route.and_then(|route| plan.routes.get(route));
        // What the client has done wrong is no failure of ours.
        let is_client_error = status.is_some_and(|status| status.is_client_error());
        self.trace.end(&Told {
            method: self.method,
            route: route.map(|route| &*route.template),
            status,
            error: error.filter(|_| !is_client_error),
            token_source: self.token_source.map(Source::as_str),
            decision: self
                .decision
                .as_ref()
                .map(|(verdict, source)| (verdict.is_permit(), source.as_str())),
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
        let was_answered = self.status.as_u16() != CLIENT_GONE;
        let status = was_answered.then_some(self.status);
        let error = if was_answered {
            self.error
        } else {
            Some("client_gone")
        };
        let durations = &route.durations;
        durations.observe(self.method, status, error, duration);
        if let Trace::Ours(_) = self.trace {
            self.end_trace(status, error);
        }
        if self.worker.access_log.is_on() {
            self.log(duration);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
