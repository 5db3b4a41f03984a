//! What waits for a receiver, and one step of telling it. Every step is one conditional write on the
//! receiver's cursor: of all replicas one sends.

use std::time::Duration;

use bytes::Bytes;
use service_kit::{UnixTime, random};
use store::{Batch, EventPage, Position};

use super::sender::{Outcome, tell};
use super::{LOG, Occurrence, Signal};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::push::PATIENCE;
use crate::record::{self, ReceiverCursor, Stored};
use crate::registry::{EventReceiver, Registry};

/// When to look again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    /// At the latest.
    After(Duration),
}

/// Whoever has said that it sends, and was not heard of for so long, has died.
const LEASE: Duration = PATIENCE.saturating_mul(2);

/// Before another attempt, doubled with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// A signal that nobody took is dropped after so long.
const GIVE_UP: Duration = Duration::from_hours(24);

/// Whoever waits for a moment looks at the clock that often: it may be moved.
const LOOK: Duration = Duration::from_secs(1);

/// A receiver is looked after that often, whatever was heard.
const IDLE: Duration = Duration::from_secs(15);

/// A cursor is moved over so many signals that do not concern its receiver.
const PASSED_BY: usize = 64;

/// Sees to it that from now on nothing is missed for anybody who is told.
pub(crate) async fn prepare(core: &Core, registry: &Registry) -> Result<(), Trouble> {
    for receiver in &registry.event_receivers {
        let is_known = record::load::<ReceiverCursor>(&*core.store, &receiver.id).await?;
        if is_known.is_none() {
            begin(core, receiver).await?;
        }
    }
    Ok(())
}

/// A new receiver is greeted, and told what comes then.
async fn begin(core: &Core, receiver: &EventReceiver) -> Result<(), Trouble> {
    let cursor = ReceiverCursor::at(&core.store.tail(LOG).await?);
    let key = record::key::<ReceiverCursor>(&receiver.id);
    let what = Occurrence::Greeting {
        receiver: receiver.id.clone(),
    };
    let greeting = Signal::of(&random::id()?, core.now(), what);
    let batch = Batch::new()
        .put_new(key, record::encode(&cursor)?, None)
        .append(LOG, greeting.encode());
    // A conflict: another replica was first.
    let _ = core.store.commit(batch).await?;
    Ok(())
}

/// Tells a receiver of the next thing that concerns it, if it is time to.
pub(super) async fn deliver(core: &Core, receiver: &EventReceiver) -> Result<Next, Trouble> {
    let name = receiver.id.as_str();
    let Some(stored) = record::load::<ReceiverCursor>(&*core.store, name).await? else {
        begin(core, receiver).await?;
        return Ok(Next::Now);
    };
    let cursor = &stored.record;
    if core.now() < cursor.not_before {
        let left = cursor.not_before.since(core.now());
        return Ok(Next::After(left.min(LOOK)));
    }
    let position = Position::kept(cursor.position.clone());
    let (events, next) = match core.store.follow(LOG, &position, Duration::ZERO).await? {
        EventPage::Events { events, next } => (events, next),
        EventPage::Gap { next } => {
            core.meter.signal("lost");
            tracing::error!(
                receiver = name,
                "so much waited for a receiver that some of it was dropped"
            );
            let next = ReceiverCursor::at(&next);
            replace(core, name, stored.bytes, &next).await?;
            return Ok(Next::Now);
        }
    };
    let Some((at, signal)) = waiting(&events, cursor.done, receiver) else {
        return pass_by(core, name, &stored, (events.len(), &next)).await;
    };
    let Some(_place) = core.push.place().await else {
        return Ok(Next::After(IDLE));
    };
    let sending = ReceiverCursor {
        done: at,
        not_before: core.now().plus(LEASE),
        ..cursor.clone()
    };
    let Some(bytes) = replace(core, name, stored.bytes.clone(), &sending).await? else {
        return Ok(Next::Now);
    };
    let outcome = tell(core, receiver, &signal).await;
    let outcome = outcome.unwrap_or_else(|trouble| Outcome::Failed(trouble.chain()));
    let after = after(core, receiver, (&sending, &signal), outcome);
    // A conflict: it took so long that another replica has begun, and it is told twice.
    replace(core, name, bytes, &after).await?;
    Ok(Next::Now)
}

/// The first of the signals that is not done with and concerns the receiver, and which one it is.
fn waiting(events: &[Bytes], done: usize, receiver: &EventReceiver) -> Option<(usize, Signal)> {
    let mut unreadable = 0_usize;
    let found = events
        .iter()
        .enumerate()
        .skip(done)
        .find_map(|(at, bytes)| {
            let Some(signal) = Signal::decode(bytes) else {
                unreadable = unreadable.saturating_add(1);
                return None;
            };
            signal.concerns(receiver).then_some((at, signal))
        });
    if unreadable > 0 {
        tracing::error!(
            unreadable,
            "signals cannot be read, and nobody is told of them"
        );
    }
    found
}

/// Nothing on a page concerns the receiver: its cursor moves on where that is worth a write.
async fn pass_by(
    core: &Core,
    name: &str,
    stored: &Stored<ReceiverCursor>,
    (seen, next): (usize, &Position),
) -> Result<Next, Trouble> {
    if seen < PASSED_BY {
        return Ok(Next::After(IDLE));
    }
    replace(core, name, stored.bytes.clone(), &ReceiverCursor::at(next)).await?;
    Ok(Next::Now)
}

/// The cursor after an attempt.
fn after(
    core: &Core,
    receiver: &EventReceiver,
    (sending, signal): (&ReceiverCursor, &Signal),
    outcome: Outcome,
) -> ReceiverCursor {
    let now = core.now();
    let (name, jti) = (receiver.id.as_str(), &signal.jti);
    let done = ReceiverCursor {
        done: sending.done.saturating_add(1),
        attempts: 0,
        not_before: UnixTime::default(),
        ..sending.clone()
    };
    match outcome {
        Outcome::Taken => {
            core.meter.signal("taken");
            audit!("signal_taken", receiver = name, jti = jti);
            done
        }
        Outcome::Refused(reason) => {
            core.meter.signal("refused");
            tracing::error!(receiver = name, jti = jti, reason, "a signal was refused");
            done
        }
        Outcome::Failed(reason) if now.since(signal.at) > GIVE_UP => {
            core.meter.signal("lost");
            tracing::error!(receiver = name, jti = jti, reason, "a signal is given up");
            done
        }
        Outcome::Failed(reason) => {
            core.meter.signal("failed");
            audit!(
                "signal_not_taken",
                receiver = name,
                jti = jti,
                reason = reason
            );
            let doubled = FIRST_WAIT.saturating_mul(1 << sending.attempts.min(9));
            ReceiverCursor {
                attempts: sending.attempts.saturating_add(1),
                not_before: now.plus(doubled.min(LONGEST_WAIT)),
                ..sending.clone()
            }
        }
    }
}

/// Writes a cursor where it still is as it was; the bytes that it is now.
async fn replace(
    core: &Core,
    name: &str,
    expected: Bytes,
    after: &ReceiverCursor,
) -> Result<Option<Bytes>, Trouble> {
    let (key, bytes) = (record::key::<ReceiverCursor>(name), record::encode(after)?);
    let is_written = core.store.replace(&key, expected, bytes.clone(), None);
    Ok(is_written.await?.then_some(bytes))
}
