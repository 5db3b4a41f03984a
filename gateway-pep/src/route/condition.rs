//! What a route wants of a request beside host, path and method, and what a request says about that. Read from the
//! canonical request, and strictly: whatever an upstream could read in another way is an error, not a mismatch.

use std::fmt;

use http::HeaderName;

use crate::headers::is_same_name;
use crate::route::Asked;
use crate::values::List;
use crate::values::{Unread, header, query};

/// One thing that a route wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) place: Place,
    pub(crate) wanted: Wanted,
}

/// Where a route looks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Header(HeaderName),
    Query(String),
}

/// What must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Exact(String),
    Present,
    Absent,
}

impl Place {
    /// What a request says there. `is_compared`: with values.
    pub(super) fn read<'r>(
        &self,
        asked: &Asked<'r>,
        is_compared: bool,
    ) -> Result<Option<Said<'r>>, Unread> {
        match self {
            Self::Header(name) => {
                let value = header(asked.headers, name)?;
                // Two fields of a name are one with a comma in it (RFC 9110 section 5.3): neither is one value.
                if value.is_some_and(|value| value.is_empty() || is_compared && value.contains(','))
                {
                    return Err(Unread::Ambiguous);
                }
                Ok(value.map(Said::Borrowed))
            }
            Self::Query(name) => {
                let Some(query) = asked.query else {
                    return Ok(None);
                };
                let values = query::values(query, name, List::No, 1)?;
                Ok(values.into_iter().next().map(Said::Owned))
            }
        }
    }

    /// Whether some upstream could take one for the other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Query(one), Self::Query(other)) => {
                query::could_be(one, other) || query::could_be(other, one)
            }
            (Self::Header(one), Self::Header(other)) => is_same_name(one.as_str(), other.as_str()),
            (Self::Header(_), Self::Query(_)) | (Self::Query(_), Self::Header(_)) => false,
        }
    }
}

/// The text in a place.
pub(super) type Said<'r> = std::borrow::Cow<'r, str>;

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "header `{name}`"),
            Self::Query(name) => write!(formatter, "query `{name}`"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Wanted::Exact(value) => write!(formatter, "{} is `{value}`", self.place),
            Wanted::Present => write!(formatter, "{} is there", self.place),
            Wanted::Absent => write!(formatter, "{} is not there", self.place),
        }
    }
}
