//! Residual policies as SQL conditions, exactly or not at all.
//!
//! Cedar's expressions are true, false or failing; a row's condition must tell the three apart
//! without ever being NULL. So a truth is two conditions, and a value is a scalar beside the
//! condition under which it can be evaluated. What has no exact counterpart is refused.

use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, EntityUID, Literal, UnaryOp, Value, ValueKind};
use cedar_policy_core::tpe::residual::{Residual, ResidualKind};
use cedar_policy_core::validator::types::Type;
use smol_str::SmolStr;

use super::limits::MOST_PARTS;
use super::place::{Located, Set};
use super::sql::{Bind, Cond, Scalar};
use super::term::{Kind, Refusal, Term, Translator, Truth};

const TOO_LONG: &str = "what has to be said of it is too long";

/// What is known without any row.
pub(super) enum Known {
    Value(Value),
    Fails,
    No,
}

impl Translator<'_> {
    /// A condition of a policy.
    pub(super) fn truth(&self, residual: &Residual) -> Result<Truth, Refusal> {
        let truth = self.truth_itself(residual)?;
        if truth.size() > MOST_PARTS {
            return Err(TOO_LONG.into());
        }
        Ok(truth)
    }

    fn truth_itself(&self, residual: &Residual) -> Result<Truth, Refusal> {
        match self.known(residual) {
            Known::Value(value) => {
                return match value.value_kind() {
                    ValueKind::Lit(Literal::Bool(true)) => Ok(Truth::of(Cond::True)),
                    ValueKind::Lit(Literal::Bool(false)) => Ok(Truth::of(Cond::False)),
                    _ => Err("a condition is no boolean".into()),
                };
            }
            Known::Fails => return Ok(Truth::failing()),
            Known::No => {}
        }
        let Residual::Partial { kind, .. } = residual else {
            return Err("a condition is neither known nor open".into());
        };
        match kind {
            ResidualKind::And { .. } => self.all(residual),
            ResidualKind::Or { .. } => self.any(residual),
            ResidualKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => Ok(self
                .truth(test_expr)?
                .choose(self.truth(then_expr)?, self.truth(else_expr)?)),
            ResidualKind::UnaryApp {
                op: UnaryOp::Not,
                arg,
            } => Ok(self.truth(arg)?.not()),
            ResidualKind::UnaryApp {
                op: UnaryOp::IsEmpty,
                arg,
            } => {
                let set = self.set(arg)?;
                Ok(Truth::when(set.works.clone(), set.rows(Vec::new()).not()))
            }
            ResidualKind::BinaryApp { op, arg1, arg2 } => self.binary(*op, arg1, arg2),
            ResidualKind::HasAttr { expr, attr } => self.has(expr, std::slice::from_ref(attr)),
            ResidualKind::ExtHasAttr { expr, attrs } => {
                let names: Vec<SmolStr> = attrs.iter().cloned().collect();
                self.has(expr, &names)
            }
            ResidualKind::Like { expr, pattern } => {
                let term = self.term(expr)?;
                let elements = pattern.get_elems().to_vec();
                Ok(Truth::when(term.works, Cond::Like(term.scalar, elements)))
            }
            ResidualKind::Is { expr, entity_type } => {
                let term = self.term(expr)?;
                let is = term.kind == Kind::Entity(entity_type.clone());
                Ok(Truth::when(
                    term.works,
                    if is { Cond::True } else { Cond::False },
                ))
            }
            ResidualKind::GetAttr { .. } => {
                let (scalar, works) = self.located(residual)?.column(self)?;
                Ok(Truth::when(works, Cond::Holds(scalar)))
            }
            _ => Err("it has no counterpart in SQL".into()),
        }
    }

    fn all(&self, residual: &Residual) -> Result<Truth, Refusal> {
        let truths = self.chain(residual, |kind| match kind {
            ResidualKind::And { left, right } => Some((left, right)),
            _ => None,
        })?;
        Truth::all(truths).ok_or_else(|| TOO_LONG.into())
    }

    fn any(&self, residual: &Residual) -> Result<Truth, Refusal> {
        let truths = self.chain(residual, |kind| match kind {
            ResidualKind::Or { left, right } => Some((left, right)),
            _ => None,
        })?;
        Truth::any(truths).ok_or_else(|| TOO_LONG.into())
    }

    /// The conditions of a chain of one connective, however long it is, in their order.
    fn chain<'r>(
        &self,
        residual: &'r Residual,
        split: impl Fn(&'r ResidualKind) -> Option<(&'r Arc<Residual>, &'r Arc<Residual>)>,
    ) -> Result<Vec<Truth>, Refusal> {
        let mut truths = Vec::new();
        let mut waiting = vec![residual];
        while let Some(residual) = waiting.pop() {
            let sides = match residual {
                Residual::Partial { kind, .. } => split(kind),
                Residual::Concrete { .. } | Residual::Error(_) => None,
            };
            match sides {
                Some((left, right)) => waiting.extend([&**right, &**left]),
                None => truths.push(self.truth(residual)?),
            }
        }
        Ok(truths)
    }

    /// A value that is compared.
    pub(super) fn term(&self, residual: &Residual) -> Result<Term, Refusal> {
        match self.known(residual) {
            Known::Value(value) => {
                return Term::bound(&value)
                    .ok_or_else(|| "a value of its type cannot be compared in SQL".into());
            }
            Known::Fails => return Err("it cannot be evaluated for any row".into()),
            Known::No => {}
        }
        let Residual::Partial { kind, .. } = residual else {
            return Err("a value is neither known nor open".into());
        };
        match kind {
            ResidualKind::Var(_) | ResidualKind::GetAttr { .. } => {
                self.located(residual)?.term(self)
            }
            ResidualKind::BinaryApp { op, arg1, arg2 } => {
                let sign = match op {
                    BinaryOp::Add => '+',
                    BinaryOp::Sub => '-',
                    BinaryOp::Mul => '*',
                    _ => return Err("it has no counterpart in SQL".into()),
                };
                Ok(arithmetic(sign, self.term(arg1)?, self.term(arg2)?))
            }
            ResidualKind::UnaryApp {
                op: UnaryOp::Neg,
                arg,
            } => {
                let zero = Term {
                    scalar: Scalar::Bound(Bind::Long(0)),
                    works: Cond::True,
                    kind: Kind::Long,
                };
                Ok(arithmetic('-', zero, self.term(arg)?))
            }
            ResidualKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => {
                let test = self.truth(test_expr)?;
                let (then, other) = (self.term(then_expr)?, self.term(else_expr)?);
                if then.kind != other.kind {
                    return Err("its two sides are of different types".into());
                }
                let worth = |works| Truth::of(works);
                let works = test.clone().choose(worth(then.works), worth(other.works));
                Ok(Term {
                    scalar: Scalar::Case(
                        Box::new(test.holds),
                        Box::new(then.scalar),
                        Box::new(other.scalar),
                    ),
                    works: works.holds,
                    kind: then.kind,
                })
            }
            _ => Err("it has no counterpart in SQL".into()),
        }
    }

    fn binary(&self, op: BinaryOp, one: &Residual, other: &Residual) -> Result<Truth, Refusal> {
        match op {
            BinaryOp::Eq if matches!(one.ty(), Type::Bool(_)) => {
                let (one, other) = (self.truth(one)?, self.truth(other)?);
                let same = one.clone().choose(other.clone(), other.not());
                Ok(same)
            }
            BinaryOp::Eq => {
                let (one, other) = (self.term(one)?, self.term(other)?);
                let equal = one.equals(&other);
                Ok(Truth::when(Cond::all([one.works, other.works]), equal))
            }
            BinaryOp::Less | BinaryOp::LessEq => {
                let (one, other) = (self.term(one)?, self.term(other)?);
                if one.kind != Kind::Long || other.kind != Kind::Long {
                    return Err("only longs are compared by size".into());
                }
                let works = Cond::all([one.works, other.works]);
                let compared = if op == BinaryOp::Less {
                    Cond::Less(one.scalar, other.scalar)
                } else {
                    Cond::LessOrEqual(one.scalar, other.scalar)
                };
                Ok(Truth::when(works, compared))
            }
            BinaryOp::In => self.is_in(one, other),
            BinaryOp::Contains => self.contains(one, other),
            BinaryOp::ContainsAny => self.contains_any(one, other),
            BinaryOp::ContainsAll => self.contains_all(one, other),
            BinaryOp::GetTag | BinaryOp::HasTag => Err("tags are not in any table".into()),
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => Err("a number is no condition".into()),
        }
    }

    fn is_in(&self, one: &Residual, other: &Residual) -> Result<Truth, Refusal> {
        if let Known::Value(below) = self.known(one) {
            let Some(Literal::EntityUID(uid)) = literal(&below) else {
                return Err("only an entity can be in another".into());
            };
            // What it is in is known here: the other must be one of those.
            let above = self.term(other)?;
            let mut found = vec![(**uid).clone()];
            found.extend(self.view.ancestors(uid).into_iter().cloned());
            let equal = found
                .into_iter()
                .filter_map(|uid| Term::bound(&Value::from(uid)))
                .map(|uid| uid.equals(&above));
            return Ok(Truth::when(above.works.clone(), Cond::any(equal)));
        }
        let below = self.term(one)?;
        let Known::Value(above) = self.known(other) else {
            let above = self.term(other)?;
            let within = self.within(&below, &above)?;
            return Ok(Truth::when(Cond::all([below.works, above.works]), within));
        };
        let above: Vec<Value> = match above.value_kind() {
            ValueKind::Set(items) => items.iter().cloned().collect(),
            _ => vec![above],
        };
        let mut any = Vec::new();
        for uid in &above {
            let above = Term::bound(uid).ok_or("only an entity can contain another")?;
            any.push(self.within(&below, &above)?);
        }
        Ok(Truth::when(below.works, Cond::any(any)))
    }

    /// Whether an entity of a table is another, or in it.
    fn within(&self, below: &Term, above: &Term) -> Result<Cond, Refusal> {
        let (Kind::Entity(kind), Kind::Entity(ancestor)) = (&below.kind, &above.kind) else {
            return Err("only an entity can be in another".into());
        };
        let may_be = self
            .schema
            .get_entity_type(ancestor)
            .is_some_and(|known| known.descendants.contains(kind));
        let same = below.equals(above);
        if !may_be {
            return Ok(same);
        }
        let table = self.tables.entities.get(&kind.to_string());
        let closure = table.and_then(|table| table.ancestors.get(&ancestor.to_string()));
        let Some(closure) = closure else {
            return Err(format!(
                "the mapping has no `ancestors.{ancestor}` of `{kind}`"
            ));
        };
        let row = Cond::Row(
            closure.table.clone(),
            vec![
                (closure.entity.clone(), below.scalar.clone()),
                (closure.ancestor.clone(), above.scalar.clone()),
            ],
        );
        Ok(Cond::any([same, row]))
    }

    fn contains(&self, set: &Residual, sought: &Residual) -> Result<Truth, Refusal> {
        if let Some(items) = self.known_items(set)? {
            let sought = self.term(sought)?;
            let any = Cond::any(items.iter().map(|item| item.equals(&sought)));
            return Ok(Truth::when(sought.works, any));
        }
        if let Residual::Partial {
            kind: ResidualKind::Set(items),
            ..
        } = set
        {
            let items: Result<Vec<Term>, Refusal> =
                items.iter().map(|item| self.term(item)).collect();
            let (items, sought) = (items?, self.term(sought)?);
            let any = Cond::any(items.iter().map(|item| item.equals(&sought)));
            let works = items.into_iter().map(|item| item.works);
            return Ok(Truth::when(Cond::all(works.chain([sought.works])), any));
        }
        let (set, sought) = (self.set(set)?, self.term(sought)?);
        let works = Cond::all([set.works.clone(), sought.works.clone()]);
        Ok(Truth::when(works, set.has(&sought)))
    }

    fn contains_any(&self, one: &Residual, other: &Residual) -> Result<Truth, Refusal> {
        let (set, items) = match (self.known_items(one)?, self.known_items(other)?) {
            (None, Some(items)) => (self.set(one)?, items),
            (Some(items), None) => (self.set(other)?, items),
            _ => return Err("one of the two sets must be known, and the other in a table".into()),
        };
        let any = Cond::any(items.iter().map(|item| set.has(item)));
        Ok(Truth::when(set.works, any))
    }

    fn contains_all(&self, one: &Residual, other: &Residual) -> Result<Truth, Refusal> {
        match (self.known_items(one)?, self.known_items(other)?) {
            (None, Some(items)) => {
                let set = self.set(one)?;
                let all = Cond::all(items.iter().map(|item| set.has(item)));
                Ok(Truth::when(set.works, all))
            }
            (Some(items), None) => {
                let set = self.set(other)?;
                let allowed = items.into_iter().filter(|item| item.kind == set.kind);
                let beside = set.beside(allowed.map(|item| item.scalar).collect());
                Ok(Truth::when(set.works, beside.not()))
            }
            _ => Err("one of the two sets must be known, and the other in a table".into()),
        }
    }

    /// The elements of a set that is known; none where it is not.
    fn known_items(&self, set: &Residual) -> Result<Option<Vec<Term>>, Refusal> {
        let Known::Value(value) = self.known(set) else {
            return Ok(None);
        };
        let ValueKind::Set(items) = value.value_kind() else {
            return Err("it is no set".into());
        };
        let items = items.iter().map(|item| {
            Term::bound(item).ok_or_else(|| "an element cannot be compared in SQL".to_owned())
        });
        items.collect::<Result<_, _>>().map(Some)
    }

    fn has(&self, of: &Residual, names: &[SmolStr]) -> Result<Truth, Refusal> {
        if let Known::Fails = self.known(of) {
            return Ok(Truth::failing());
        }
        let mut located = self.located(of)?;
        let mut all = Vec::new();
        for (at, name) in names.iter().enumerate() {
            all.push(located.has(self, name)?);
            if at + 1 < names.len() {
                located = located.member(self, name)?;
            }
        }
        Truth::all(all).ok_or_else(|| TOO_LONG.into())
    }

    fn set(&self, residual: &Residual) -> Result<Set, Refusal> {
        self.located(residual)?.set(self)
    }

    /// Where an expression that leads from the sought entity is.
    fn located(&self, residual: &Residual) -> Result<Located, Refusal> {
        match residual {
            Residual::Partial {
                kind: ResidualKind::Var(var),
                ..
            } if *var == self.sought => Located::sought(self),
            Residual::Partial {
                kind: ResidualKind::GetAttr { expr, attr },
                ..
            } => self.located(expr)?.member(self, attr),
            _ => Err("it does not lead from the row to an attribute".into()),
        }
    }

    /// What the PDP itself knows of an expression.
    fn known(&self, residual: &Residual) -> Known {
        match residual {
            Residual::Concrete { value, .. } => Known::Value(value.clone()),
            Residual::Error(_) => Known::Fails,
            Residual::Partial {
                kind: ResidualKind::GetAttr { expr, attr },
                ..
            } => match self.known(expr) {
                Known::Value(value) => self
                    .known_member(&value, attr)
                    .map_or(Known::Fails, Known::Value),
                other => other,
            },
            Residual::Partial {
                kind: ResidualKind::HasAttr { expr, attr },
                ..
            } => match self.known(expr) {
                Known::Value(value) => {
                    Known::Value(Value::from(self.known_member(&value, attr).is_some()))
                }
                other => other,
            },
            Residual::Partial {
                kind: ResidualKind::ExtHasAttr { expr, attrs },
                ..
            } => match self.known(expr) {
                Known::Value(value) => {
                    let mut at = Some(value);
                    for attr in attrs {
                        at = at.and_then(|value| self.known_member(&value, attr));
                    }
                    Known::Value(Value::from(at.is_some()))
                }
                other => other,
            },
            Residual::Partial { .. } => Known::No,
        }
    }

    fn known_member(&self, of: &Value, name: &str) -> Option<Value> {
        match of.value_kind() {
            ValueKind::Record(members) => members.get(name).cloned(),
            ValueKind::Lit(Literal::EntityUID(uid)) => {
                let uid: &EntityUID = uid;
                Some(self.view.row(uid)?.get(name)?.value())
            }
            _ => None,
        }
    }
}

fn literal(value: &Value) -> Option<&Literal> {
    match value.value_kind() {
        ValueKind::Lit(literal) => Some(literal),
        _ => None,
    }
}

fn arithmetic(sign: char, one: Term, other: Term) -> Term {
    let scalar = Scalar::Arithmetic(sign, Box::new(one.scalar), Box::new(other.scalar));
    Term {
        works: Cond::all([one.works, other.works, Cond::present(scalar.clone())]),
        scalar,
        kind: Kind::Long,
    }
}
