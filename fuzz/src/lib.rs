//! What fuzz targets share: a PDP to ask.

mod asked;

pub use asked::{Asked, ENTITIES, POLICIES, SCHEMA, open};
