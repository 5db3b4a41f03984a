//! How long a revocation takes from its answer to the refusal at another gateway, while that gateway
//! has other work.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{issue, revoke};
use crate::Site;
use crate::http::{client, send, try_send};

/// What was seen.
#[derive(Debug)]
pub struct Revocations {
    /// From the shortest to the longest.
    pub took: Vec<Duration>,
    /// Requests a second that the second gateway answers when it has nothing else to do.
    pub most: f64,
    /// Requests a second beside the revocations.
    pub load: f64,
    pub failed: usize,
}

/// Connections that never wait, to find out what there is to halve.
const CONNECTIONS: usize = 16;
const SECONDS: u64 = 5;

/// Revokes that often in a split site, under half of the load that its second gateway can bear.
pub async fn revocations(rounds: usize) -> Revocations {
    let site = Site::split();
    let (second, _process) = site.second_gateway();
    let url = format!("http://{second}:8080/records");
    let most = most(&site, &url).await;
    let load = Load::start(&site, &url, most / 2.0).await;
    let (http, mut took) = (client(), Vec::with_capacity(rounds));
    for _ in 0..rounds {
        took.push(one(&http, &site, second).await);
    }
    took.sort();
    let (load, failed) = load.stop();
    Revocations {
        took,
        most,
        load,
        failed,
    }
}

impl Revocations {
    /// The time within which that share of a thousand was refused.
    pub fn at(&self, share: usize) -> Duration {
        self.took[(self.took.len() * share / 1000).min(self.took.len() - 1)]
    }
}

async fn one(http: &reqwest::Client, site: &Site, second: Ipv4Addr) -> Duration {
    let url = format!("http://{second}:8080/records");
    let token = issue(http, &site.token_service_url(""))
        .await
        .expect("a token");
    // Known there, so that only what is pushed can end it.
    for _ in 0..2 {
        assert_eq!(send(http.get(&url).bearer_auth(&token)).await.status, 200);
    }
    assert!(revoke(http, &site.token_service_url(""), &token).await);
    let answered = Instant::now();
    while send(http.get(&url).bearer_auth(&token)).await.status != 401 {
        let waited = answered.elapsed();
        assert!(
            waited < Duration::from_secs(5),
            "a revoked token works for 5 s"
        );
    }
    answered.elapsed()
}

async fn most(site: &Site, url: &str) -> f64 {
    let token = issue(&client(), &site.token_service_url(""))
        .await
        .expect("a token");
    let (begun, length) = (Instant::now(), Duration::from_secs(SECONDS));
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (http, url, token) = (client(), url.to_owned(), token.clone());
            tokio::spawn(async move {
                let mut answered = 0_usize;
                while begun.elapsed() < length {
                    assert_eq!(send(http.get(&url).bearer_auth(&token)).await.status, 200);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let mut all = 0;
    for connection in connections {
        all += connection.await.expect("a connection");
    }
    all as f64 / begun.elapsed().as_secs_f64()
}

/// Requests at a constant rate.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    begun: Instant,
}

impl Load {
    async fn start(site: &Site, url: &str, rate: f64) -> Self {
        let load = Self {
            is_over: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            begun: Instant::now(),
        };
        let token = issue(&client(), &site.token_service_url(""))
            .await
            .expect("a token");
        let (http, url) = (client(), url.to_owned());
        let (is_over, answered) = (load.is_over.clone(), load.answered.clone());
        let failed = load.failed.clone();
        tokio::spawn(async move {
            // What was not sent in time is sent at once: the rate is kept. But after a stop of the machine not all
            // of it together, each on a connection of its own: no gateway has descriptors for that.
            let places = Arc::new(Semaphore::new(CONNECTIONS * 16));
            let mut due = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
            while !is_over.load(Ordering::Relaxed) {
                due.tick().await;
                let Ok(place) = places.clone().acquire_owned().await else {
                    return;
                };
                let request = http.get(&url).bearer_auth(&token);
                let (answered, failed) = (answered.clone(), failed.clone());
                tokio::spawn(async move {
                    let _place = place;
                    let is_good = try_send(request).await.is_some_and(|it| it.status == 200);
                    let counter = if is_good { answered } else { failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        load
    }

    /// Requests a second, and how many failed.
    fn stop(self) -> (f64, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        let answered = self.answered.load(Ordering::Relaxed);
        let rate = answered as f64 / self.begun.elapsed().as_secs_f64();
        (rate, self.failed.load(Ordering::Relaxed))
    }
}
