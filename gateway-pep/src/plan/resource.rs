//! Resource templates: `Record/{id}` is the type `Record` and an id made of path parameters.

use matchit::Params;

use crate::pipeline::canonical::decode_segment;

/// Type and id of a resource, the id with places for path parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceTemplate {
    kind: String,
    id: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
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
            }
        }
        Some(id)
    }
}

fn pieces(id: &str, text: &str, path: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = id;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("`resource: {text}` has a `{{` without its `}}`"))?;
        if !path.contains(&format!("{{{name}}}")) && !path.contains(&format!("{{*{name}}}")) {
            return Err(format!(
                "`resource: {text}`: `{path}` has no parameter `{name}`"
            ));
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        // Side by side, ("ab", "c") and ("a", "bc") would be one resource.
        else if matches!(pieces.last(), Some(Piece::Parameter(_))) {
            return Err(format!(
                "`resource: {text}` needs a text between its parameters"
            ));
        }
        pieces.push(Piece::Parameter(name.to_owned()));
        rest = after;
    }
    if rest.contains('}') {
        return Err(format!("`resource: {text}` has a `}}` without its `{{`"));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}
