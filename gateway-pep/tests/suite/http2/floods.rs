//! What costs a client little and could cost the gateway much.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Semaphore;

use super::*;
use crate::http2_frames::{CONTINUATION, PADDED, PRIORITY, head as head_frames};

/// Whether it serves others as ever.
async fn assert_alive(fixture: &Fixture) {
    let mut frames = connect(fixture).await;
    frames.headers(1, &head("GET", "/public/ok"), true).await;
    assert_eq!(frames.outcome(1).await.status(), Some(200));
    eventually("nothing is left over", || {
        fixture.metric("http_server_active_requests") == 0.0
    })
    .await;
}

#[tokio::test]
async fn resets_in_a_row_are_told_to_calm_down() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    let mut bytes = Vec::new();
    for stream in (1..2000).step_by(2) {
        bytes.extend(head_frames(stream, &with_token("/records/never"), true));
        bytes.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    frames.bytes(&bytes).await;
    assert_eq!(frames.outcome(1).await, Outcome::GoAway(ENHANCE_YOUR_CALM));
    assert_alive(&fixture).await;
    assert!(fixture.pdp.count() < 100);
}

#[tokio::test]
async fn what_a_client_gives_up_is_not_gone_on_with_and_cannot_be_given_up_for_ever() {
    let fixture = start("").await;
    let gate = Arc::new(Semaphore::new(0));
    *fixture.tokens.gate.lock().unwrap() = Some(gate.clone());
    let mut frames = connect(&fixture).await;
    let mut last = 0;
    for stream in (1..1000).step_by(2) {
        let before = fixture.tokens.asked.load(Ordering::SeqCst);
        let mut fields = head("GET", "/records/1");
        let token = format!("Bearer at_{stream}");
        fields.push(("authorization", token.leak()));
        if !frames.headers(stream, &fields, true).await {
            break;
        }
        for _ in 0..100 {
            if fixture.tokens.asked.load(Ordering::SeqCst) > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if fixture.tokens.asked.load(Ordering::SeqCst) == before {
            break;
        }
        last = stream;
        frames
            .write(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
            .await;
    }
    // A hundred, and perhaps one that was on its way.
    assert!((190..=205).contains(&last), "{last}");
    assert_alive(&fixture).await;
    assert!(
        fixture.upstream.seen().len() <= 1,
        "{:?}",
        fixture.upstream.seen()
    );
}

#[tokio::test]
async fn a_client_that_sees_most_of_it_through_may_give_up_the_rest() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    for round in 0..150_u32 {
        let (first, second) = (4 * round + 1, 4 * round + 3);
        frames
            .headers(first, &head("GET", "/public/never"), true)
            .await;
        frames
            .write(RST_STREAM, 0, first, &CANCEL.to_be_bytes())
            .await;
        frames
            .headers(second, &head("GET", "/public/ok"), true)
            .await;
        assert_eq!(frames.outcome(second).await.status(), Some(200), "{round}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_ended() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    let begun = block(&head("GET", "/public/ok"));
    frames.write(HEADERS, END_STREAM, 1, &begun).await;
    let more = block(&[("x-a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]);
    let mut written = 0;
    while written < 100_000 && frames.write(CONTINUATION, 0, 1, &more).await {
        written += 1;
    }
    let outcome = frames.outcome(1).await;
    assert!(
        matches!(outcome, Outcome::GoAway(_) | Outcome::Closed),
        "{outcome:?}"
    );
    assert_alive(&fixture).await;
    // And one of frames with nothing in them.
    let mut frames = connect(&fixture).await;
    frames.write(HEADERS, END_STREAM, 1, &begun).await;
    let mut written = 0;
    while written < 100_000 && frames.write(CONTINUATION, 0, 1, &[]).await {
        written += 1;
    }
    let outcome = frames.outcome(1).await;
    assert!(
        matches!(outcome, Outcome::GoAway(_) | Outcome::Closed),
        "{outcome:?}"
    );
    assert_alive(&fixture).await;
}

#[tokio::test]
async fn a_head_over_the_limits_is_431_or_the_end() {
    let fixture = start(", limits: { head_bytes: 8192, headers: 20 }").await;
    let long: &'static str = "a".repeat(9000).leak();
    let mut frames = connect(&fixture).await;
    let mut fields = head("GET", "/public/ok");
    fields.push(("x-a", long));
    frames.headers(1, &fields, true).await;
    assert_eq!(frames.outcome(1).await.status(), Some(431));
    let mut fields = head("GET", "/public/ok");
    fields.extend([("x-a", "1"); 21]);
    frames.headers(3, &fields, true).await;
    assert_eq!(frames.outcome(3).await.status(), Some(431));
    let mut fields = head("GET", "/public/ok");
    fields.extend([("x-a", "1"); 20]);
    frames.headers(5, &fields, true).await;
    assert_eq!(frames.outcome(5).await.status(), Some(200));
    // A value that is in the table may be named a thousand times for a byte each: counted as if written.
    let mut bomb = block(&head("GET", "/public/ok"));
    bomb.extend([0x40, 1, b'b', 0x7f, 0xa1, 0x1e]);
    bomb.extend(vec![b'c'; 4000]);
    bomb.extend(vec![0xbe; 16_000 - 4000]);
    frames
        .write(HEADERS, END_STREAM | END_HEADERS, 7, &bomb)
        .await;
    let outcome = frames.outcome(7).await;
    assert!(
        matches!(outcome, Outcome::Answer(431, _) | Outcome::GoAway(_)),
        "{outcome:?}"
    );
    assert_eq!(fixture.upstream.seen().len(), 1);
    assert_alive(&fixture).await;
}

#[tokio::test]
async fn frames_that_say_nothing_are_a_flood() {
    let fixture = start("").await;
    let floods: [(&str, Vec<u8>); 6] = [
        ("ping", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("acknowledged", frame(PING, ACK, 0, &[0; 8])),
        ("window", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("priority", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("unknown", frame(0xfa, 0, 0, &[])),
    ];
    for (name, one) in floods {
        let mut frames = connect(&fixture).await;
        let outcome = frames.flood(&one).await;
        assert!(
            matches!(outcome, Outcome::GoAway(_) | Outcome::Closed),
            "{name} {outcome:?}"
        );
    }
    // Nothing, and padding of nothing.
    for one in [frame(DATA, 0, 1, &[]), frame(DATA, PADDED, 1, &[2, 0, 0])] {
        let mut frames = connect(&fixture).await;
        frames
            .headers(1, &head("POST", "/public/echo"), false)
            .await;
        let outcome = frames.flood(&one).await;
        assert!(
            matches!(outcome, Outcome::GoAway(_) | Outcome::Closed),
            "{outcome:?}"
        );
    }
    assert_alive(&fixture).await;
}

/// CVE-2025-8671: the client makes the server reset what it has begun on.
#[tokio::test]
async fn resets_that_the_client_provokes_are_counted_too() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    let mut ended = None;
    for stream in (1..1000).step_by(2) {
        let mut bytes = head_frames(stream, &head("GET", "/public/never"), false);
        // A window of more than can be.
        bytes.extend(frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]));
        if !frames.bytes(&bytes).await {
            break;
        }
        match frames.outcome(stream).await {
            Outcome::Reset(_) => {}
            other => {
                ended = Some((stream, other));
                break;
            }
        }
    }
    let (stream, outcome) = ended.expect("an end");
    assert!(stream < 300, "{stream}");
    assert!(
        matches!(outcome, Outcome::GoAway(_) | Outcome::Closed),
        "{outcome:?}"
    );
    assert_alive(&fixture).await;
}

#[tokio::test]
async fn small_windows_and_settings_of_a_client_change_nothing_for_others() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    // SETTINGS_INITIAL_WINDOW_SIZE of one byte (CVE-2019-9511): what is answered waits, bounded.
    frames.write(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]).await;
    for stream in (1..100).step_by(2) {
        frames
            .headers(stream, &head("GET", "/public/big"), true)
            .await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    drop(frames);
    assert_alive(&fixture).await;
}
