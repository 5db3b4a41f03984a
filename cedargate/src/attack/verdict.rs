//! Whether a gateway did right: what came back, what the upstream got, what was decided on.

use super::case::{Case, Expect, MARKER};
use super::exchange::statuses;
use super::stubs::JWT;
use super::target::SMUGGLED;
use super::upstream::{Seen, field};

/// Everything that one case produced.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) answer: Vec<u8>,
    pub(super) seen: Vec<Seen>,
    /// The paths that the PDP was asked about, where it is ours.
    pub(super) decided: Option<Vec<String>>,
}

/// Says what is wrong, if anything.
pub(super) fn judge(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let whole: Vec<&Seen> = outcome.seen.iter().filter(|seen| seen.is_whole).collect();
    for seen in &outcome.seen {
        check_anyway(case, seen)?;
    }
    if whole.len() > case.requests {
        return Err(format!(
            "{} requests reached the upstream, {} were sent",
            whole.len(),
            case.requests
        ));
    }
    let status = statuses(&outcome.answer).first().copied();
    match &case.expect {
        Expect::Refused => {
            if let Some(seen) = whole.first() {
                return Err(format!("it reached the upstream as `{}`", line(seen)));
            }
            is_refusal(status)
        }
        Expect::Status(allowed) => {
            if let Some(seen) = outcome.seen.first() {
                return Err(format!("it reached the upstream as `{}`", line(seen)));
            }
            match status {
                Some(status) if allowed.contains(&status) => Ok(()),
                _ => Err(format!("the status must be one of {allowed:?}")),
            }
        }
        Expect::Passes { target, body } => {
            if whole.len() != case.requests {
                return Err("an ordinary request must pass".to_owned());
            }
            if statuses(&outcome.answer) != vec![200; case.requests] {
                return Err("the upstream's answer must come back".to_owned());
            }
            for seen in whole {
                if path_and_query(seen) != Some(target) {
                    return Err(format!("the upstream must see the target `{target}`"));
                }
                if seen.body != *body {
                    return Err("the upstream must see the body as it was sent".to_owned());
                }
                check_decided(case, outcome, seen)?;
            }
            Ok(())
        }
        Expect::Sound if whole.is_empty() => is_refusal(status),
        Expect::Sound => whole
            .into_iter()
            .try_for_each(|seen| check_decided(case, outcome, seen)),
    }
}

/// What must hold of whatever reaches the upstream.
fn check_anyway(case: &Case, seen: &Seen) -> Result<(), String> {
    if !seen.surplus.is_empty() {
        return Err("more than one message reached the upstream on one connection".to_owned());
    }
    if line(seen).contains(SMUGGLED) {
        return Err("a request that was hidden in another reached the upstream".to_owned());
    }
    if case.hides_marker && seen.head.contains(MARKER) {
        return Err("a field that a client may not send reached the upstream".to_owned());
    }
    if !seen.is_whole {
        return Ok(());
    }
    let expected = case.is_protected.then(|| format!("Bearer {JWT}"));
    if field(&seen.head, "authorization") != expected.as_deref() {
        return Err("the upstream must get the gateway's credential and no other".to_owned());
    }
    for (name, allowed) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        if count(seen, name) != 1 || field(&seen.head, name) != Some(allowed) {
            return Err(format!("the gateway must say `{name}: {allowed}` itself"));
        }
    }
    for name in ["host", "x-forwarded-host", "x-request-id"] {
        if count(seen, name) != 1 {
            return Err(format!("the upstream must get `{name}` exactly once"));
        }
    }
    Ok(())
}

/// Decide what is forwarded.
fn check_decided(case: &Case, outcome: &Outcome, seen: &Seen) -> Result<(), String> {
    // What comes of it then, the case says.
    if case.is_rewritten {
        return Ok(());
    }
    let path = path_and_query(seen)
        .and_then(|target| target.split('?').next())
        .unwrap_or_default();
    let decided = outcome.decided.iter().flatten();
    match decided.clone().find(|decided| *decided != path) {
        Some(other) => Err(format!("decided on `{other}`, forwarded `{path}`")),
        None => Ok(()),
    }
}

fn is_refusal(status: Option<u16>) -> Result<(), String> {
    match status {
        // No answer: the connection was closed, or the rest of a message is waited for.
        None | Some(400..=499 | 501 | 505) => Ok(()),
        Some(status) => Err(format!("it must be refused, and {status} is no refusal")),
    }
}

fn line(seen: &Seen) -> &str {
    seen.head.split("\r\n").next().unwrap_or_default()
}

fn path_and_query(seen: &Seen) -> Option<&str> {
    line(seen).split(' ').nth(1)
}

fn count(seen: &Seen, name: &str) -> usize {
    let names = seen.head.split("\r\n").skip(1);
    names
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .count()
}
