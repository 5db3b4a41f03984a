//! What fuzz targets share: a PDP to ask, another reader of HTTP, and keys that sign.

mod asked;
pub mod model;
mod signer;

pub use asked::{Asked, ENTITIES, POLICIES, SCHEMA, open};
pub use signer::{Signer, Way, opened, token_of};
