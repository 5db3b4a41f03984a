//! The one binary: all roles, the demo, and the operator's commands. The only crate that sees
//! every other, and the only place that picks local or remote, memory, redb or Redis.

mod acme_challenges;
mod admin;
mod admin_host;
pub mod attack;
mod cache_admin;
pub mod check;
pub mod cli;
pub mod config;
pub mod demo;
pub mod demo_upstream;
mod drain;
pub mod entities_command;
mod explain;
mod handover;
pub mod oauth_client;
mod peer_tls;
pub mod print;
mod reload;
mod running;
pub mod start;
pub mod token_command;
pub mod wire;
