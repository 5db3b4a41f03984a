//! Strict I-JSON: duplicate names are refused at every depth, nesting is bounded. And JSON written
//! piece by piece.
//!
//! Two readers of one document must not see two different values, so a duplicate name is an
//! error and never "the last one wins" (RFC 7493 section 2.3). What is read borrows its texts from
//! the document, so that a question can be answered without a copy of it.

mod arena;
mod name;
mod number;
mod pointer;
mod read;
mod text;
mod value;

pub use arena::Arena;
pub use name::name_bit;
pub use number::Number;
pub use pointer::{Pointer, PointerError};
pub use text::JsonText;
pub use value::{Json, Members, Properties, parse_json, parse_object};

/// Why a text is not read. The words are fit for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("it is empty; send a JSON object")]
    Empty,
    #[error("it is not valid JSON: {message}")]
    Malformed { message: String },
    #[error("it must be an object")]
    NoObject,
    #[error("arrays and objects must not be nested deeper than {levels} levels")]
    TooDeep { levels: usize },
}
