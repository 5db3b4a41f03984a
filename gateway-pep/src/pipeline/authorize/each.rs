//! Many questions for one request: what is remembered is not asked, the rest is asked at once.

use std::rc::Rc;

use super::{Permitted, Record, Refusal, evaluation_request};
use crate::cache::Source;
use crate::cache::decisions::Keys;
use crate::cache::verdict::Verdict;
use crate::plan::Protection;
use crate::question::{Particulars, Parts, Question};
use crate::worker::Worker;

/// So many go into one message to the decision point.
const AT_ONCE: usize = 100;

/// The answer to each question, in their order, for whoever was permitted the request.
pub(crate) async fn decide_each(
    worker: &Worker,
    permitted: &Permitted,
    asked: &[Particulars],
    record: &Record,
) -> Result<Vec<Rc<Verdict>>, Refusal> {
    let route = permitted.route();
    let route_plan = worker.core.plan.routes.get(route);
    let route_plan = route_plan.ok_or(Refusal::NotFound)?;
    let (Protection::Token { question: plan, .. }, Some((caller, _))) =
        (&route_plan.protection, permitted.granted())
    else {
        return Err(Refusal::NotFound);
    };
    let about = |particulars| Question {
        caller,
        request: permitted.request(),
        route,
        route_plan,
        plan,
        particulars: Some(particulars),
    };
    let questions: Vec<Question<'_>> = asked.iter().map(about).collect();
    each(worker, &questions, false, record).await
}

/// All must be permitted: the first deny, or one permit under the conditions of all.
pub(super) async fn decide_all(
    worker: &Worker,
    question: Question<'_>,
    particulars: &[Particulars],
    record: &Record,
) -> Result<(Rc<Verdict>, Source), Refusal> {
    let about = |particulars| Question {
        particulars: Some(particulars),
        ..question
    };
    let questions: Vec<Question<'_>> = particulars.iter().map(about).collect();
    let verdicts = each(worker, &questions, true, record).await?;
    if let Some(no) = verdicts.iter().find(|verdict| !verdict.is_permit()) {
        return Ok((no.clone(), Source::Remote));
    }
    // SECURITY: who leaves an answer out has permitted nothing.
    if verdicts.len() != questions.len() {
        return Err(Refusal::DecisionPointUnavailable);
    }
    let joined = Verdict::joined(&verdicts).ok_or(Refusal::Obligation)?;
    Ok((Rc::new(joined), Source::Remote))
}

/// With `until_denied`: there are no answers after the first deny.
pub(super) async fn each(
    worker: &Worker,
    questions: &[Question<'_>],
    until_denied: bool,
    record: &Record,
) -> Result<Vec<Rc<Verdict>>, Refusal> {
    let mut verdicts: Vec<Option<Rc<Verdict>>> = Vec::with_capacity(questions.len());
    let mut unknown = Vec::new();
    for (place, question) in questions.iter().enumerate() {
        let parts = worker
            .decisions
            .parts(question.route, &question.caller.subject.kind);
        let (mut kept, mut whole) = (Vec::new(), Vec::new());
        question.key(parts, &mut kept);
        let recalled = worker.decisions.recall(&kept, &record.moment);
        if recalled.is_none() {
            question.key(Parts::WHOLE, &mut whole);
            unknown.push((place, parts, kept, whole));
        }
        let ends = until_denied && recalled.as_ref().is_some_and(|it| !it.is_permit());
        verdicts.push(recalled);
        if ends {
            break;
        }
    }
    for some in unknown.chunks(AT_ONCE) {
        let mut asks = Vec::with_capacity(some.len());
        for (place, parts, kept, whole) in some {
            let question = questions.get(*place).ok_or(Refusal::NotFound)?;
            let keys = Keys {
                whole,
                kept,
                parts: *parts,
                named: question.named(),
                whose: question.whose(),
            };
            asks.push((evaluation_request(worker, question)?, keys));
        }
        let keys: Vec<Keys<'_>> = asks.iter().map(|(_, keys)| *keys).collect();
        let answers = worker.decisions.ask_many(asks, until_denied, record.moment);
        let answers = record.ask("authorize batch", answers, |_| Source::Remote);
        let answers = answers.await.map_err(|error| {
            tracing::warn!(request_id = record.id.as_str(), error = %error, "no decisions");
            Refusal::DecisionPointUnavailable
        })?;
        let is_short = answers.len() < some.len();
        for (((place, ..), keys), verdict) in some.iter().zip(&keys).zip(answers) {
            if let Some(question) = questions.get(*place) {
                worker.decisions.learn(question, keys, &verdict);
            }
            if let Some(unanswered) = verdicts.get_mut(*place) {
                *unanswered = Some(verdict);
            }
        }
        if is_short {
            break;
        }
    }
    if until_denied {
        return Ok(verdicts.into_iter().map_while(|verdict| verdict).collect());
    }
    let all: Option<Vec<_>> = verdicts.into_iter().collect();
    // Who leaves an answer out has answered nothing.
    all.ok_or(Refusal::DecisionPointUnavailable)
}
