//! Frames in any order: whatever a client does, nothing of it is left over, and others are answered.

use super::*;
use crate::http2_frames::{CONTINUATION, PADDED, PRIORITY, head as head_frames};

/// Numbers that are the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(most).unwrap()).unwrap()
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

fn any_frames(numbers: &mut Numbers) -> Vec<u8> {
    let stream = numbers.of(&[1, 1, 3, 3, 5, 7, 9, 11, 2, 0]);
    let is_whole = numbers.below(2) == 0;
    let end = if numbers.below(3) == 0 { END_STREAM } else { 0 };
    match numbers.below(14) {
        0..=3 => {
            let path = numbers.of(&[
                "/public/ok",
                "/public/big",
                "/public/slow",
                "/public/echo",
                "/public/feed",
                "/records/1",
                "/nowhere",
            ]);
            head_frames(
                stream,
                &head(numbers.of(&["GET", "POST", "HEAD"]), path),
                is_whole,
            )
        }
        4 => head_frames(stream, &with_token("/records/1"), is_whole),
        5 | 6 => frame(DATA, end, stream, &numbers.bytes(600)),
        7 => frame(DATA, end | PADDED, stream, &numbers.bytes(20)),
        8 => frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()),
        9 => {
            let more = numbers.of(&[0_u32, 1, 1000, 0x7fff_ffff]);
            frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
        }
        10 => {
            let [_, b, c, d] = numbers.of(&[0_u32, 1, 100, 65_535]).to_be_bytes();
            frame(SETTINGS, 0, 0, &[0, 4, 0, b, c, d])
        }
        11 => frame(PING, 0, 0, &[0; 8]),
        12 => frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]),
        _ => {
            let kind = numbers.of(&[DATA, HEADERS, CONTINUATION, GOAWAY, SETTINGS, 0xfa]);
            frame(
                kind,
                numbers.of(&[0, 1, 4, 5, 8]),
                stream,
                &numbers.bytes(40),
            )
        }
    }
}

#[tokio::test]
async fn frames_in_any_order_leave_nothing_over() {
    let fixture = start(", timeouts: { idle_body_secs: 2, head_secs: 2 }").await;
    let mut numbers = Numbers(0x5eed);
    for round in 0..RANDOM {
        let mut frames = connect(&fixture).await;
        for _ in 0..numbers.below(40) {
            let bytes = any_frames(&mut numbers);
            if !frames.bytes(&bytes).await {
                break;
            }
            if numbers.below(8) == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        if round % 16 == 0 {
            let next = async { while frames.next().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_millis(20), next).await;
        }
    }
    for gauge in [
        "pep_connections",
        "http_server_active_requests",
        "http_client_active_requests",
    ] {
        eventually(gauge, || fixture.metric(gauge) < 0.5).await;
    }
    let mut frames = connect(&fixture).await;
    frames.headers(1, &head("GET", "/public/ok"), true).await;
    assert_eq!(frames.outcome(1).await.status(), Some(200));
}

const RANDOM: usize = 1500;
