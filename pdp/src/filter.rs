//! Data filters: what policies leave open about a row, as a SQL condition with bound values.
//!
//! The rows for which the condition is true are those that the engine permits: some permit holds,
//! no forbid holds, and none fails. What cannot be said exactly in SQL is refused with the reason.

mod limits;
mod lists;
mod place;
mod sql;
mod tables;
mod term;
mod translate;
mod writer;

use cedar_policy_core::ast::{EntityType, Var};

pub(crate) use sql::{Bind, Dialect};
pub(crate) use tables::Tables;

use crate::depth::with_stack;
use crate::engine::{Question, Rules};
use crate::entities::EntityStore;
use crate::load::Loaded;
use crate::residual::{Known, Open, ReadElsewhere, residuals};
use limits::{Excess, MOST_PARTS};
use sql::Cond;
use term::Translator;
use writer::Writer;

/// A condition on the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Every row is permitted.
    All,
    /// None is.
    None,
    Rows {
        condition: String,
        binds: Vec<Bind>,
    },
}

/// Why there is no exact condition that a database takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untranslatable {
    #[error(transparent)]
    Elsewhere(#[from] ReadElsewhere),
    #[error("policy `{policy}` cannot be put into SQL exactly: {reason}")]
    Policy { policy: String, reason: String },
    #[error("the policies' condition cannot be handed out: {0}")]
    Beyond(#[from] Excess),
    /// SECURITY: a database may cut a text off there.
    #[error("the policies' condition cannot be handed out: it binds a text with a NUL in it")]
    Nul,
}

/// A question one side of which stands for the rows of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought<'a> {
    pub(crate) question: &'a Question,
    /// Principal or resource.
    pub(crate) part: Var,
    pub(crate) kind: &'a EntityType,
    /// What providers have said of the question.
    pub(crate) known: &'a Known,
}

impl Filter {
    /// Of the rows that stand for the open side, which `alias` names in the caller's query.
    pub(crate) fn of(
        loaded: &Loaded,
        store: &EntityStore,
        sought: Sought<'_>,
        tables: &Tables,
        dialect: Dialect,
        alias: &str,
    ) -> Result<Self, Untranslatable> {
        with_stack(|| Self::made(condition(loaded, store, sought, tables)?, dialect, alias))
    }

    fn made(condition: Cond, dialect: Dialect, alias: &str) -> Result<Self, Untranslatable> {
        match condition {
            Cond::True => Ok(Self::All),
            Cond::False => Ok(Self::None),
            condition => {
                let mut writer = Writer::new(dialect, alias);
                writer.cond(&condition);
                let (condition, binds) = writer.done()?;
                let has_nul = |bind: &Bind| matches!(bind, Bind::Text(text) if text.contains('\0'));
                if binds.iter().any(has_nul) {
                    return Err(Untranslatable::Nul);
                }
                Ok(Self::Rows { condition, binds })
            }
        }
    }
}

fn condition(
    loaded: &Loaded,
    store: &EntityStore,
    sought: Sought<'_>,
    tables: &Tables,
) -> Result<Cond, Untranslatable> {
    let Sought {
        question,
        part,
        kind,
        known,
    } = sought;
    let rules: &Rules = &loaded.rules;
    let view = store.view(&question.overlays);
    let open = Open {
        kind,
        sought: part,
        view,
        context_is_known: true,
        known,
    };
    let candidates = rules.candidates_for_any(question, store, kind, part);
    let residuals = residuals(
        rules,
        (*loaded.schema).as_ref(),
        question,
        &open,
        &candidates,
    );
    known.refuse_left(rules, &candidates, &residuals)?;
    let translator = Translator {
        tables,
        vocabulary: &loaded.vocabulary,
        schema: (*loaded.schema).as_ref(),
        view,
        sought: part,
        kind,
    };
    let (mut permits, mut forbids) = (Vec::new(), Vec::new());
    let mut size = 0;
    for rule in candidates
        .iter()
        .filter_map(|at| Some((at, rules.get(*at)?)))
    {
        let (at, rule) = rule;
        let refuse = |reason: String| Untranslatable::Policy {
            policy: rule.reason.policy.clone(),
            reason,
        };
        let residual = residuals.get(at).ok_or_else(|| {
            refuse("it cannot be evaluated partially, or is too deep for that".into())
        })?;
        let truth = translator.truth(residual).map_err(refuse)?;
        size += truth.size();
        if size > MOST_PARTS {
            return Err(Excess::Parts.into());
        }
        if rule.is_forbid() {
            // SECURITY: a forbid that fails denies.
            forbids.push(Cond::any([truth.holds, truth.fails]));
        } else {
            permits.push(truth.holds);
        }
    }
    Ok(Cond::all([Cond::any(permits), Cond::any(forbids).not()]))
}

#[cfg(test)]
pub(crate) mod tests;
