//! Questions in an engine's words, with what must be answered.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::answer::Answers;
use crate::chain::Chain;

/// Whom to ask what.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    #[arg(long)]
    pub(crate) server: SocketAddr,
    /// As `world` wrote them
    #[arg(long)]
    pub(crate) questions: PathBuf,
}

/// A file of questions.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Questions {
    /// `GET` has no body.
    #[serde(default = "post")]
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) sign: Sign,
    /// In each answer.
    pub(crate) decisions: u64,
    /// Sent with each, beside those that say where it goes and how long it is.
    pub(crate) headers: BTreeMap<String, String>,
    /// Each connection has a question of its own, and goes on from its answers.
    pub(crate) chain: Option<Chain>,
    pub(crate) questions: Vec<Question>,
}

fn post() -> String {
    "POST".to_owned()
}

/// How decisions are found in an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sign {
    /// Stands before each decision, and nowhere else.
    pub(crate) before: String,
    /// How a permit goes on behind it.
    pub(crate) permit: char,
}

/// One request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// A text is sent as it is, anything else as JSON.
    pub(crate) body: Value,
    /// The decisions in their order. None: whatever is answered is right.
    pub(crate) expected: Vec<bool>,
}

/// A request as it is sent, and what must come back.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) bytes: Vec<u8>,
    /// All but the length.
    head: Rc<str>,
    body: String,
    expected: Vec<bool>,
}

impl Questions {
    pub(crate) fn of_json(
        path: &str,
        sign: Sign,
        decisions: u64,
        questions: Vec<Question>,
    ) -> Self {
        let json = ("Content-Type".to_owned(), "application/json".to_owned());
        Self {
            method: post(),
            path: path.to_owned(),
            sign,
            decisions,
            headers: [json].into(),
            chain: None,
            questions,
        }
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let read: Self = serde_json::from_str(&text)?;
        ensure!(!read.questions.is_empty(), "no questions");
        Ok(read)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        fs::write(path, serde_json::to_vec(self)?).with_context(|| path.display().to_string())
    }

    /// The next run asks what these would have.
    pub(crate) fn go_on(&mut self, left: BTreeMap<usize, Prepared>) {
        for (number, next) in left {
            if let Some(question) = self.questions.get_mut(number) {
                question.body = Value::String(next.body);
            }
        }
    }

    pub(crate) fn prepared(&self, server: SocketAddr) -> Vec<Prepared> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {server}\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let prepare = |question: &Question| {
            let body = match &question.body {
                Value::String(text) => text.clone(),
                json => json.to_string(),
            };
            Prepared::new(head.clone().into(), body, question.expected.clone())
        };
        self.questions.iter().map(prepare).collect()
    }
}

impl Prepared {
    fn new(head: Rc<str>, body: String, expected: Vec<bool>) -> Self {
        let bytes = if head.starts_with("GET ") {
            format!("{head}\r\n")
        } else {
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
        };
        Self {
            bytes: bytes.into_bytes(),
            head,
            body,
            expected,
        }
    }

    /// The question that follows from an answer to this one.
    pub(crate) fn next(&self, chain: &Chain, answer: &[u8]) -> anyhow::Result<Self> {
        let body = chain.next(&self.body, answer)?;
        Ok(Self::new(self.head.clone(), body, self.expected.clone()))
    }

    /// Whether an answer is the right one, decision by decision.
    pub(crate) fn is_answered_by(&self, status: u16, body: &[u8], sign: &Sign) -> bool {
        if status != 200 {
            return false;
        }
        if self.expected.is_empty() {
            return true;
        }
        let before = sign.before.as_bytes();
        let mut expected = self.expected.iter();
        for at in memmem::find_iter(body, before) {
            let permitted = body.get(at + before.len()) == Some(&(sign.permit as u8));
            if expected.next() != Some(&permitted) {
                return false;
            }
        }
        expected.next().is_none()
    }
}

/// Asks each question once; fails at the first wrong answer.
pub(crate) async fn check(target: &Target) -> anyhow::Result<()> {
    let questions = Questions::read(&target.questions)?;
    let mut stream = TcpStream::connect(target.server).await?;
    let mut answers = Answers::default();
    let mut permits = 0;
    let mut decisions = 0;
    for question in questions.prepared(target.server) {
        stream.write_all(&question.bytes).await?;
        let (status, body) = answers.next(&mut stream).await?;
        if !question.is_answered_by(status, body, &questions.sign) {
            bail!(
                "expected {:?} for\n{}\nand got {status}\n{}",
                question.expected,
                String::from_utf8_lossy(&question.bytes),
                String::from_utf8_lossy(body)
            );
        }
        decisions += question.expected.len();
        permits += question.expected.iter().filter(|permit| **permit).count();
    }
    writeln!(
        io::stdout(),
        "{}: {} requests, {decisions} decisions, {permits} permits: all as expected",
        target.questions.display(),
        questions.questions.len()
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_decision_anywhere_is_found() {
        let sign = Sign {
            before: "\"decision\":".into(),
            permit: 't',
        };
        let question = Prepared::new("".into(), String::new(), vec![true, false]);
        let check = |status, body: &str| question.is_answered_by(status, body.as_bytes(), &sign);
        assert!(check(200, r#"[{"decision":true},{"decision":false}]"#));
        assert!(!check(200, r#"[{"decision":true},{"decision":true}]"#));
        assert!(!check(200, r#"[{"decision":false},{"decision":true}]"#));
        assert!(!check(200, r#"[{"decision":true}]"#));
        assert!(!check(
            200,
            r#"[{"decision":true},{"decision":false},{"decision":false}]"#
        ));
        assert!(!check(200, r#"{"decision":"#));
        assert!(!check(500, r#"[{"decision":true},{"decision":false}]"#));
    }
}
