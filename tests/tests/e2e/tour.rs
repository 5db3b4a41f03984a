//! The tour of the README, in both topologies.

use e2e::Site;
use e2e::site::Topology;

fn check(topology: Topology) {
    let output = Site::start(topology).tour();
    assert!(output.contains("the tour holds"), "{output}");
}

#[test]
fn the_tour_holds_in_one_process() {
    check(Topology::AllInOne);
}

#[test]
fn the_tour_holds_in_three_processes_over_redis() {
    check(Topology::Split);
}
