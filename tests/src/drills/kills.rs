//! `kill -9` in the middle of many revocations: what was acknowledged is still there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{is_active, issue, revoke};
use crate::Site;
use crate::http::client;
use crate::site::{Topology, eventually};

/// What was seen.
#[derive(Debug, Default)]
pub struct Kills {
    pub cycles: usize,
    /// Acknowledged, and found again after the kill.
    pub revocations: usize,
    pub tokens: usize,
    pub took: Duration,
}

/// What one client was told before the kill.
#[derive(Debug, Default)]
struct Acknowledged {
    revoked: Vec<String>,
    live: Vec<String>,
}

const CLIENTS: usize = 4;

/// Kills what keeps the tokens, that often: the process with its redb file, or Redis. Panics where
/// something that was acknowledged is lost.
pub async fn kills(topology: Topology, cycles: usize) -> Kills {
    let mut site = Arc::new(Site::start(topology));
    let mut seen = Kills::default();
    let begun = Instant::now();
    for cycle in 0..cycles {
        let revoked = Arc::<AtomicUsize>::default();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(until_the_kill(site.clone(), revoked.clone())))
            .collect();
        let is_under_way = || async { revoked.load(Ordering::Relaxed) >= CLIENTS };
        eventually("revocations", Duration::from_secs(20), is_under_way).await;
        // Into another moment each time.
        tokio::time::sleep(Duration::from_millis(cycle as u64 * 7 % 40)).await;
        kill(&site, topology);
        let mut all = Acknowledged::default();
        for client in clients {
            let one = client.await.expect("a client");
            all.revoked.extend(one.revoked);
            all.live.extend(one.live);
        }
        restart(Arc::get_mut(&mut site).expect("nobody else"), topology).await;
        for token in &all.revoked {
            assert!(
                !is_active(&site, token).await,
                "cycle {cycle}: an acknowledged revocation is lost"
            );
        }
        for token in &all.live {
            assert!(
                is_active(&site, token).await,
                "cycle {cycle}: an acknowledged token is lost"
            );
        }
        seen.cycles += 1;
        seen.revocations += all.revoked.len();
        seen.tokens += all.live.len();
        if seen.cycles % 100 == 0 {
            println!("{topology:?}: {seen:?}");
        }
    }
    seen.took = begun.elapsed();
    seen
}

/// Gets tokens, keeps one and revokes the next, until nobody answers.
async fn until_the_kill(site: Arc<Site>, revoked: Arc<AtomicUsize>) -> Acknowledged {
    let http = client();
    let mut all = Acknowledged::default();
    loop {
        let Some(kept) = issue(&http, &site.token_service_url("")).await else {
            return all;
        };
        all.live.push(kept);
        let Some(token) = issue(&http, &site.token_service_url("")).await else {
            return all;
        };
        if !revoke(&http, &site.token_service_url(""), &token).await {
            return all;
        }
        all.revoked.push(token);
        revoked.fetch_add(1, Ordering::Relaxed);
    }
}

/// By signal: the processes are waited for when they are started again.
fn kill(site: &Site, topology: Topology) {
    let id = match topology {
        Topology::AllInOne => site.pdp.id(),
        Topology::Split => site.redis.as_ref().expect("redis").id(),
    };
    let status = std::process::Command::new("kill")
        .args(["-9", &id.to_string()])
        .status();
    assert!(status.expect("kill").success());
}

async fn restart(site: &mut Site, topology: Topology) {
    match topology {
        Topology::AllInOne => {
            site.pdp.kill();
            site.pdp = site.restart("all-in-one");
        }
        Topology::Split => {
            let redis = site.redis.as_mut().expect("redis");
            redis.kill();
            redis.restart();
        }
    }
    let (http, site) = (client(), &*site);
    let is_up = || async { issue(&http, &site.token_service_url("")).await.is_some() };
    eventually("tokens are issued again", Duration::from_secs(20), is_up).await;
}
