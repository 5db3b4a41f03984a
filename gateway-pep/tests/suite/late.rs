//! What takes long is looked at again before it passes: whoever is revoked while a body comes, while others are
//! asked, or while an answer is read, gets no further.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::fixture::{Answer, Fixture, PATIENCE, Setup};

const ROUTES: &str = "
  - { match: '/bulk', methods: [POST], upstream: a, action: remove, resource: 'Record/{body:/id}' }
";

async fn fixture() -> Fixture {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', timeouts: { question_body_secs: 2 } }".into(),
        more_routes: ROUTES,
        ..Setup::new().await
    };
    setup.start().await
}

async fn revoke_alice(fixture: &Fixture) {
    fixture
        .announce_and_wait(json!({ "kind": "grant_revoked", "grant": "g_alice" }))
        .await;
}

/// The head of a request whose body has so many bytes, and the first of them.
async fn begin(fixture: &Fixture, length: usize, first: &str) -> TcpStream {
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    let head = format!(
        "POST /bulk HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer at_alice\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{first}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn answer(stream: &mut TcpStream) -> Answer {
    let mut answer = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    end.unwrap().unwrap();
    Answer(String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn who_is_revoked_while_the_body_comes_is_not_decided_upon() {
    let fixture = fixture().await;
    for is_revoked in [false, true] {
        let mut stream = begin(&fixture, 10, "{\"id\"").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if is_revoked {
            revoke_alice(&fixture).await;
        }
        stream.write_all(b":\"1\"}").await.unwrap();
        let answer = answer(&mut stream).await;
        assert_eq!(
            answer.status(),
            if is_revoked { 401 } else { 200 },
            "{answer:?}"
        );
    }
    assert_eq!(fixture.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_a_question_needs_is_not_waited_for_without_an_end() {
    let fixture = fixture().await;
    let begun = Instant::now();
    let mut stream = begin(&fixture, 1000, "{").await;
    let (mut reading, mut writing) = stream.split();
    let drip = async {
        // A byte at a time: it never stands still.
        while writing.write_all(b" ").await.is_ok() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let mut answer = Vec::new();
    let answered = async {
        let _ = timeout(PATIENCE, reading.read_to_end(&mut answer)).await;
        begun.elapsed()
    };
    let ((), took) = tokio::join!(drip, answered);
    let answer = Answer(String::from_utf8(answer).unwrap());
    assert_eq!(answer.status(), 408, "{answer:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(fixture.pdp.count(), 0);
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn who_is_revoked_while_others_are_asked_gets_no_further() {
    let fixture = fixture().await;
    *fixture.pdp.delay.lock().unwrap() = Duration::from_millis(300);
    let asking = fixture.get("/records/1", "at_alice");
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        revoke_alice(&fixture).await;
    };
    let (answer, ()) = tokio::join!(asking, revoking);
    assert_eq!(answer.status(), 401, "{answer:?}");
    assert!(fixture.upstream.seen().is_empty());
    // A slow answer about somebody else is good.
    assert_eq!(fixture.get("/records/1", "at_bob").await.status(), 200);
}

#[tokio::test]
async fn a_decision_that_is_voided_while_it_is_asked_for_is_asked_for_again() {
    let fixture = fixture().await;
    *fixture.pdp.delay.lock().unwrap() = Duration::from_millis(300);
    let asking = fixture.get("/records/1", "at_alice");
    let changing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // What is being answered was permitted before.
        fixture
            .pdp
            .denies
            .store(true, std::sync::atomic::Ordering::SeqCst);
        *fixture.pdp.delay.lock().unwrap() = Duration::ZERO;
        fixture
            .announce_and_wait(json!({ "kind": "policy_changed", "version": "2", "epoch": 2 }))
            .await;
    };
    let (answer, ()) = tokio::join!(asking, changing);
    assert_eq!(answer.status(), 403, "{answer:?}");
    assert!(fixture.upstream.seen().is_empty());
    assert_eq!(fixture.pdp.count(), 2);
}

#[tokio::test]
async fn an_answer_that_is_rewritten_is_looked_at_while_it_is_read() {
    let mask = json!([{ "id": "m", "type": "mask", "properties": { "fields": ["/ssn"] } }]);
    for is_revoked in [false, true] {
        let setup = Setup::new().await;
        setup.pdp.oblige(mask.clone());
        let fixture = setup.start().await;
        let reading = fixture.get("/records/halting", "at_alice");
        let revoking = async {
            // Its head has come, and its first half.
            tokio::time::sleep(Duration::from_millis(500)).await;
            if is_revoked {
                revoke_alice(&fixture).await;
            }
        };
        let (answer, ()) = tokio::join!(reading, revoking);
        if is_revoked {
            assert_eq!(answer.status(), 401, "{answer:?}");
            // Which request it was is said in hexadecimal digits, by chance any.
            let problem: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
            let text = answer.0.replace(problem["instance"].as_str().unwrap(), "");
            assert!(!text.contains("1001"), "{answer:?}");
        } else {
            assert_eq!(answer.body(), r#"{"id":"1001","ssn":"***"}"#);
        }
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_what_holds_when_it_has_come() {
    let filter = json!([{ "id": "f", "type": "filter", "properties": {
        "array": "/items", "type": "Item", "id": "/id", "action": "see" } }]);
    let setup = Setup::new().await;
    setup.pdp.oblige(filter);
    let fixture = setup.start().await;
    let list = |answer: Answer| {
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.body().to_owned()
    };
    let before = list(fixture.get("/records/list", "at_alice").await);
    assert!(
        before.contains("\"1\"") && fixture.pdp.count() == 4,
        "{before}"
    );
    // The answer about an element is remembered, and voided while the list comes.
    let reading = fixture.get("/records/halting-list", "at_alice");
    let changing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        fixture
            .announce_and_wait(json!({ "kind": "policy_changed", "version": "2", "epoch": 2 }))
            .await;
    };
    let (answer, ()) = tokio::join!(reading, changing);
    list(answer);
    // The request anew, for its path is another, and again; the two elements again.
    assert_eq!(fixture.pdp.count(), 8);
}
