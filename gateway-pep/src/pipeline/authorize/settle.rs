//! What took its time is looked at once more before it passes: while others were asked, or a body came, the caller may
//! have been revoked, and the decision with them.

use super::permitted::{Permit, Permitted};
use super::{Record, Refusal, again};
use crate::pipeline::authenticate;
use crate::pipeline::held::Standing;
use crate::streams::Times;
use crate::worker::Worker;
use std::time::Duration;

/// What takes no longer has waited for no more than neighbours that are well.
const AT_ONCE: Duration = Duration::from_millis(50);
/// Whoever cannot be asked in less than that so often is not well.
const ROUNDS: usize = 3;

/// Holds what was granted against what is known now. What does not hold is asked again, as of now.
pub(super) async fn settle(
    worker: &Worker,
    permitted: &mut Permitted,
    record: &mut Record,
) -> Result<(), Refusal> {
    for _ in 0..ROUNDS {
        if record.moment.instant.elapsed() < AT_ONCE {
            return Ok(());
        }
        let Some(granted) = permitted.granted() else {
            return Ok(());
        };
        let standing = Standing::of(granted, &record.moment);
        let began = record.moment.unix;
        record.moment = worker.moment();
        if standing.holds((worker, &record.moment), permitted.shown(), Times::DEFAULT) {
            return Ok(());
        }
        let caller = authenticate::again(worker, permitted, record).await?;
        let verdict = again(worker, permitted, (&caller, began), record).await?;
        permitted.renew(Permit::Granted { caller, verdict });
    }
    Err(Refusal::DecisionPointUnavailable)
}
