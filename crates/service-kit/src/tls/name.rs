//! Distinguished names: as text by RFC 4514, and as they stand in a certificate.

use std::fmt;
use std::str::FromStr;

use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Encode as _, Tag, Tagged as _};
use x509_cert::name::RdnSequence;

/// A distinguished name. Equal where every part has the same type and the same text, in the same
/// order; how the text is encoded in a certificate does not count, letter case does.
#[derive(Clone, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<(String, String)>>);

/// A text is not a distinguished name as RFC 4514 writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a distinguished name as RFC 4514 writes them")]
pub struct NotAName;

impl DistinguishedName {
    pub(super) fn of(sequence: &RdnSequence) -> Option<Self> {
        let parts: Option<Vec<_>> = sequence
            .0
            .iter()
            .map(|relative| {
                let mut part: Vec<_> = relative.0.iter().map(text).collect::<Option<_>>()?;
                part.sort();
                Some(part)
            })
            .collect();
        // An empty name is everybody's who has none.
        parts.filter(|parts| !parts.is_empty()).map(Self)
    }
}

impl FromStr for DistinguishedName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let sequence = RdnSequence::from_str(text).map_err(|_| NotAName)?;
        Self::of(&sequence).ok_or(NotAName)
    }
}

/// As RFC 4514 writes it, the last part first. Equal names are written alike.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().rev().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            for (index, (kind, value)) in part.iter().enumerate() {
                let known = SHORT.iter().find(|(oid, _)| oid == kind);
                let kind = known.map_or(kind.as_str(), |(_, short)| short);
                let plus = if index > 0 { "+" } else { "" };
                write!(formatter, "{plus}{kind}={}", Escaped(value))?;
            }
        }
        Ok(())
    }
}

/// A value, so that nothing in it ends it.
struct Escaped<'v>(&'v str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.chars().count().saturating_sub(1);
        for (index, character) in self.0.chars().enumerate() {
            let is_edge = (index == 0 && matches!(character, '#' | ' '))
                || (index == last && character == ' ');
            if is_edge || "\"+,;<>\\=".contains(character) {
                formatter.write_str("\\")?;
            }
            write!(formatter, "{character}")?;
        }
        Ok(())
    }
}

/// RFC 4514 section 3.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(&self.0).finish()
    }
}

/// Type and value of one part. What is no text stands for itself, as its encoding.
fn text(part: &AttributeTypeAndValue) -> Option<(String, String)> {
    let value = &part.value;
    let text = match value.tag() {
        Tag::Utf8String => value
            .decode_as::<Utf8StringRef<'_>>()
            .map(|text| text.as_str().to_owned()),
        Tag::PrintableString => value
            .decode_as::<PrintableStringRef<'_>>()
            .map(|text| text.as_str().to_owned()),
        Tag::Ia5String => value
            .decode_as::<Ia5StringRef<'_>>()
            .map(|text| text.as_str().to_owned()),
        Tag::TeletexString => value
            .decode_as::<TeletexStringRef<'_>>()
            .map(|text| text.as_str().to_owned()),
        _ => value.to_der().map(|der| format!("#{der:02x?}")),
    };
    Some((part.oid.to_string(), text.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_part_by_part_and_in_order() {
        let name = |text: &str| DistinguishedName::from_str(text);
        let own = name("CN=billing,OU=jobs+O=Example\\, Inc.,C=DE").unwrap();
        assert_eq!(
            own,
            name("CN=billing,O=Example\\2c Inc.+OU=jobs,C=DE").unwrap()
        );
        for other in [
            "CN=Billing,OU=jobs+O=Example\\, Inc.,C=DE",
            "C=DE,OU=jobs+O=Example\\, Inc.,CN=billing",
            "CN=billing,OU=jobs,O=Example\\, Inc.,C=DE",
            "CN=billing",
            "CN=x,CN=billing,OU=jobs+O=Example\\, Inc.,C=DE",
        ] {
            assert_ne!(own, name(other).unwrap(), "{other}");
        }
        for (written, expected) in [
            (
                "CN=billing,OU=jobs+O=Example\\, Inc.,C=DE",
                "CN=billing,O=Example\\, Inc.+OU=jobs,C=DE",
            ),
            ("UID=a\\+b,DC=x", "UID=a\\+b,DC=x"),
        ] {
            let written = name(written).unwrap();
            assert_eq!(written.to_string(), expected);
            assert_eq!(name(expected).unwrap(), written);
        }
        for odd in ["", "billing", "CN=a, O=b", "XX=a", "CN = a"] {
            assert_eq!(name(odd), Err(NotAName), "{odd}");
        }
    }
}
