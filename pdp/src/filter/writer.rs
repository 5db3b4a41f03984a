//! The text of a condition in two dialects. Values stand in it as placeholders alone.
//!
//! A database takes so many values, and expressions of some depth: chains are written as trees of
//! little depth, and comparisons of one thing with many values as one list.

use std::collections::HashMap;
use std::fmt::Write as _;

use cedar_policy_core::ast::PatternElem;

use super::limits::{Excess, MOST_DEEP};
use super::lists::{Alike, Part, listed};
use super::sql::{Bind, Cond, Dialect, Name, Scalar};

/// Text that grows, and what is bound in it.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    dialect: Dialect,
    /// What the caller calls the row.
    alias: &'a str,
    text: String,
    binds: Vec<Bind>,
    /// The places of what is bound: what is compared twice is bound once.
    places: HashMap<Bind, usize>,
    tables: usize,
    depth: usize,
    deepest: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(dialect: Dialect, alias: &'a str) -> Self {
        Self {
            dialect,
            alias,
            text: String::new(),
            binds: Vec::new(),
            places: HashMap::new(),
            tables: 0,
            depth: 0,
            deepest: 0,
        }
    }

    /// The text and what it binds, where the database takes that.
    pub(super) fn done(self) -> Result<(String, Vec<Bind>), Excess> {
        match self.excess() {
            Some(excess) => Err(excess),
            None => Ok((self.text, self.binds)),
        }
    }

    fn excess(&self) -> Option<Excess> {
        let (values, bytes) = (self.dialect.most_values(), self.dialect.longest());
        if self.binds.len() > values {
            Some(Excess::Values(self.dialect, values))
        } else if self.deepest > MOST_DEEP {
            Some(Excess::Depth)
        } else {
            (self.text.len() > bytes).then_some(Excess::Length(bytes))
        }
    }

    /// So many levels further inside.
    fn inside(&mut self, levels: usize, write: impl FnOnce(&mut Self)) {
        self.depth += levels;
        self.deepest = self.deepest.max(self.depth);
        // What is too much already is not written any further.
        if self.excess().is_none() {
            write(self);
        }
        self.depth -= levels;
    }

    pub(super) fn cond(&mut self, cond: &Cond) {
        match cond {
            Cond::True => self.put("1 = 1"),
            Cond::False => self.put("1 = 0"),
            Cond::Not(inner) => {
                self.put("NOT (");
                self.inside(1, |writer| writer.cond(inner));
                self.put(")");
            }
            Cond::All(parts) => self.joined(&listed(parts, true), " AND "),
            Cond::Any(parts) => self.joined(&listed(parts, false), " OR "),
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
                if !others.is_empty() {
                    self.put(" AND NOT ");
                    let column = format!("{alias}.{}", quoted(column));
                    self.one_of(|writer| writer.put(&column), others);
                }
                self.put(")");
            }
        }
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// A tree, of no more levels than it takes.
    fn joined(&mut self, parts: &[Part<'_>], between: &str) {
        let (one, other) = parts.split_at(parts.len() / 2);
        match parts {
            [] => {}
            [part] => self.part(part),
            _ => {
                self.put("(");
                self.inside(1, |writer| {
                    writer.joined(one, between);
                    writer.put(between);
                    writer.joined(other, between);
                });
                self.put(")");
            }
        }
    }

    fn part(&mut self, part: &Part<'_>) {
        let (is_not, alike, values) = match part {
            Part::Single(cond) => return self.cond(cond),
            Part::List {
                is_not,
                alike,
                values,
            } => (*is_not, alike, values),
        };
        if is_not {
            self.put("NOT (");
        }
        match alike {
            Alike::Scalar(scalar) => self.one_of(|writer| writer.scalar(scalar), values),
            Alike::Row(table, equal, column) => {
                let alias = self.exists(table, equal.iter().copied());
                let between = if equal.is_empty() { "" } else { " AND " };
                self.put(between);
                let column = format!("{alias}.{}", quoted(column));
                self.one_of(|writer| writer.put(&column), values);
                self.put(")");
            }
        }
        if is_not {
            self.put(")");
        }
    }

    /// A comparison with NULL is false.
    fn compared(&mut self, one: &Scalar, sign: &str, other: &Scalar) {
        self.put("COALESCE(");
        self.scalar(one);
        self.put(sign);
        self.scalar(other);
        self.or_false();
    }

    fn or_false(&mut self) {
        self.put(match self.dialect {
            Dialect::Postgresql => ", FALSE)",
            Dialect::Sqlite => ", 0)",
        });
    }

    /// Whether something equals one of some values, of which there is one at least. `x IN (a, b)`
    /// is `x = a OR x = b`.
    fn one_of<T: std::borrow::Borrow<Scalar>>(
        &mut self,
        one: impl FnOnce(&mut Self),
        values: &[T],
    ) {
        self.put("COALESCE(");
        one(self);
        self.put(" IN (");
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.put(", ");
            }
            self.scalar(value.borrow());
        }
        self.put(")");
        self.or_false();
    }

    /// Up to the closing parenthesis. Returns what the row is called.
    fn exists<'c>(
        &mut self,
        table: &str,
        equal: impl IntoIterator<Item = &'c (Name, Scalar)>,
    ) -> String {
        let alias = self.table();
        let _ = write!(
            self.text,
            "EXISTS (SELECT 1 FROM {} {alias} WHERE ",
            quoted(table)
        );
        for (at, (column, scalar)) in equal.into_iter().enumerate() {
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

    /// A scalar, where it stands: in the deepest of what is written around one, which is a row's
    /// condition (`EXISTS`, twice `AND`, a comparison).
    fn scalar(&mut self, scalar: &Scalar) {
        self.inside(AROUND, |writer| writer.scalar_itself(scalar));
    }

    fn scalar_itself(&mut self, scalar: &Scalar) {
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
        let binds = &mut self.binds;
        let kind = match (self.dialect, &bind) {
            (Dialect::Sqlite, _) => "",
            (Dialect::Postgresql, Bind::Long(_)) => "::bigint",
            (Dialect::Postgresql, Bind::Text(_)) => "::text",
        };
        let number = *self.places.entry(bind).or_insert_with_key(|bind| {
            binds.push(bind.clone());
            binds.len()
        });
        let _ = match self.dialect {
            Dialect::Sqlite => write!(self.text, "?{number}"),
            Dialect::Postgresql => write!(self.text, "${number}{kind}"),
        };
    }
}

/// So many levels are around a scalar at most, which no condition counts.
const AROUND: usize = 4;

fn quoted(name: &str) -> String {
    // Names with a quotation mark in them are refused when they are read.
    format!("\"{name}\"")
}
