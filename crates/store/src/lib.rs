//! Durable, atomic, small: the one place where state outlives a request.
//!
//! A [`Store`] is a handful of verbs, each atomic by itself. Typed records are written once,
//! above this crate; a record never asks which backend it is on. Two verbs composed are not
//! atomic: what must hold together goes into one [`Batch`].
//!
//! Time is the caller's: whoever reads a record decides whether it is still good. The `ttl`
//! here only collects garbage, and a backend may keep a record longer than its ttl.

mod batch;
mod config;
mod counters;
mod error;
mod event_log;
mod limits;
mod memory;
mod movable;
mod rate;
mod redb;
mod redis;
mod relay;
mod store;

pub use self::redb::{RedbBounds, RedbStore, WallClock};
pub use self::redis::RedisStore;
pub use batch::{Batch, Commit, Write};
pub use config::{RedisConfig, StoreConfig, open, redb_bounds};
pub use error::StoreError;
pub use event_log::{EventPage, Position};
pub use limits::{DEFAULT_MAX_EVENTS, MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use memory::MemoryStore;
pub use movable::MovableStore;
pub use rate::{Draw, Rate, Rates};
pub use relay::serve_relay;
pub use store::{ScanPage, Store};
