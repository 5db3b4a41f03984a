//! The generator against servers that answer late, wrongly, or not at all.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;

#[test]
fn percentiles_are_those_of_all_answers() {
    let nanos: Vec<u64> = (1..=10_000).rev().map(|n| n * 1000).collect();
    let latency = percentiles(1.0, nanos);
    let expected = Latency {
        rate: 1.0,
        p50: 5000.0,
        p99: 9900.0,
        p999: 9990.0,
        most: 10_000.0,
    };
    assert_eq!(latency, expected);
    assert!(percentiles(1.0, Vec::new()).most.abs() < 1e-9);
}

/// Answers `answer` to every request, each `pause` after it came.
async fn server(answer: &'static str, pause: Duration) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                    tokio::time::sleep(pause).await;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                        answer.len()
                    );
                    stream.write_all((head + answer).as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

async fn run(
    answer: &'static str,
    pause: Duration,
    connections: usize,
    rate: Option<f64>,
) -> Counted {
    let local = LocalSet::new();
    local
        .run_until(async {
            let address = server(answer, pause).await;
            let sign = Sign {
                before: "\"decision\":".into(),
                permit: 't',
            };
            let question = crate::ask::Question {
                body: serde_json::json!({}),
                expected: vec![true],
            };
            let questions = Questions::of_json("/", sign, 1, vec![question]);
            let mut streams = Vec::new();
            for _ in 0..connections {
                streams.push(TcpStream::connect(address).await.unwrap());
            }
            let shared = Rc::new(Shared {
                questions: questions.prepared(address),
                sign: questions.sign,
                chain: None,
                left: RefCell::default(),
                schedule: Schedule::new(rate, Duration::from_millis(500)),
                counted: RefCell::default(),
            });
            run_all(streams, &shared).await.unwrap();
            shared.counted.take()
        })
        .await
}

#[tokio::test]
async fn as_many_requests_are_sent_as_the_rate_says() {
    let counted = run(r#"{"decision":true}"#, Duration::ZERO, 4, Some(1000.0)).await;
    assert_eq!((counted.latencies.len(), counted.errors), (500, 0));
}

#[tokio::test]
async fn without_a_rate_connections_do_not_wait_for_each_other() {
    let counted = run(r#"{"decision":true}"#, Duration::from_millis(20), 4, None).await;
    let requests = counted.latencies.len();
    // 25 on each connection, if nothing comes between.
    assert!((8..=104).contains(&requests), "{requests}");
}

#[tokio::test]
async fn wrong_answers_are_counted() {
    let counted = run(r#"{"decision":false}"#, Duration::ZERO, 2, Some(100.0)).await;
    assert_eq!((counted.latencies.len(), counted.errors), (50, 50));
}

#[tokio::test]
async fn a_request_that_waits_for_a_connection_is_late_from_when_it_was_due() {
    // One connection does 50 requests of 10 ms in this time; 100 are due. The last begins half a
    // second after it was due.
    let counted = run(
        r#"{"decision":true}"#,
        Duration::from_millis(10),
        1,
        Some(200.0),
    )
    .await;
    assert_eq!(counted.latencies.len(), 100);
    let latest = counted.latencies.iter().max().unwrap();
    assert!(*latest >= 400_000_000, "{latest}");
}
