//! What clauses see of a question: its parts, the entities as it sees them, and what two values say of
//! each other. Takes note of what is read, and of how long what is found stays so.

use std::cell::Cell;
use std::collections::BTreeMap;

use cedar_policy_core::ast::{BinaryOp, Context, Value, ValueKind};
use cedar_policy_core::evaluator::binary_relation;
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use super::value::{Failed, Val};
use super::{Question, Surroundings};
use crate::entities::{Named, Row, WALKED};
use crate::plain::Plain;
use crate::reads::{Name, Reads};

/// What clauses see.
#[derive(Debug)]
pub(super) struct Scene<'a, 's> {
    pub(super) question: &'a Question,
    pub(super) context: &'a BTreeMap<SmolStr, Value>,
    pub(super) seen: &'a Surroundings<'s>,
    /// What they have read so far.
    pub(super) reads: Cell<Reads>,
    /// For how many milliseconds what they have found stays so.
    pub(super) lasts: Cell<Option<u64>>,
}

/// The context of a question of which no value is known.
static NOTHING: BTreeMap<SmolStr, Value> = BTreeMap::new();

impl<'a, 's: 'a> Scene<'a, 's> {
    /// Nothing read yet.
    pub(super) fn of(question: &'a Question, seen: &'a Surroundings<'s>) -> Self {
        Self {
            question,
            context: match &question.context {
                Context::Value(members) => members,
                Context::RestrictedResidual(_) => &NOTHING,
            },
            seen,
            reads: Cell::default(),
            lasts: Cell::default(),
        }
    }

    /// The entity as this question sees it.
    pub(super) fn entity(&self, uid: Named<'_>) -> Option<&'a Row> {
        self.seen.row(uid)
    }

    pub(super) fn binary(
        &self,
        op: BinaryOp,
        one: &Val<'a>,
        other: &Val<'a>,
    ) -> Result<Val<'a>, Failed> {
        Ok(match op {
            BinaryOp::Eq => Val::Bool(one.equals(other)),
            BinaryOp::Less | BinaryOp::LessEq => {
                if let (Some(Plain::Long(one)), Some(Plain::Long(other))) =
                    (one.plain(), other.plain())
                {
                    return Ok(Val::Bool(if op == BinaryOp::Less {
                        one < other
                    } else {
                        one <= other
                    }));
                }
                let extensions = Extensions::all_available();
                match binary_relation(op, &one.value(), &other.value(), extensions) {
                    Ok(value) => Val::Owned(Box::new(value)),
                    Err(_) => return Err(Failed),
                }
            }
            BinaryOp::Add => Val::Long(one.long()?.checked_add(other.long()?).ok_or(Failed)?),
            BinaryOp::Sub => Val::Long(one.long()?.checked_sub(other.long()?).ok_or(Failed)?),
            BinaryOp::Mul => Val::Long(one.long()?.checked_mul(other.long()?).ok_or(Failed)?),
            BinaryOp::In => Val::Bool(self.is_in(one.entity()?, other)?),
            BinaryOp::Contains => Val::Bool(match (one, other.plain()) {
                (Val::Ids(ids), Some(Plain::Entity(sought))) => ids.has(sought),
                (Val::Ids(_), Some(_)) => false,
                (_, Some(sought)) if one.len()? <= WALKED => {
                    one.any(|item| item.as_ref() == Some(&sought))?
                }
                _ => one.set()?.contains(&other.value()),
            }),
            BinaryOp::ContainsAll => Val::Bool(other.set()?.is_subset(&*one.set()?)),
            BinaryOp::ContainsAny => {
                let (one, other) = (one.set()?, other.set()?);
                Val::Bool(!one.is_disjoint(&other))
            }
            BinaryOp::GetTag => {
                let (uid, tag) = (one.entity()?, other.text()?);
                let tag = self.entity(uid).and_then(|entity| entity.tag(tag));
                Val::from(tag.ok_or(Failed)?)
            }
            BinaryOp::HasTag => {
                let (uid, tag) = (one.entity()?, other.text()?);
                let entity = self.entity(uid);
                Val::Bool(entity.is_some_and(|entity| entity.tag(tag).is_some()))
            }
        })
    }

    fn is_in(&self, uid: Named<'_>, above: &Val<'a>) -> Result<bool, Failed> {
        let is_in = |above: Named<'_>| self.seen.is_within(uid, above);
        if above.plain().is_some() {
            return Ok(is_in(above.entity()?));
        }
        let mut found = false;
        // One that is no entity fails, wherever it stands.
        let fails = above.any(|item| match item {
            Some(Plain::Entity(above)) => {
                found = found || is_in(Named::of(above));
                false
            }
            _ => true,
        })?;
        if fails { Err(Failed) } else { Ok(found) }
    }

    /// Takes note of what was read.
    pub(super) fn has_read(&self, reads: Reads) {
        self.reads.set(self.reads.get().joined(reads));
    }

    /// Takes note of how long what was found stays so.
    pub(super) fn lasts_for(&self, millis: u64) {
        let known = self.lasts.get().unwrap_or(u64::MAX);
        self.lasts.set(Some(known.min(millis)));
    }

    pub(super) fn get(&self, of: &Val<'a>, name: &Name) -> Result<Val<'a>, Failed> {
        let member = match of {
            Val::Members(members) => {
                self.has_read(Reads::of_context(name));
                if name.is_clock && self.question.now.is_some() {
                    self.lasts_for(0);
                }
                members.get(&name.text)
            }
            Val::Ref(value) => match value.value_kind() {
                ValueKind::Record(members) => members.get(&name.text),
                _ => return self.attribute(of.entity()?, name),
            },
            Val::Owned(value) => match value.value_kind() {
                ValueKind::Record(members) => {
                    let member = members.get(&name.text);
                    let member = member.cloned().map(Box::new);
                    return member.map(Val::Owned).ok_or(Failed);
                }
                _ => return self.attribute(of.entity()?, name),
            },
            Val::Bool(_)
            | Val::Long(_)
            | Val::Text(_)
            | Val::Entity(_)
            | Val::Items(_)
            | Val::Ids(_) => {
                return self.attribute(of.entity()?, name);
            }
        };
        member.map(Val::Ref).ok_or(Failed)
    }

    fn attribute(&self, uid: Named<'_>, name: &Name) -> Result<Val<'a>, Failed> {
        self.attribute_of(self.entity(uid), name)
    }

    pub(super) fn attribute_of(
        &self,
        row: Option<&'a Row>,
        name: &Name,
    ) -> Result<Val<'a>, Failed> {
        self.has_read(Reads::of_attribute(name));
        let value = row.and_then(|row| row.get(&name.text));
        value.map(Val::from).ok_or(Failed)
    }

    pub(super) fn has(&self, of: &Val<'a>, name: &Name) -> Result<bool, Failed> {
        if let Val::Members(members) = of {
            self.has_read(Reads::of_context(name));
            return Ok(members.contains_key(&name.text));
        }
        if let Some(ValueKind::Record(members)) = of.kind() {
            return Ok(members.contains_key(&name.text));
        }
        let entity = self.entity(of.entity()?);
        self.has_read(Reads::of_attribute(name));
        Ok(entity.is_some_and(|entity| entity.get(&name.text).is_some()))
    }

    pub(super) fn has_path(&self, of: Val<'a>, names: &[Name]) -> Result<bool, Failed> {
        let Some((last, before)) = names.split_last() else {
            return Err(Failed);
        };
        let mut current = of;
        for name in before {
            if !self.has(&current, name)? {
                return Ok(false);
            }
            current = self.get(&current, name)?;
        }
        self.has(&current, last)
    }
}
