//! What clauses see of a question: its parts, the entities as it sees them, and what two values say of
//! each other. Takes note of what is read, and of how long what is found stays so.

use std::cell::Cell;
use std::collections::BTreeMap;

use cedar_policy_core::ast::{BinaryOp, Context, Value, ValueKind};
use cedar_policy_core::evaluator::binary_relation;
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use super::attribute::Wanted;
use super::value::{Failed, Val};
use super::{Question, Surroundings};
use crate::entities::{Named, Row, WALKED};
use crate::plain::Plain;
use crate::reads::{Name, NameSet, Reads};

/// Whose attribute it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    Principal,
    Resource,
}

/// What clauses see.
#[derive(Debug)]
pub(super) struct Scene<'a, 's> {
    pub(super) question: &'a Question,
    pub(super) context: &'a BTreeMap<SmolStr, Value>,
    pub(super) seen: &'a Surroundings<'s>,
    /// What they have read so far: attributes, and members of the context.
    attributes: Cell<NameSet>,
    members: Cell<NameSet>,
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
            attributes: Cell::default(),
            members: Cell::default(),
            lasts: Cell::default(),
        }
    }

    /// A part of the question.
    #[inline]
    pub(super) fn side(&self, whose: Whose) -> &'a super::Side<'s> {
        match whose {
            Whose::Principal => &self.seen.principal,
            Whose::Resource => &self.seen.resource,
        }
    }

    /// The entity as this question sees it.
    pub(super) fn entity(&self, uid: Named<'_>) -> Option<&'a Row> {
        self.seen.row(uid)
    }

    /// Whether what an operator says of two values is true or false.
    #[inline]
    pub(super) fn relates(op: BinaryOp) -> bool {
        !matches!(
            op,
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::GetTag
        )
    }

    pub(super) fn binary(
        &self,
        op: BinaryOp,
        one: &Val<'a>,
        other: &Val<'a>,
    ) -> Result<Val<'a>, Failed> {
        Ok(match op {
            BinaryOp::Add => Val::Long(one.long()?.checked_add(other.long()?).ok_or(Failed)?),
            BinaryOp::Sub => Val::Long(one.long()?.checked_sub(other.long()?).ok_or(Failed)?),
            BinaryOp::Mul => Val::Long(one.long()?.checked_mul(other.long()?).ok_or(Failed)?),
            BinaryOp::GetTag => {
                let (uid, tag) = (one.entity()?, other.text()?);
                let tag = self.entity(uid).and_then(|entity| entity.tag(tag));
                Val::from(tag.ok_or(Failed)?)
            }
            relation => Val::Bool(self.relation(relation, one, other)?),
        })
    }

    /// What an operator says of two values that [relates](Self::relates) them.
    #[inline]
    pub(super) fn relation(
        &self,
        op: BinaryOp,
        one: &Val<'a>,
        other: &Val<'a>,
    ) -> Result<bool, Failed> {
        // What most comparisons are.
        Ok(match (op, one, other) {
            (BinaryOp::Eq, Val::Text(one), Val::Text(other)) => one == other,
            (BinaryOp::Eq, Val::Entity(one), Val::Entity(other)) => one == other,
            (BinaryOp::Less, Val::Long(one), Val::Long(other)) => one < other,
            (BinaryOp::LessEq, Val::Long(one), Val::Long(other)) => one <= other,
            (BinaryOp::Contains, Val::Ids(ids), Val::Entity(sought)) => ids.has(sought.uid),
            _ => return self.any_relation(op, one, other),
        })
    }

    fn any_relation(&self, op: BinaryOp, one: &Val<'a>, other: &Val<'a>) -> Result<bool, Failed> {
        Ok(match op {
            BinaryOp::Eq => one.equals(other),
            BinaryOp::Less | BinaryOp::LessEq => match (one.plain(), other.plain()) {
                (Some(Plain::Long(one)), Some(Plain::Long(other))) if op == BinaryOp::Less => {
                    one < other
                }
                (Some(Plain::Long(one)), Some(Plain::Long(other))) => one <= other,
                _ => return ordered(op, one, other),
            },
            BinaryOp::In => self.is_in(one.entity()?, other)?,
            BinaryOp::Contains => match other.plain() {
                Some(sought) if one.len()? <= WALKED => one.has(sought)?,
                _ => one.set()?.contains(&other.value()),
            },
            BinaryOp::ContainsAll if walked(one, other)? => {
                !other.any(|item| !item.is_some_and(|item| one.has(item) == Ok(true)))?
            }
            BinaryOp::ContainsAny if walked(one, other)? => {
                other.any(|item| item.is_some_and(|item| one.has(item) == Ok(true)))?
            }
            BinaryOp::ContainsAll => other.set()?.is_subset(&*one.set()?),
            BinaryOp::ContainsAny => {
                let (one, other) = (one.set()?, other.set()?);
                !one.is_disjoint(&other)
            }
            BinaryOp::HasTag => {
                let (uid, tag) = (one.entity()?, other.text()?);
                let entity = self.entity(uid);
                entity.is_some_and(|entity| entity.tag(tag).is_some())
            }
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::GetTag => return Err(Failed),
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
        self.attributes
            .set(self.attributes.get().joined(reads.attributes));
        self.members.set(self.members.get().joined(reads.context));
    }

    /// Of one member of the context.
    #[inline]
    pub(super) fn has_read_member(&self, name: &Name) {
        self.members
            .set(self.members.get().joined(name.in_context()));
    }

    #[inline]
    fn has_read_attribute(&self, name: &Name) {
        self.attributes
            .set(self.attributes.get().joined(name.as_attribute()));
    }

    /// What has been read.
    pub(super) fn reads(&self) -> Reads {
        Reads {
            attributes: self.attributes.get(),
            context: self.members.get(),
        }
    }

    /// Takes note of how long what was found stays so.
    pub(super) fn lasts_for(&self, millis: u64) {
        let known = self.lasts.get().unwrap_or(u64::MAX);
        self.lasts.set(Some(known.min(millis)));
    }

    pub(super) fn get(&self, of: &Val<'a>, wanted: Wanted<'_>) -> Result<Val<'a>, Failed> {
        let name = wanted.name;
        let member = match of {
            Val::Members(members) => {
                self.has_read_member(name);
                if name.is_clock && self.question.now.is_some() {
                    self.lasts_for(0);
                }
                members.get(&name.text)
            }
            Val::Ref(value) => match value.value_kind() {
                ValueKind::Record(members) => members.get(&name.text),
                _ => return self.attribute(of.entity()?, wanted),
            },
            Val::Owned(value) => match value.value_kind() {
                ValueKind::Record(members) => {
                    let member = members.get(&name.text);
                    let member = member.cloned().map(Box::new);
                    return member.map(Val::Owned).ok_or(Failed);
                }
                _ => return self.attribute(of.entity()?, wanted),
            },
            Val::Bool(_)
            | Val::Long(_)
            | Val::Text(_)
            | Val::Entity(_)
            | Val::Items(_)
            | Val::Ids(_) => {
                return self.attribute(of.entity()?, wanted);
            }
        };
        member.map(Val::Ref).ok_or(Failed)
    }

    fn attribute(&self, uid: Named<'_>, wanted: Wanted<'_>) -> Result<Val<'a>, Failed> {
        self.attribute_of(self.entity(uid), wanted)
    }

    #[inline]
    pub(super) fn attribute_of(
        &self,
        row: Option<&'a Row>,
        wanted: Wanted<'_>,
    ) -> Result<Val<'a>, Failed> {
        self.has_read_attribute(wanted.name);
        let value = row.and_then(|row| wanted.of(row));
        value.map(Val::from).ok_or(Failed)
    }

    pub(super) fn has(&self, of: &Val<'a>, wanted: Wanted<'_>) -> Result<bool, Failed> {
        let name = wanted.name;
        if let Val::Members(members) = of {
            self.has_read_member(name);
            return Ok(members.contains_key(&name.text));
        }
        if let Some(ValueKind::Record(members)) = of.kind() {
            return Ok(members.contains_key(&name.text));
        }
        let entity = self.entity(of.entity()?);
        self.has_read_attribute(name);
        Ok(entity.is_some_and(|entity| wanted.of(entity).is_some()))
    }

    pub(super) fn has_path(&self, of: Val<'a>, names: &[Name]) -> Result<bool, Failed> {
        let Some((last, before)) = names.split_last() else {
            return Err(Failed);
        };
        let mut current = of;
        for name in before {
            if !self.has(&current, name.into())? {
                return Ok(false);
            }
            current = self.get(&current, name.into())?;
        }
        self.has(&current, last.into())
    }
}

/// Whether two sets are compared element by element: they are small, and one has come with the question,
/// so that it is no set of Cedar's yet. What it has is compared without looking inside.
fn walked(one: &Val<'_>, other: &Val<'_>) -> Result<bool, Failed> {
    let is_small = one.len()? <= WALKED && other.len()? <= WALKED;
    Ok(is_small && (one.is_sent() || other.is_sent()))
}

/// Which of two comes first, where they are not numbers.
#[cold]
fn ordered(op: BinaryOp, one: &Val<'_>, other: &Val<'_>) -> Result<bool, Failed> {
    let extensions = Extensions::all_available();
    match binary_relation(op, &one.value(), &other.value(), extensions) {
        Ok(value) => Val::Owned(Box::new(value)).bool(),
        Err(_) => Err(Failed),
    }
}
