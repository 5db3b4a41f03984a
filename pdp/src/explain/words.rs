//! Explanations in sentences.

use std::fmt;

use super::conjunct::Conjunct;
use super::scope::Mismatch;
use super::{ExplainedOutcome, ExplainedPolicy, Explanation};
use crate::engine::Rule;

/// One sentence without a value or a policy's text.
pub(super) fn summary(outcome: ExplainedOutcome, determining: &[&Rule]) -> String {
    let reasons: Vec<&str> = determining
        .iter()
        .filter_map(|rule| rule.reason.reason.as_deref())
        .collect();
    let because = if reasons.is_empty() {
        String::new()
    } else {
        format!(": {}", reasons.join("; "))
    };
    match outcome {
        ExplainedOutcome::Permitted => format!("This is permitted{because}."),
        ExplainedOutcome::Forbidden => format!("This is forbidden{because}."),
        ExplainedOutcome::NotPermitted => "Nothing permits this.".to_owned(),
        ExplainedOutcome::Unevaluable => {
            "This is denied, since a rule against it could not be evaluated.".to_owned()
        }
        ExplainedOutcome::Unavailable => "What decides cannot be had at the moment.".to_owned(),
        ExplainedOutcome::Unknown => "This is not known.".to_owned(),
    }
}

/// What would have to change for a policy to apply.
pub(super) fn changes(mismatches: &[Mismatch], conditions: &[Conjunct]) -> Vec<String> {
    let scope = mismatches
        .iter()
        .map(|one| format!("`{}` would have to hold; it is {}", one.wanted, one.is));
    let conditions = conditions.iter().map(|one| match &one.error {
        Some(error) => format!("`{}` cannot be evaluated: {error}", one.text),
        None => format!("`{}` is false, and would have to be true", one.text),
    });
    scope.chain(conditions).collect()
}

/// What would have to change for a forbid not to stand in the way.
pub(super) fn ways_out(conditions: &[Conjunct]) -> Vec<String> {
    if let Some((one, error)) = conditions
        .iter()
        .find_map(|one| Some((one, one.error.as_ref()?)))
    {
        return vec![format!("`{}` cannot be evaluated: {error}", one.text)];
    }
    match conditions {
        [] => vec!["it forbids whatever is in its scope".to_owned()],
        [one] => vec![format!(
            "`{}` is true, and would have to be false",
            one.text
        )],
        several => {
            let texts: Vec<_> = several
                .iter()
                .map(|one| format!("`{}`", one.text))
                .collect();
            vec![format!(
                "one of these would have to be false: {}",
                texts.join(", ")
            )]
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.summary)?;
        for policy in &self.policies {
            write!(formatter, "\n\n{policy}")?;
        }
        if !self.nearest.is_empty() {
            write!(formatter, "\n\nWhat came nearest to permitting it:")?;
        }
        for policy in &self.nearest {
            write!(formatter, "\n\n{policy}")?;
        }
        if self.omitted > 0 {
            write!(
                formatter,
                "\n\n{} more policies are not shown",
                self.omitted
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applies = match self.applies {
            Some(true) => "applies",
            Some(false) => "does not apply",
            None => "cannot be evaluated",
        };
        write!(formatter, "{} `{}` {applies}", self.effect, self.policy)?;
        if let Some(place) = &self.place {
            write!(
                formatter,
                "  ({}:{}:{})",
                place.file, place.line, place.column
            )?;
        }
        for one in &self.mismatches {
            write!(formatter, "\n  no   {} (it is {})", one.wanted, one.is)?;
        }
        for one in &self.conditions {
            let mark = match one.holds {
                Some(true) => "yes",
                Some(false) => "no ",
                None => "?  ",
            };
            write!(formatter, "\n  {mark}  {}", one.text)?;
            if let Some(place) = &one.place {
                write!(formatter, "  (line {})", place.line)?;
            }
            for (text, value) in &one.values {
                write!(formatter, "\n         {text} = {value}")?;
            }
            if let Some(error) = &one.error {
                write!(formatter, "\n         {error}")?;
            }
        }
        for change in &self.changes {
            write!(formatter, "\n  -> {change}")?;
        }
        Ok(())
    }
}
