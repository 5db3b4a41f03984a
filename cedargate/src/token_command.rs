//! `cedargate token …`: issue, inspect and revoke from a terminal.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use service_kit::{Secret, outbound};
use url::Url;

use crate::oauth_client::{Credential, OauthClient, clean};
use crate::{demo, print};

/// What to do with a token.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Get a token for a user (authorization code with PKCE) or for a client itself
    Issue(Issue),
    /// Show what a token is worth to a resource server
    Inspect(Inspect),
    /// Revoke a token
    Revoke(Revoke),
}

/// Which token service, and as whom.
#[derive(Debug, Args)]
pub struct Connection {
    /// The token service
    #[arg(
        long,
        env = "CEDARGATE_ISSUER",
        default_value = "http://127.0.0.1:8081"
    )]
    issuer: Url,
    /// The client to act as
    #[arg(long)]
    client: Option<String>,
    /// A file with the client's secret (the demo's clients need none)
    #[arg(long)]
    client_secret_file: Option<PathBuf>,
}

/// `token issue`
#[derive(Debug, Args)]
pub struct Issue {
    #[command(flatten)]
    connection: Connection,
    /// Log in as this user; without it the client gets a token for itself
    #[arg(long)]
    user: Option<String>,
    /// Read the password from standard input (the demo's users need none)
    #[arg(long)]
    password_stdin: bool,
    /// Scopes, separated by spaces
    #[arg(
        long,
        default_value = "openid profile records:read records:write records:list"
    )]
    scope: String,
    /// Print the whole answer instead of the access token
    #[arg(long)]
    json: bool,
}

/// `token inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    connection: Connection,
    /// The resource to ask about, when the credential fronts several
    #[arg(long)]
    resource: Option<String>,
    /// The token; `-` reads it from standard input
    token: String,
}

/// `token revoke`
#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    connection: Connection,
    /// The token; `-` reads it from standard input
    token: String,
}

/// Runs one of them.
pub async fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Issue(issue) => run_issue(issue).await,
        TokenCommand::Inspect(inspect) => {
            let credential = inspect.connection.credential("gateway")?;
            let client = OauthClient::discover(&inspect.connection.issuer).await?;
            let token = token_argument(&inspect.token)?;
            let answer = client
                .introspect(&credential, &token, inspect.resource.as_deref())
                .await?;
            print::out(&serde_json::to_string_pretty(&answer)?);
            Ok(())
        }
        TokenCommand::Revoke(revoke) => {
            let credential = revoke.connection.credential("cli")?;
            let client = OauthClient::discover(&revoke.connection.issuer).await?;
            client
                .revoke(&credential, &token_argument(&revoke.token)?)
                .await?;
            print::out("revoked");
            Ok(())
        }
    }
}

async fn run_issue(issue: Issue) -> anyhow::Result<()> {
    let answer = if let Some(user) = &issue.user {
        let credential = issue.connection.credential("cli")?;
        let password = issue.password(user)?;
        let mut client = OauthClient::discover(&issue.connection.issuer).await?;
        client
            .log_in(&credential, user, &password, &issue.scope)
            .await?
    } else {
        let client_id = issue.connection.client.as_deref().ok_or_else(|| {
            anyhow!("say for whom: `--user NAME`, or `--client ID` for a client itself")
        })?;
        let credential = issue.connection.credential(client_id)?;
        let client = OauthClient::discover(&issue.connection.issuer).await?;
        client.client_credentials(&credential, &issue.scope).await?
    };
    if issue.json {
        print::out(&serde_json::to_string_pretty(&answer)?);
    } else {
        let token = answer
            .get("access_token")
            .and_then(Value::as_str)
            .ok_or_else(|| anyhow!("the answer has no `access_token`"))?;
        print::out(token);
    }
    Ok(())
}

impl Issue {
    fn password(&self, user: &str) -> anyhow::Result<Secret> {
        if self.password_stdin {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read the password")?;
            return Ok(Secret::new(text.trim_end_matches(['\r', '\n'])));
        }
        self.connection
            .demo_secret(demo::password_of(user))
            .ok_or_else(|| anyhow!("give the password: `--password-stdin`"))
    }
}

impl Connection {
    fn credential(&self, default: &str) -> anyhow::Result<Credential> {
        let client_id = self.client.clone().unwrap_or_else(|| default.to_owned());
        let client_secret = match &self.client_secret_file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read `{}`", file.display()))?;
                Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
            }
            None => self.demo_secret(demo::secret_of(&client_id)),
        };
        Ok(Credential {
            client_id,
            client_secret,
        })
    }

    /// The demo's secrets are public, and are offered to nobody but this machine.
    fn demo_secret(&self, secret: Option<String>) -> Option<Secret> {
        secret
            .filter(|_| outbound::is_loopback(&self.issuer))
            .map(Secret::new)
    }
}

fn token_argument(argument: &str) -> anyhow::Result<String> {
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read the token")?;
    }
    let token = clean(&text);
    if token.is_empty() {
        bail!("the token is empty");
    }
    Ok(token)
}
