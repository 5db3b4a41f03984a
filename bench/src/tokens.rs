//! What an authorization server is asked: client credentials, introspection as JSON and as a JWT,
//! refresh tokens. The tokens come from the server itself, over what every such server speaks.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::answer::Answers;
use crate::ask::{Question, Questions, Sign};
use crate::chain::Chain;

/// Which server, and where its questions go.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    server: SocketAddr,
    #[arg(long, default_value = "/introspect")]
    introspection: String,
    /// How many access tokens
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Refresh tokens, a line each: every connection goes on from one of its own
    #[arg(long)]
    refresh_tokens: PathBuf,
    /// The folder; created when absent
    #[arg(long)]
    out: PathBuf,
}

/// `id:demo-secret-of-id` in base64, as HTTP Basic has it.
const MACHINE: &str = "bmlnaHRseS1yZXBvcnQ6ZGVtby1zZWNyZXQtb2YtbmlnaHRseS1yZXBvcnQ=";
const WEB: &str = "cmVjb3Jkcy13ZWI6ZGVtby1zZWNyZXQtb2YtcmVjb3Jkcy13ZWI=";
const GATEWAY: &str = "Z2F0ZXdheTpkZW1vLXNlY3JldC1vZi1nYXRld2F5";

const FORM: &str = "application/x-www-form-urlencoded";
const CREDENTIALS: &str = "grant_type=client_credentials&scope=records%3Alist";

/// Asks for the tokens, and writes the questions.
pub(crate) async fn write(arguments: &Arguments) -> anyhow::Result<()> {
    fs::create_dir_all(&arguments.out)?;
    let credentials = form("/token", MACHINE, "\"token_type\":\"", 'B', [CREDENTIALS]);
    let tokens = access_tokens(&credentials, arguments.server, arguments.count).await?;
    let bodies = || tokens.iter().map(|token| format!("token={token}"));
    let path = &arguments.introspection;
    let json = form(path, GATEWAY, "\"active\":", 't', bodies());
    let mut jwt = form(path, GATEWAY, "", ' ', bodies());
    jwt.headers
        .insert("Accept".into(), "application/jwt".into());
    for question in &mut jwt.questions {
        // One that is inactive has no body: the status says it.
        question.expected.clear();
    }
    let text = fs::read_to_string(&arguments.refresh_tokens)
        .with_context(|| arguments.refresh_tokens.display().to_string())?;
    let refreshed = text
        .lines()
        .map(|token| format!("grant_type=refresh_token&refresh_token={token}"));
    let mut refresh = form("/token", WEB, "\"token_type\":\"", 'B', refreshed);
    refresh.chain = Some(Chain {
        asked: "&refresh_token=".into(),
        answered: "\"refresh_token\":\"".into(),
    });
    for (name, questions) in [
        ("credentials", &credentials),
        ("introspect", &json),
        ("jwt", &jwt),
        ("refresh", &refresh),
    ] {
        questions.write(&arguments.out.join(name).with_extension("json"))?;
    }
    Ok(())
}

fn form<B: Into<String>>(
    path: &str,
    basic: &str,
    before: &str,
    permit: char,
    bodies: impl IntoIterator<Item = B>,
) -> Questions {
    let question = |body: B| Question {
        body: Value::String(body.into()),
        expected: vec![true],
    };
    Questions {
        method: "POST".to_owned(),
        path: path.to_owned(),
        sign: Sign {
            before: before.to_owned(),
            permit,
        },
        decisions: 1,
        headers: [
            ("Content-Type".to_owned(), FORM.to_owned()),
            ("Authorization".to_owned(), format!("Basic {basic}")),
        ]
        .into(),
        chain: None,
        questions: bodies.into_iter().map(question).collect(),
    }
}

/// From which server, how many, and where to.
#[derive(Debug, Args)]
pub(crate) struct ManyArguments {
    #[arg(long)]
    server: SocketAddr,
    #[arg(long)]
    count: usize,
    #[arg(long)]
    out: PathBuf,
}

/// Asks for many tokens at a time, and writes them.
pub(crate) async fn write_many(arguments: &ManyArguments) -> anyhow::Result<()> {
    const AT_ONCE: usize = 32;
    let credentials = form("/token", MACHINE, "\"token_type\":\"", 'B', [CREDENTIALS]);
    let each = arguments.count.div_ceil(AT_ONCE);
    let asking = (0..AT_ONCE).map(|_| access_tokens(&credentials, arguments.server, each));
    let mut tokens = Vec::new();
    for some in futures_util::future::try_join_all(asking).await? {
        tokens.extend(some);
    }
    tokens.truncate(arguments.count);
    fs::write(&arguments.out, tokens.join("\n") + "\n")?;
    Ok(())
}

async fn access_tokens(
    asked: &Questions,
    server: SocketAddr,
    count: usize,
) -> anyhow::Result<Vec<String>> {
    let prepared = asked.prepared(server);
    let question = prepared.first().context("there is no question")?;
    let mut stream = TcpStream::connect(server).await?;
    let mut answers = Answers::default();
    let mut tokens = Vec::new();
    for _ in 0..count {
        stream.write_all(&question.bytes).await?;
        let (status, body) = answers.next(&mut stream).await?;
        let body: Value = serde_json::from_slice(body)?;
        let Some(token) = body.get("access_token").and_then(Value::as_str) else {
            bail!("no access token: {status} {body}");
        };
        tokens.push(token.to_owned());
    }
    Ok(tokens)
}
