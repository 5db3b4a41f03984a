//! PostgreSQL's values, from the form in which they travel.

use std::error::Error;
use std::net::Ipv4Addr;

use time::macros::format_description;
use time::{Duration, OffsetDateTime};
use tokio_postgres::types::{FromSql, Kind, Type};

use crate::attributes::cell::Cell;

type Unread = Box<dyn Error + Sync + Send>;

impl<'a> FromSql<'a> for Cell {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Unread> {
        match kind.kind() {
            Kind::Domain(of) => return Self::from_sql(of, raw),
            Kind::Array(_) => return Vec::<Self>::from_sql(kind, raw).map(Self::Set),
            Kind::Enum(_) => return text(raw),
            _ => {}
        }
        match *kind {
            Type::BOOL => bool::from_sql(kind, raw).map(Self::Bool),
            Type::INT2 => i16::from_sql(kind, raw).map(|value| Self::Long(value.into())),
            Type::INT4 => i32::from_sql(kind, raw).map(|value| Self::Long(value.into())),
            Type::INT8 => i64::from_sql(kind, raw).map(Self::Long),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => text(raw),
            Type::UUID => Ok(Self::Text(uuid(raw)?)),
            Type::JSON => json(raw),
            // A version goes in front.
            Type::JSONB => json(raw.strip_prefix(&[1]).ok_or("it is of another version")?),
            Type::NUMERIC => Ok(Self::Extension("decimal", decimal(raw)?)),
            Type::TIMESTAMPTZ => Ok(Self::Extension("datetime", timestamp(raw)?)),
            Type::DATE => Ok(Self::Extension("datetime", date(raw)?)),
            Type::INTERVAL => Ok(Self::Extension("duration", interval(raw)?)),
            Type::INET | Type::CIDR => Ok(Self::Extension("ipaddr", address(raw)?)),
            _ if kind.name() == "citext" => text(raw),
            _ => Err(format!("its column is of a type that is not read: {}", kind.name()).into()),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Unread> {
        Ok(Self::Null)
    }

    /// Asked before the value is there, where nothing could be said of what is wrong.
    fn accepts(_: &Type) -> bool {
        true
    }
}

fn text(raw: &[u8]) -> Result<Cell, Unread> {
    Ok(Cell::Text(std::str::from_utf8(raw)?.to_owned()))
}

fn json(raw: &[u8]) -> Result<Cell, Unread> {
    // What is wrong with it may quote it.
    let read = strict_json::parse_json(raw).map_err(|_| "it is not JSON that has one meaning")?;
    Ok(Cell::Json(read))
}

fn uuid(raw: &[u8]) -> Result<String, Unread> {
    let number = u128::from_be_bytes(raw.try_into()?);
    let part = |from: u32, bits: u32| (number >> from) & ((1 << bits) - 1);
    Ok(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 32),
        part(80, 16),
        part(64, 16),
        part(48, 16),
        part(0, 48)
    ))
}

/// Digits to the base of 10000, so that Cedar's four places are one digit behind the point.
fn decimal(raw: &[u8]) -> Result<String, Unread> {
    let mut words = raw
        .chunks_exact(2)
        .map(|pair| pair.try_into().map(u16::from_be_bytes));
    let mut next = || words.next().ok_or("it breaks off")?.map_err(Unread::from);
    let count = next()?;
    let weight = next()?.cast_signed();
    let sign = next()?;
    let _places_shown = next()?;
    // In ten thousandths.
    let mut sum: i128 = 0;
    for index in 0..count {
        let digit = i128::from(next()?);
        if digit == 0 {
            continue;
        }
        let power = i32::from(weight) - i32::from(index) + 1;
        let power = u32::try_from(power).map_err(|_| "it has more than four places")?;
        let worth = 10_000_i128.checked_pow(power);
        let part = worth.and_then(|worth| worth.checked_mul(digit));
        sum = part
            .and_then(|part| sum.checked_add(part))
            .ok_or("it is too large")?;
    }
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        _ => return Err("it is not a number".into()),
    };
    Ok(format!("{sign}{}.{:04}", sum / 10_000, sum % 10_000))
}

/// Microseconds since 2000.
fn timestamp(raw: &[u8]) -> Result<String, Unread> {
    let micros = i64::from_be_bytes(raw.try_into()?);
    if micros == i64::MAX || micros == i64::MIN {
        return Err("it is infinite".into());
    }
    datetime(Duration::milliseconds(whole_millis(micros)?))
}

/// Days since 2000.
fn date(raw: &[u8]) -> Result<String, Unread> {
    let days = i32::from_be_bytes(raw.try_into()?);
    if days == i32::MAX || days == i32::MIN {
        return Err("it is infinite".into());
    }
    datetime(Duration::days(days.into()))
}

fn datetime(since_2000: Duration) -> Result<String, Unread> {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = OffsetDateTime::from_unix_timestamp(946_684_800)?
        .checked_add(since_2000)
        .filter(|at| (0..=9999).contains(&at.year()))
        .ok_or("it is not in the years that can be written")?;
    Ok(at.format(&format)?)
}

/// Microseconds, then days, then months. A month is no number of days.
fn interval(raw: &[u8]) -> Result<String, Unread> {
    let (micros, rest) = raw.split_first_chunk().ok_or("it breaks off")?;
    let (days, rest) = rest.split_first_chunk().ok_or("it breaks off")?;
    let months = i32::from_be_bytes(rest.try_into()?);
    if months != 0 {
        return Err("it has months".into());
    }
    let millis = whole_millis(i64::from_be_bytes(*micros))?;
    let days = i64::from(i32::from_be_bytes(*days));
    let days = days * 86_400_000;
    let sum = millis.checked_add(days).ok_or("it is too long")?;
    Ok(format!("{sum}ms"))
}

fn whole_millis(micros: i64) -> Result<i64, &'static str> {
    if micros % 1000 == 0 {
        Ok(micros / 1000)
    } else {
        Err("it is finer than a millisecond")
    }
}

/// Family, bits of the network, whether it is one, length, bytes.
fn address(raw: &[u8]) -> Result<String, Unread> {
    let ([family, bits, _is_network, _length], bytes) =
        raw.split_first_chunk().ok_or("it breaks off")?;
    let (address, all) = match family {
        2 => (Ipv4Addr::from(<[u8; 4]>::try_from(bytes)?).to_string(), 32),
        3 => {
            // Cedar does not read an address with another one in it.
            let bytes = <[u8; 16]>::try_from(bytes)?;
            let groups = std::net::Ipv6Addr::from(bytes).segments();
            let groups = groups.map(|group| format!("{group:x}"));
            (groups.join(":"), 128)
        }
        _ => return Err("it is of another family".into()),
    };
    Ok(if *bits == all {
        address
    } else {
        format!("{address}/{bits}")
    })
}
