//! Step 4: may this caller do this? The only maker of [`Permitted`].

mod conditions;
mod each;
pub(crate) mod permitted;
mod settle;

use std::rc::Rc;

use authzen::{DecisionError, EvaluationRequest};
use matchit::Params;
use service_kit::UnixTime;

use super::authenticate::{Authenticated, Caller, session};
use super::record::Record;
use super::refusal::Refusal;
use crate::cache::Source;
use crate::cache::decisions::Keys;
use crate::cache::verdict::{Outcome, Verdict};
use crate::canonical::CanonicalRequest;
use crate::identity::Identity;
use crate::plan::{Protection, RoutePlan};
use crate::question::{Particulars, Parts, Question, Unaskable};
use crate::step_up::StepUp;
use crate::worker::Worker;

pub(super) use each::decide_each;
use permitted::{Permit, Permitted};
use settle::settle;

/// Decides, from memory or by asking.
pub(crate) async fn authorize(
    worker: &Worker,
    authenticated: Authenticated,
    particulars: Vec<Particulars>,
    record: &mut Record,
) -> Result<Permitted, Refusal> {
    let Authenticated {
        request,
        route,
        upstream,
        caller,
        shown,
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
        (Protection::Token { .. }, Caller::Known(caller)) => {
            // Of a remembered token, too: its login grows old meanwhile.
            let login = (&caller, record.moment.unix);
            let asked = (&request, &*particulars);
            let granted = grant(worker, asked, (route, route_plan), login, record).await;
            let verdict = match granted {
                Ok(verdict) => verdict,
                Err(refusal) => {
                    let again = session::again(worker, &request, (route_plan, &refusal), record);
                    return Err(again.await.unwrap_or(refusal));
                }
            };
            Permit::Granted { caller, verdict }
        }
    };
    let mut permitted = Permitted::new(request, (route, upstream), (permit, shown), particulars);
    // Before anybody counts it or is told of it, and after.
    settle(worker, &mut permitted, record).await?;
    conditions::keep(worker, &permitted, route_plan, record).await?;
    settle(worker, &mut permitted, record).await?;
    Ok(permitted)
}

/// The same question about a request that goes on. How fresh a login has to be is a condition of beginning;
/// what the answer wants of messages that are on their way cannot change.
pub(crate) async fn again(
    worker: &Worker,
    permitted: &Permitted,
    (caller, began): (&Rc<Identity>, UnixTime),
    record: &mut Record,
) -> Result<Rc<Verdict>, Refusal> {
    let route = permitted.route();
    let route_plan = worker.core.plan.routes.get(route);
    let route_plan = route_plan.ok_or(Refusal::NotFound)?;
    let request = permitted.request();
    let login = (caller, began);
    let asked = (request, permitted.particulars());
    let verdict = grant(worker, asked, (route, route_plan), login, record).await?;
    let before = permitted.granted().map(|(_, verdict)| &verdict.outcome);
    match (before, &verdict.outcome) {
        (Some(Outcome::Permit(before)), Outcome::Permit(now)) if now.shapes_as(before) => {
            Ok(verdict)
        }
        _ => Err(Refusal::Obligation),
    }
}

/// What the route and the decision point have to say. `login`: whose, and as of when it is looked at.
async fn grant(
    worker: &Worker,
    (request, particulars): (&CanonicalRequest, &[Particulars]),
    (route, route_plan): (usize, &RoutePlan),
    (caller, now): (&Rc<Identity>, UnixTime),
    record: &mut Record,
) -> Result<Rc<Verdict>, Refusal> {
    let Protection::Token {
        scope,
        step_up,
        question,
        stale,
        accepted: _,
        binding: _,
        reading: _,
    } = &route_plan.protection
    else {
        return Err(Refusal::NotFound);
    };
    if !scope.is_subset(&caller.vouched.facts.scope) {
        return Err(Refusal::InsufficientScope { route });
    }
    let is_met = |step_up: &StepUp| step_up.is_met(&caller.vouched.facts, now);
    if !step_up.as_ref().is_none_or(is_met) {
        return Err(Refusal::WeakLogin);
    }
    let question = Question {
        caller,
        request,
        route,
        route_plan,
        plan: question,
        particulars: particulars.first(),
    };
    let (verdict, source) = if particulars.len() > 1 {
        each::decide_all(worker, question, particulars, record).await?
    } else {
        decide(worker, &question, *stale, record).await?
    };
    record.decided(verdict.clone(), source);
    conditions::enforce(worker, request, (caller, now), &verdict)?;
    Ok(verdict)
}

/// What the decision point is asked about a request. None: it is asked nothing.
pub(super) fn question(
    worker: &Worker,
    authenticated: &Authenticated,
    particulars: Option<&Particulars>,
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
        particulars,
    };
    evaluation_request(worker, &question).ok()
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
            whose: question.whose(),
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
    let params = params(worker, question)?;
    let answer = async {
        let now = question.ask(&params, |asked| {
            worker.decisions.ask_now(asked, keys, record.moment)
        });
        if let Some(answer) = now? {
            return Ok(answer?);
        }
        let request = question.request(&params)?;
        let answer = worker.decisions.ask(request, keys, record.moment);
        Ok(answer.await?)
    };
    let answer = record.ask("authorize", answer, |(_, source)| *source);
    let error = match answer.await {
        Ok(answer) => {
            worker.decisions.learn(question, keys, &answer.0);
            return Ok(answer);
        }
        Err(Unanswered::Unaskable(_)) => return Err(Refusal::DecisionPointUnavailable),
        Err(Unanswered::NoDecision(error)) => error,
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

/// Why there is no answer.
enum Unanswered {
    Unaskable(Unaskable),
    NoDecision(Rc<DecisionError>),
}

impl From<Unaskable> for Unanswered {
    fn from(unaskable: Unaskable) -> Self {
        Self::Unaskable(unaskable)
    }
}

impl From<Rc<DecisionError>> for Unanswered {
    fn from(error: Rc<DecisionError>) -> Self {
        Self::NoDecision(error)
    }
}

fn evaluation_request(
    worker: &Worker,
    question: &Question<'_>,
) -> Result<EvaluationRequest, Refusal> {
    question
        .request(&params(worker, question)?)
        .map_err(|_| Refusal::DecisionPointUnavailable)
}

/// What the path has in the places that the route names.
fn params<'a>(worker: &'a Worker, question: &Question<'a>) -> Result<Params<'a, 'a>, Refusal> {
    let request = question.request;
    let router = &worker.core.plan.router;
    // The same router found it a moment ago.
    router
        .params(request.authority().host(), request.path())
        .ok_or(Refusal::NotFound)
}
