//! How much memory the store takes, about: counted as it changes, since to walk all of it is never worth it.
//! What allocators and maps add to a value is a constant, which the store's measurement (`bench/decide
//! entities`) shows beside what the process really takes.

use std::mem::size_of;

use cedar_policy_core::ast::{EntityUID, Literal, Set, Value, ValueKind};
use smol_str::SmolStr;

use super::row::{Kept, Row};

/// Counts of an `Arc`, and what the allocator adds to what it hands out.
const SHARED: usize = 16 + 16;

/// A row's places in the maps of rows and of types.
const FILED: usize = 180;

/// A place among another entity's children or referrers.
const LINKED: usize = 40;

impl Row {
    /// Bytes, the row's places in the store with it.
    pub(super) fn weight(&self) -> usize {
        let values: usize = self.attributes().map(|(_, value)| of(value)).sum();
        let tags = self.tags();
        let tags: usize = tags.map(|(name, value)| own(name) + of(value)).sum();
        let mut links = self.parents().len();
        for (_, value) in self.attributes().chain(self.tags()) {
            value.each_reference(&mut |_| links += 1);
        }
        let uid = SHARED + size_of::<EntityUID>() + long(self.uid().eid().as_ref());
        let parents = size_of_val(self.parents());
        SHARED + size_of::<Self>() + uid + values + tags + parents + FILED + links * LINKED
    }
}

/// A value where it is kept. An entity that it names is another's.
fn of(value: &Kept) -> usize {
    size_of::<Kept>()
        + match value {
            Kept::Bool(_) | Kept::Long(_) | Kept::Entity(_) => 0,
            Kept::Text(text) => long(text),
            Kept::Items(items) => items.iter().map(of).sum(),
            Kept::Ids(ids) => size_of_val(&**ids) + ids.len() * size_of::<SmolStr>(),
            Kept::Other(value) => SHARED + whole(value),
        }
}

/// A value of Cedar's.
fn whole(value: &Value) -> usize {
    size_of::<Value>()
        + match value.value_kind() {
            ValueKind::Lit(Literal::Bool(_) | Literal::Long(_)) => 0,
            ValueKind::Lit(Literal::String(text)) => long(text),
            ValueKind::Lit(Literal::EntityUID(uid)) => SHARED + size_of_val(&**uid),
            // Sets of literals are there a second time, to be asked quickly.
            ValueKind::Set(Set {
                authoritative,
                fast,
            }) => {
                let all: usize = authoritative.iter().map(whole).sum();
                let again = fast
                    .as_ref()
                    .map_or(0, |fast| fast.len() * size_of::<Literal>() * 2);
                2 * SHARED + all + again
            }
            ValueKind::Record(members) => {
                let all = members.iter();
                SHARED
                    + all
                        .map(|(name, value)| own(name) + whole(value))
                        .sum::<usize>()
            }
            ValueKind::ExtensionValue(value) => SHARED + size_of_val(&**value) + 2 * SHARED,
        }
}

/// A name that is kept with its value.
fn own(name: &SmolStr) -> usize {
    size_of::<SmolStr>() + long(name)
}

/// What of a text is not within its 24 bytes.
fn long(text: &str) -> usize {
    if text.len() > 23 {
        SHARED + text.len()
    } else {
        0
    }
}
