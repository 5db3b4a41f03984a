//! Hostile requests from the corpora in `tests/vectors/`, against real processes.

mod browser;
mod gateway;
mod logins;
mod token_service;
