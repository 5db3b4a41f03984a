//! `cedargate admin`: what the admin listener of a process says, on the command line.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use http::{Method, header};
use serde_json::json;
use service_kit::outbound;
use url::Url;

use crate::print;

/// Asks a process that runs.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminCommand {
    /// The admin listener
    #[arg(long, default_value = "http://127.0.0.1:9901", global = true)]
    admin: Url,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The configuration in force, without secrets
    Config,
    /// The routes of the gateway
    Routes,
    /// The upstreams of the gateway: endpoints, health, requests under way
    Upstreams,
    /// What the gateway remembers
    Cache,
    /// Read the configuration file again
    Reload,
    /// How much is logged; with a level, change it for a while
    LogLevel {
        /// `off`, `error`, `warn`, `info` or `debug`
        level: Option<String>,
        /// Seconds, after which it is as configured again
        #[arg(long = "for", default_value_t = 300)]
        for_secs: u64,
    },
}

const PATIENCE: Duration = Duration::from_secs(30);
/// What may come back.
const LONGEST_ANSWER: usize = 64 << 20;

pub(crate) async fn run(command: AdminCommand) -> anyhow::Result<()> {
    let (method, path, body) = match command.what {
        What::Config => (Method::GET, "/config", None),
        What::Routes => (Method::GET, "/routes", None),
        What::Upstreams => (Method::GET, "/upstreams", None),
        What::Cache => (Method::GET, "/cache", None),
        What::Reload => (Method::POST, "/reload", Some(json!({}))),
        What::LogLevel { level: None, .. } => (Method::GET, "/log-level", None),
        What::LogLevel {
            level: Some(level),
            for_secs,
        } => {
            let body = json!({ "level": level, "for_secs": for_secs });
            (Method::PUT, "/log-level", Some(body))
        }
    };
    let url = command.admin.join(path)?;
    let client = outbound::client(PATIENCE).build()?;
    let mut request = client.request(method, url.clone());
    if let Some(body) = body {
        request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await;
    let mut response =
        answer.with_context(|| format!("no admin listener answers at `{url}`; see `--admin`"))?;
    let status = response.status();
    let body = outbound::body(&mut response, LONGEST_ANSWER).await?;
    if !status.is_success() {
        bail!(
            "`{url}` answers {status}: {}",
            String::from_utf8_lossy(&body)
        );
    }
    let value: serde_json::Value = serde_json::from_slice(&body)?;
    print::out(&serde_json::to_string_pretty(&value)?);
    Ok(())
}
