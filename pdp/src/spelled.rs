//! What is said over and over again: a value, and the JSON that it is written as, made once.

use std::ops::Deref;

use serde::{Serialize, Serializer};
use strict_json::JsonText;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Spelled<T> {
    value: T,
    json: Box<str>,
}

impl<T: Serialize> From<T> for Spelled<T> {
    fn from(value: T) -> Self {
        // Texts and numbers: cannot fail.
        let json = serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned());
        Self {
            value,
            json: json.into(),
        }
    }
}

impl<T: Clone> Spelled<T> {
    /// The value with a life of its own.
    pub(crate) fn value(&self) -> T {
        self.value.clone()
    }
}

impl<T> Spelled<T> {
    pub(crate) fn write(&self, text: &mut JsonText) {
        text.raw(&self.json);
    }
}

impl<T: Serialize> Serialize for Spelled<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T> Deref for Spelled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
