//! Step 4: may this caller do this? The only maker of [`Permitted`].

use std::rc::Rc;

use authzen::EvaluationRequest;

use super::authenticate::{Authenticated, Caller, session};
use super::canonical::{CanonicalRequest, Upgrade};
use super::record::Record;
use super::respond::Refusal;
use super::route::Lookup;
use crate::cache::Source;
use crate::cache::decisions::{Keys, Outcome, Verdict};
use crate::identity::Identity;
use crate::obligation::mask::Mask;
use crate::plan::{Protection, StepUp};
use crate::question::{Parts, Question};
use crate::worker::Worker;

/// A request that may be forwarded, under its conditions. Nothing outside this file makes one.
#[derive(Debug)]
pub(crate) struct Permitted {
    request: CanonicalRequest,
    route: usize,
    permit: Permit,
}

#[derive(Debug)]
enum Permit {
    Public,
    Granted {
        caller: Rc<Identity>,
        verdict: Rc<Verdict>,
    },
}

impl Permitted {
    pub(crate) fn request(&self) -> &CanonicalRequest {
        &self.request
    }

    pub(crate) fn request_mut(&mut self) -> &mut CanonicalRequest {
        &mut self.request
    }

    pub(crate) fn route(&self) -> usize {
        self.route
    }

    /// Whose request it is; none where the route is public.
    pub(crate) fn caller(&self) -> Option<&Identity> {
        match &self.permit {
            Permit::Public => None,
            Permit::Granted { caller, .. } => Some(caller),
        }
    }

    /// What of the response the caller may not see.
    pub(crate) fn mask(&self) -> Option<&Mask> {
        match &self.permit {
            Permit::Public => None,
            Permit::Granted { verdict, .. } => match &verdict.outcome {
                Outcome::Permit(obligations) => obligations.mask.as_ref(),
                Outcome::Deny | Outcome::UnknownObligation => None,
            },
        }
    }
}

/// Decides, from memory or by asking.
pub(crate) async fn authorize(
    worker: &Worker,
    authenticated: Authenticated,
    record: &mut Record,
) -> Result<Permitted, Refusal> {
    let Authenticated {
        request,
        route,
        caller,
    } = authenticated;
    let route_plan = worker
        .core
        .plan
        .routes
        .get(route)
        .ok_or(Refusal::NotFound)?;
    let permit = match (&route_plan.protection, caller) {
        (Protection::Public, _) => Permit::Public,
        // Authentication made sure of a caller; if it had not, nobody would pass.
        (Protection::Token { .. }, Caller::Anonymous) => return Err(Refusal::NoCredentials),
        (
            Protection::Token {
                scope,
                step_up,
                question,
                stale,
                accepted: _,
                binding: _,
            },
            Caller::Known(caller),
        ) => {
            if !scope.is_subset(&caller.vouched.facts.scope) {
                return Err(Refusal::InsufficientScope { route });
            }
            // Of a remembered token, too: its login grows old meanwhile.
            let is_met =
                |step_up: &StepUp| step_up.is_met(&caller.vouched.facts, record.moment.unix);
            if let Some(step_up) = step_up.as_ref().filter(|step_up| !is_met(step_up)) {
                let again = session::again(worker, &request, (route_plan.login, step_up), record);
                return Err(again.await.unwrap_or(Refusal::WeakLogin));
            }
            let question = Question {
                caller: &caller,
                request: &request,
                route,
                route_plan,
                plan: question,
            };
            let (verdict, source) = decide(worker, &question, *stale, record).await?;
            record.decided(verdict.clone(), source);
            enforce(worker, &request, &verdict)?;
            Permit::Granted { caller, verdict }
        }
    };
    Ok(Permitted {
        request,
        route,
        permit,
    })
}

/// What the decision point is asked about a request. None: it is asked nothing.
pub(super) fn question(
    worker: &Worker,
    authenticated: &Authenticated,
) -> Option<EvaluationRequest> {
    let route_plan = worker.core.plan.routes.get(authenticated.route)?;
    let (Protection::Token { question, .. }, Caller::Known(caller)) =
        (&route_plan.protection, &authenticated.caller)
    else {
        return None;
    };
    let question = Question {
        caller,
        request: &authenticated.request,
        route: authenticated.route,
        route_plan,
        plan: question,
    };
    evaluation_request(worker, &question).ok()
}

/// Only a permit whose every condition can be kept lets a request pass.
fn enforce(worker: &Worker, request: &CanonicalRequest, verdict: &Verdict) -> Result<(), Refusal> {
    match &verdict.outcome {
        Outcome::Deny => Err(Refusal::Denied),
        Outcome::UnknownObligation => Err(Refusal::Obligation),
        Outcome::Permit(obligations) => {
            // A tunnel cannot be masked, and what must be logged needs a log.
            let tunnel = obligations.mask.is_some() && request.upgrade() != Upgrade::No;
            let unlogged = !obligations.logged.is_empty() && !worker.access_log.is_on();
            if tunnel || unlogged {
                Err(Refusal::Obligation)
            } else {
                Ok(())
            }
        }
    }
}

async fn decide(
    worker: &Worker,
    question: &Question<'_>,
    stale: Option<std::time::Duration>,
    record: &Record,
) -> Result<(Rc<Verdict>, Source), Refusal> {
    // The buffer is taken out, not borrowed: asking waits, and others need one meanwhile.
    let mut key = worker.key_buffer.take();
    let parts = worker
        .decisions
        .parts(question.route, &question.caller.subject.kind);
    question.key(parts, &mut key);
    let recalled = worker.decisions.recall(&key, &record.moment);
    let answer = if let Some(verdict) = recalled {
        Ok((verdict, Source::L1))
    } else {
        let mut whole = Vec::new();
        question.key(Parts::WHOLE, &mut whole);
        let keys = Keys {
            whole: &whole,
            kept: &key,
            parts,
            named: question.named(),
        };
        ask(worker, question, &keys, stale, record).await
    };
    worker.key_buffer.replace(key);
    answer
}

async fn ask(
    worker: &Worker,
    question: &Question<'_>,
    keys: &Keys<'_>,
    stale: Option<std::time::Duration>,
    record: &Record,
) -> Result<(Rc<Verdict>, Source), Refusal> {
    let request = evaluation_request(worker, question)?;
    let error = match worker.decisions.ask(request, keys, record.moment).await {
        Ok(answer) => {
            worker.decisions.learn(question, keys, &answer.0);
            return Ok(answer);
        }
        Err(error) => error,
    };
    tracing::warn!(request_id = record.id.as_str(), error = %error, "no decision");
    let last = stale.filter(|_| error.is_transient()).and_then(|max_age| {
        worker
            .decisions
            .recall_stale(keys.kept, record.moment.unix, max_age)
    });
    match last {
        Some(verdict) => Ok((verdict, Source::Stale)),
        None => Err(Refusal::DecisionPointUnavailable),
    }
}

fn evaluation_request(
    worker: &Worker,
    question: &Question<'_>,
) -> Result<EvaluationRequest, Refusal> {
    let request = question.request;
    let router = &worker.core.plan.router;
    match router.find(request.authority().host(), request.method(), request.path()) {
        Lookup::Route { params, .. } => question
            .request(&params)
            .map_err(|_| Refusal::DecisionPointUnavailable),
        // The same router found it a moment ago.
        Lookup::MethodNotAllowed { .. } | Lookup::NotFound => Err(Refusal::NotFound),
    }
}
