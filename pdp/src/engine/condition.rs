//! The clauses of a policy, compiled once and evaluated without allocating: values are borrowed
//! from the question, the entities and the policy for as long as nothing new is computed.
//!
//! Follows Cedar's evaluator to the letter, short circuits and order included. It says no more of
//! a failure than that there is one: Cedar's own evaluator is then asked, which also words it.

use std::sync::Arc;

use cedar_policy_core::ast::{
    BinaryOp, EntityType, Expr, ExprKind, ExtensionFunction, Literal, PartialValue, UnaryOp, Value,
    Var,
};
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use super::attribute::Attribute;
use super::like::Like;
use super::scene::{Scene, Whose};
use super::value::{Failed, Val};
use crate::entities::Uid;
use crate::now;
use crate::reads::{Name, Names, Reads};

/// Compiled clauses.
#[derive(Debug)]
pub(super) enum Code {
    Bool(bool),
    Long(i64),
    Text(SmolStr),
    Entity(Uid),
    /// Any other.
    Value(Box<Value>),
    Principal,
    Action,
    Resource,
    Context,
    /// Test, then, else.
    If(Box<[Code; 3]>),
    All(Box<[Code]>),
    Any(Box<[Code]>),
    Unary(UnaryOp, Box<Code>),
    Binary(BinaryOp, Box<[Code; 2]>),
    /// Compares the time of the decision.
    Clock(Box<Clock>),
    /// An attribute of the principal or of the resource.
    Own(Whose, Attribute),
    Get(Box<Code>, Attribute),
    Has(Box<Code>, Attribute),
    HasPath(Box<Code>, Box<[Name]>),
    Like(Box<(Code, Like)>),
    Is(Box<(Code, EntityType)>),
    Set(Box<[Code]>),
    Record(Box<[(SmolStr, Code)]>),
    Call(&'static ExtensionFunction, Box<[Code]>),
}

/// A comparison of the time of the decision with something else.
#[derive(Debug)]
pub(super) struct Clock {
    op: BinaryOp,
    name: Name,
    other: Code,
    now_is_left: bool,
}

/// Deeper expressions are left to Cedar, which watches the stack.
const DEEPEST: usize = 100;

impl Code {
    /// Compiles an expression; `None` for what only Cedar evaluates.
    pub(super) fn new(expr: &Expr, names: &Names) -> Option<Self> {
        Self::at(expr, names, 0)
    }

    fn at(expr: &Expr, names: &Names, depth: usize) -> Option<Self> {
        if depth > DEEPEST {
            return None;
        }
        let sub = |expr: &Expr| Self::at(expr, names, depth + 1);
        let boxed = |expr: &Expr| sub(expr).map(Box::new);
        Some(match expr.expr_kind() {
            ExprKind::Lit(literal) => Self::literal(literal),
            ExprKind::Var(Var::Principal) => Self::Principal,
            ExprKind::Var(Var::Action) => Self::Action,
            ExprKind::Var(Var::Resource) => Self::Resource,
            ExprKind::Var(Var::Context) => Self::Context,
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => Self::If(Box::new([
                sub(test_expr)?,
                sub(then_expr)?,
                sub(else_expr)?,
            ])),
            ExprKind::And { .. } => {
                Self::All(Self::chain(expr, names, depth, |kind| match kind {
                    ExprKind::And { left, right } => Some((left, right)),
                    _ => None,
                })?)
            }
            ExprKind::Or { .. } => Self::Any(Self::chain(expr, names, depth, |kind| match kind {
                ExprKind::Or { left, right } => Some((left, right)),
                _ => None,
            })?),
            ExprKind::UnaryApp { op, arg } => Self::Unary(*op, boxed(arg)?),
            ExprKind::BinaryApp { op, arg1, arg2 } => Self::two(*op, sub(arg1)?, sub(arg2)?),
            ExprKind::GetAttr { expr, attr } => Self::attribute(sub(expr)?, names.name(attr)),
            ExprKind::HasAttr { expr, attr } => Self::Has(boxed(expr)?, names.name(attr).into()),
            ExprKind::ExtHasAttr { expr, attrs } => Self::HasPath(
                boxed(expr)?,
                attrs.iter().map(|attr| names.name(attr)).collect(),
            ),
            ExprKind::Like { expr, pattern } => Self::Like(Box::new((sub(expr)?, pattern.into()))),
            ExprKind::Is { expr, entity_type } => {
                Self::Is(Box::new((sub(expr)?, entity_type.clone())))
            }
            ExprKind::Set(items) => {
                folded(Self::Set(items.iter().map(sub).collect::<Option<_>>()?))
            }
            ExprKind::Record(members) => folded(Self::Record(
                members
                    .iter()
                    .map(|(member, expr)| Some((member.clone(), sub(expr)?)))
                    .collect::<Option<_>>()?,
            )),
            ExprKind::ExtensionFunctionApp { fn_name, args } => folded(Self::Call(
                Extensions::all_available().func(fn_name).ok()?,
                args.iter().map(sub).collect::<Option<_>>()?,
            )),
            ExprKind::Slot(_) | ExprKind::Unknown(_) => return None,
        })
    }

    fn literal(literal: &Literal) -> Self {
        match literal {
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Long(value) => Self::Long(*value),
            Literal::String(text) => Self::Text(text.clone()),
            Literal::EntityUID(uid) => Self::Entity(Arc::clone(uid).into()),
        }
    }

    fn attribute(of: Self, name: Name) -> Self {
        match of {
            Self::Principal => Self::Own(Whose::Principal, name.into()),
            Self::Resource => Self::Own(Whose::Resource, name.into()),
            of => Self::Get(Box::new(of), name.into()),
        }
    }

    fn two(op: BinaryOp, one: Self, other: Self) -> Self {
        let is_compared = matches!(op, BinaryOp::Less | BinaryOp::LessEq);
        let (name, other, now_is_left) = match (one.as_clock(), other.as_clock()) {
            (Some(name), None) if is_compared => (name.clone(), other, true),
            (None, Some(name)) if is_compared => (name.clone(), one, false),
            _ => return Self::Binary(op, Box::new([one, other])),
        };
        Self::Clock(Box::new(Clock {
            op,
            name,
            other,
            now_is_left,
        }))
    }

    /// Its name, where this is the time of the decision.
    fn as_clock(&self) -> Option<&Name> {
        match self {
            Self::Get(of, name) if name.is_clock && matches!(**of, Self::Context) => Some(&**name),
            _ => None,
        }
    }

    /// Its value, where that is the same for every question.
    fn constant(&self) -> Option<Value> {
        match self {
            Self::Bool(value) => Some(Value::from(*value)),
            Self::Long(value) => Some(Value::from(*value)),
            Self::Text(text) => Some(Value::from(text.clone())),
            Self::Entity(uid) => Some(Value::new(Literal::EntityUID(uid.shared()), None)),
            Self::Value(value) => Some((**value).clone()),
            _ => None,
        }
    }

    /// A chain of the same connective, as flat as it is written, in its order.
    fn chain<'e>(
        expr: &'e Expr,
        names: &Names,
        depth: usize,
        split: impl Fn(&'e ExprKind) -> Option<(&'e Arc<Expr>, &'e Arc<Expr>)>,
    ) -> Option<Box<[Self]>> {
        let mut parts = Vec::new();
        let mut waiting = vec![expr];
        while let Some(expr) = waiting.pop() {
            match split(expr.expr_kind()) {
                Some((left, right)) => waiting.extend([&**right, &**left]),
                None => parts.push(Self::at(expr, names, depth + 1)?),
            }
        }
        Some(parts.into_boxed_slice())
    }

    /// Whether the clauses hold.
    pub(super) fn holds(&self, scene: &Scene<'_, '_>) -> Result<bool, Failed> {
        Ok(match self {
            Self::All(parts) => {
                for part in parts {
                    if !part.holds(scene)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.holds(scene)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Unary(UnaryOp::Not, arg) => !arg.holds(scene)?,
            Self::Clock(clock) => clock.holds(scene)?,
            Self::Binary(op, args) if Scene::relates(*op) => {
                let [one, other] = &**args;
                let one = one.operand(scene)?;
                scene.relation(*op, &one, &other.operand(scene)?)?
            }
            Self::Own(side, name) => scene
                .attribute_of(scene.side(*side).row, name.into())?
                .bool()?,
            Self::Has(of, name) => scene.has(&of.looked_into(scene)?, name.into())?,
            Self::HasPath(of, names) => scene.has_path(of.looked_into(scene)?, names)?,
            Self::Like(like) => like.1.matches(like.0.operand(scene)?.text()?),
            Self::Is(is) => *is.0.eval(scene)?.entity()?.uid.entity_type() == is.1,
            value => value.eval(scene)?.bool()?,
        })
    }

    /// A value of which a member alone is wanted.
    fn looked_into<'a>(&'a self, scene: &Scene<'a, '_>) -> Result<Val<'a>, Failed> {
        match self {
            Self::Context => Ok(Val::Members(scene.context)),
            other => other.eval(scene),
        }
    }

    /// The same as [`Self::eval`], for what most comparisons are made of: it is done where it is asked for.
    #[inline]
    fn operand<'a>(&'a self, scene: &Scene<'a, '_>) -> Result<Val<'a>, Failed> {
        match self {
            Self::Own(side, name) => scene.attribute_of(scene.side(*side).row, name.into()),
            Self::Text(text) => Ok(Val::Text(text)),
            Self::Long(value) => Ok(Val::Long(*value)),
            Self::Entity(uid) => Ok(Val::Entity(uid.named())),
            Self::Value(value) => Ok(Val::Ref(value)),
            Self::Principal => Ok(Val::Entity(scene.seen.principal.uid)),
            other => other.eval(scene),
        }
    }

    fn eval<'a>(&'a self, scene: &Scene<'a, '_>) -> Result<Val<'a>, Failed> {
        Ok(match self {
            Self::Bool(value) => Val::Bool(*value),
            Self::Long(value) => Val::Long(*value),
            Self::Text(text) => Val::Text(text),
            Self::Value(value) => Val::Ref(value),
            Self::Entity(uid) => Val::Entity(uid.named()),
            Self::Principal => Val::Entity(scene.seen.principal.uid),
            Self::Action => Val::Entity(scene.seen.action_uid.named()),
            Self::Resource => Val::Entity(scene.seen.resource.uid),
            Self::Context => {
                scene.has_read(Reads::WHOLE_CONTEXT);
                if scene.question.now.is_some() {
                    scene.lasts_for(0);
                }
                Val::Members(scene.context)
            }
            Self::If(parts) => {
                let [test, then, other] = &**parts;
                if test.holds(scene)? {
                    then.eval(scene)?
                } else {
                    other.eval(scene)?
                }
            }
            Self::Unary(op, arg) => {
                let arg = arg.eval(scene)?;
                match op {
                    UnaryOp::Not => Val::Bool(!arg.bool()?),
                    UnaryOp::Neg => Val::Long(arg.long()?.checked_neg().ok_or(Failed)?),
                    UnaryOp::IsEmpty => Val::Bool(arg.len()? == 0),
                }
            }
            Self::Binary(op, args) => {
                let [one, other] = &**args;
                let one = one.eval(scene)?;
                scene.binary(*op, &one, &other.eval(scene)?)?
            }
            Self::Own(side, name) => scene.attribute_of(scene.side(*side).row, name.into())?,
            Self::Get(of, name) => scene.get(&of.looked_into(scene)?, name.into())?,
            Self::All(_)
            | Self::Any(_)
            | Self::Clock(_)
            | Self::Has(..)
            | Self::HasPath(..)
            | Self::Like(_)
            | Self::Is(_) => Val::Bool(self.holds(scene)?),
            Self::Set(_) | Self::Record(_) | Self::Call(..) => {
                Val::Owned(Box::new(self.make(scene)?))
            }
        })
    }

    /// A new value.
    fn make(&self, scene: &Scene<'_, '_>) -> Result<Value, Failed> {
        let value = |code: &Self| Ok(code.eval(scene)?.into_value());
        match self {
            Self::Set(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(value).collect();
                Ok(Value::set(items?, None))
            }
            Self::Record(members) => {
                let members: Result<Vec<_>, _> = members
                    .iter()
                    .map(|(name, member)| Ok((name.clone(), value(member)?)))
                    .collect();
                Ok(Value::record(members?, None))
            }
            Self::Call(function, args) => {
                let args: Result<Vec<_>, _> = args.iter().map(value).collect();
                match function.call(&args?) {
                    Ok(PartialValue::Value(value)) => Ok(value),
                    Ok(PartialValue::Residual(_)) | Err(_) => Err(Failed),
                }
            }
            _ => Err(Failed),
        }
    }
}

impl Clock {
    fn holds(&self, scene: &Scene<'_, '_>) -> Result<bool, Failed> {
        scene.has_read_member(&self.name);
        let now = Val::Ref(scene.context.get(&self.name.text).ok_or(Failed)?);
        let other = self.other.eval(scene)?;
        let millis = now::millis(&other.value()).ok_or(Failed)?;
        // Where the context says a time, the question does. Else it is the asker's own.
        if let Some(now) = scene.question.now
            && let Some(lasts) = now::turns_in(self.op, now, millis, self.now_is_left)
        {
            scene.lasts_for(lasts);
        }
        if self.now_is_left {
            scene.binary(self.op, &now, &other)?.bool()
        } else {
            scene.binary(self.op, &other, &now)?.bool()
        }
    }
}

/// What is made of constants alone is made now, once.
fn folded(code: Code) -> Code {
    fn constants<'c>(codes: impl IntoIterator<Item = &'c Code>) -> Option<Vec<Value>> {
        codes.into_iter().map(Code::constant).collect()
    }
    let value = match &code {
        Code::Set(items) => constants(items).map(|items| Value::set(items, None)),
        Code::Record(members) => constants(members.iter().map(|(_, code)| code)).map(|values| {
            let names = members.iter().map(|(name, _)| name.clone());
            Value::record(names.zip(values), None)
        }),
        Code::Call(function, args) => {
            constants(args).and_then(|args| match function.call(&args) {
                Ok(PartialValue::Value(value)) => Some(value),
                // Fails at every evaluation, then, and not before.
                _ => None,
            })
        }
        _ => None,
    };
    value.map_or(code, |value| Code::Value(Box::new(value)))
}
