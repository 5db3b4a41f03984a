//! A set of entities of one type as a question says it: their ids. Names of entities are made of them
//! where somebody wants more than to know whether one is in it, which is nearly never.

use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::{EntityUID, Value};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::uid::HashedType;

/// See the module. What was sent twice stands here twice.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    kind: Arc<HashedType>,
    ids: SmallVec<[SmolStr; 4]>,
    uids: OnceLock<Box<[EntityUID]>>,
}

impl Ids {
    pub(crate) fn new(kind: Arc<HashedType>, ids: SmallVec<[SmolStr; 4]>) -> Self {
        Self {
            kind,
            ids,
            uids: OnceLock::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn has(&self, uid: &EntityUID) -> bool {
        let id: &str = uid.eid().as_ref();
        // Ids differ sooner than types.
        self.ids.iter().any(|own| own == id) && **self.kind == *uid.entity_type()
    }

    /// Their names.
    pub(crate) fn uids(&self) -> &[EntityUID] {
        self.uids.get_or_init(|| self.made().collect())
    }

    /// The set in Cedar's own form.
    pub(crate) fn value(&self) -> Value {
        Value::set(self.made().map(Value::from), None)
    }

    fn made(&self) -> impl Iterator<Item = EntityUID> {
        self.ids.iter().map(|id| self.kind.name_of(id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy_core::ast::EntityType;

    use super::*;

    #[test]
    fn only_entities_of_the_type_are_in_it() {
        let kind: EntityType = "A::User".parse().unwrap();
        let ids = ["1", "2", "1"].map(SmolStr::new).into_iter().collect();
        let ids = Ids::new(Arc::new(HashedType::from(kind)), ids);
        assert_eq!(ids.len(), 3);
        for (uid, is_in) in [
            (r#"A::User::"1""#, true),
            (r#"A::User::"2""#, true),
            (r#"A::User::"3""#, false),
            (r#"User::"1""#, false),
            (r#"A::Team::"2""#, false),
        ] {
            let uid: EntityUID = uid.parse().unwrap();
            assert_eq!(ids.has(&uid), is_in, "{uid}");
            assert_eq!(ids.uids().contains(&uid), is_in, "{uid}");
        }
    }
}
