//! Builds what a folder says: schema, then policies, then entities, each validated strictly
//! against the schema, with as many problems told at once as can be found.

mod annotated;
mod edit;
mod entities;
mod hold;
mod issues;
mod links;
mod names;
mod policies;
mod schema;

use std::sync::Arc;

pub(crate) use edit::{Edited, edited};
use policies::PolicyFile;

use crate::config::Reading;
use crate::engine::Rules;
use crate::entities::{Row, Uid};
use crate::folder::Folder;
use crate::mapping::Vocabulary;
use crate::source::SourceFile;
use crate::{PdpError, PolicyIssue};

/// A folder, understood.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) vocabulary: Arc<Vocabulary>,
    /// What policies and entities were validated against.
    pub(crate) schema: Arc<cedar_policy::Schema>,
    pub(crate) rules: Rules,
    /// What the rules were read from.
    files: Vec<PolicyFile>,
    linked: Arc<Linked>,
    /// What the folder states: the schema's actions, and entities.
    pub(crate) stated: Vec<Row>,
    /// What of that is in the store: taken out of it when the folder states something else.
    pub(crate) stated_uids: Arc<[Uid]>,
    /// Hash of the schema.
    pub(crate) schema_version: String,
    /// Hash of schema and entities.
    pub(crate) stated_version: String,
    /// Entities that the folder itself states.
    pub(crate) stated_entities: usize,
    pub(crate) version: String,
    /// What is suspicious but valid.
    pub(crate) warnings: Vec<PolicyIssue>,
}

/// What links make of templates.
#[derive(Debug)]
struct Linked {
    /// Hash of the files of links.
    version: String,
    /// The `@id`s of templates, linked or not.
    templates: Vec<String>,
    /// The positions of the links' rules.
    positions: Vec<usize>,
}

impl Loaded {
    /// Logs what is suspicious.
    pub(crate) fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!(%warning, "suspicious policy");
        }
    }
}

/// Understands a folder, or says everything that is wrong with it.
pub(crate) fn load(folder: &Folder, reading: &Reading) -> Result<Loaded, PdpError> {
    let schema = schema::read(&folder.path, &folder.schemas);
    let parsed = policies::parse(&folder.path, &folder.policies, &folder.links);
    // Without a schema there is nothing to validate against; what each file says about itself
    // can still be told.
    let (schema, parsed) = match (schema, parsed) {
        (Ok(schema), Ok(parsed)) => (schema, parsed),
        (Ok(schema), Err(mut issues)) => {
            issues.extend(
                entities::read(&folder.entities, &schema.schema)
                    .err()
                    .unwrap_or_default(),
            );
            return Err(PdpError::Policies(issues));
        }
        (Err(mut issues), parsed) => {
            issues.extend(parsed.err().unwrap_or_default());
            return Err(PdpError::Policies(issues));
        }
    };
    let vocabulary = Vocabulary::new(&schema.schema, &schema.fragments, reading);
    let nothing = Vocabulary::default();
    let words = vocabulary.as_ref().unwrap_or(&nothing);
    let validated = policies::validate(&folder.path, parsed, &schema.schema, words);
    let stated = entities::read(&folder.entities, &schema.schema);
    match (vocabulary, validated, stated) {
        (Ok(vocabulary), Ok(validated), Ok(stated)) => Ok(Loaded {
            vocabulary: Arc::new(vocabulary),
            schema: Arc::new(schema.schema),
            rules: validated.rules,
            files: validated.files,
            linked: Arc::new(Linked {
                version: hash(folder.links.iter()),
                templates: validated.templates,
                positions: validated.linked,
            }),
            stated: stated.rows,
            stated_uids: Arc::default(),
            schema_version: hash(folder.schemas.iter()),
            stated_version: stated_version(folder),
            stated_entities: stated.count,
            version: folder.version.clone(),
            warnings: schema
                .warnings
                .into_iter()
                .chain(validated.warnings)
                .collect(),
        }),
        (vocabulary, validated, stated) => Err(PdpError::Policies(
            [vocabulary.err(), validated.err(), stated.err()]
                .into_iter()
                .flatten()
                .flatten()
                .collect(),
        )),
    }
}

fn stated_version(folder: &Folder) -> String {
    hash(folder.schemas.iter().chain(&folder.entities))
}

fn hash<'a>(files: impl Iterator<Item = &'a SourceFile>) -> String {
    let mut content = Vec::new();
    for file in files {
        content.extend_from_slice(&(file.text.len() as u64).to_be_bytes());
        content.extend_from_slice(file.text.as_bytes());
    }
    service_kit::digest::sha256_base64url(&content)
}

#[cfg(test)]
mod tests;
