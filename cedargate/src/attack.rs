//! `cedargate attack`: hostile requests against the gateway of a configuration, on loopback.
//!
//! Routes, limits and reserved headers are the file's. Upstreams, token service, PDP and store are
//! stand-ins for the time of the attack: nothing leaves this machine, and nothing of the user's is
//! read beyond the file or written at all.

mod absent;
mod case;
mod corpus;
mod exchange;
mod issuer;
mod report;
mod stage;
mod stubs;
mod target;
mod upstream;
mod verdict;

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use service_kit::{Clock as _, SystemClock, Tasks};

use crate::config::Loaded;
use corpus::{Issuers, Range};
use issuer::StubIssuer;
use stage::Stage;
use stubs::StubPdp;

pub use absent::{ABSENT, Absent};
pub use case::Class;
pub use report::{Failure, Report};
pub use target::Target;
pub use upstream::Upstream;

/// Attacks the gateway of a configuration.
pub async fn attack(loaded: &Loaded) -> anyhow::Result<Report> {
    let Some(config) = loaded.config.gateway() else {
        bail!("the file has no `gateway` section");
    };
    if config.routes.is_empty() {
        bail!("the file has no routes: nothing could pass, so nothing could be shown");
    }
    let targets = Target::of(&config);
    let reserved = config.gateway.reserved_headers.clone();
    let tasks = Tasks::new();
    let upstream = Upstream::start(&tasks)
        .await
        .context("cannot start the recording upstream")?;
    let now = SystemClock.now().as_secs();
    let (known, stranger) = (StubIssuer::new(now)?, StubIssuer::new(now)?);
    let issuers = Issuers {
        known: &known,
        stranger: &stranger,
    };
    let stage = Stage::start((config, &known), upstream.address(), &tasks).await?;
    let range = Range::new(&targets, &reserved).with(issuers);
    let report = fire(&range, &stage, &upstream).await;
    stage.stop().await;
    report
}

/// Attacks whatever listens at an address and sends on to the upstream. The tokens that pass there
/// are the ones that this command makes for routes of these places.
pub async fn attack_at(
    gateway: SocketAddr,
    upstream: &Upstream,
    targets: &[Target],
) -> anyhow::Result<Report> {
    let stage = Stage::elsewhere(gateway);
    fire(&Range::new(targets, &[]), &stage, upstream).await
}

async fn fire(range: &Range<'_>, stage: &Stage, upstream: &Upstream) -> anyhow::Result<Report> {
    let cases = corpus::cases(range);
    // A class of which nothing applies is no row: it is said why.
    let classes = Class::ALL
        .iter()
        .filter(|class| cases.iter().any(|case| case.class == **class));
    let mut report = Report::new(classes, corpus::not_applicable(range));
    for case in cases {
        upstream.take();
        stage.pdp().map(StubPdp::take_paths);
        let answer = exchange::exchange(stage.gateway(), &case.bytes)
            .await
            .context("cannot connect to the gateway")?;
        let outcome = verdict::Outcome {
            answer,
            seen: upstream.take(),
            decided: stage.pdp().map(StubPdp::take_paths),
        };
        let verdict = verdict::judge(&case, &outcome);
        report.count(&case, &outcome, verdict.err());
    }
    Ok(report)
}
