//! What clauses begin with, for the index to file their policy by; and what a question says of it.

use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, Literal, UnaryOp, Value, ValueKind};
use smallvec::SmallVec;

use super::condition::Code;
use super::scene::{Scene, Whose};
use super::value::Val;
use crate::entities::Named;
use crate::index::guards::{Answer, Guard, Look, Of, Subject, Values};
use crate::plain::{Plain, Word, plain};
use crate::reads::Name;

/// So deep policies are filed. The rest of their clauses is left to evaluation.
const DEEPEST: usize = 4;
/// In so many places at most.
const MOST_PLACES: usize = 256;

/// A condition, and whether it is to be true or false.
type Expected<'c> = (&'c Code, bool);

/// A guard of a condition: that is false where the guard is not met. Nothing can have failed then,
/// where the subject can be read.
struct Found {
    guard: Guard,
    /// The condition is true where the guard is met.
    is_all: bool,
}

impl Code {
    /// What it begins with: where one of these is not met, the whole is false, and nothing that
    /// stands before it can have failed.
    pub(super) fn guards(&self) -> Vec<Guard> {
        let mut guards = Vec::new();
        let mut places = 1;
        for condition in conjuncts((self, true)) {
            let Some(found) = guard(condition) else {
                break;
            };
            places *= found.guard.values.len();
            if places > MOST_PLACES {
                break;
            }
            guards.push(found.guard);
            // SECURITY: where more stands in it than its guard, that may fail before what follows.
            if !found.is_all || guards.len() == DEEPEST {
                break;
            }
        }
        guards
    }

    fn word(&self) -> Option<Word> {
        match self {
            Self::Bool(value) => Some((*value).into()),
            Self::Long(value) => Some((*value).into()),
            Self::Text(text) => Some(text.clone().into()),
            Self::Entity(uid) => Some(uid.shared().into()),
            Self::Value(value) => Word::of(value),
            _ => None,
        }
    }

    /// The elements of a set that is written out, where each is a word.
    fn words(&self) -> Option<Words> {
        match self {
            Self::Value(value) => match value.value_kind() {
                ValueKind::Set(items) => items.iter().map(Word::of).collect(),
                _ => None,
            },
            _ => None,
        }
    }

    /// One entity or several that are written out.
    fn entities(&self) -> Option<Words> {
        match self {
            Self::Entity(uid) => Some(Words::from_iter([uid.shared().into()])),
            Self::Value(value) => match value.value_kind() {
                ValueKind::Set(items) => items.iter().map(entity).collect(),
                _ => None,
            },
            _ => None,
        }
    }

    fn subject(&self, look: Look) -> Option<Subject> {
        let of = match (self, look) {
            (Self::Own(side, name), _) => return Some(side.subject(name, look)),
            (Self::Get(of, name), _) => return subject(of, name, look),
            (Self::Principal, Look::Value | Look::Within) => Of::Principal,
            (Self::Resource, Look::Value | Look::Within) => Of::Resource,
            _ => return None,
        };
        Some(Subject {
            of,
            name: None,
            look,
        })
    }
}

impl Whose {
    fn subject(self, name: &Name, look: Look) -> Subject {
        let of = match self {
            Self::Principal => Of::Principal,
            Self::Resource => Of::Resource,
        };
        let name = Some(name.clone());
        Subject { of, name, look }
    }
}

type Words = SmallVec<[Word; 1]>;

fn entity(value: &Value) -> Option<Word> {
    match value.value_kind() {
        ValueKind::Lit(Literal::EntityUID(uid)) => Some(Arc::clone(uid).into()),
        _ => None,
    }
}

/// What must be true for a condition to be, in the order in which it is evaluated.
fn conjuncts(condition: Expected<'_>) -> impl Iterator<Item = Expected<'_>> {
    let mut waiting = vec![condition];
    std::iter::from_fn(move || {
        loop {
            match waiting.pop()? {
                (Code::Unary(UnaryOp::Not, inner), expected) => waiting.push((inner, !expected)),
                // None of several is true where each is false.
                (Code::All(parts), true) => waiting.extend(parts.iter().rev().map(|p| (p, true))),
                (Code::Any(parts), false) => waiting.extend(parts.iter().rev().map(|p| (p, false))),
                single => return Some(single),
            }
        }
    })
}

fn guard(condition: Expected<'_>) -> Option<Found> {
    let guard = match condition {
        (Code::Any(parts), true) => return any(parts, true),
        (Code::All(parts), false) => return any(parts, false),
        (Code::Binary(op, sides), true) => two(*op, sides)?,
        (Code::Has(of, name), expected) => Guard {
            subject: subject(of, name, Look::Presence)?,
            values: Words::from_iter([expected.into()]),
        },
        (condition, expected) => Guard {
            subject: condition.subject(Look::Truth)?,
            values: Words::from_iter([expected.into()]),
        },
    };
    Some(Found {
        guard,
        is_all: true,
    })
}

/// One of several conditions, which all begin with the same subject.
fn any(parts: &[Code], expected: bool) -> Option<Found> {
    let mut found: Option<Found> = None;
    for part in parts {
        let mut conditions = conjuncts((part, expected));
        let mut own = guard(conditions.next()?)?;
        own.is_all = own.is_all && conditions.next().is_none();
        match &mut found {
            None => found = Some(own),
            Some(found) if found.guard.subject == own.guard.subject => {
                found.is_all = found.is_all && own.is_all;
                for value in own.guard.values {
                    if !found.guard.values.contains(&value) {
                        found.guard.values.push(value);
                    }
                }
            }
            Some(_) => return None,
        }
    }
    found
}

/// A comparison with what is written out.
fn two(op: BinaryOp, sides: &[Code; 2]) -> Option<Guard> {
    let [one, other] = sides;
    let single = |word: Word| Words::from_iter([word]);
    let (subject, mut values) = match op {
        BinaryOp::Eq => match (one.word(), other.word()) {
            (Some(word), None) => (other.subject(Look::Value)?, single(word)),
            (None, Some(word)) => (one.subject(Look::Value)?, single(word)),
            _ => return None,
        },
        BinaryOp::In => (one.subject(Look::Within)?, other.entities()?),
        BinaryOp::Contains => match (one.words(), other.word()) {
            (Some(words), None) => (other.subject(Look::Value)?, words),
            (None, Some(word)) => (one.subject(Look::Elements)?, single(word)),
            _ => return None,
        },
        BinaryOp::ContainsAny => match (one.words(), other.words()) {
            (Some(words), None) => (other.subject(Look::Elements)?, words),
            (None, Some(words)) => (one.subject(Look::Elements)?, words),
            _ => return None,
        },
        _ => return None,
    };
    let mut kept = Words::new();
    for value in values.drain(..) {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    // What none can meet would be filed nowhere.
    (!kept.is_empty()).then_some(Guard {
        subject,
        values: kept,
    })
}

fn subject(of: &Code, name: &Name, look: Look) -> Option<Subject> {
    let of = match of {
        Code::Principal => Of::Principal,
        Code::Resource => Of::Resource,
        // How long an answer lasts depends on who looks at the time, and how.
        Code::Context if !name.is_clock => Of::Context,
        _ => return None,
    };
    let name = Some(name.clone());
    Some(Subject { of, name, look })
}

impl<'a, 's: 'a> Scene<'a, 's> {
    /// What this question says of a subject, where that is not more than so many values. What is
    /// read for it is noted like any other reading.
    pub(super) fn answer(&self, subject: &Subject, most: usize) -> Answer<'a> {
        let of = match subject.of {
            Of::Principal => Val::Entity(self.seen.principal.uid),
            Of::Resource => Val::Entity(self.seen.resource.uid),
            Of::Context => Val::Members(self.context),
        };
        let Some(name) = &subject.name else {
            return self.look(of, subject.look, most);
        };
        if subject.look == Look::Presence {
            let is_there = self.has(&of, name.into());
            return is_there.map_or(Answer::Unknown, |is| Answer::Value(Plain::Bool(is)));
        }
        match self.get(&of, name.into()) {
            Ok(value) => self.look(value, subject.look, most),
            Err(_) => Answer::Unknown,
        }
    }

    fn look(&self, value: Val<'a>, look: Look, most: usize) -> Answer<'a> {
        match (value, look) {
            (value, Look::Value) => match value.borrowed() {
                Some(value) => Answer::Value(value),
                // What looks inside a value finds no word there.
                None => Answer::Other,
            },
            (value, Look::Truth) => match value.borrowed() {
                Some(Plain::Bool(value)) => Answer::Value(Plain::Bool(value)),
                _ => Answer::Unknown,
            },
            (value, Look::Elements) => elements(&value, most).map_or(Answer::Unknown, Answer::Each),
            (value, Look::Within) => {
                let name = match value {
                    Val::Entity(name) => name,
                    value => match value.borrowed() {
                        Some(Plain::Entity(uid)) => Named::of(uid),
                        _ => return Answer::Unknown,
                    },
                };
                let above = self.seen.each_above(name, most);
                above.map_or(Answer::Unknown, Answer::Each)
            }
            (_, Look::Presence) => Answer::Unknown,
        }
    }
}

/// The elements of a set that a word can equal. None: it is no set, or too large.
fn elements<'a>(set: &Val<'a>, most: usize) -> Option<Values<'a>> {
    match set {
        Val::Items(items) if items.len() <= most => Some(
            items
                .iter()
                .filter_map(|item| Val::from(item).borrowed())
                .collect(),
        ),
        Val::Ids(ids) if ids.len() <= most => Some(ids.uids().iter().map(Plain::Entity).collect()),
        Val::Ref(value) => match value.value_kind() {
            ValueKind::Set(items) if items.len() <= most => {
                Some(items.iter().filter_map(plain).collect())
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
