//! What end-to-end tests need: a loopback address of their own, real processes, a real Redis,
//! and clients.

pub mod apache;
pub mod browser;
pub mod drills;
pub mod front;
pub mod holder;
pub mod http;
pub mod http2_frames;
pub mod load;
pub mod pebble;
pub mod process;
pub mod python;
pub mod recorder;
pub mod redis_server;
pub mod site;
pub mod tokens;

pub use site::Site;
