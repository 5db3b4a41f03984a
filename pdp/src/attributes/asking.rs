//! What questions want of providers, fetched for one request: each provider is asked once about an
//! entity, however many questions of the request want it, and however short it is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy_core::ast::{EntityUID, ExprKind, Literal, ValueKind, Var};
use futures_util::future::join_all;
use service_kit::TraceContext;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::provider::{Fetched, Provider};
use super::{Held, Incomplete, Providers};
use crate::answer::Unavailable;
use crate::engine::{Access, Question, Rule, interpret};
use crate::entities::SliceError;
use crate::residual::{Known, Side, Taken};
use crate::snapshot::Snapshot;

/// One request's way to the providers.
#[derive(Debug)]
pub(crate) struct Asking<'p> {
    providers: &'p Providers,
    /// The trace that they are asked in.
    within: Option<&'p TraceContext>,
    told: Mutex<HashMap<(usize, EntityUID), Arc<Told>>>,
}

type Told = OnceCell<Arc<Fetched>>;

impl<'p> Asking<'p> {
    pub(super) fn new(providers: &'p Providers, within: Option<&'p TraceContext>) -> Self {
        Self {
            providers,
            within,
            told: Mutex::default(),
        }
    }

    /// Adds to a question what its policies read and providers have.
    pub(crate) async fn complete(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
    ) -> Result<Held, Incomplete> {
        let nothing = Taken::default();
        self.complete_after(snapshot, question, &nothing).await
    }

    /// The same where one side is open, as far as the other parts of the question lead. What is left
    /// of policies then holds as long as what was fetched.
    pub(crate) async fn complete_known(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
        side: Side<'_>,
    ) -> Result<(Known, Held), Incomplete> {
        if self.providers.is_empty() {
            return Ok((Known::default(), Held::default()));
        }
        let (rules, store) = (&snapshot.loaded.rules, &snapshot.store);
        let positions = rules.candidates_for_any(question, store, side.kind, side.sought);
        let rules: Vec<&Rule> = positions.iter().filter_map(|at| rules.get(*at)).collect();
        let mut known = self.providers.known(&rules, side);
        let wanted = Wanted {
            rules: &rules,
            open: Some(side),
            before: &Taken::default(),
        };
        let (held, taken) = self.fetch(snapshot, question, &wanted).await?;
        known.taken = taken;
        Ok((known, held))
    }

    /// The same for a candidate that has taken the open side's place.
    pub(crate) async fn complete_candidate(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
        known: &Known,
    ) -> Result<Held, Incomplete> {
        self.complete_after(snapshot, question, &known.taken).await
    }

    async fn complete_after(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
        before: &Taken,
    ) -> Result<Held, Incomplete> {
        if self.providers.is_empty() {
            return Ok(Held::default());
        }
        let rules = snapshot.loaded.rules.matching(question, &snapshot.store);
        let wanted = Wanted {
            rules: &rules,
            open: None,
            before,
        };
        let (held, _) = self.fetch(snapshot, question, &wanted).await?;
        Ok(held)
    }

    async fn fetch(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
        wanted: &Wanted<'_>,
    ) -> Result<(Held, Taken), Incomplete> {
        let mut taken = Taken::default();
        let mut until: Option<Instant> = None;
        // Each round follows what the one before has fetched: as many as lookups are nested.
        loop {
            let entities = self.wanted(snapshot, question, wanted, &taken)?;
            if entities.is_empty() {
                return Ok((Held(until), taken));
            }
            let fetched = entities.into_iter().map(|(at, provider, uid)| async move {
                let fetched = self.told(at, provider, &uid).await;
                (at, provider, uid, fetched)
            });
            for (at, provider, uid, fetched) in join_all(fetched).await {
                let vocabulary = &snapshot.loaded.vocabulary;
                let said = provider.read(&fetched.said, uid.entity_type(), vocabulary);
                let said = said.map_err(|why| {
                    let provider = provider.name.clone();
                    tracing::warn!(provider, entity = %uid, why, "attributes cannot be had");
                    Unavailable { provider }
                })?;
                until = Some(until.map_or(fetched.until, |until| until.min(fetched.until)));
                provider.lay_over(question, snapshot, &uid, said);
                taken.add(at, uid);
            }
        }
    }

    /// What a provider says of an entity, to everybody who wants it for this request.
    async fn told(&self, at: usize, provider: &Provider, uid: &EntityUID) -> Arc<Fetched> {
        let told = {
            let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry((at, uid.clone())).or_default())
        };
        let asked = || provider.get(uid, self.within);
        Arc::clone(told.get_or_init(asked).await)
    }

    /// The entities that policies look into for what a provider has, and that it has not been
    /// asked about.
    fn wanted(
        &self,
        snapshot: &Snapshot,
        question: &Question,
        by: &Wanted<'_>,
        taken: &Taken,
    ) -> Result<Vec<(usize, &'p Provider, EntityUID)>, SliceError> {
        let mut wanted: Vec<(usize, &Provider, EntityUID)> = Vec::new();
        for rule in by.rules {
            // What is looked up by something that is still to be fetched cannot be told yet.
            let mut deepest = usize::MAX;
            for access in rule.accesses() {
                if access.depth > deepest {
                    break;
                }
                let Some(types) = self.providers.by_attribute.get(&access.name) else {
                    continue;
                };
                if by.open.is_some_and(|side| !side.knows(&access.of)) {
                    continue;
                }
                let Some(uid) = looked_into(access, rule, question, snapshot)? else {
                    continue;
                };
                let Some(at) = types.get(uid.entity_type()).copied() else {
                    continue;
                };
                let Some(provider) = self.providers.providers.get(at) else {
                    continue;
                };
                if by.before.has(at, &uid) || taken.has(at, &uid) {
                    continue;
                }
                deepest = access.depth;
                let mut known = wanted.iter();
                if !known.any(|(other, _, known)| *other == at && *known == uid) {
                    wanted.push((at, provider, uid));
                }
            }
        }
        Ok(wanted)
    }
}

/// By whom, and of what, attributes are wanted.
struct Wanted<'a> {
    rules: &'a [&'a Rule],
    /// What leads from there is left out.
    open: Option<Side<'a>>,
    /// What has been fetched already.
    before: &'a Taken,
}

/// The entity of an access, as far as it can be told yet. What cannot be evaluated is not looked
/// into.
fn looked_into(
    access: &Access,
    rule: &Rule,
    question: &Question,
    snapshot: &Snapshot,
) -> Result<Option<EntityUID>, SliceError> {
    match access.of.expr_kind() {
        ExprKind::Var(Var::Principal) => return Ok(Some((*question.principal).clone())),
        ExprKind::Var(Var::Resource) => return Ok(Some((*question.resource).clone())),
        ExprKind::Lit(Literal::EntityUID(uid)) => return Ok(Some((**uid).clone())),
        _ => {}
    }
    let values = interpret(rule.policy(), &[&access.of], question, &snapshot.store)?;
    Ok(values
        .into_iter()
        .find_map(|value| match value.ok()?.value_kind() {
            ValueKind::Lit(Literal::EntityUID(uid)) => Some((**uid).clone()),
            _ => None,
        }))
}
