//! The four words of a question: who ([`Subject`]), does what ([`Action`]), to what
//! ([`Resource`]); the fourth, the context, is plain [`Properties`].

use serde::{Deserialize, Serialize};

use crate::Properties;

/// Who asks to act. AuthZEN 1.0, "Subject".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Kind of subject, such as `User`. Any string.
    #[serde(rename = "type")]
    pub kind: String,
    /// Unique within the kind. Any string.
    pub id: String,
    /// What the asker knows about the subject.
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    pub properties: Properties,
}

/// What the subject wants to do. AuthZEN 1.0, "Action".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Any string.
    pub name: String,
    /// Parameters of the action.
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    pub properties: Properties,
}

/// What is acted upon. AuthZEN 1.0, "Resource".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Kind of resource, such as `Record`. Any string.
    #[serde(rename = "type")]
    pub kind: String,
    /// Unique within the kind. Any string.
    pub id: String,
    /// What the asker knows about the resource.
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    pub properties: Properties,
}

impl Subject {
    /// A subject about which the asker knows nothing more.
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
            properties: Properties::new(),
        }
    }
}

impl Action {
    /// An action without parameters.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            properties: Properties::new(),
        }
    }
}

impl Resource {
    /// A resource about which the asker knows nothing more.
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
            properties: Properties::new(),
        }
    }
}
