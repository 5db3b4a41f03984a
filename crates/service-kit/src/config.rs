//! Strict YAML: unknown keys, duplicates and unset variables are errors with line, column,
//! source excerpt and a hint.
//!
//! `${NAME}` in any scalar is replaced from the environment (`${NAME:-default}` too), after the
//! YAML is understood: a value can never change the structure of the file.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// What `${NAME}` may stand for. `Debug` says how many, not which.
#[derive(Clone, Default)]
pub struct Variables(HashMap<String, String>);

/// Everything that is wrong with one file.
#[derive(Debug)]
pub struct ConfigError {
    pub file: PathBuf,
    pub issues: Vec<ConfigIssue>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigIssue {
    /// Line and column, counted from one.
    pub place: Option<(usize, usize)>,
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The source line.
    pub excerpt: Option<String>,
}

/// Reads and checks one file. `variables` is the environment, handed in so that nothing below
/// reads it.
pub fn load<T: DeserializeOwned>(file: &Path, variables: &Variables) -> Result<T, ConfigError> {
    parse_file(file, &read(file)?, variables)
}

/// The text of a file.
pub fn read(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| {
        ConfigError::of(file, ConfigIssue::new(format!("cannot be read: {error}")))
    })
}

/// [`load`] for the text of a file that was read before.
pub fn parse_file<T: DeserializeOwned>(
    file: &Path,
    text: &str,
    variables: &Variables,
) -> Result<T, ConfigError> {
    parse(text, variables).map_err(|issue| ConfigError::of(file, issue))
}

/// [`load`] for text that is at hand.
pub fn parse<T: DeserializeOwned>(text: &str, variables: &Variables) -> Result<T, ConfigIssue> {
    let options = serde_saphyr::Options::default().with_properties(variables.0.clone());
    serde_saphyr::from_str_with_options(text, options).map_err(|error| issue(&error, text))
}

fn issue(error: &serde_saphyr::Error, text: &str) -> ConfigIssue {
    use serde_saphyr::Error;
    let error = error.without_snippet();
    let place = error.location().map(|at| {
        (
            usize::try_from(at.line()).unwrap_or(0),
            usize::try_from(at.column()).unwrap_or(0),
        )
    });
    let excerpt = place.and_then(|(line, _)| text.lines().nth(line.checked_sub(1)?));
    // The library does not name what comes after a variable, whatever it is: it could be the variable's value.
    let written = || {
        let from = place?.1.checked_sub(1)?;
        let word = excerpt?.chars().skip(from).collect::<String>();
        let word = word
            .split([':', ',', '}', ']', '#'])
            .next()?
            .trim()
            .to_owned();
        (!word.is_empty() && !word.contains('$')).then_some(word)
    };
    let named = |said: &str| {
        let is_named = excerpt.is_some_and(|line| line.contains(said));
        let written = if is_named { None } else { written() };
        written.unwrap_or_else(|| said.to_owned())
    };
    let (message, hint) = match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => {
            let field = named(field);
            (
                format!("unknown key `{field}`"),
                Some(suggestion(&field, expected)),
            )
        }
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            let variant = named(variant);
            (
                format!("unknown value `{variant}`"),
                Some(suggestion(&variant, expected)),
            )
        }
        Error::SerdeMissingField { field, .. } => (format!("`{field}` is missing"), None),
        Error::UnresolvedProperty { name, .. } => (
            format!("the environment variable `{name}` is not set"),
            Some(format!("set it, or write `${{{name}:-default}}`")),
        ),
        // The library's enum is large and grows; its own words are good enough for the rest.
        other => (first_line(&other.to_string()), None),
    };
    ConfigIssue {
        place,
        message,
        hint,
        excerpt: excerpt.map(str::to_owned),
    }
}

/// "did you mean", or what is known.
fn suggestion(written: &str, known: &[&'static str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3));
    match nearest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "nothing is expected here".into(),
        None => format!("known here: {}", known.join(", ")),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

impl Variables {
    /// The process's environment; names and values that are not UTF-8 are left out.
    pub fn from_environment() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Variables({} of them)", self.0.len())
    }
}

impl ConfigIssue {
    /// An issue without a place: found when the values were put to use.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            place: None,
            message: message.into(),
            hint: None,
            excerpt: None,
        }
    }

    /// The same, with the place that it is about before it.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        Self {
            message: format!("{place}: {}", self.message),
            ..self
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ConfigIssue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if let (Some((line, column)), Some(excerpt)) = (self.place, &self.excerpt) {
            let margin = " ".repeat(line.to_string().len());
            let indent = " ".repeat(column.saturating_sub(1));
            write!(
                formatter,
                "\n {margin} |\n {line} | {excerpt}\n {margin} | {indent}^"
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(formatter, "\n hint: {hint}")?;
        }
        Ok(())
    }
}

impl ConfigError {
    fn of(file: &Path, issue: ConfigIssue) -> Self {
        Self {
            file: file.to_owned(),
            issues: vec![issue],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.issues.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{}", self.file.display())?;
            if let Some((line, column)) = issue.place {
                write!(formatter, ":{line}:{column}")?;
            }
            write!(formatter, ": {issue}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only the shape matters")]
        listen: String,
        #[serde(default)]
        nested: Option<Nested>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        secret: String,
    }

    fn check(text: &str, expected: &str) {
        let variables = Variables::from_iter([("KEY".to_owned(), "a: b\nc".to_owned())]);
        let error = ConfigError {
            file: "x.yaml".into(),
            issues: vec![parse::<Sample>(text, &variables).unwrap_err()],
        };
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_mistake_is_shown_with_its_place_and_a_hint() {
        check(
            "listen: a\nnested:\n  secert: b\n",
            "x.yaml:3:3: unknown key `secert`\n   |\n 3 |   secert: b\n   |   ^\n hint: did you mean `secret`?",
        );
        check(
            "listen: ${NOPE}\n",
            "x.yaml:1:9: the environment variable `NOPE` is not set\n   |\n 1 | listen: ${NOPE}\n   |         ^\n hint: set it, or write `${NOPE:-default}`",
        );
    }

    #[test]
    fn a_key_behind_a_variable_is_named_and_no_variable_is() {
        check(
            "listen: ${KEY}\nnested:\n  secert: b\n",
            "x.yaml:3:3: unknown key `secert`\n   |\n 3 |   secert: b\n   |   ^\n hint: did you mean `secret`?",
        );
        check(
            "listen: ${KEY}\nbogus: ${KEY}\n",
            "x.yaml:2:1: unknown key `bogus`\n   |\n 2 | bogus: ${KEY}\n   | ^\n hint: known here: listen, nested",
        );
        check(
            "listen: a\n'bo:gus': b\n",
            "x.yaml:2:1: unknown key `bo:gus`\n   |\n 2 | 'bo:gus': b\n   | ^\n hint: known here: listen, nested",
        );
    }

    #[test]
    fn a_variable_cannot_change_the_structure() {
        let variables = Variables::from_iter([("KEY".to_owned(), "a: b\nc: d".to_owned())]);
        let sample: Sample = parse("listen: x\nnested:\n  secret: ${KEY}\n", &variables).unwrap();
        assert_eq!(sample.nested.unwrap().secret, "a: b\nc: d");
    }

    #[test]
    fn duplicates_are_refused() {
        assert!(parse::<Sample>("listen: a\nlisten: b\n", &Variables::default()).is_err());
    }
}
