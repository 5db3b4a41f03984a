//! Which entities can satisfy a condition at all, read from what partial evaluation left of it.
//!
//! A plan may admit too many, never too few: whoever it admits is still decided. It rests on the
//! store's links (who refers to whom, what is in what), so that "the documents that alice owns"
//! looks at hers and not at all of them. What providers have is in none of these links.

use std::collections::HashSet;
use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, EntityType, EntityUID, Literal, Value, ValueKind, Var};
use cedar_policy_core::tpe::residual::{Residual, ResidualKind};
use cedar_policy_core::validator::types::Type;

use crate::entities::{EntityStore, Overlays, Row, View, id};
use crate::residual::Known;

/// More candidates than this are not gathered but met on the way through their type.
const GATHERED: usize = 10_000;

/// A superset of the entities that can satisfy a condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    All,
    Nothing,
    /// One of these.
    These(HashSet<EntityUID>),
    /// One of these, or something in one of them.
    Within(HashSet<EntityUID>),
    /// Something whose attributes or tags name one of these.
    Naming(HashSet<EntityUID>),
    Either(Vec<Plan>),
    Both(Box<Plan>, Box<Plan>),
}

/// What plans are made against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) store: &'a EntityStore,
    pub(super) overlays: &'a Overlays,
    /// The part of the question that is looked for.
    pub(super) sought: Var,
    /// What providers have said of the rest of it.
    pub(super) known: &'a Known,
}

impl Plan {
    /// Reads a residual.
    pub(super) fn of(residual: &Residual, ground: Ground<'_>) -> Self {
        match residual {
            Residual::Concrete { value, .. } => match value.value_kind() {
                ValueKind::Lit(Literal::Bool(false)) => Self::Nothing,
                _ => Self::All,
            },
            // A policy that cannot be evaluated is not satisfied.
            Residual::Error(_) => Self::Nothing,
            Residual::Partial { kind, .. } => Self::of_partial(kind, ground),
        }
    }

    fn of_partial(kind: &ResidualKind, ground: Ground<'_>) -> Self {
        match kind {
            ResidualKind::And { left, right } => {
                Self::of(left, ground).and(Self::of(right, ground))
            }
            ResidualKind::Or { left, right } => Self::of(left, ground).or(Self::of(right, ground)),
            ResidualKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => Self::of(test_expr, ground)
                .and(Self::of(then_expr, ground))
                .or(Self::of(else_expr, ground)),
            ResidualKind::BinaryApp { op, arg1, arg2 } => ground.comparison(*op, arg1, arg2),
            _ => Self::All,
        }
    }

    /// Of a policy's scope, where its residual was not computed.
    pub(super) fn within(uid: EntityUID) -> Self {
        Self::Within(HashSet::from([uid]))
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::All, plan) | (plan, Self::All) => plan,
            (one, other) if one == other => one,
            (one, other) => Self::Both(Box::new(one), Box::new(other)),
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Nothing, plan) | (plan, Self::Nothing) => plan,
            (Self::These(mut one), Self::These(other)) => {
                one.extend(other);
                Self::These(one)
            }
            (Self::Within(mut one), Self::Within(other)) => {
                one.extend(other);
                Self::Within(one)
            }
            (Self::Naming(mut one), Self::Naming(other)) => {
                one.extend(other);
                Self::Naming(one)
            }
            (Self::Either(mut plans), plan) | (plan, Self::Either(mut plans)) => {
                // Kinds of leaves are few: merge into the like one.
                let like = plans
                    .iter()
                    .position(|one| std::mem::discriminant(one) == std::mem::discriminant(&plan));
                match (like, &plan) {
                    (Some(at), Self::These(_) | Self::Within(_) | Self::Naming(_)) => {
                        let one = plans.swap_remove(at);
                        plans.push(one.or(plan));
                    }
                    _ => plans.push(plan),
                }
                Self::Either(plans)
            }
            (one, other) => Self::Either(vec![one, other]),
        }
    }

    /// Whether an entity can be one of those.
    pub(super) fn admits(&self, uid: &EntityUID, ground: Ground<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::These(uids) => uids.contains(uid),
            Self::Within(uids) => {
                let above = || ground.view().ancestors(uid);
                uids.contains(uid) || above().into_iter().any(|up| uids.contains(up))
            }
            Self::Naming(uids) => ground.row(uid).is_some_and(|row| row.names_any(uids)),
            Self::Either(plans) => plans.iter().any(|plan| plan.admits(uid, ground)),
            Self::Both(one, other) => one.admits(uid, ground) && other.admits(uid, ground),
        }
    }

    /// The admitted entities of a type in the order of their ids, where they are few.
    pub(super) fn gather<'a>(
        &'a self,
        kind: &EntityType,
        ground: Ground<'a>,
    ) -> Option<Vec<&'a EntityUID>> {
        let mut found = self.links(kind, ground)?;
        found.retain(|uid| self.admits(uid, ground));
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable_by(|one, other| id(one).cmp(id(other)));
        Some(found)
    }

    fn links<'a>(
        &'a self,
        kind: &EntityType,
        ground: Ground<'a>,
    ) -> Option<HashSet<&'a EntityUID>> {
        let of_type = |uid: &&EntityUID| uid.entity_type() == kind;
        match self {
            Self::All => None,
            Self::Nothing => Some(HashSet::new()),
            Self::These(uids) => Some(uids.iter().filter(of_type).collect()),
            Self::Within(uids) => {
                let found = ground.below(uids)?;
                Some(found.into_iter().filter(of_type).collect())
            }
            Self::Naming(uids) => {
                let found = ground.naming(uids)?;
                Some(found.into_iter().filter(of_type).collect())
            }
            Self::Either(plans) => {
                let mut all = HashSet::new();
                for plan in plans {
                    all.extend(plan.links(kind, ground)?);
                    if all.len() > GATHERED {
                        return None;
                    }
                }
                Some(all)
            }
            Self::Both(one, other) => match (one.links(kind, ground), other.links(kind, ground)) {
                (Some(one), Some(other)) if other.len() < one.len() => Some(other),
                (Some(found), _) | (None, Some(found)) => Some(found),
                (None, None) => None,
            },
        }
    }
}

impl<'a> Ground<'a> {
    /// The entity as this question sees it.
    pub(super) fn row(self, uid: &EntityUID) -> Option<&'a Row> {
        self.view().row(uid)
    }

    pub(super) fn view(self) -> View<'a> {
        self.store.view(self.overlays)
    }

    fn comparison(self, op: BinaryOp, one: &Residual, other: &Residual) -> Plan {
        match op {
            BinaryOp::Eq => match (entities_of(one), entities_of(other)) {
                // To equal the empty set is to name nobody.
                (None, Some(uids)) if !uids.is_empty() && self.leads(one) => self.path(one, uids),
                (Some(uids), None) if !uids.is_empty() && self.leads(other) => {
                    self.path(other, uids)
                }
                _ => Plan::All,
            },
            BinaryOp::In => match (entities_of(one), entities_of(other)) {
                (None, Some(above)) if self.is_sought(one) => Plan::Within(above),
                (None, Some(above)) if self.leads(one) => match self.below(&above) {
                    Some(below) => {
                        let targets = below.into_iter().cloned().chain(above.iter().cloned());
                        self.path(one, targets.collect())
                    }
                    None => Plan::All,
                },
                (Some(below), None) if self.leads(other) => {
                    let above = below
                        .iter()
                        .flat_map(|uid| self.view().ancestors(uid).into_iter().cloned());
                    let targets = above.chain(below.iter().cloned()).collect();
                    self.path(other, targets)
                }
                _ => Plan::All,
            },
            BinaryOp::Contains | BinaryOp::ContainsAny => {
                match (entities_of(one), entities_of(other)) {
                    (None, Some(uids)) if self.leads(one) => self.path(one, uids),
                    (Some(uids), None) if self.leads(other) => self.path(other, uids),
                    _ => Plan::All,
                }
            }
            // It must name every one of them, so it names the first.
            BinaryOp::ContainsAll => match entities_of(other) {
                Some(uids) if !uids.is_empty() && self.leads(one) => {
                    self.path(one, uids.into_iter().take(1).collect())
                }
                _ => Plan::All,
            },
            _ => Plan::All,
        }
    }

    fn is_sought(self, residual: &Residual) -> bool {
        matches!(residual, Residual::Partial { kind: ResidualKind::Var(var), .. } if *var == self.sought)
    }

    /// Whether an expression is the sought entity or an attribute or tag reached from it.
    fn leads(self, residual: &Residual) -> bool {
        self.is_sought(residual) || self.owner(residual).is_some_and(|owner| self.leads(owner))
    }

    /// What an attribute or a tag is taken from. The store's links say nothing of an attribute that
    /// a provider has.
    fn owner(self, residual: &Residual) -> Option<&Arc<Residual>> {
        let Residual::Partial { kind, .. } = residual else {
            return None;
        };
        match kind {
            ResidualKind::GetAttr { expr, attr } => {
                (!self.known.is_elsewhere(expr.ty(), attr)).then_some(expr)
            }
            ResidualKind::BinaryApp {
                op: BinaryOp::GetTag,
                arg1,
                ..
            } => Some(arg1),
            _ => None,
        }
    }

    /// Where an expression that leads from the sought entity can be, or hold, one of `targets`.
    fn path(self, residual: &Residual, targets: HashSet<EntityUID>) -> Plan {
        if targets.is_empty() {
            return Plan::Nothing;
        }
        if self.is_sought(residual) {
            return Plan::These(targets);
        }
        let Some(owner) = self.owner(residual) else {
            return Plan::All;
        };
        if matches!(owner.ty(), Type::Record { .. }) {
            // A record lies in its entity: the same entity names the target.
            return self.path(owner, targets);
        }
        if self.is_sought(owner) {
            return Plan::Naming(targets);
        }
        match self.naming(&targets) {
            Some(named) => {
                let named = named.into_iter().cloned().collect();
                self.path(owner, named)
            }
            None => Plan::All,
        }
    }

    /// Everything whose attributes or tags name one of these, where it is not too much.
    fn naming(self, uids: &HashSet<EntityUID>) -> Option<HashSet<&'a EntityUID>> {
        let mut found: HashSet<&EntityUID> = HashSet::new();
        for uid in uids {
            found.extend(self.store.referrers(uid));
            if found.len() > GATHERED {
                return None;
            }
        }
        // What the question itself says of an entity is in no index.
        found.extend(
            self.overlays
                .rows()
                .filter(|row| row.names_any(uids))
                .map(|row| &**row.uid()),
        );
        Some(found)
    }

    /// These, and everything in them that the store knows, where it is not too much.
    fn below(self, uids: &HashSet<EntityUID>) -> Option<HashSet<&'a EntityUID>> {
        let mut found: HashSet<&EntityUID> = HashSet::new();
        let mut waiting: Vec<&EntityUID> = Vec::new();
        for uid in uids {
            // The stored name lives as long as the store.
            if let Some(row) = self.row(uid)
                && found.insert(row.uid())
            {
                waiting.push(row.uid());
            }
            waiting.extend(self.store.children(uid).filter(|child| found.insert(child)));
        }
        while let Some(uid) = waiting.pop() {
            for child in self.store.children(uid) {
                if found.insert(child) {
                    waiting.push(child);
                }
            }
            if found.len() > GATHERED {
                return None;
            }
        }
        Some(found)
    }
}

/// The entity, or the entities of the set, that a known value is.
fn entities_of(residual: &Residual) -> Option<HashSet<EntityUID>> {
    let Residual::Concrete { value, .. } = residual else {
        return None;
    };
    let entity = |value: &Value| match value.value_kind() {
        ValueKind::Lit(Literal::EntityUID(uid)) => Some((**uid).clone()),
        _ => None,
    };
    match value.value_kind() {
        ValueKind::Lit(_) => entity(value).map(|uid| HashSet::from([uid])),
        ValueKind::Set(items) => items.iter().map(entity).collect(),
        _ => None,
    }
}
