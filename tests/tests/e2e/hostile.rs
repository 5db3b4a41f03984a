//! Hostile requests from the corpora in `tests/vectors/`, against real processes.

mod gateway;
mod token_service;
