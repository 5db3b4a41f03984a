//! SQL conditions that are never NULL, and their text in two dialects.
//!
//! A condition is true or false of a row, nothing else; a scalar may be NULL, and whoever compares
//! it has made sure by a condition beside it that it is not. Values stand in the text as
//! placeholders alone.

use std::fmt::Write as _;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub(crate) enum Bind {
    Long(i64),
    Text(String),
}

/// True or false.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
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
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::True => {}
                Self::False => return Self::False,
                Self::All(inner) => kept.extend(inner),
                other if kept.contains(&other) => {}
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Self::True,
            1 => kept.swap_remove(0),
            _ => Self::All(kept),
        }
    }

    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::False => {}
                Self::True => return Self::True,
                Self::Any(inner) => kept.extend(inner),
                other if kept.contains(&other) => {}
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Self::False,
            1 => kept.swap_remove(0),
            _ => Self::Any(kept),
        }
    }

    pub(super) fn present(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bound(_) => Self::True,
            other => Self::Present(other),
        }
    }
}

/// Text that grows, and what is bound in it.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    dialect: Dialect,
    /// What the caller calls the row.
    alias: &'a str,
    text: String,
    binds: Vec<Bind>,
    tables: usize,
}

/// Longer conditions help nobody.
const LONGEST: usize = 256 * 1024;

impl<'a> Writer<'a> {
    pub(super) fn new(dialect: Dialect, alias: &'a str) -> Self {
        Self {
            dialect,
            alias,
            text: String::new(),
            binds: Vec::new(),
            tables: 0,
        }
    }

    /// The text and what it binds; none where it is too long.
    pub(super) fn done(self) -> Option<(String, Vec<Bind>)> {
        (self.text.len() <= LONGEST).then_some((self.text, self.binds))
    }

    pub(super) fn cond(&mut self, cond: &Cond) {
        if self.text.len() > LONGEST {
            return;
        }
        match cond {
            Cond::True => self.put("1 = 1"),
            Cond::False => self.put("1 = 0"),
            Cond::Not(inner) => {
                self.put("NOT (");
                self.cond(inner);
                self.put(")");
            }
            Cond::All(parts) => self.joined(parts, " AND "),
            Cond::Any(parts) => self.joined(parts, " OR "),
            Cond::Present(scalar) => {
                self.put("(");
                self.scalar(scalar);
                self.put(" IS NOT NULL)");
            }
            Cond::Holds(scalar) => {
                self.put("COALESCE(");
                self.scalar(scalar);
                self.put(match self.dialect {
                    Dialect::Postgresql => ", FALSE)",
                    Dialect::Sqlite => " <> 0, 0)",
                });
            }
            Cond::Equal(one, other) => self.compared(one, " = ", other),
            Cond::Less(one, other) => self.compared(one, " < ", other),
            Cond::LessOrEqual(one, other) => self.compared(one, " <= ", other),
            Cond::Like(scalar, pattern) => self.like(scalar, pattern),
            Cond::Row(table, equal) => {
                self.exists(table, equal);
                self.put(")");
            }
            Cond::RowBeside(table, equal, column, others) => {
                let alias = self.exists(table, equal);
                for other in others {
                    self.put(" AND NOT ");
                    let column = format!("{alias}.{}", quoted(column));
                    self.equal_to(&column, other);
                }
                self.put(")");
            }
        }
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn joined(&mut self, parts: &[Cond], between: &str) {
        self.put("(");
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.put(between);
            }
            self.cond(part);
        }
        self.put(")");
    }

    /// A comparison with NULL is false.
    fn compared(&mut self, one: &Scalar, sign: &str, other: &Scalar) {
        self.put("COALESCE(");
        self.scalar(one);
        self.put(sign);
        self.scalar(other);
        self.put(match self.dialect {
            Dialect::Postgresql => ", FALSE)",
            Dialect::Sqlite => ", 0)",
        });
    }

    fn equal_to(&mut self, column: &str, other: &Scalar) {
        self.put("COALESCE(");
        self.put(column);
        self.put(" = ");
        self.scalar(other);
        self.put(match self.dialect {
            Dialect::Postgresql => ", FALSE)",
            Dialect::Sqlite => ", 0)",
        });
    }

    /// Up to the closing parenthesis. Returns what the row is called.
    fn exists(&mut self, table: &str, equal: &[(Name, Scalar)]) -> String {
        let alias = self.table();
        let _ = write!(
            self.text,
            "EXISTS (SELECT 1 FROM {} {alias} WHERE ",
            quoted(table)
        );
        for (at, (column, scalar)) in equal.iter().enumerate() {
            if at > 0 {
                self.put(" AND ");
            }
            let _ = write!(self.text, "{alias}.{} = ", quoted(column));
            self.scalar(scalar);
        }
        alias
    }

    fn table(&mut self) -> String {
        self.tables += 1;
        format!("cg{}", self.tables)
    }

    fn scalar(&mut self, scalar: &Scalar) {
        if self.text.len() > LONGEST {
            return;
        }
        match scalar {
            Scalar::Bound(bind) => self.bind(bind.clone()),
            Scalar::Column(column) => {
                let _ = write!(self.text, "{}.{}", quoted(self.alias), quoted(column));
            }
            Scalar::Lookup {
                table,
                key,
                is,
                column,
            } => {
                let alias = self.table();
                let _ = write!(
                    self.text,
                    "(SELECT {alias}.{} FROM {} {alias} WHERE {alias}.{} = ",
                    quoted(column),
                    quoted(table),
                    quoted(key)
                );
                self.scalar(is);
                self.put(")");
            }
            Scalar::Arithmetic(sign, one, other) => self.arithmetic(*sign, one, other),
            Scalar::Case(cond, one, other) => {
                self.put("(CASE WHEN ");
                self.cond(cond);
                self.put(" THEN ");
                self.scalar(one);
                self.put(" ELSE ");
                self.scalar(other);
                self.put(" END)");
            }
        }
    }

    fn arithmetic(&mut self, sign: char, one: &Scalar, other: &Scalar) {
        let plain = |writer: &mut Self| {
            let cast = |writer: &mut Self, scalar: &Scalar| match writer.dialect {
                // Never overflows, in whatever order the database evaluates.
                Dialect::Postgresql => {
                    writer.put("CAST(");
                    writer.scalar(scalar);
                    writer.put(" AS numeric)");
                }
                Dialect::Sqlite => writer.scalar(scalar),
            };
            writer.put("(");
            cast(writer, one);
            let _ = write!(writer.text, " {sign} ");
            cast(writer, other);
            writer.put(")");
        };
        self.put("(CASE WHEN ");
        match self.dialect {
            Dialect::Postgresql => {
                plain(self);
                self.put(" BETWEEN -9223372036854775808 AND 9223372036854775807");
            }
            // What overflows there becomes a floating-point number.
            Dialect::Sqlite => {
                self.put("typeof");
                plain(self);
                self.put(" = 'integer'");
            }
        }
        self.put(" THEN ");
        plain(self);
        self.put(" END)");
    }

    fn like(&mut self, scalar: &Scalar, pattern: &[PatternElem]) {
        let text = pattern.iter().fold(String::new(), |mut text, element| {
            match (self.dialect, element) {
                (Dialect::Postgresql, PatternElem::Wildcard) => text.push('%'),
                (Dialect::Sqlite, PatternElem::Wildcard) => text.push('*'),
                (Dialect::Postgresql, PatternElem::Char(c @ ('%' | '_' | '\\'))) => {
                    text.extend(['\\', *c]);
                }
                // GLOB, since LIKE there takes A for a.
                (Dialect::Sqlite, PatternElem::Char(c @ ('*' | '?' | '['))) => {
                    text.extend(['[', *c, ']']);
                }
                (_, PatternElem::Char(c)) => text.push(*c),
            }
            text
        });
        self.put("COALESCE(");
        self.scalar(scalar);
        match self.dialect {
            Dialect::Postgresql => {
                self.put(" LIKE ");
                self.bind(Bind::Text(text));
                self.put(" ESCAPE '\\', FALSE)");
            }
            Dialect::Sqlite => {
                self.put(" GLOB ");
                self.bind(Bind::Text(text));
                self.put(", 0)");
            }
        }
    }

    fn bind(&mut self, bind: Bind) {
        let number = self.binds.len() + 1;
        let _ = match (self.dialect, &bind) {
            (Dialect::Sqlite, _) => write!(self.text, "?{number}"),
            (Dialect::Postgresql, Bind::Long(_)) => write!(self.text, "${number}::bigint"),
            (Dialect::Postgresql, Bind::Text(_)) => write!(self.text, "${number}::text"),
        };
        self.binds.push(bind);
    }
}

fn quoted(name: &str) -> String {
    // Names with a quotation mark in them are refused when they are read.
    format!("\"{name}\"")
}
