//! What every backend promises, held against all three, and against a file in another process; and what each of them must survive.
//!
//! Needs `redis-server` and `openssl` on the machine. Every test that wants a Redis starts its
//! own, in a temporary folder, and stops it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by panicking"
)]

mod backends;
mod contract_suite;
mod event_suite;
mod kill;
mod measure;
mod model;
mod moving;
mod redb_file;
mod redis_outages;
mod redis_server;
mod redis_setup;

/// One module a backend, with every clause of the contract as a test in it.
macro_rules! every_backend_promises {
    ($($suite:ident :: $clause:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                let backend = crate::backends::memory();
                crate::$suite::$clause(backend.store()).await;
            })*
        }
        mod redb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                let backend = crate::backends::redb();
                crate::$suite::$clause(backend.store()).await;
            })*
        }
        mod moved {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                let backend = crate::backends::moved().await;
                crate::$suite::$clause(backend.store()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                let backend = crate::backends::redis().await;
                crate::$suite::$clause(backend.store()).await;
            })*
        }
    };
}

every_backend_promises! {
    contract_suite::a_record_is_there_from_put_to_delete,
    contract_suite::a_value_may_be_any_bytes,
    contract_suite::put_new_leaves_what_is_there,
    contract_suite::replace_needs_the_very_same_bytes,
    contract_suite::of_fifty_takers_one_gets_the_value,
    contract_suite::of_fifty_who_put_new_one_succeeds,
    contract_suite::of_fifty_who_replace_one_succeeds,
    contract_suite::a_batch_that_conflicts_writes_nothing,
    contract_suite::a_batch_that_applies_writes_everything,
    contract_suite::of_fifty_batches_that_exclude_each_other_one_applies,
    contract_suite::what_the_contract_does_not_allow_is_refused_and_not_written,
    contract_suite::a_scan_returns_what_begins_with_the_prefix_and_nothing_else,
    contract_suite::a_scan_misses_nothing_while_others_write,
    contract_suite::counts_are_never_given_twice,
    contract_suite::a_count_starts_again_after_its_window,
    contract_suite::draws_are_never_given_twice_and_come_back_evenly,
    contract_suite::records_counters_and_logs_do_not_meet,
    contract_suite::a_record_may_be_put_anew_after_its_ttl,
    contract_suite::a_put_without_ttl_ends_the_ttl_before,
    contract_suite::a_ping_is_answered,
    event_suite::events_come_in_order_and_once,
    event_suite::a_long_log_comes_in_pages,
    event_suite::a_follower_is_woken_by_an_append,
    event_suite::a_follower_hears_nothing_of_other_logs,
    event_suite::an_empty_page_comes_when_the_wait_is_over,
    event_suite::the_events_of_a_batch_stay_together,
    event_suite::all_followers_see_the_same_order,
    event_suite::a_follower_that_was_left_behind_sees_a_gap,
    event_suite::a_follower_that_keeps_up_sees_no_gap,
}
