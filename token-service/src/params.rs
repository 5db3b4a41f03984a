//! Parameters of a form or a query (RFC 6749 sections 3.1 and 3.2): UTF-8, never repeated, empty
//! means absent, unknown ones are ignored.

use std::collections::BTreeMap;

use percent_encoding::percent_decode;
use zeroize::Zeroizing;

/// Parsed parameters. May hold secrets: `Debug` shows names only.
pub(crate) struct Params {
    single: BTreeMap<String, Zeroizing<String>>,
    /// Every `resource` (RFC 8707 section 2).
    resources: Vec<String>,
    /// Every `audience` (RFC 8693 section 2.1). Nothing else may be repeated.
    audiences: Vec<String>,
}

/// What is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParamsError {
    #[error("a parameter is given twice")]
    Repeated,
    #[error("a parameter is not UTF-8")]
    NotText,
    #[error("there are too many parameters")]
    TooMany,
}

const MOST: usize = 64;

impl Params {
    /// Reads `a=b&c=d`.
    pub(crate) fn parse(encoded: &[u8]) -> Result<Self, ParamsError> {
        let mut params = Self {
            single: BTreeMap::new(),
            resources: Vec::new(),
            audiences: Vec::new(),
        };
        let pairs = encoded
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty());
        for (count, pair) in pairs.enumerate() {
            if count >= MOST {
                return Err(ParamsError::TooMany);
            }
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(parts.next().unwrap_or_default())?;
            let value = decode(parts.next().unwrap_or_default())?;
            let repeatable = match name.as_str() {
                "resource" => Some(&mut params.resources),
                "audience" => Some(&mut params.audiences),
                _ => None,
            };
            if let Some(values) = repeatable {
                if !value.is_empty() {
                    values.push(value.to_string());
                }
                continue;
            }
            if params.single.insert(name.to_string(), value).is_some() {
                return Err(ParamsError::Repeated);
            }
        }
        Ok(params)
    }

    /// The value, where there is one that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.single
            .get(name)
            .map(|value| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The same as a form, without parameters of these names.
    pub(crate) fn to_form(&self, without: &[&str]) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let kept = self
            .single
            .iter()
            .filter(|(name, value)| !value.is_empty() && !without.contains(&name.as_str()));
        for (name, value) in kept {
            form.append_pair(name, value);
        }
        for resource in &self.resources {
            form.append_pair("resource", resource);
        }
        for audience in &self.audiences {
            form.append_pair("audience", audience);
        }
        form.finish()
    }

    /// Every `resource` that is not empty.
    pub(crate) fn resources(&self) -> &[String] {
        &self.resources
    }

    /// Every `audience` that is not empty.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }
}

impl std::fmt::Debug for Params {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.single.keys()).finish()
    }
}

/// One name or value of a form; also the halves of HTTP Basic (RFC 6749 section 2.3.1).
pub(crate) fn decode(encoded: &[u8]) -> Result<Zeroizing<String>, ParamsError> {
    let spaced = Zeroizing::new(
        encoded
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect::<Vec<u8>>(),
    );
    percent_decode(&spaced)
        .decode_utf8()
        .map(|text| Zeroizing::new(text.into_owned()))
        .map_err(|_| ParamsError::NotText)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_resource_and_audience_may_be_repeated_and_empty_is_absent() {
        let params =
            Params::parse(b"a=1+2%26&b=&resource=x&audience=u&resource=y&audience=v&audience=&c")
                .unwrap();
        assert_eq!(params.get("a"), Some("1 2&"));
        assert_eq!(params.get("b"), None);
        assert_eq!(params.get("c"), None);
        assert_eq!(params.resources(), ["x", "y"]);
        assert_eq!(params.audiences(), ["u", "v"]);
        assert_eq!(
            Params::parse(b"a=1&a=1").unwrap_err(),
            ParamsError::Repeated
        );
        assert_eq!(
            Params::parse(b"a=&%61=1").unwrap_err(),
            ParamsError::Repeated
        );
        assert_eq!(Params::parse(b"a=%ff").unwrap_err(), ParamsError::NotText);
        let many = "a=1&".repeat(65).replace('a', "");
        assert!(Params::parse(many.as_bytes()).is_err());
        assert!(!format!("{:?}", Params::parse(b"p=hunter2").unwrap()).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(name in "[a-z]{1,8}", value in "\\PC{1,40}") {
            let encoded: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair(&name, &value)
                .finish();
            prop_assume!(name != "resource" && name != "audience");
            let params = Params::parse(encoded.as_bytes()).unwrap();
            prop_assert_eq!(params.get(&name), Some(value.as_str()));
        }

        #[test]
        fn a_form_says_what_was_parsed(pairs in proptest::collection::btree_map("[a-z]{1,8}", "\\PC{0,20}", 0..6)) {
            let encoded: String = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&pairs)
                .finish();
            let params = Params::parse(encoded.as_bytes()).unwrap();
            let again = Params::parse(params.to_form(&["x"]).as_bytes()).unwrap();
            prop_assert_eq!(again.resources(), params.resources());
            prop_assert_eq!(again.audiences(), params.audiences());
            for name in pairs.keys().filter(|name| *name != "x") {
                prop_assert_eq!(again.get(name), params.get(name));
            }
            prop_assert_eq!(again.get("x"), None);
        }

        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Params::parse(&bytes);
        }
    }
}
