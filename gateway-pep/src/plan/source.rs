//! Where in a request a value is that a question needs: path, query, header, JSON body; or a claim of the caller.

use http::HeaderName;
use strict_json::Pointer;

use crate::values::List;

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// `path:name`, a parameter of the template.
    Path(String),
    /// `query:name`.
    Query { name: String, list: List },
    /// `header:name`.
    Header(HeaderName),
    /// `body:/pointer`.
    Body(BodyPlace),
    /// `claim:name`, a property of the subject.
    Claim(String),
}

/// A place in a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BodyPlace {
    One(Pointer),
    /// `body:/items/*/id`: the same place in each element of an array.
    Each {
        array: Pointer,
        inside: Pointer,
    },
}

impl Source {
    /// Reads `kind:place`. `path`: the template of the route.
    pub(crate) fn parse(text: &str, path: &str) -> Result<Self, String> {
        let (kind, place) = text.split_once(':').unwrap_or((text, ""));
        if place.is_empty() {
            return Err(format!("`{text}` must be `{KINDS}`"));
        }
        match kind {
            "path" if has_parameter(path, place) => Ok(Self::Path(place.to_owned())),
            "path" => Err(format!("`{path}` has no parameter `{place}`")),
            "query" => Ok(query(place)),
            "header" => HeaderName::try_from(place)
                .map(Self::Header)
                .map_err(|_| format!("`{place}` is no name of a header")),
            "body" => body(place).map(Self::Body),
            "claim" => Ok(Self::Claim(place.to_owned())),
            _ => Err(format!("`{text}` must be `{KINDS}`")),
        }
    }

    /// Whether it can have several values.
    pub(crate) fn is_list(&self) -> bool {
        match self {
            Self::Query { list, .. } => *list != List::No,
            Self::Body(BodyPlace::Each { .. }) => true,
            Self::Body(BodyPlace::One(_)) | Self::Path(_) | Self::Header(_) | Self::Claim(_) => {
                false
            }
        }
    }

    pub(crate) fn is_body(&self) -> bool {
        matches!(self, Self::Body(_))
    }
}

pub(super) fn has_parameter(path: &str, name: &str) -> bool {
    path.contains(&format!("{{{name}}}")) || path.contains(&format!("{{*{name}}}"))
}

fn query(place: &str) -> Source {
    let (name, list) = if let Some(name) = place.strip_suffix('*') {
        (name, List::Repeated)
    } else if let Some(name) = place.strip_suffix(',') {
        (name, List::Commas)
    } else {
        (place, List::No)
    };
    Source::Query {
        name: name.to_owned(),
        list,
    }
}

fn body(place: &str) -> Result<BodyPlace, String> {
    let read = |text: &str| match text {
        "" => Ok(Pointer::default()),
        text => Pointer::parse(text).map_err(|error| error.to_string()),
    };
    let mut stars = place.match_indices("/*").filter(|(at, _)| {
        let after = place.get(at + 2..).unwrap_or_default();
        after.is_empty() || after.starts_with('/')
    });
    match (stars.next(), stars.next()) {
        (None, _) => Ok(BodyPlace::One(read(place)?)),
        (Some((at, _)), None) => Ok(BodyPlace::Each {
            array: read(place.get(..at).unwrap_or_default())?,
            inside: read(place.get(at + 2..).unwrap_or_default())?,
        }),
        (Some(_), Some(_)) => Err(format!("`{place}` has more than one `*`")),
    }
}

const KINDS: &str = "path:…`, `query:…`, `header:…`, `body:/…` or `claim:…";
