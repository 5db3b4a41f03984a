//! Why two routes cannot both be: nobody could say which of them a request is for.

use std::fmt;

use http::Method;

/// Two routes, by their indices, and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tie {
    pub(crate) one: usize,
    pub(crate) other: usize,
    pub(crate) cause: TieCause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TieCause {
    /// The same requests. None: those with any method.
    Twice { method: Option<Method> },
    /// Some requests fit both, and neither wants all that the other wants.
    Undecided,
    /// The first is the more specific one, and has the lower priority.
    NeverReached,
    /// Two values that differ in their case alone.
    ValuesAlike(String, String),
    /// Two names that some upstreams take for the same.
    NamesAlike(String, String),
    /// Of different combinations of names, there are more than are looked at for one request.
    TooMany(usize),
}

impl TieCause {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Twice { .. } => "remove one, or give them different `when`",
            Self::Undecided => {
                "give one a higher `priority`, or conditions that cannot hold beside the other's"
            }
            Self::NeverReached => "give it a higher `priority`, or none to the other",
            Self::ValuesAlike(..) | Self::NamesAlike(..) => "write both in the same way",
            Self::TooMany(_) => "have the routes of one path look at fewer names",
        }
    }
}

impl fmt::Display for TieCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { method } => {
                let method = method.as_ref().map_or("*", Method::as_str);
                write!(formatter, "`{method}` is routed twice")
            }
            Self::Undecided => formatter.write_str(
                "some requests fit both, and neither is more specific than the other",
            ),
            Self::NeverReached => formatter.write_str(
                "the first can never be reached: the other has a higher priority, and takes all of it",
            ),
            Self::ValuesAlike(one, other) => {
                write!(formatter, "`{one}` and `{other}` differ in their case alone")
            }
            Self::NamesAlike(one, other) => {
                write!(formatter, "some upstreams take {one} for {other}")
            }
            Self::TooMany(most) => write!(
                formatter,
                "there are more than {most} different combinations of names"
            ),
        }
    }
}
