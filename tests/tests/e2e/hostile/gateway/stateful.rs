//! The cases of the corpus in which something came before: what a gateway remembers opens nothing that it would
//! not open without.

use super::*;

/// Which of them are fired here; the others are held by the gateway's own suite.
pub(super) const CASES: [&str; 1] = ["CACHE-006"];

struct Stage {
    site: Site,
    recorder: Recorder,
    corpus: Value,
}

impl Stage {
    async fn new() -> Self {
        let recorder = Recorder::default();
        let file = repository().join("tests/vectors/gateway-attacks.json");
        Self {
            site: Site::for_attacks(&recorder).await,
            recorder,
            corpus: serde_json::from_str(&std::fs::read_to_string(file).expect("corpus"))
                .expect("JSON"),
        }
    }

    fn case(&self, id: &str) -> &Value {
        let mut cases = self.corpus["cases"].as_array().expect("cases").iter();
        cases.find(|case| case["id"] == id).expect("the case")
    }

    async fn get(&self, path: &str, token: &str) -> Outcome {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        attack(&self.site, &self.recorder, request.into_bytes()).await
    }

    async fn fire(&self, id: &str, token: &str) -> Outcome {
        let bytes = request_bytes(self.case(id), &[("{TOKEN}", token)]);
        attack(&self.site, &self.recorder, bytes).await
    }

    #[track_caller]
    fn assert_good(&self, id: &str, outcome: &Outcome) {
        let verdict = judge(&self.case(id)["expectation"], outcome);
        assert!(verdict.is_ok(), "{id}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_permitted_before_permits_nothing_else() {
    let stage = Stage::new().await;
    let token = tokens::access_token(&stage.site, "alice").await;
    let before = stage.get("/api/orders/1", &token).await;
    assert_eq!(before.status, Some(200));
    stage.assert_good("CACHE-006", &stage.fire("CACHE-006", &token).await);
    // And the other way round.
    assert_eq!(stage.get("/api/orders/1", &token).await.status, Some(200));
}
