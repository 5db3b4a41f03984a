//! What clauses begin with, for the index to file their policy by; and what a question says of it.

use cedar_policy_core::ast::{BinaryOp, UnaryOp};

use super::condition::{Code, Scene};
use super::value::Val;
use crate::index::guards::{Answer, Guard, Look, Of, Subject};
use crate::plain::{Plain, Word};
use crate::reads::Name;

/// So deep policies are filed. The rest of their clauses is left to evaluation.
const DEEPEST: usize = 4;

impl Code {
    /// The comparisons that it begins with: where one of them is false, so is the whole, and
    /// nothing that stands before it can have failed.
    pub(super) fn guards(&self) -> Vec<Guard> {
        let parts = match self {
            Self::All(parts) => parts,
            single => std::slice::from_ref(single),
        };
        let guards = parts.iter().map_while(Self::guard);
        guards.take(DEEPEST).collect()
    }

    fn guard(&self) -> Option<Guard> {
        match self {
            Self::Binary(BinaryOp::Eq, sides) => {
                let [one, other] = &**sides;
                let (subject, value) = match (one.word(), other.word()) {
                    (Some(word), None) => (other, word),
                    (None, Some(word)) => (one, word),
                    _ => return None,
                };
                let subject = subject.subject(Look::Value)?;
                Some(Guard { subject, value })
            }
            Self::Unary(UnaryOp::Not, condition) => condition.truth(false),
            condition => condition.truth(true),
        }
    }

    fn word(&self) -> Option<Word> {
        match self {
            Self::Value(value) => Word::of(value),
            Self::Entity(uid) => Some(uid.shared().into()),
            _ => None,
        }
    }

    fn truth(&self, expected: bool) -> Option<Guard> {
        let subject = match self {
            Self::Has(of, name) => subject(of, name, Look::Presence),
            condition => condition.subject(Look::Truth),
        };
        Some(Guard {
            subject: subject?,
            value: expected.into(),
        })
    }

    fn subject(&self, look: Look) -> Option<Subject> {
        match self {
            Self::Get(of, name) => subject(of, name, look),
            _ => None,
        }
    }
}

fn subject(of: &Code, name: &Name, look: Look) -> Option<Subject> {
    let of = match of {
        Code::Principal => Of::Principal,
        Code::Resource => Of::Resource,
        // How long an answer lasts depends on who looks at the time, and how.
        Code::Context if !name.is_clock => Of::Context,
        _ => return None,
    };
    let name = name.clone();
    Some(Subject { of, name, look })
}

impl<'a, 's: 'a> Scene<'a, 's> {
    /// What this question says of a subject. What is read for it is noted like any other reading.
    pub(super) fn answer(&self, subject: &Subject) -> Answer<'a> {
        let of = match subject.of {
            Of::Principal => Val::Entity(self.seen.principal.uid),
            Of::Resource => Val::Entity(self.seen.resource.uid),
            Of::Context => Val::Members(self.context),
        };
        if subject.look == Look::Presence {
            let is_there = self.has(&of, &subject.name);
            return is_there.map_or(Answer::Unknown, |is| Answer::Value(Plain::Bool(is)));
        }
        let Ok(value) = self.get(&of, &subject.name) else {
            return Answer::Unknown;
        };
        match (value.borrowed(), subject.look) {
            (Some(Plain::Bool(value)), Look::Truth) => Answer::Value(Plain::Bool(value)),
            (_, Look::Truth) => Answer::Unknown,
            (Some(value), _) => Answer::Value(value),
            // What looks inside a value finds no word there.
            (None, _) => Answer::Other,
        }
    }
}

#[cfg(test)]
mod tests;
