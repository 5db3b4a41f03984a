//! A number as it was read: small enough to be copied wherever it goes, and written as it was.

use std::fmt;

/// A number of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Whole(u64),
    /// Below zero.
    Negative(i64),
    /// Any other; it is finite.
    Real(f64),
}

impl Number {
    /// A whole number that is not below zero.
    pub fn as_u64(self) -> Option<u64> {
        match self {
            Self::Whole(number) => Some(number),
            Self::Negative(_) | Self::Real(_) => None,
        }
    }

    /// A whole number of 64 bits.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Whole(number) => i64::try_from(number).ok(),
            Self::Negative(number) => Some(number),
            Self::Real(_) => None,
        }
    }

    pub(crate) fn to_value(self) -> serde_json::Value {
        match self {
            Self::Whole(number) => number.into(),
            Self::Negative(number) => number.into(),
            Self::Real(number) => number.into(),
        }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        if let Some(whole) = number.as_u64() {
            Self::Whole(whole)
        } else if let Some(negative) = number.as_i64() {
            Self::Negative(negative)
        } else {
            Self::Real(number.as_f64().unwrap_or_default())
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_and_is_written_as_it_was() {
        for (text, whole, signed) in [
            ("0", Some(0), Some(0)),
            ("-0.0", None, None),
            ("-1", None, Some(-1)),
            ("1.5", None, None),
            ("1.5e300", None, None),
            ("9223372036854775808", Some(1 << 63), None),
            ("18446744073709551615", Some(u64::MAX), None),
            ("-9223372036854775808", None, Some(i64::MIN)),
        ] {
            let read: serde_json::Number = serde_json::from_str(text).unwrap();
            let number = Number::from(&read);
            assert_eq!(
                (number.as_u64(), number.as_i64()),
                (whole, signed),
                "{text}"
            );
            assert_eq!(number.to_string(), read.to_string());
            assert_eq!(number.to_value(), serde_json::Value::Number(read));
        }
    }
}
