//! A gateway that decides itself, by what its PDP hands out: as soon as that changes, as long as it may without the
//! PDP, and no longer.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::Site;
use e2e::http::get;
use e2e::site::eventually;
use e2e::tokens;

const MAX_AGE: Duration = Duration::from_secs(4);

fn prepare(folder: &Path) {
    let config = folder.join("config");
    let key = rcgen::KeyPair::generate().expect("key");
    std::fs::write(config.join("snapshots.key"), key.serialize_pem()).expect("write");
    std::fs::write(config.join("snapshots.pub"), key.public_key_pem()).expect("write");
    let change = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(config.join(name)).expect(name);
        assert!(text.contains(from), "{name}");
        std::fs::write(config.join(name), text.replacen(from, to, 1)).expect(name);
    };
    change(
        "pdp.yaml",
        "pdp:\n",
        "pdp:\n  snapshots: { signing_key_file: snapshots.key }\n  snapshots_without_callers: true\n",
    );
    let local = format!(
        "    local: {{ key_file: snapshots.pub, max_age_ms: {}, decision_log: {{ file: decisions.jsonl }} }}\n",
        MAX_AGE.as_millis()
    );
    change("gateway.yaml", "  pdp:\n", &format!("  pdp:\n{local}"));
}

async fn decided(site: &Site, by: &str) -> u64 {
    let metrics = get(&format!("http://{}:9901/metrics", site.host), None).await;
    let series = format!("pdp_local_decisions_total{{by=\"{by}\"}} ");
    let mut lines = metrics.body.lines();
    let count = lines.find_map(|line| line.strip_prefix(&series)?.parse().ok());
    count.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_decides_by_what_its_pdp_hands_out_and_survives_it_for_a_time() {
    let mut site = Site::split_prepared(prepare);
    let alice = tokens::access_token(&site, "alice").await;
    let own = site.gateway_url("/records/1001");
    let status = async || get(&own, Some(&alice)).await.status;
    let ready = format!("http://{}:9901/readyz", site.host);
    eventually("a snapshot decides", Duration::from_secs(10), || async {
        let parts = get(&ready, None).await.json();
        parts.to_string().contains("local_decisions") && !parts.to_string().contains("is asked")
    })
    .await;
    assert_eq!(status().await, 200);
    assert_eq!(
        get(&site.gateway_url("/records/1002"), Some(&alice))
            .await
            .status,
        403
    );
    assert!(decided(&site, "local").await >= 2);
    let remote = decided(&site, "remote").await;

    // Through all caches: a permit ends with its policy, and comes back with it.
    let barred = site.policies().join("zz-barred.cedar");
    let temporary = site.policies().join("zz-barred.tmp");
    std::fs::write(
        &temporary,
        "@id(\"barred\")\nforbid (principal, action == Action::\"view_record\", resource);\n",
    )
    .expect("write");
    std::fs::rename(&temporary, &barred).expect("rename");
    let edited = Instant::now();
    eventually("the edit decides", Duration::from_secs(10), || async {
        status().await == 403
    })
    .await;
    println!(
        "an edit decides here {:?} after it was made",
        edited.elapsed()
    );
    for _ in 0..50 {
        assert_eq!(status().await, 403);
    }
    std::fs::remove_file(&barred).expect("remove");
    eventually("the way back decides", Duration::from_secs(5), || async {
        status().await == 200
    })
    .await;

    // Without its PDP: no new connection there, and decisions go on, also such as were not made before.
    site.pdp.kill();
    let gone = Instant::now();
    let mut answers = 0;
    while status().await == 200 {
        answers += 1;
        assert!(gone.elapsed() < MAX_AGE * 3, "it never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lasted = gone.elapsed();
    println!("without the PDP {answers} answers in {lasted:?}");
    assert!(lasted > MAX_AGE / 2 && lasted < MAX_AGE * 2, "{lasted:?}");
    assert_eq!(status().await, 503);
    let log =
        std::fs::read_to_string(site.folder.path().join("config/decisions.jsonl")).expect("a log");
    assert!(log.lines().count() >= 3, "{log}");
    assert!(
        log.contains("barred") && log.contains("in process"),
        "{log}"
    );
    let parts = get(&ready, None).await.body;
    assert!(parts.contains("max_age_ms"), "{parts}");
    assert!(decided(&site, "remote").await > remote);
}
