//! Time as a parameter: nothing else in the workspace reads the wall clock.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixTime(u64);

/// Says what time it is.
pub trait Clock: Send + Sync + Debug {
    fn now(&self) -> UnixTime;
}

/// A clock as it is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A clock that stands still until it is moved. For tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl UnixTime {
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// A time as JWTs write it (RFC 7519 section 2): seconds, which may have a fraction. None: it is none.
    pub fn of_numeric_date(value: &serde_json::Value) -> Option<Self> {
        if let Some(seconds) = value.as_u64() {
            return Some(Self::from_secs(seconds));
        }
        let seconds = Duration::try_from_secs_f64(value.as_f64()?);
        seconds.ok().map(|seconds| Self::default().plus(seconds))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded down: as `exp` and `iat` are written.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// Zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with milliseconds. Every record of a log has one: written digit by digit,
    /// because going by way of a format description takes ten times as long.
    pub fn rfc3339(self) -> String {
        let seconds = i64::try_from(self.as_secs()).unwrap_or(i64::MAX);
        let Ok(at) = time::OffsetDateTime::from_unix_timestamp(seconds) else {
            return self.0.to_string();
        };
        let ((year, month, day), (hour, minute, second)) = (at.to_calendar_date(), at.to_hms());
        let (year, millis) = (year.unsigned_abs(), u32::from(self.millis_of_second()));
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, number) in [
            (0, year / 100),
            (2, year % 100),
            (5, u8::from(month).into()),
            (8, day.into()),
            (11, hour.into()),
            (14, minute.into()),
            (17, second.into()),
            // Three digits: the one in the middle is written twice.
            (20, millis / 10),
            (21, millis % 100),
        ] {
            if let Some([tens, ones]) = text.get_mut(at..at + 2) {
                (*tens, *ones) = (digit(number / 10), digit(number % 10));
            }
        }
        str::from_utf8(&text).unwrap_or_default().to_owned()
    }

    fn millis_of_second(self) -> u16 {
        u16::try_from(self.0 % 1000).unwrap_or_default()
    }
}

fn digit(number: u32) -> u8 {
    b'0' + u8::try_from(number).unwrap_or_default()
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> UnixTime {
        let elapsed = std::time::SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixTime(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

impl ManualClock {
    pub fn at(now: UnixTime) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now.0)))
    }

    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (1_709_251_199_009, "2024-02-29T23:59:59.009Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "253402300800000"),
        ] {
            assert_eq!(UnixTime::from_millis(millis).to_string(), text);
        }
    }
}
