//! A token service and a PDP that record what they are asked and answer as told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use authzen::{
    Asked, Decision, DecisionError, DecisionPoint, Evaluation, EvaluationRequest,
    EvaluationsRequest, Obligation, SearchRequest, SearchResults,
};
use oauth::{
    ActiveToken, Confirmation, Introspection, IntrospectionError, OpaqueToken, PhantomJwt,
    ResourceId, Scope, SubjectFacts, SubjectKind, TokenIntrospector,
};
use serde_json::json;
use tokio::sync::Semaphore;

#[derive(Debug)]
pub(crate) struct FakeTokens {
    tokens: Mutex<HashMap<String, Arc<ActiveToken>>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) down: AtomicBool,
    /// Each answer needs a permit where this is set.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
}

impl FakeTokens {
    /// `alice` and `bob`: tokens `at_alice`, `at_bob`, grants `g_alice`, `g_bob`.
    pub(crate) fn new() -> Arc<Self> {
        let fake = Self {
            tokens: Mutex::default(),
            asked: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            gate: Mutex::default(),
        };
        fake.issue("alice", 4_000_000_000);
        fake.issue("bob", 4_000_000_000);
        Arc::new(fake)
    }

    pub(crate) fn issue(&self, name: &str, exp: u64) {
        self.issue_bound(name, exp, None);
    }

    pub(crate) fn issue_bound(&self, name: &str, exp: u64, confirmation: Option<Confirmation>) {
        let token = ActiveToken {
            facts: SubjectFacts {
                kind: SubjectKind::User,
                sub: name.to_owned(),
                client_id: "web".into(),
                scope: Scope::parse("read").unwrap(),
                username: None,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                act: None,
                api_key: None,
                attributes: [("roles".to_owned(), json!(["customer"]))]
                    .into_iter()
                    .collect(),
            },
            jwt: PhantomJwt::new(format!("jwt.{name}.signature")),
            exp,
            token_ref: format!("ref_{name}"),
            grant: format!("g_{name}"),
            confirmation,
            origins: Vec::new(),
        };
        self.tokens
            .lock()
            .unwrap()
            .insert(format!("at_{name}"), Arc::new(token));
    }

    /// Makes the token of a person who has logged in.
    pub(crate) fn log_in(&self, name: &str, acr: Option<&str>, auth_time: Option<u64>) {
        self.issue(name, 4_000_000_000);
        let mut tokens = self.tokens.lock().unwrap();
        let token = tokens.get_mut(&format!("at_{name}")).unwrap();
        let facts = &mut Arc::make_mut(token).facts;
        facts.acr = acr.map(str::to_owned);
        facts.auth_time = auth_time;
    }

    pub(crate) fn rename(&self, token: &str, to: &str) {
        let mut tokens = self.tokens.lock().unwrap();
        let known = tokens.remove(token).unwrap();
        tokens.insert(to.to_owned(), known);
    }

    pub(crate) fn forget(&self, token: &str) {
        self.tokens.lock().unwrap().remove(token);
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenIntrospector for FakeTokens {
    async fn introspect(
        &self,
        token: &OpaqueToken,
        resource: &ResourceId,
    ) -> Result<Introspection, IntrospectionError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(IntrospectionError::Unavailable(None));
        }
        // The answer is what is true now, however long it takes to arrive.
        let found = self.tokens.lock().unwrap().get(token.reveal()).cloned();
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        // Every upstream but this one is content with the same.
        let found = found.map(|mut found| {
            if resource.as_str() == OTHER_RESOURCE {
                let jwt = format!("jwt.{}.other", found.facts.sub);
                Arc::make_mut(&mut found).jwt = PhantomJwt::new(jwt);
            }
            found
        });
        Ok(found.map_or(Introspection::Inactive, Introspection::Active))
    }
}

/// The resource of an upstream that gets JWTs of its own.
pub(crate) const OTHER_RESOURCE: &str = "https://other";

#[derive(Debug)]
pub(crate) struct FakePdp {
    pub(crate) asked: Mutex<Vec<EvaluationRequest>>,
    pub(crate) down: AtomicBool,
    pub(crate) denies: AtomicBool,
    pub(crate) obligations: Mutex<Vec<Obligation>>,
    /// Of permits for what has the type `Item`.
    pub(crate) item_obligations: Mutex<Vec<Obligation>>,
    /// Questions one by one are answered where they are asked, and nobody waits.
    pub(crate) is_at_once: AtomicBool,
    /// Messages with many questions.
    pub(crate) batches: AtomicUsize,
    /// `context.cache` of every answer.
    pub(crate) cache: Mutex<serde_json::Value>,
    pub(crate) delay: Mutex<Duration>,
    /// Questions that are being answered: now, and most.
    at_once: Mutex<(usize, usize)>,
    /// `traceparent` of each question that had one.
    traces: Mutex<Vec<String>>,
}

impl FakePdp {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: Mutex::default(),
            down: AtomicBool::new(false),
            denies: AtomicBool::new(false),
            obligations: Mutex::default(),
            item_obligations: Mutex::default(),
            is_at_once: AtomicBool::new(false),
            batches: AtomicUsize::new(0),
            cache: Mutex::default(),
            delay: Mutex::default(),
            at_once: Mutex::default(),
            traces: Mutex::default(),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub(crate) fn traces(&self) -> Vec<String> {
        self.traces.lock().unwrap().clone()
    }

    /// Of the questions that took time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.at_once.lock().unwrap().1
    }

    fn enter(&self, more: isize) {
        let mut at_once = self.at_once.lock().unwrap();
        at_once.0 = at_once.0.saturating_add_signed(more);
        at_once.1 = at_once.1.max(at_once.0);
    }

    pub(crate) fn last(&self) -> EvaluationRequest {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn oblige(&self, obligations: serde_json::Value) {
        *self.obligations.lock().unwrap() = serde_json::from_value(obligations).unwrap();
    }
}

impl FakePdp {
    /// Takes note of a question, and says whether it is denied.
    fn begin(&self, request: &EvaluationRequest) -> Result<bool, DecisionError> {
        self.asked.lock().unwrap().push(request.clone());
        let mut headers = http::HeaderMap::new();
        service_kit::traces::propagate(&mut headers);
        let parent = headers.get("traceparent");
        let parent = parent.map(|parent| parent.to_str().unwrap().to_owned());
        self.traces.lock().unwrap().extend(parent);
        if self.down.load(Ordering::SeqCst) {
            return Err(DecisionError::Unavailable(None));
        }
        Ok(self.denies.load(Ordering::SeqCst) || request.resource.id == "forbidden")
    }

    fn answer(&self, request: &EvaluationRequest, denies: bool) -> Evaluation {
        let mut evaluation = Evaluation::permit();
        if denies {
            evaluation.decision = Decision::Deny;
        }
        evaluation.context.id = Some("decision-1".into());
        let obligations = match request.resource.kind.as_str() {
            "Item" => &self.item_obligations,
            _ => &self.obligations,
        };
        let obligations = obligations.lock().unwrap();
        evaluation.context.obligations.clone_from(&obligations);
        drop(obligations);
        let mut answer = serde_json::to_value(evaluation).unwrap();
        answer["context"]["cache"] = self.cache.lock().unwrap().clone();
        serde_json::from_value(answer).unwrap()
    }
}

#[async_trait]
impl DecisionPoint for FakePdp {
    /// Everyone may do anything, but what is `forbidden`.
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError> {
        let denies = self.begin(request)?;
        let delay = *self.delay.lock().unwrap();
        if !delay.is_zero() {
            self.enter(1);
            tokio::time::sleep(delay).await;
            self.enter(-1);
        }
        Ok(self.answer(request, denies))
    }

    fn evaluate_now(&self, asked: &Asked<'_>) -> Option<Result<Evaluation, DecisionError>> {
        if !self.is_at_once.load(Ordering::SeqCst) {
            return None;
        }
        let request = asked.to_request();
        let denies = self.begin(&request);
        Some(denies.map(|denies| self.answer(&request, denies)))
    }

    async fn evaluate_many(
        &self,
        request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        let mut answers = Vec::new();
        for entry in &request.entries {
            let answer = self.evaluate(entry.as_ref().unwrap()).await?;
            let decision = answer.decision;
            answers.push(answer);
            if request.semantic.stops_at(decision) {
                break;
            }
        }
        Ok(answers)
    }

    async fn search(&self, _request: &SearchRequest) -> Result<SearchResults, DecisionError> {
        Err(DecisionError::Unavailable(None))
    }
}
