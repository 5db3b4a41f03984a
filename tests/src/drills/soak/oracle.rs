//! Which answers are right at the moment of a request. Everything that was sent and answered in windows that the
//! ledger knows is allowed what `ARCHITECTURE.md` says of them; nothing else is.

use super::ledger::{Ledger, Moment, Part};
use super::line::{Answer, Broken};
use super::shot::{Rule, Shot};
use super::wallet::Worth;

/// What became of a request.
#[derive(Debug)]
pub enum Verdict {
    /// Permitted, refused: as it must be.
    Right,
    /// 503, while what had to be asked was down.
    Unavailable,
    /// Of a killed endpoint, and not to be sent again.
    OfEndpoint,
    /// Of a killed gateway.
    OfGateway,
    /// No answer, or one of failure, that nothing in force explains.
    Lost(String),
    Wrong(String),
}

const ENDPOINTS: [Part; 2] = [Part::FirstEndpoint, Part::SecondEndpoint];

/// Judges what came of it.
pub fn judge(
    shot: &Shot,
    (sent, answered): (Moment, Moment),
    outcome: &Result<Answer, Broken>,
    ledger: &Ledger,
) -> Verdict {
    match outcome {
        Ok(answer) => of_answer(shot, (sent, answered), answer, ledger),
        Err(broken) => {
            let down = ledger.down(sent, answered);
            let is_cut = matches!(broken, Broken::Body(..));
            if shot.gateway == 1 && down.contains(&Part::SecondGateway) {
                Verdict::OfGateway
            } else if is_cut && ENDPOINTS.iter().any(|it| down.contains(it)) {
                Verdict::OfEndpoint
            } else {
                Verdict::Lost(broken.to_string())
            }
        }
    }
}

fn of_answer(
    shot: &Shot,
    (sent, answered): (Moment, Moment),
    answer: &Answer,
    ledger: &Ledger,
) -> Verdict {
    let allowed = Allowed::of(shot, (sent, answered), ledger);
    let text = || String::from_utf8_lossy(&answer.body).into_owned();
    let right = |is_allowed: bool, what: &str| {
        if is_allowed {
            Verdict::Right
        } else {
            Verdict::Wrong(format!("{what}, where {allowed:?}: {}", text()))
        }
    };
    match answer.status {
        200 => match shot.complaint(&answer.body) {
            Some(why) if allowed.permit => Verdict::Wrong(format!("{why}: {}", text())),
            _ => right(allowed.permit, "permitted"),
        },
        401 => right(allowed.no_token, "401"),
        403 => right(allowed.deny, "403"),
        404 => right(allowed.no_route, "404"),
        503 if !answer.retry_after => {
            Verdict::Wrong(format!("503 without Retry-After: {}", text()))
        }
        502..=504 => unavailable(shot, (sent, answered), answer, ledger),
        status => Verdict::Lost(format!("{status}: {}", text())),
    }
}

fn unavailable(
    shot: &Shot,
    (sent, answered): (Moment, Moment),
    answer: &Answer,
    ledger: &Ledger,
) -> Verdict {
    let down = ledger.down(sent, answered);
    let text = String::from_utf8_lossy(&answer.body);
    let is_of_upstream = answer.status != 503 || text.contains("upstream");
    if is_of_upstream {
        // The other one is well: what may be sent again, is.
        if ENDPOINTS.iter().any(|it| down.contains(it)) && !shot.is_repeatable() {
            return Verdict::OfEndpoint;
        }
        return Verdict::Lost(format!("{}: {text}", answer.status));
    }
    let asked: &[Part] = match shot.rule() {
        Rule::NoToken | Rule::NoRoute => &[],
        // Nobody decides about those whom nobody knows.
        Rule::UnknownToken => &[Part::Redis, Part::TokenService],
        Rule::Permit | Rule::Deny | Rule::Switch => &[Part::Redis, Part::TokenService, Part::Pdp],
    };
    if asked.iter().any(|it| down.contains(it)) {
        Verdict::Unavailable
    } else {
        Verdict::Lost(format!("503, and nothing is down: {text}"))
    }
}

/// The answers that are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Allowed {
    permit: bool,
    deny: bool,
    no_token: bool,
    no_route: bool,
}

impl Allowed {
    fn of(shot: &Shot, (sent, answered): (Moment, Moment), ledger: &Ledger) -> Self {
        let worth = shot
            .token
            .as_ref()
            .map(|token| token.worth(ledger, sent, answered));
        let mut allowed = Self::default();
        match shot.rule() {
            Rule::NoToken | Rule::UnknownToken => allowed.no_token = true,
            Rule::NoRoute => allowed.no_route = true,
            Rule::Permit => allowed.permit = true,
            Rule::Deny => allowed.deny = true,
            Rule::Switch => (allowed.permit, allowed.deny) = ledger.switch(sent, answered),
        }
        // Routes are looked for first.
        if allowed.no_route {
            return allowed;
        }
        match worth {
            Some(Worth::Dead) => Self {
                no_token: true,
                ..Self::default()
            },
            Some(Worth::Either) => Self {
                no_token: true,
                ..allowed
            },
            Some(Worth::Live) | None => allowed,
        }
    }
}
