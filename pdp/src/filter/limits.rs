//! What a database takes of a condition. What is more is refused here: a caller should not learn
//! from the database that it cannot be used.

use std::fmt;

use super::sql::Dialect;

/// Beyond what a database takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Excess {
    #[error("it binds more than {1} values, which {0} does not take")]
    Values(Dialect, usize),
    #[error("it has more than {MOST_PARTS} parts")]
    Parts,
    #[error("it is nested more than {MOST_DEEP} deep, which databases do not take everywhere")]
    Depth,
    #[error("it is too long: more than {0} bytes")]
    Length(usize),
}

/// SQLite takes a depth of 1000, but adds up what is above a nested query: as many as a mapping
/// nests are below it, and the caller's query is around it all.
pub(super) const MOST_DEEP: usize = 200;

/// A condition of so many parts is too long, and is not even made.
pub(super) const MOST_PARTS: usize = 250_000;

impl Dialect {
    /// How many bytes a condition has at most. Longer ones help nobody.
    pub(super) fn longest(self) -> usize {
        match self {
            Self::Postgresql => 1 << 20,
            // Some are built to take statements of a million bytes, and the caller's query is
            // around this one.
            Self::Sqlite => 1 << 19,
        }
    }

    /// How many values a statement can bind.
    pub(super) fn most_values(self) -> usize {
        match self {
            // Its protocol counts them in 16 bits.
            Self::Postgresql => 65_535,
            // `SQLITE_MAX_VARIABLE_NUMBER`, since 3.32.
            Self::Sqlite => 32_766,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Postgresql => "PostgreSQL",
            Self::Sqlite => "SQLite",
        })
    }
}
