//! The time of a decision, for policies: a member of the context that this decision point fills in
//! itself, and what a comparison with it says about how long its answer holds.

use std::sync::LazyLock;

use cedar_policy_core::ast::{
    BinaryOp, ExtensionFunction, Literal, PartialValue, Value, ValueKind,
};
use cedar_policy_core::extensions::Extensions;
use service_kit::UnixTime;

/// What times are made and read with, looked up once.
struct Functions {
    datetime: &'static ExtensionFunction,
    duration_since: &'static ExtensionFunction,
    to_milliseconds: &'static ExtensionFunction,
    epoch: Value,
}

static FUNCTIONS: LazyLock<Option<Functions>> = LazyLock::new(Functions::find);

/// A time as Cedar's `datetime`.
pub(crate) fn datetime(time: UnixTime) -> Option<Value> {
    let functions = FUNCTIONS.as_ref()?;
    called(functions.datetime, &[Value::from(time.rfc3339())])
}

/// Milliseconds from 1970 on of a Cedar `datetime`.
pub(crate) fn millis(value: &Value) -> Option<i64> {
    let functions = FUNCTIONS.as_ref()?;
    let epoch = functions.epoch.clone();
    let since = called(functions.duration_since, &[value.clone(), epoch])?;
    match called(functions.to_milliseconds, &[since])?.value_kind() {
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

impl Functions {
    fn find() -> Option<Self> {
        let named = |name: &str| Extensions::all_available().func(&name.parse().ok()?).ok();
        let datetime = named("datetime")?;
        Some(Self {
            datetime,
            duration_since: named("durationSince")?,
            to_milliseconds: named("toMilliseconds")?,
            epoch: called(datetime, &[Value::from("1970-01-01")])?,
        })
    }
}

fn called(function: &ExtensionFunction, args: &[Value]) -> Option<Value> {
    match function.call(args).ok()? {
        PartialValue::Value(value) => Some(value),
        PartialValue::Residual(_) => None,
    }
}

#[cfg(test)]
mod tests;
