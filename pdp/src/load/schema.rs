//! Reads `*.cedarschema`: every file a fragment, merged into one schema.

use std::path::Path;

use cedar_policy::{Schema, SchemaFragment};

use crate::PolicyIssue;
use crate::source::{SourceFile, issue_among};

/// The schema, and the fragments that its annotations are read from.
pub(super) struct ReadSchema {
    pub(super) schema: Schema,
    pub(super) fragments: Vec<(SourceFile, SchemaFragment)>,
    pub(super) warnings: Vec<PolicyIssue>,
}

/// Parses and merges.
pub(super) fn read(folder: &Path, files: &[SourceFile]) -> Result<ReadSchema, Vec<PolicyIssue>> {
    let mut fragments = Vec::new();
    let mut warnings = Vec::new();
    let mut issues = Vec::new();
    for file in files {
        match SchemaFragment::from_cedarschema_str(&file.text) {
            Ok((fragment, said)) => {
                warnings.extend(said.map(|warning| file.issue_from(&warning)));
                fragments.push((file.clone(), fragment));
            }
            Err(error) => issues.push(file.issue_from(&error)),
        }
    }
    if !issues.is_empty() {
        return Err(issues);
    }
    if fragments.is_empty() {
        return Err(vec![
            PolicyIssue::of_file(folder, "the policy folder has no schema")
                .hint("add a `schema.cedarschema`: without one nothing can be validated"),
        ]);
    }
    let merged = fragments.iter().map(|(_, fragment)| fragment.clone());
    let schema =
        Schema::from_schema_fragments(merged).map_err(|error| vec![issue_among(files, &error)])?;
    if !schema.is_complete() {
        let external: Vec<_> = schema
            .external_entity_types()
            .map(|name| format!("`{name}`"))
            .collect();
        return Err(vec![PolicyIssue::of_file(
            folder,
            format!(
                "declared as external but nowhere defined: {}",
                external.join(", ")
            ),
        )]);
    }
    Ok(ReadSchema {
        schema,
        fragments,
        warnings,
    })
}
