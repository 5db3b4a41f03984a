//! Everything at once: load, kills, changes and revocations, every answer judged.

use e2e::drills::soak::{Plan, soak};

/// `bench/soak` does it for half an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_and_no_change_under_load_loses_a_request_or_decides_wrongly() {
    let report = soak(Plan::short(1)).await;
    println!("{report}");
    assert_eq!(report.failures(), 0, "\n{report}");
    // Or it has shown nothing.
    assert!(report.kinds_of_faults() >= 12, "\n{report}");
    assert!(report.least_right() >= 5, "\n{report}");
}
