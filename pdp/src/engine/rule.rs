//! A policy made ready to be decided by.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use authzen::{Obligation, Reason};
use cedar_policy_core::ast::{Effect, EntityType, Policy, StaticPolicy};
use cedar_policy_core::parser::Loc;

use super::access::{Access, accesses};
use super::alike::{Alike, Attributes};
use super::condition::Code;
use crate::depth;
use crate::index::guards::Guard;
use crate::reads::{Names, Reads};
use crate::source::SourceFile;
use crate::spelled::Spelled;

/// A policy in its place among the others. Clones share the policy. What every evaluation looks at
/// stands here: of a policy that does not hold, nothing else is fetched from memory.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(super) clauses: Clauses,
    is_forbid: bool,
    prepared: Arc<Prepared>,
    /// Where it stands, where it is in a file.
    pub(super) home: Option<Home>,
    /// Which it is of all, counted through the files.
    pub(super) order: u32,
}

/// Where a policy's statement begins. An edit elsewhere in the file moves it.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) file: Arc<SourceFile>,
    pub(crate) start: usize,
}

/// What is made of a policy once.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) reason: Spelled<Reason>,
    pub(crate) obligations: Vec<Obligation>,
    pub(crate) advice: Vec<serde_json::Value>,
    /// What its clauses can read.
    pub(crate) reads: Reads,
    /// They can read the time of the decision.
    pub(super) reads_clock: bool,
    pub(super) policy: Policy,
    /// The `@id` of the template that a link made it from.
    pub(crate) template: Option<Box<str>>,
    /// Where its statement began in the text that it was parsed from.
    parsed_at: usize,
    /// Found when they are first asked for.
    accesses: OnceLock<Box<[Access]>>,
    /// The same.
    is_too_deep: OnceLock<bool>,
}

/// What is left to evaluate where the scope matches.
#[derive(Debug, Clone)]
pub(super) enum Clauses {
    /// Nothing.
    None,
    /// Other policies may share them.
    Compiled(Arc<Code>),
    /// What only Cedar evaluates.
    Cedar,
}

impl Rule {
    pub(crate) fn new(
        policy: Policy,
        reason: Reason,
        obligations: Vec<Obligation>,
        advice: Vec<serde_json::Value>,
        names: &Names,
    ) -> Self {
        let clauses = match policy.non_scope_constraints() {
            None => Clauses::None,
            Some(clauses) => Code::new(clauses, names)
                .map_or(Clauses::Cedar, |code| Clauses::Compiled(Arc::new(code))),
        };
        let reads = Reads::of(&policy, names);
        let is_forbid = policy.effect() == Effect::Forbid;
        let prepared = Prepared {
            reason: reason.into(),
            obligations,
            advice,
            reads,
            reads_clock: reads.meets(names.clock()),
            policy,
            template: None,
            parsed_at: 0,
            accesses: OnceLock::new(),
            is_too_deep: OnceLock::new(),
        };
        Self {
            clauses,
            is_forbid,
            prepared: Arc::new(prepared),
            home: None,
            order: 0,
        }
    }

    /// The same, made by a link.
    pub(crate) fn of_template(mut self, id: &str) -> Self {
        if let Some(prepared) = Arc::get_mut(&mut self.prepared) {
            prepared.template = Some(id.into());
        }
        self
    }

    /// The same, in a file. `parsed_at` is where its statement began in the text that it was
    /// parsed from.
    pub(crate) fn in_file(mut self, home: Home, parsed_at: usize) -> Self {
        if let Some(prepared) = Arc::get_mut(&mut self.prepared) {
            prepared.parsed_at = parsed_at;
        }
        self.home = Some(home);
        self
    }

    pub(crate) fn is_forbid(&self) -> bool {
        self.is_forbid
    }

    /// What the index files it by, besides its scope.
    pub(super) fn guards(&self) -> Vec<Guard> {
        match &self.clauses {
            Clauses::Compiled(code) => code.guards(),
            Clauses::None | Clauses::Cedar => Vec::new(),
        }
    }

    /// Takes the clauses of another rule where they are the same.
    pub(super) fn share(
        &mut self,
        alike: &mut Alike,
        attributes: impl Fn(&EntityType) -> Option<Attributes>,
    ) {
        if let Clauses::Compiled(code) = &mut self.clauses {
            *code = alike.shared(code, &self.prepared.policy, attributes);
        }
    }

    /// File, line and column of a part of the policy, where it is in a file.
    pub(crate) fn place_of(&self, loc: Option<&Loc>) -> Option<(&SourceFile, usize, usize)> {
        let (home, loc) = (self.home.as_ref()?, loc?);
        let within = loc.start().checked_sub(self.parsed_at)?;
        let (line, column) = home.file.place(home.start + within);
        Some((&home.file, line, column))
    }

    /// The same of the policy itself, in one text.
    pub(crate) fn place(&self) -> Option<String> {
        let (file, line, column) = self.place_of(self.policy.loc())?;
        Some(format!("{}:{line}:{column}", file.path.display()))
    }
}

impl Prepared {
    /// The attributes that it reads.
    pub(crate) fn accesses(&self) -> &[Access] {
        self.accesses.get_or_init(|| accesses(&self.policy))
    }

    /// It cannot be evaluated partially.
    pub(crate) fn is_too_deep(&self) -> bool {
        *self.is_too_deep.get_or_init(|| {
            let clauses = self.policy.non_scope_constraints();
            clauses.is_some_and(depth::is_too_deep)
        })
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy as Cedar writes it; a link's with what fills its slots.
    pub(crate) fn text(&self) -> String {
        let policy = &self.policy;
        let filled = StaticPolicy::new(
            policy.id().clone(),
            None,
            (**policy.annotations_arc()).clone(),
            policy.effect(),
            policy.principal_constraint(),
            policy.action_constraint().clone(),
            policy.resource_constraint(),
            policy.non_scope_constraints().cloned(),
        );
        filled.map_or_else(|_| policy.to_string(), |filled| filled.to_string())
    }
}

impl Deref for Rule {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        &self.prepared
    }
}
