//! What metrics are called, and that nobody who sends requests, or answers them, makes series.

use crate::fixture::{Fixture, eventually};

#[tokio::test]
async fn hostile_methods_paths_and_hosts_make_no_series() {
    let fixture = Fixture::start().await;
    let known = |n: usize| {
        [
            format!("M{n} /records/{n} HTTP/1.1\r\nHost: gw.test\r\n"),
            format!("M{n} /public/{n} HTTP/1.1\r\nHost: gw.test\r\n"),
            format!("GET /{n}/nowhere HTTP/1.1\r\nHost: h{n}.test\r\n"),
            format!("GET /records/{n} HTTP/1.1\r\nHost: h{n}.test\r\n"),
            format!("GET /public/%0{n} HTTP/1.1\r\nHost: h{n}.test\r\nX-{n}: {n}\r\n"),
            format!("GET /records/{n} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t{n}\r\n"),
        ]
    };
    let mut before = String::new();
    for n in 0..40 {
        for head in known(n) {
            let answer = fixture
                .raw(&format!("{head}Connection: close\r\n\r\n"))
                .await;
            assert!(answer.status() >= 200, "{answer:?}");
        }
        eventually("all are counted", || {
            fixture.metric("http_server_active_requests") == 0.0
        })
        .await;
        if n == 10 {
            before = names(&fixture);
        }
    }
    assert_eq!(names(&fixture), before, "as many as after a few");
    let text = fixture.metrics.render();
    for made_up in ["M1", "h1.test", "/1/nowhere", "/records/1", "/public/1"] {
        assert!(!text.contains(made_up), "{made_up}");
    }
    for series in [
        "error_type=\"\",http_request_method=\"_OTHER\",http_response_status_code=\"405\",http_route=\"\"",
        "error_type=\"\",http_request_method=\"_OTHER\",http_response_status_code=\"200\",http_route=\"/public/{*rest}\"",
        "error_type=\"\",http_request_method=\"GET\",http_response_status_code=\"404\",http_route=\"\"",
        "error_type=\"\",http_request_method=\"GET\",http_response_status_code=\"401\",http_route=\"/records/{id}\"",
    ] {
        let line = format!("http_server_request_duration_seconds_count{{{series}}}");
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn durations_say_what_came_of_a_request() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    let upstream = "http_client_request_duration_seconds_count{error_type=\"\",http_request_method=\"GET\",\
                    http_response_status_code=\"200\",upstream=\"a\"} 1";
    let text = fixture.metrics.render();
    assert!(text.contains(upstream), "{text}");
    assert!(!text.contains("pep_requests_total"), "one thing, one name");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_has_the_words_of_the_standard() {
    let mut setup = crate::fixture::Setup::new().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    setup.upstream.addr = nowhere.local_addr().unwrap();
    drop(nowhere);
    let fixture = setup.start().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 502);
    let text = fixture.metrics.render();
    for line in [
        "http_client_request_duration_seconds_count{error_type=\"connection_refused\",http_request_method=\"GET\",\
         http_response_status_code=\"\",upstream=\"a\"} 1",
        "http_server_request_duration_seconds_count{error_type=\"upstream_failed\",http_request_method=\"GET\",\
         http_response_status_code=\"502\",http_route=\"/records/{id}\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// Of all series.
fn names(fixture: &Fixture) -> String {
    let text = fixture.metrics.render();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let series = series.filter_map(|line| Some(line.rsplit_once(' ')?.0));
    series.collect::<Vec<_>>().join("\n")
}
