//! SQL conditions that are never NULL.
//!
//! A condition is true or false of a row, nothing else; a scalar may be NULL, and whoever compares
//! it has made sure by a condition beside it that it is not. See `writer` for their text.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use cedar_policy_core::ast::PatternElem;
use serde::{Deserialize, Serialize};

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    Postgresql,
    Sqlite,
}

/// A value that is bound.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub(crate) enum Bind {
    Long(i64),
    Text(String),
}

/// True or false.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Cond {
    True,
    False,
    Not(Box<Cond>),
    All(Vec<Cond>),
    Any(Vec<Cond>),
    Present(Scalar),
    /// A column of truths; false where it is NULL.
    Holds(Scalar),
    Equal(Scalar, Scalar),
    Less(Scalar, Scalar),
    LessOrEqual(Scalar, Scalar),
    Like(Scalar, Vec<PatternElem>),
    /// Whether a table has a row in which columns are equal to scalars.
    Row(Name, Vec<(Name, Scalar)>),
    /// Whether it has one in which some equal scalars, and a column none of the others.
    RowBeside(Name, Vec<(Name, Scalar)>, Name, Vec<Scalar>),
}

/// A text, a number or the id of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Scalar {
    Bound(Bind),
    /// Of the row that is asked about.
    Column(Name),
    /// Of the row of a table whose key is a scalar.
    Lookup {
        table: Name,
        key: Name,
        is: Box<Scalar>,
        column: Name,
    },
    /// NULL where it does not fit into 64 bits.
    Arithmetic(char, Box<Scalar>, Box<Scalar>),
    Case(Box<Cond>, Box<Scalar>, Box<Scalar>),
}

/// A table or column.
pub(super) type Name = String;

impl Cond {
    pub(super) fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Kept::default();
        for part in parts {
            match part {
                Self::True => {}
                Self::False => return Self::False,
                Self::All(inner) => inner.into_iter().for_each(|part| kept.add(part)),
                other => kept.add(other),
            }
        }
        let mut parts = kept.parts;
        leave_out_presence(&mut parts);
        match parts.len() {
            0 => Self::True,
            1 => parts.swap_remove(0),
            _ => Self::All(parts),
        }
    }

    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Kept::default();
        for part in parts {
            match part {
                Self::False => {}
                Self::True => return Self::True,
                Self::Any(inner) => inner.into_iter().for_each(|part| kept.add(part)),
                other => kept.add(other),
            }
        }
        let mut parts = kept.parts;
        match parts.len() {
            0 => Self::False,
            1 => parts.swap_remove(0),
            _ => Self::Any(parts),
        }
    }

    /// How many parts it has, those of its parts included.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::True | Self::False => 1,
            Self::Not(inner) => 1 + inner.size(),
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::size).sum(),
            Self::Present(one) | Self::Holds(one) | Self::Like(one, _) => one.size(),
            Self::Equal(one, other) | Self::Less(one, other) | Self::LessOrEqual(one, other) => {
                one.size() + other.size()
            }
            Self::Row(_, equal) => 1 + equal.iter().map(|(_, one)| one.size()).sum::<usize>(),
            Self::RowBeside(_, equal, _, others) => {
                let equal = equal.iter().map(|(_, one)| one);
                1 + equal.chain(others).map(Scalar::size).sum::<usize>()
            }
        }
    }

    /// What it is one of, where any of several will do.
    pub(super) fn ways(&self) -> &[Self] {
        match self {
            Self::Any(parts) => parts,
            Self::False => &[],
            single => std::slice::from_ref(single),
        }
    }

    pub(super) fn present(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bound(_) => Self::True,
            other => Self::Present(other),
        }
    }
}

impl Scalar {
    fn size(&self) -> usize {
        match self {
            Self::Bound(_) | Self::Column(_) => 1,
            Self::Lookup { is, .. } => 1 + is.size(),
            Self::Arithmetic(_, one, other) => 1 + one.size() + other.size(),
            Self::Case(test, one, other) => test.size() + one.size() + other.size(),
        }
    }
}

/// Parts of a whole, each once.
#[derive(Default)]
struct Kept {
    parts: Vec<Cond>,
    hashes: HashSet<u64, BuildHasherDefault<DefaultHasher>>,
}

impl Kept {
    fn add(&mut self, part: Cond) {
        let is_new = self.hashes.insert(self.hashes.hasher().hash_one(&part));
        if is_new || !self.parts.contains(&part) {
            self.parts.push(part);
        }
    }
}

/// What is compared with success is there: no need to say so beside it.
fn leave_out_presence(parts: &mut Vec<Cond>) {
    if !parts.iter().any(|part| matches!(part, Cond::Present(_))) {
        return;
    }
    let mut compared = HashSet::new();
    for part in &*parts {
        match part {
            Cond::Equal(one, other) | Cond::Less(one, other) | Cond::LessOrEqual(one, other) => {
                compared.extend([one, other]);
            }
            Cond::Like(one, _) | Cond::Holds(one) => {
                compared.insert(one);
            }
            _ => {}
        }
    }
    let said: Vec<bool> = parts
        .iter()
        .map(|part| matches!(part, Cond::Present(scalar) if compared.contains(scalar)))
        .collect();
    let mut said = said.into_iter();
    parts.retain(|_| !said.next().unwrap_or(false));
}
