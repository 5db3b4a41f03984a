//! Resource templates: `Record/{id}` is the type `Record` and an id made of path parameters.

use std::collections::HashSet;

use matchit::Params;

use super::source::{Source, has_parameter};

use crate::canonical::decode_segment;
use crate::values::Unread;

/// Type and id of a resource, the id with places for path parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceTemplate {
    kind: String,
    id: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Parameter(String),
    /// Somewhere else in the request.
    From(Source),
}

impl Piece {
    pub(super) fn source(&self) -> Option<&Source> {
        match self {
            Self::From(source) => Some(source),
            Self::Text(_) | Self::Parameter(_) => None,
        }
    }
}

impl ResourceTemplate {
    /// Reads a template; every parameter must occur in the path template.
    pub(crate) fn parse(text: &str, path: &str) -> Result<Self, String> {
        let (kind, id) = text
            .split_once('/')
            .filter(|(kind, id)| !kind.is_empty() && !id.is_empty())
            .ok_or_else(|| format!("`resource: {text}` must be `Type/id`"))?;
        if kind.contains(['{', '}']) {
            return Err(format!(
                "`resource: {text}`: the type cannot be a parameter"
            ));
        }
        Ok(Self {
            kind: kind.to_owned(),
            id: pieces(id, text, path)?,
        })
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether every request to the route is about the same resource.
    pub(crate) fn is_constant(&self) -> bool {
        let mut pieces = self.id.iter();
        pieces.all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// The id, with the parameters decoded. None where a parameter is missing, which a route
    /// that was checked cannot have.
    pub(crate) fn id(&self, params: &Params<'_, '_>) -> Option<String> {
        let mut id = String::new();
        for piece in &self.id {
            match piece {
                Piece::Text(text) => id.push_str(text),
                Piece::Parameter(name) => id.push_str(&decode_segment(params.get(name)?)?),
                // Whoever reads requests says those.
                Piece::From(_) => return None,
            }
        }
        Some(id)
    }

    /// How many parts of the id a request names.
    pub(super) fn parameters(&self) -> usize {
        let pieces = self.id.iter();
        pieces
            .filter(|piece| !matches!(piece, Piece::Text(_)))
            .count()
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.id.iter()
    }

    /// The ids that a request names, each once. `texts` reads a place.
    pub(crate) fn ids(
        &self,
        params: &Params<'_, '_>,
        texts: impl Fn(&Source) -> Result<Vec<String>, Unread>,
    ) -> Result<Vec<String>, Unread> {
        let mut ids = vec![String::new()];
        for piece in &self.id {
            let said = match piece {
                Piece::Text(text) => vec![text.clone()],
                Piece::Parameter(name) => {
                    let value = params.get(name).and_then(decode_segment);
                    value
                        .map(std::borrow::Cow::into_owned)
                        .into_iter()
                        .collect()
                }
                Piece::From(source) => texts(source)?,
            };
            // SECURITY: of nothing, everything is permitted.
            if said.is_empty() || said.iter().any(String::is_empty) {
                return Err(Unread::Missing);
            }
            // One piece at most has several: a template that was checked.
            let longer = ids
                .iter()
                .flat_map(|id| said.iter().map(move |text| format!("{id}{text}")));
            ids = longer.collect();
        }
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        Ok(ids)
    }
}

fn pieces(id: &str, text: &str, path: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = id;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("`resource: {text}` has a `{{` without its `}}`"))?;
        let is_elsewhere = name.contains(':');
        if !is_elsewhere && !has_parameter(path, name) {
            return Err(format!(
                "`resource: {text}`: `{path}` has no parameter `{name}`"
            ));
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        // Side by side, ("ab", "c") and ("a", "bc") would be one resource.
        else if matches!(pieces.last(), Some(Piece::Parameter(_) | Piece::From(_))) {
            return Err(format!(
                "`resource: {text}` needs a text between its parameters"
            ));
        }
        pieces.push(if is_elsewhere {
            let source = Source::parse(name, path);
            Piece::From(source.map_err(|why| format!("`resource: {text}`: {why}"))?)
        } else {
            Piece::Parameter(name.to_owned())
        });
        rest = after;
    }
    if rest.contains('}') {
        return Err(format!("`resource: {text}` has a `}}` without its `{{`"));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    let lists = pieces.iter().filter_map(Piece::source);
    if lists.filter(|source| source.is_list()).count() > 1 {
        return Err(format!("`resource: {text}` has more than one list"));
    }
    Ok(pieces)
}
