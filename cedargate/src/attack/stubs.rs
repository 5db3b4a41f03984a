//! A token service and a PDP for the time of an attack. They know a few tokens of their own, keep
//! what the gateway asks, and never ask anybody.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use authzen::{
    Decision, DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest,
    SearchRequest, SearchResults,
};
use gateway_pep::RouteConfig;
use oauth::{
    ActiveToken, Confirmation, Introspection, IntrospectionError, OpaqueToken, PhantomJwt,
    ResourceId, Scope, SubjectFacts, SubjectKind, TokenIntrospector,
};

/// Live, and the PDP denies.
pub(super) const DENIED: &str = "cg_attack_denied";
/// Live, and the PDP does not answer.
pub(super) const UNDECIDED: &str = "cg_attack_undecided";
/// Live, for no scope.
pub(super) const WITHOUT_SCOPE: &str = "cg_attack_without_scope";
/// Live for who proves a key.
pub(super) const BOUND: &str = "cg_attack_bound";
/// The token service does not answer.
pub(super) const OUTAGE: &str = "cg_attack_outage";
/// Dead.
pub(super) const UNKNOWN: &str = "cg_attack_unknown";
/// What upstreams get for each live token.
pub(super) const JWT: &str = "eyJjZyI6MX0.eyJjZyI6MX0.attack";

const GOOD: &str = "cg_attack_good_";

/// A token that is good on the route with this index.
pub(super) fn good_token(route: usize) -> String {
    format!("{GOOD}{route}")
}

/// Tokens for the routes of a configuration.
#[derive(Debug)]
pub(super) struct StubTokens {
    scope: Scope,
    /// What the login must have been, by route.
    acr: Vec<Option<String>>,
    now: u64,
}

impl StubTokens {
    pub(super) fn new(routes: &[RouteConfig], now: u64) -> Self {
        let scope = routes
            .iter()
            .filter_map(|route| Scope::parse(route.scope.as_deref()?).ok())
            .fold(Scope::empty(), |all, scope| all.union(&scope));
        Self {
            scope,
            acr: routes
                .iter()
                .map(|route| route.acr_values.first().cloned())
                .collect(),
            now,
        }
    }

    fn live(&self, sub: &str, acr: Option<String>) -> ActiveToken {
        ActiveToken {
            facts: SubjectFacts {
                kind: SubjectKind::User,
                sub: sub.to_owned(),
                client_id: "cedargate-attack".to_owned(),
                scope: self.scope.clone(),
                username: None,
                auth_time: Some(self.now),
                acr,
                amr: Vec::new(),
                act: None,
                api_key: None,
                attributes: serde_json::Map::new(),
            },
            jwt: PhantomJwt::new(JWT.to_owned()),
            exp: self.now + 3600,
            token_ref: format!("ref-{sub}"),
            grant: format!("grant-{sub}"),
            origins: Vec::new(),
            confirmation: None,
        }
    }
}

#[async_trait]
impl TokenIntrospector for StubTokens {
    async fn introspect(
        &self,
        token: &OpaqueToken,
        _resource: &ResourceId,
    ) -> Result<Introspection, IntrospectionError> {
        let text = token.reveal();
        let any_acr = || self.acr.iter().flatten().next().cloned();
        let live = match text {
            DENIED => self.live("denied", any_acr()),
            UNDECIDED => self.live("undecided", any_acr()),
            WITHOUT_SCOPE => {
                let mut live = self.live("without-scope", any_acr());
                live.facts.scope = Scope::empty();
                live
            }
            BOUND => {
                let mut live = self.live("bound", any_acr());
                live.confirmation = Some(Confirmation::DpopKey("cg".to_owned()));
                live
            }
            OUTAGE => return Err(IntrospectionError::Unavailable(None)),
            _ => {
                let index = text.strip_prefix(GOOD).and_then(|index| index.parse().ok());
                match index.and_then(|index: usize| self.acr.get(index)) {
                    Some(acr) => self.live("good", acr.clone()),
                    None => return Ok(Introspection::Inactive),
                }
            }
        };
        Ok(Introspection::Active(Arc::new(live)))
    }
}

/// Permits everyone but the stubs' two who are not, and keeps the paths that it was asked about.
#[derive(Debug, Default)]
pub(super) struct StubPdp {
    paths: Mutex<Vec<String>>,
}

impl StubPdp {
    /// The paths of the questions since the last time.
    pub(super) fn take_paths(&self) -> Vec<String> {
        std::mem::take(&mut *self.paths.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl DecisionPoint for StubPdp {
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError> {
        let path = request.context.get("path").and_then(|path| path.as_str());
        if let Some(path) = path {
            let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
            paths.push(path.to_owned());
        }
        let mut evaluation = Evaluation::permit();
        match request.subject.id.as_str() {
            "undecided" => return Err(DecisionError::Unavailable(None)),
            "denied" => evaluation.decision = Decision::Deny,
            _ => {}
        }
        Ok(evaluation)
    }

    async fn evaluate_many(
        &self,
        _request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        Err(DecisionError::Unavailable(None))
    }

    async fn search(&self, _request: &SearchRequest) -> Result<SearchResults, DecisionError> {
        Err(DecisionError::Unavailable(None))
    }
}
