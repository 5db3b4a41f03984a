//! Clients with streams of events: each goes on as long as it is permitted, and no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use super::endpoint::BEAT;
use super::ledger::{Moment, Part};
use super::line::{Line, NAME, Speaks};
use super::stage::Stage;
use super::tally::Tally;
use super::wallet::Token;
use crate::drills::random::Random;

/// A stream ends so long after everybody has heard of it: what is young becomes one after a second, counted from one
/// event to another.
const ENDS_WITHIN: Duration = Duration::from_millis(2_500);

/// `gateway.streams.grace_secs`: without answers it ends after this, and not before.
const GRACE: Duration = Duration::from_secs(9);

/// No event for so long, and the stream stands still.
const STILL: Duration = Duration::from_secs(5);

/// Watches until it is over, one stream after the other.
pub async fn watch(
    stage: Arc<Stage>,
    tally: Arc<Tally>,
    is_over: Arc<AtomicBool>,
    (mut random, speaks, gateway): (Random, Speaks, usize),
) {
    while !is_over.load(Ordering::Relaxed) {
        let line = Line::new(speaks, stage.gateway(gateway), &stage.tls);
        if let Some(token) = stage.wallet.program(&mut random)
            && let Ok(response) = line.send(request(speaks, &token)).await
            && response.status() == 200
        {
            tally.stream(false);
            let watcher = Watcher {
                stage: &stage,
                token,
                gateway,
            };
            let seen = watcher.follow(response.into_body(), &is_over).await;
            tally.stream(true);
            if let Err(why) = seen {
                let before = stage.ledger.before(stage.ledger.now()).join("\n    ");
                let story = watcher.token.story();
                tally.fail(format!(
                    "{why}\n  a stream by {speaks:?} at gateway {}, {story}\n  what had happened:\n    {before}",
                    gateway + 1
                ));
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn request(speaks: Speaks, token: &Token) -> Request<Full<Bytes>> {
    let (uri, host) = if speaks == Speaks::Two {
        (format!("https://{NAME}/events"), None)
    } else {
        ("/events".into(), Some(NAME))
    };
    let mut request = Request::get(uri).header("authorization", format!("Bearer {}", token.text));
    if let Some(host) = host {
        request = request.header("host", host);
    }
    request.body(Full::new(Bytes::new())).expect("a request")
}

struct Watcher<'s> {
    stage: &'s Stage,
    token: Arc<Token>,
    gateway: usize,
}

impl Watcher<'_> {
    async fn follow(&self, mut body: Incoming, is_over: &AtomicBool) -> Result<(), String> {
        let ledger = &self.stage.ledger;
        let mut last = ledger.now();
        loop {
            let frame = tokio::time::timeout(STILL, body.frame()).await;
            let now = ledger.now();
            let ends = ledger
                .known_by(self.token.dead_at(), now)
                .max(self.token.dead_at())
                + ENDS_WITHIN;
            match frame {
                Ok(Some(Ok(_))) if now > ends + BEAT => {
                    return Err(format!(
                        "WRONG an event {:.2?} after the token's end",
                        now - self.token.dead_at()
                    ));
                }
                Ok(Some(Ok(_))) => last = now,
                Err(_) if !self.may_end(last, now) => {
                    return Err(format!("LOST no event for {STILL:?}"));
                }
                Ok(Some(Err(error))) if !self.may_end(last, now) => {
                    return Err(format!("LOST the stream broke off: {error:?}"));
                }
                Ok(None) if !self.may_end(last, now) => {
                    return Err("LOST the stream ended".into());
                }
                Err(_) | Ok(Some(Err(_)) | None) => return Ok(()),
            }
            if is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// Because of its token, of what was killed, or since nobody could say anything for long enough.
    fn may_end(&self, last: Moment, now: Moment) -> bool {
        let ledger = &self.stage.ledger;
        let down = ledger.down(last, now);
        self.token.worth(ledger, last, now) != super::wallet::Worth::Live
            || down.contains(&Part::FirstEndpoint)
            || down.contains(&Part::SecondEndpoint)
            || self.gateway == 1 && down.contains(&Part::SecondGateway)
            || ledger.longest(&[Part::Redis, Part::Pdp, Part::TokenService], last, now) > GRACE
    }
}
