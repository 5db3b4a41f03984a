//! Where an attribute is, seen from the row that is asked about: in its own columns, in those of
//! an entity that it names, or in a table of elements.

use cedar_policy_core::ast::EntityType;

use super::sql::{Cond, Name, Scalar};
use super::tables::{self, Place, Table};
use super::term::{Kind, Refusal, Term, Translator, Truth};
use crate::mapping::{Member, Shape};

/// An entity, or something inside one.
#[derive(Debug, Clone)]
pub(super) struct Located {
    /// The entity.
    of: Term,
    kind: EntityType,
    is_row: bool,
    /// Names inside it; empty: the entity itself.
    path: String,
    /// When what is there can be looked into.
    works: Cond,
}

/// A set in a table.
#[derive(Debug, Clone)]
pub(super) struct Set {
    table: Name,
    entity: Name,
    element: Name,
    of: Scalar,
    pub(super) kind: Kind,
    pub(super) works: Cond,
}

impl Located {
    /// The row itself.
    pub(super) fn sought(translator: &Translator<'_>) -> Result<Self, Refusal> {
        let kind = translator.kind;
        let table = translator.tables.entities.get(&kind.to_string());
        let table = table.ok_or_else(|| format!("the mapping has no entity type `{kind}`"))?;
        Ok(Self {
            of: Term {
                scalar: Scalar::Column(table.id.clone()),
                works: Cond::True,
                kind: Kind::Entity(translator.kind.clone()),
            },
            kind: translator.kind.clone(),
            is_row: true,
            path: String::new(),
            works: Cond::True,
        })
    }

    /// What a name leads to. To look into an entity is to have it.
    pub(super) fn member(&self, translator: &Translator<'_>, name: &str) -> Result<Self, Refusal> {
        if name.contains('.') {
            return Err(format!("`{name}` has a dot in it"));
        }
        if !self.path.is_empty() {
            let member = self.shape(translator)?;
            match &member.shape {
                Shape::Record(_) => {}
                Shape::Entity(Some(kind)) => {
                    let of = self.term(translator)?;
                    return Ok(Self {
                        works: of.works.clone(),
                        of,
                        kind: (***kind).clone(),
                        is_row: false,
                        path: name.to_owned(),
                    });
                }
                _ => return Err("nothing is inside it".into()),
            }
        }
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let found = Self {
            path,
            ..self.clone()
        };
        let Shape::Record(_) = found.shape(translator)?.shape else {
            return Ok(found);
        };
        let present = found.record_is_present(translator)?;
        Ok(Self {
            works: Cond::all([found.works.clone(), present]),
            ..found
        })
    }

    /// Its value, where it is one.
    pub(super) fn term(&self, translator: &Translator<'_>) -> Result<Term, Refusal> {
        if self.path.is_empty() {
            return Ok(self.of.clone());
        }
        let kind = match &self.shape(translator)?.shape {
            Shape::Long => Kind::Long,
            Shape::String => Kind::Text,
            Shape::Entity(Some(kind)) => Kind::Entity((***kind).clone()),
            _ => return Err(format!("`{}` is not of a type that is compared", self.path)),
        };
        let (scalar, works) = self.column(translator)?;
        Ok(Term {
            scalar,
            works,
            kind,
        })
    }

    /// Its column, and when that has a value.
    pub(super) fn column(&self, translator: &Translator<'_>) -> Result<(Scalar, Cond), Refusal> {
        match self.place(translator)? {
            Place::Column(column) => {
                let scalar = self.scalar(translator, column)?;
                let works = Cond::all([self.works.clone(), Cond::Present(scalar.clone())]);
                Ok((scalar, works))
            }
            _ => Err(format!("`{}` is not in a column", self.path)),
        }
    }

    /// Whether it has a member. An entity that is not there has none.
    pub(super) fn has(&self, translator: &Translator<'_>, name: &str) -> Result<Truth, Refusal> {
        let member = self.member(translator, name)?;
        let before = if self.path.is_empty() || self.is_entity(translator)? {
            member.of.works.clone()
        } else {
            self.works.clone()
        };
        let exists = member.exists(translator)?;
        let shape = member.shape(translator)?;
        let holds = match (&shape.shape, member.place(translator).ok()) {
            (Shape::Record(_), _) => Cond::all([exists, member.record_is_present(translator)?]),
            (Shape::Set(_), Some(Place::Set { present, .. })) => match present {
                Some(column) => Cond::Holds(member.scalar(translator, column)?),
                None => exists,
            },
            (_, Some(Place::Column(column))) => Cond::Present(member.scalar(translator, column)?),
            _ => return Err(member.unmapped()),
        };
        Ok(Truth {
            holds: Cond::all([before.clone(), holds]),
            fails: before.not(),
        })
    }

    /// The table that its elements are in.
    pub(super) fn set(&self, translator: &Translator<'_>) -> Result<Set, Refusal> {
        let Place::Set {
            table,
            entity,
            element,
            present,
        } = self.place(translator)?
        else {
            return Err(format!("`{}` is not a set in a table", self.path));
        };
        let kind = match &self.shape(translator)?.shape {
            Shape::Set(shape) => match &**shape {
                Shape::Long => Kind::Long,
                Shape::String => Kind::Text,
                Shape::Entity(Some(kind)) => Kind::Entity((***kind).clone()),
                _ => return Err(format!("the elements of `{}` are not compared", self.path)),
            },
            _ => return Err(format!("`{}` is not a set", self.path)),
        };
        let there = match present {
            Some(column) => Cond::Holds(self.scalar(translator, column)?),
            None => self.exists(translator)?,
        };
        Ok(Set {
            table: table.clone(),
            entity: entity.clone(),
            element: element.clone(),
            of: self.of.scalar.clone(),
            kind,
            works: Cond::all([self.works.clone(), there]),
        })
    }

    fn is_entity(&self, translator: &Translator<'_>) -> Result<bool, Refusal> {
        Ok(matches!(self.shape(translator)?.shape, Shape::Entity(_)))
    }

    /// Whether the entity that it is inside of is there at all.
    fn exists(&self, translator: &Translator<'_>) -> Result<Cond, Refusal> {
        if self.is_row {
            return Ok(Cond::True);
        }
        let table = self.table(translator)?;
        Ok(Cond::Row(
            table.table.clone(),
            vec![(table.id.clone(), self.of.scalar.clone())],
        ))
    }

    fn record_is_present(&self, translator: &Translator<'_>) -> Result<Cond, Refusal> {
        if self.shape(translator)?.required {
            return self.exists(translator);
        }
        match self.place(translator) {
            Ok(Place::Present(column)) => Ok(Cond::Holds(self.scalar(translator, column)?)),
            _ => Err(format!(
                "`{}` is an optional record, and the mapping has no `present` column of it",
                self.path
            )),
        }
    }

    fn scalar(&self, translator: &Translator<'_>, column: &str) -> Result<Scalar, Refusal> {
        if self.is_row {
            return Ok(Scalar::Column(column.to_owned()));
        }
        let table = self.table(translator)?;
        Ok(Scalar::Lookup {
            table: table.table.clone(),
            key: table.id.clone(),
            is: Box::new(self.of.scalar.clone()),
            column: column.to_owned(),
        })
    }

    fn table<'a>(&self, translator: &Translator<'a>) -> Result<&'a Table, Refusal> {
        let table = translator.tables.entities.get(&self.kind.to_string());
        table.ok_or_else(|| format!("the mapping has no entity type `{}`", self.kind))
    }

    fn place<'a>(&self, translator: &Translator<'a>) -> Result<&'a Place, Refusal> {
        let place = self.table(translator)?.attributes.get(&self.path);
        place.ok_or_else(|| self.unmapped())
    }

    fn unmapped(&self) -> Refusal {
        format!(
            "the mapping has no attribute `{}` of `{}`",
            self.path, self.kind
        )
    }

    fn shape<'a>(&self, translator: &Translator<'a>) -> Result<&'a Member, Refusal> {
        let members = translator.vocabulary.members(&self.kind);
        let member = members.and_then(|members| tables::member(members, &self.path));
        member.ok_or_else(|| format!("the schema has no attribute `{}`", self.path))
    }
}

impl Set {
    /// Whether it has some such row.
    pub(super) fn rows(&self, mut equal: Vec<(Name, Scalar)>) -> Cond {
        equal.push((self.entity.clone(), self.of.clone()));
        Cond::Row(self.table.clone(), equal)
    }

    pub(super) fn has(&self, item: &Term) -> Cond {
        if item.kind == self.kind {
            self.rows(vec![(self.element.clone(), item.scalar.clone())])
        } else {
            Cond::False
        }
    }

    /// Whether it has an element that is none of these.
    pub(super) fn beside(&self, items: Vec<Scalar>) -> Cond {
        Cond::RowBeside(
            self.table.clone(),
            vec![(self.entity.clone(), self.of.clone())],
            self.element.clone(),
            items,
        )
    }
}
