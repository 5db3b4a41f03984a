//! Builds what a folder says: schema, then policies, then entities, each validated strictly
//! against the schema, with as many problems told at once as can be found.

mod entities;
mod policies;
mod schema;

use std::collections::BTreeMap;

use crate::engine::Rules;
use crate::entities::{Row, Uid};
use crate::folder::Folder;
use crate::mapping::Vocabulary;
use crate::source::SourceFile;
use crate::{PdpError, PolicyIssue, RequestProperties};

/// A folder, understood.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) vocabulary: Vocabulary,
    /// What policies and entities were validated against.
    pub(crate) schema: cedar_policy::Schema,
    pub(crate) rules: Rules,
    /// What the folder states: the schema's actions, and entities.
    pub(crate) stated: Vec<Row>,
    /// What of that is in the store: taken out of it when the folder states something else.
    pub(crate) stated_uids: Vec<Uid>,
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

/// Understands a folder, or says everything that is wrong with it.
pub(crate) fn load(
    folder: &Folder,
    overrides: &BTreeMap<String, RequestProperties>,
) -> Result<Loaded, PdpError> {
    let schema = schema::read(&folder.path, &folder.schemas);
    let parsed = policies::parse(&folder.path, &folder.policies);
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
    let vocabulary = Vocabulary::new(&schema.schema, &schema.fragments, overrides);
    let validated = policies::validate(parsed, &schema.schema, &folder.policies);
    let stated = entities::read(&folder.entities, &schema.schema);
    match (vocabulary, validated, stated) {
        (Ok(vocabulary), Ok(validated), Ok(stated)) => Ok(Loaded {
            vocabulary,
            schema: schema.schema,
            rules: validated.rules,
            stated: stated.rows,
            stated_uids: Vec::new(),
            schema_version: hash(folder.schemas.iter()),
            stated_version: hash(folder.schemas.iter().chain(&folder.entities)),
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
