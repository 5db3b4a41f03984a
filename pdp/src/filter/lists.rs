//! Comparisons of one thing with several values, found among the parts of a condition: they are
//! written as one list, however many they are.

use std::collections::HashMap;

use super::sql::{Cond, Name, Scalar};

/// A part of a conjunction or a disjunction.
#[derive(Debug)]
pub(super) enum Part<'c> {
    Single(&'c Cond),
    /// Whether something is one of these; or none of them.
    List {
        is_not: bool,
        alike: Alike<'c>,
        values: Vec<&'c Scalar>,
    },
}

/// What comparisons with one value each have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Alike<'c> {
    /// It is compared.
    Scalar(&'c Scalar),
    /// A table has a row in which columns are equal to scalars, and this column is compared.
    Row(&'c str, Vec<&'c (Name, Scalar)>, &'c str),
}

/// What will do of a disjunction, or what is required by a conjunction. Of the one, comparisons of
/// the same thing are one part; of the other, those that must not hold.
pub(super) fn listed(parts: &[Cond], is_conjunction: bool) -> Vec<Part<'_>> {
    let mut found: Vec<(&Cond, Option<Alike<'_>>, Vec<&Scalar>)> = Vec::new();
    let mut places = HashMap::new();
    for part in parts {
        let compared = match part {
            Cond::Not(inner) if is_conjunction => compared(inner),
            _ if is_conjunction => None,
            part => compared(part),
        };
        let Some((alike, value)) = compared else {
            found.push((part, None, Vec::new()));
            continue;
        };
        let place = *places.entry(alike.clone()).or_insert(found.len());
        match found.get_mut(place) {
            Some((_, _, values)) => values.push(value),
            None => found.push((part, Some(alike), vec![value])),
        }
    }
    found
        .into_iter()
        .map(|(part, alike, values)| match alike {
            Some(alike) if values.len() > 1 => Part::List {
                is_not: is_conjunction,
                alike,
                values,
            },
            _ => Part::Single(part),
        })
        .collect()
}

/// A comparison with one value.
fn compared(cond: &Cond) -> Option<(Alike<'_>, &Scalar)> {
    match cond {
        Cond::Equal(value @ Scalar::Bound(_), one) | Cond::Equal(one, value @ Scalar::Bound(_)) => {
            Some((Alike::Scalar(one), value))
        }
        Cond::Row(table, equal) => {
            let is_bound = |one: &&(Name, Scalar)| matches!(one.1, Scalar::Bound(_));
            let (bound, others): (Vec<_>, Vec<_>) = equal.iter().partition(is_bound);
            match bound.as_slice() {
                [(column, value)] => Some((Alike::Row(table, others, column), value)),
                _ => None,
            }
        }
        _ => None,
    }
}
