//! The time of a decision, for policies: a member of the context that this decision point fills in
//! itself, and what a comparison with it says about how long its answer holds.

use cedar_policy_core::ast::{BinaryOp, Literal, PartialValue, Value, ValueKind};
use cedar_policy_core::extensions::Extensions;
use service_kit::UnixTime;

/// A time as Cedar's `datetime`.
pub(crate) fn datetime(time: UnixTime) -> Option<Value> {
    call("datetime", &[Value::from(time.rfc3339())])
}

/// Milliseconds from 1970 on of a Cedar `datetime`.
pub(crate) fn millis(value: &Value) -> Option<i64> {
    let since = call("durationSince", &[value.clone(), epoch()?])?;
    match call("toMilliseconds", &[since])?.value_kind() {
        ValueKind::Lit(Literal::Long(millis)) => Some(*millis),
        _ => None,
    }
}

/// Whether time passing will turn a comparison around, and in how many milliseconds.
pub(crate) fn turns_in(op: BinaryOp, now: i64, other: i64, now_is_left: bool) -> Option<u64> {
    // `now < x` and `x <= now` turn when it is x, the other two when it is past.
    let last = match (op, now_is_left) {
        (BinaryOp::Less, true) | (BinaryOp::LessEq, false) => other.checked_sub(1)?,
        _ => other,
    };
    let left = last.checked_sub(now)?.checked_add(1)?;
    u64::try_from(left).ok().filter(|left| *left > 0)
}

fn epoch() -> Option<Value> {
    call("datetime", &[Value::from("1970-01-01")])
}

fn call(name: &str, args: &[Value]) -> Option<Value> {
    let function = Extensions::all_available().func(&name.parse().ok()?).ok()?;
    match function.call(args).ok()? {
        PartialValue::Value(value) => Some(value),
        PartialValue::Residual(_) => None,
    }
}

#[cfg(test)]
mod tests;
