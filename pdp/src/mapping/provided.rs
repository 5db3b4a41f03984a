//! What an attribute provider says, read as a question's properties are.

use authzen::Properties;
use cedar_policy_core::ast::{EntityType, Value};
use smol_str::SmolStr;
use strict_json::{Arena, Members};

use super::Vocabulary;
use super::reader::Unfit;

impl Vocabulary {
    /// The values of these attributes. What is null or left out is absent, which an attribute that
    /// the schema requires cannot be; of an entity that there is not, all are.
    pub(crate) fn provided(
        &self,
        kind: &EntityType,
        names: &[SmolStr],
        said: Option<&Properties>,
    ) -> Result<Vec<(SmolStr, Value)>, String> {
        let Some(said) = said else {
            return Ok(Vec::new());
        };
        let kind = self
            .kinds
            .get(kind)
            .ok_or("the schema does not have its type any more")?;
        let mut reader = self.reader();
        let members = kind
            .members
            .only(|name| names.iter().any(|own| own == name));
        let arena = Arena::new();
        let read = reader
            .complete(&members, &Members::lent(said, &arena))
            .map_err(|misfit| match misfit.why() {
                Unfit::Missing { path } => format!("it does not say `{path}`"),
                // A value of another system's is not repeated.
                Unfit::Wrong { path, discreet, .. } => format!("of its `{path}`, {discreet}"),
            })?;
        Ok(read.into_iter().collect())
    }
}
