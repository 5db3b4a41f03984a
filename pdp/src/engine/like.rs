//! `like`, made ready: the texts between a pattern's wildcards. Cedar's own takes a copy of the text each
//! time, letter by letter.

use cedar_policy_core::ast::{Pattern, PatternElem};

/// A pattern: what a text begins with, what follows in this order, and what it ends with.
#[derive(Debug)]
pub(super) struct Like {
    start: Box<str>,
    middle: Box<[Box<str>]>,
    /// None: there is no wildcard, and the start is all of it.
    end: Option<Box<str>>,
}

impl Like {
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(end) = &self.end else {
            return text == &*self.start;
        };
        let rest = text.strip_prefix(&*self.start);
        // Neither may take what the other has.
        let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(&**end)) else {
            return false;
        };
        // Where each is found first, most is left for those that follow.
        self.middle
            .iter()
            .all(|part| match rest.split_once(&**part) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
    }
}

impl From<&Pattern> for Like {
    fn from(pattern: &Pattern) -> Self {
        let mut parts = vec![String::new()];
        for elem in pattern.iter() {
            match (elem, parts.last_mut()) {
                (PatternElem::Char(letter), Some(part)) => part.push(*letter),
                _ => parts.push(String::new()),
            }
        }
        let end = if parts.len() > 1 { parts.pop() } else { None };
        let mut parts = parts.into_iter().map(String::into_boxed_str);
        Self {
            start: parts.next().unwrap_or_default(),
            middle: parts.filter(|part| !part.is_empty()).collect(),
            end: end.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]
        #[test]
        fn what_matches_is_what_cedar_says(pattern in "[ab€*]{0,7}", text in "[ab€*]{0,9}") {
            let elem = |letter| match letter {
                '*' => PatternElem::Wildcard,
                letter => PatternElem::Char(letter),
            };
            let pattern: Pattern = pattern.chars().map(elem).collect();
            prop_assert_eq!(Like::from(&pattern).matches(&text), pattern.wildcard_match(&text));
        }
    }

    #[test]
    fn a_star_that_is_meant_is_a_letter() {
        let pattern: Pattern = [PatternElem::Char('*'), PatternElem::Wildcard]
            .into_iter()
            .collect();
        let like = Like::from(&pattern);
        assert!(like.matches("*a") && like.matches("*") && !like.matches("a*"));
    }
}
