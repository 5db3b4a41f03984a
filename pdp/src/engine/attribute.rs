//! An attribute that clauses read: its name, and where entities have had it before.

use std::ops::Deref;

use crate::entities::{Kept, Place, Row};
use crate::reads::Name;

/// An attribute in its place in a clause.
#[derive(Debug)]
pub(super) struct Attribute {
    name: Name,
    place: Place,
}

/// The same, or a name that is looked for wherever it may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'n> {
    pub(super) name: &'n Name,
    place: Option<&'n Place>,
}

impl Wanted<'_> {
    #[inline]
    pub(super) fn of(self, row: &Row) -> Option<&Kept> {
        match self.place {
            Some(place) => row.get_from(place, &self.name.text),
            None => row.get(&self.name.text),
        }
    }
}

impl From<Name> for Attribute {
    fn from(name: Name) -> Self {
        Self {
            name,
            place: Place::default(),
        }
    }
}

impl Deref for Attribute {
    type Target = Name;

    fn deref(&self) -> &Name {
        &self.name
    }
}

impl<'n> From<&'n Attribute> for Wanted<'n> {
    fn from(attribute: &'n Attribute) -> Self {
        Self {
            name: &attribute.name,
            place: Some(&attribute.place),
        }
    }
}

impl<'n> From<&'n Name> for Wanted<'n> {
    fn from(name: &'n Name) -> Self {
        Self { name, place: None }
    }
}
