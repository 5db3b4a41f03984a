//! Questions that follow from answers: a connection whose answer holds what its next question must
//! have, as a refresh token is answered with the next one.

use anyhow::Context as _;
use memchr::memmem;
use serde::{Deserialize, Serialize};

/// Where the value is that goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chain {
    /// Stands before it in a body that is asked, at whose end it is.
    pub(crate) asked: String,
    /// Stands before it in an answer, and a quotation mark behind it.
    pub(crate) answered: String,
}

impl Chain {
    /// The body that comes after an answer.
    pub(crate) fn next(&self, body: &str, answer: &[u8]) -> anyhow::Result<String> {
        let (kept, _) = body
            .rsplit_once(&self.asked)
            .context("the question lacks what its next one is made of")?;
        let before = self.answered.as_bytes();
        let start = memmem::find(answer, before).map(|at| at + before.len());
        let rest = start.and_then(|start| answer.get(start..));
        let value = rest.and_then(|rest| rest.split(|byte| *byte == b'"').next());
        let value = value.context("the answer lacks what the next question is made of")?;
        Ok(format!(
            "{kept}{}{}",
            self.asked,
            std::str::from_utf8(value)?
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_question_has_what_was_answered() {
        let chain = Chain {
            asked: "&refresh_token=".into(),
            answered: "\"refresh_token\":\"".into(),
        };
        let next = |answer: &str| chain.next("a=b&refresh_token=r0", answer.as_bytes());
        assert_eq!(
            next(r#"{"refresh_token":"r1","x":"y"}"#).unwrap(),
            "a=b&refresh_token=r1"
        );
        assert!(next(r#"{"error":"invalid_grant"}"#).is_err());
        assert!(chain.next("a=b", br#"{"refresh_token":"r1"}"#).is_err());
    }
}
