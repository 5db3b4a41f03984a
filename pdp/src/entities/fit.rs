//! Whether entities that no file states fit the schema.

use std::path::Path;

use cedar_policy::Schema;
use cedar_policy_core::ast::EntityUID;
use cedar_policy_core::entities::conformance::EntitySchemaConformanceChecker;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::CoreSchema;

use super::{EntityStore, Origin, Overlays};
use crate::PolicyIssue;

/// What stands for a file in an issue with an entity that no file states.
const NO_FILE: &str = "entities";

/// An issue with an entity that no file states.
pub(crate) fn issue(uid: &EntityUID, what: &str) -> PolicyIssue {
    PolicyIssue::of_file(NO_FILE, format!("`{uid}` {what}"))
        .hint("delete it by `POST /cedar/v1/entities`, or change what contradicts it")
}

/// Whether it is such an issue.
pub(crate) fn is_with_written(issue: &PolicyIssue) -> bool {
    *issue.file == *Path::new(NO_FILE)
}

/// Written entities that a schema does not admit.
pub(crate) fn misfits(store: &EntityStore, schema: &Schema) -> Vec<PolicyIssue> {
    let core = CoreSchema::new(schema.as_ref());
    let checker = EntitySchemaConformanceChecker::new(&core, Extensions::all_available());
    let nothing = Overlays::default();
    let mut issues = Vec::new();
    for row in store.rows().filter(|row| row.origin() == Origin::Written) {
        let above = store.view(&nothing).above(row).into_iter().cloned();
        if let Err(error) = checker.validate_entity(&row.to_entity(above)) {
            issues.push(issue(
                row.uid(),
                &format!("has been written, and does not fit: {error}"),
            ));
        }
        if issues.len() == SHOWN {
            break;
        }
    }
    issues
}

/// The most misfits that are told of.
pub(crate) const SHOWN: usize = 100;
