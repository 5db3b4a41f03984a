//! Runs a few requests against each other in every order of their store verbs that can make a
//! difference, with a crash after every one, and looks at what must hold after each.
//!
//! Depth first, each run from the beginning: the requests are the service's own code and cannot be put
//! back. Of orders that only swap verbs on different keys, one is run (sleep sets); every state is
//! still reached.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use serde_json::Value;

use super::Model;
use super::stepped::{Kept, Step};
use crate::record::{Grant, GrantState, RefreshState};
use crate::tests::harness::Answer;

type Request<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;

/// One of those who do something at the same time.
pub(super) struct Actor<'a> {
    name: &'static str,
    /// Once it has answered well, nothing that anybody was given is worth anything, for good.
    ends: bool,
    /// It changes what is not in the store.
    is_alone: bool,
    begin: Box<dyn Fn() -> Request<'a> + 'a>,
}

/// Who does what at the same time, and what must hold when all have their answers.
pub(super) struct Scenario<'a> {
    pub(super) name: &'static str,
    pub(super) model: &'a Model,
    pub(super) actors: Vec<Actor<'a>>,
    /// Tokens that there are before.
    pub(super) given: Vec<String>,
    pub(super) end: Option<CheckEnd>,
}

/// An error says what does not hold.
pub(super) type CheckEnd = fn(&End) -> Result<(), String>;

/// When all have their answers.
#[derive(Debug)]
pub(super) struct End {
    /// Of each actor in turn; after a crash, whoever had none has asked again.
    pub(super) answers: Vec<Answer>,
    pub(super) is_crashed: bool,
    /// The texts that are worth something.
    pub(super) live: BTreeSet<String>,
}

/// How much was looked at.
#[derive(Debug, Default)]
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) ends: usize,
    pub(super) crashes: usize,
}

impl<'a> Actor<'a> {
    pub(super) fn new<F: Future<Output = Answer> + 'a>(
        name: &'static str,
        begin: impl Fn() -> F + 'a,
    ) -> Self {
        Self {
            name,
            ends: false,
            is_alone: false,
            begin: Box::new(move || Box::pin(tokio::task::unconstrained(begin()))),
        }
    }

    pub(super) fn ends(self) -> Self {
        Self { ends: true, ..self }
    }

    pub(super) fn alone(self) -> Self {
        Self {
            is_alone: true,
            ..self
        }
    }
}

impl End {
    pub(super) fn won(&self) -> usize {
        let won = self.answers.iter().filter(|answer| answer.status == 200);
        won.count()
    }

    /// The different values of a member of the answers.
    pub(super) fn distinct(&self, member: &str) -> BTreeSet<String> {
        let texts = self.answers.iter().filter_map(|answer| {
            let json: Value = serde_json::from_str(&answer.body).ok()?;
            Some(json.get(member)?.as_str()?.to_owned())
        });
        texts.collect()
    }
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Step(usize),
    /// The process dies, and everybody asks again afterwards.
    Crash,
}

/// A state on the way: what can happen in it, and what of it was tried.
struct Frame {
    options: Vec<Choice>,
    taken: usize,
    asleep: BTreeSet<usize>,
    /// Of each actor that is not done.
    steps: Vec<Option<Step>>,
    /// So many grants are revoked.
    revoked: usize,
}

impl Frame {
    fn choice(&self) -> Choice {
        self.options[self.taken]
    }

    /// Who need not be tried in the state that the choice leads to: what comes of it was seen.
    fn asleep_after(&self) -> BTreeSet<usize> {
        let Choice::Step(chosen) = self.choice() else {
            return BTreeSet::new();
        };
        let tried = self.options[..self.taken]
            .iter()
            .filter_map(|choice| match choice {
                Choice::Step(actor) => Some(*actor),
                Choice::Crash => None,
            });
        let asleep = self.asleep.iter().copied().chain(tried);
        let chosen = self.steps[chosen].as_ref().unwrap();
        asleep
            .filter(|actor| {
                let step = self.steps[*actor].as_ref();
                step.is_some_and(|step| step.is_independent_of(chosen))
            })
            .collect()
    }
}

/// A request under way.
struct Running<'a> {
    request: Option<Request<'a>>,
    next: Step,
    answer: Option<Answer>,
}

struct Explorer<'s, 'a> {
    scenario: &'s Scenario<'a>,
    kept: Kept,
    frames: Vec<Frame>,
    trace: Vec<String>,
    explored: Explored,
}

/// Looks at everything that can happen. An error says what must not be, and how it comes about.
pub(super) async fn explore(scenario: &Scenario<'_>) -> Result<Explored, String> {
    let model = scenario.model;
    let mut explorer = Explorer {
        scenario,
        kept: model.store.keep(&model.clock).await,
        frames: Vec::new(),
        trace: Vec::new(),
        explored: Explored::default(),
    };
    loop {
        if let Err(problem) = explorer.run().await {
            model.store.set_stepped(false);
            let trace = explorer.trace.join("\n  ");
            return Err(format!("{}: {problem}\n  {trace}", scenario.name));
        }
        if !explorer.turn() {
            model.store.restore(&explorer.kept, &model.clock).await;
            return Ok(explorer.explored);
        }
    }
}

impl Explorer<'_, '_> {
    /// Goes on to what was not tried yet. False: there is nothing.
    fn turn(&mut self) -> bool {
        while let Some(frame) = self.frames.last_mut() {
            frame.taken += 1;
            if frame.taken < frame.options.len() {
                return true;
            }
            self.frames.pop();
        }
        false
    }

    async fn run(&mut self) -> Result<(), String> {
        let model = self.scenario.model;
        model.store.restore(&self.kept, &model.clock).await;
        model.reset().await;
        self.trace.clear();
        let mut running: Vec<_> = self.scenario.actors.iter().map(begin).collect();
        for depth in 0.. {
            if depth == self.frames.len() {
                self.explored.states += 1;
                let revoked = self.check_store().await?;
                self.check_endings(&running).await?;
                if running.iter().all(|actor| actor.request.is_none()) {
                    self.explored.ends += 1;
                    return self.check_end(running, false).await;
                }
                let Some(frame) = self.frame(&running, revoked) else {
                    return Ok(());
                };
                self.frames.push(frame);
            }
            match self.frames[depth].choice() {
                Choice::Step(actor) => self.step(&mut running, actor),
                Choice::Crash => {
                    self.trace
                        .push("crash; who has no answer asks again".into());
                    self.explored.crashes += 1;
                    return self.check_end(running, true).await;
                }
            }
        }
        Ok(())
    }

    fn frame(&self, running: &[Running<'_>], revoked: usize) -> Option<Frame> {
        let asleep = self.frames.last().map(Frame::asleep_after);
        let asleep = asleep.unwrap_or_default();
        let awake = |at: &usize| running[*at].request.is_some() && !asleep.contains(at);
        let mut options: Vec<_> = (0..running.len()).filter(awake).map(Choice::Step).collect();
        // What follows was seen by another way to the same state.
        if options.is_empty() {
            return None;
        }
        if !self.frames.is_empty() {
            options.push(Choice::Crash);
        }
        let step = |actor: &Running<'_>| actor.request.as_ref().map(|_| actor.next.clone());
        let steps = running.iter().map(step).collect();
        Some(Frame {
            options,
            taken: 0,
            asleep,
            steps,
            revoked,
        })
    }

    fn step(&mut self, running: &mut [Running<'_>], at: usize) {
        let (store, actor) = (&self.scenario.model.store, &self.scenario.actors[at]);
        let running = &mut running[at];
        let begun = format!("{}: {}", actor.name, running.next.name);
        store.set_stepped(true);
        let mut context = Context::from_waker(Waker::noop());
        let polled = running
            .request
            .as_mut()
            .unwrap()
            .as_mut()
            .poll(&mut context);
        store.set_stepped(false);
        if let Poll::Ready(answer) = polled {
            self.trace
                .push(format!("{begun}; answer {}", answer.status));
            running.answer = Some(answer);
            running.request = None;
        } else {
            self.trace.push(begun);
            running.next = store.next().expect("a request waits for the store alone");
            running.next.is_alone |= actor.is_alone;
        }
    }

    /// At every moment: a grant has one refresh token at most that is good, and does not come back.
    async fn check_store(&self) -> Result<usize, String> {
        let model = self.scenario.model;
        let (grants, tokens) = (model.grants().await, model.refresh_tokens().await);
        let is_revoked = |grant: &Grant| grant.state == GrantState::Revoked;
        let revoked = grants.iter().filter(|(_, grant)| is_revoked(grant)).count();
        if self
            .frames
            .last()
            .is_some_and(|frame| frame.revoked > revoked)
        {
            return Err("a revocation is undone".into());
        }
        let now = model.now();
        for (id, _) in grants.iter().filter(|(_, grant)| grant.is_live(now)) {
            let live = tokens
                .iter()
                .filter(|token| token.grant == *id && token.state == RefreshState::Live);
            if live.count() > 1 {
                return Err("a grant has two refresh tokens that are good".into());
            }
        }
        Ok(revoked)
    }

    async fn check_endings(&self, running: &[Running<'_>]) -> Result<(), String> {
        let actors = self.scenario.actors.iter().zip(running);
        let has_ended = actors.into_iter().any(|(actor, running)| {
            let answer = running.answer.as_ref();
            actor.ends && answer.is_some_and(is_good)
        });
        let answers = running.iter().filter_map(|actor| actor.answer.as_ref());
        if has_ended && !self.live(answers).await.is_empty() {
            return Err("it was ended, and something of it is still good".into());
        }
        Ok(())
    }

    async fn check_end(&self, running: Vec<Running<'_>>, is_crashed: bool) -> Result<(), String> {
        // Before anybody asks again: nothing of a process that has died goes on.
        let answers: Vec<_> = running.into_iter().map(|actor| actor.answer).collect();
        let mut all = Vec::new();
        for (actor, answer) in self.scenario.actors.iter().zip(answers) {
            all.push(match answer {
                Some(answer) => answer,
                None => (actor.begin)().await,
            });
        }
        self.check_store().await?;
        let ended = self.scenario.actors.iter().zip(&all);
        let mut ended = ended.filter(|(actor, _)| actor.ends);
        let has_ended = ended.any(|(_, answer)| is_good(answer));
        if self.scenario.end.is_none() && !has_ended {
            return Ok(());
        }
        let live = self.live(all.iter()).await;
        if has_ended && !live.is_empty() {
            return Err("it was ended, and something of it is still good".into());
        }
        let end = End {
            answers: all,
            is_crashed,
            live,
        };
        let Some(check) = self.scenario.end else {
            return Ok(());
        };
        check(&end).map_err(|problem| format!("{problem}: {end:?}"))
    }

    /// Of all texts that anybody was given, those that are worth something.
    async fn live(&self, answers: impl Iterator<Item = &Answer>) -> BTreeSet<String> {
        let mut texts: BTreeSet<_> = self.scenario.given.iter().cloned().collect();
        for answer in answers {
            let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let members = ["access_token", "refresh_token"];
            texts.extend(
                members
                    .iter()
                    .filter_map(|name| json[*name].as_str().map(str::to_owned)),
            );
        }
        let mut live = BTreeSet::new();
        for text in texts {
            if self.scenario.model.is_live(&text).await {
                live.insert(text);
            }
        }
        live
    }
}

fn begin<'a>(actor: &Actor<'a>) -> Running<'a> {
    Running {
        request: Some((actor.begin)()),
        next: Step::beside_the_store("begins", actor.is_alone),
        answer: None,
    }
}

fn is_good(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 200 | 303)
}
