//! What a key, a value, a batch and a log may be. Checked before any backend sees them, so that
//! all backends refuse the same things.

use std::collections::HashSet;

use bytes::Bytes;

use crate::{Batch, StoreError, Write};

/// Longest key, log name and prefix, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// Longest value and event, in bytes.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// How many events each log keeps; older ones are trimmed and show up as a gap.
pub const DEFAULT_MAX_EVENTS: u64 = 100_000;
/// Most events in one page of a `follow`.
pub(crate) const EVENTS_PER_PAGE: usize = 1024;

/// `area:rest`, both there, without control characters (keys end up in logs).
pub(crate) fn check_key(key: &str) -> Result<(), StoreError> {
    check_name("key", key)?;
    match key.split_once(':') {
        Some((area, rest)) if !area.is_empty() && !rest.is_empty() => Ok(()),
        Some(_) | None => Err(refused("a key has the form `area:rest`")),
    }
}

pub(crate) fn check_log(log: &str) -> Result<(), StoreError> {
    check_name("log name", log)
}

/// Every key and value, and that no key stands in the batch twice: conditions are all judged
/// before the first write, which is right only if no write can change another's condition.
pub(crate) fn check_batch(batch: &Batch) -> Result<(), StoreError> {
    let mut keys = HashSet::new();
    for write in &batch.writes {
        let key = match write {
            Write::Put { key, value, .. } | Write::PutNew { key, value, .. } => {
                check_value(value)?;
                key
            }
            Write::Replace {
                key,
                expected,
                value,
                ..
            } => {
                check_value(expected)?;
                check_value(value)?;
                key
            }
            Write::Delete { key } => key,
            Write::Append { log, event } => {
                check_log(log)?;
                check_value(event)?;
                continue;
            }
        };
        check_key(key)?;
        if !keys.insert(key.as_str()) {
            return Err(refused(&format!("`{key}` stands in the batch twice")));
        }
    }
    Ok(())
}

/// A prefix may be anything that a key may begin with, also nothing.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    if prefix.is_empty() {
        return Ok(());
    }
    check_name("prefix", prefix)
}

/// The caller's wish, kept within reason.
pub(crate) fn page_size(limit: usize) -> usize {
    limit.clamp(1, 1000)
}

pub(crate) fn refused(message: &str) -> StoreError {
    StoreError::Refused {
        message: message.to_owned(),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), StoreError> {
    if name.is_empty() {
        return Err(refused(&format!("the {what} is empty")));
    }
    if name.len() > MAX_KEY_BYTES {
        return Err(refused(&format!(
            "the {what} has {} bytes, more than {MAX_KEY_BYTES}",
            name.len()
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(refused(&format!("the {what} has a control character")));
    }
    Ok(())
}

fn check_value(value: &Bytes) -> Result<(), StoreError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(refused(&format!(
            "the value has {} bytes, more than {MAX_VALUE_BYTES}",
            value.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_an_area_and_a_rest() {
        for good in ["a:b", "token:at:x", "login:zoë", "a::"] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        for odd in ["", "a", ":", "a:", ":b", "a:\n", "a:\0"] {
            assert!(
                matches!(check_key(odd), Err(StoreError::Refused { .. })),
                "{odd:?}"
            );
        }
    }

    #[test]
    fn the_longest_key_is_taken_and_one_byte_more_is_not() {
        assert!(check_key(&format!("a:{}", "x".repeat(MAX_KEY_BYTES - 2))).is_ok());
        assert!(check_key(&format!("a:{}", "x".repeat(MAX_KEY_BYTES - 1))).is_err());
    }

    #[test]
    fn a_key_stands_in_a_batch_once_but_a_log_as_often_as_it_likes() {
        let event = Bytes::from_static(b"e");
        let twice = Batch::new().delete("a:b").put("a:b", event.clone(), None);
        assert!(check_batch(&twice).is_err());
        let logs = Batch::new().append("l", event.clone()).append("l", event);
        assert!(check_batch(&logs).is_ok());
    }
}
