//! `cedargate entities …`: loads entities into a running PDP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use reqwest::header;
use serde_json::Value;
use serde_json::value::RawValue;
use service_kit::Secret;
use service_kit::outbound::{self, Unread};
use url::Url;

use crate::peer_tls::{PeerTls, PeerTlsFiles};
use crate::print;

/// What to do with entities.
#[derive(Debug, Subcommand)]
pub enum EntitiesCommand {
    /// Write every entity of a file in Cedar's JSON format: an array, or one entity a line
    Load(Load),
}

/// `entities load`
#[derive(Debug, Args)]
pub struct Load {
    /// The file
    file: PathBuf,
    /// The PDP
    #[arg(long, env = "CEDARGATE_PDP", default_value = "http://127.0.0.1:8082")]
    pdp: Url,
    /// A file with the API key of a caller that may write entities
    #[arg(long)]
    api_key_file: Option<PathBuf>,
    /// The authorities whose certificates are believed, as PEM, in place of the system's
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Our own certificate, as PEM
    #[arg(long, requires = "client_key_file")]
    client_certificate_file: Option<PathBuf>,
    /// The private key of our certificate
    #[arg(long, requires = "client_certificate_file")]
    client_key_file: Option<PathBuf>,
}

/// A request carries about so many bytes of entities.
const PART_BYTES: usize = 256 * 1024;

const MAX_ANSWER: usize = 64 * 1024;

/// Runs the command.
pub async fn run(command: EntitiesCommand) -> anyhow::Result<()> {
    let EntitiesCommand::Load(load) = command;
    let text = tokio::fs::read_to_string(&load.file)
        .await
        .with_context(|| format!("cannot read `{}`", load.file.display()))?;
    let entities = read(&text).with_context(|| format!("in `{}`", load.file.display()))?;
    let target = Target::new(&load).await?;
    let bar = ProgressBar::new(entities.len() as u64).with_style(ProgressStyle::with_template(
        "{bar:30} {human_pos} of {human_len} entities, {per_sec}, {eta} left",
    )?);
    let mut written = Written::default();
    for part in parts(&entities) {
        let done = bar.position();
        written = match target.write(part).await {
            Ok(written) => written,
            Err(error) => {
                bar.abandon();
                // A part is written whole or not at all.
                return Err(error.context(format!(
                    "the first {done} entities are written, and none from there on; loading the \
                     file again does no harm"
                )));
            }
        };
        bar.inc(part.len() as u64);
    }
    bar.finish();
    print::out(&written.said(entities.len()));
    Ok(())
}

/// What the PDP answers to a change.
#[derive(Debug, Default)]
struct Written {
    revision: u64,
    /// How many entities it holds then, and in how many bytes, about.
    stored: Option<(u64, u64)>,
}

impl Written {
    fn of(answer: &Value) -> Option<Self> {
        let number = |name| answer.get("stored")?.get(name)?.as_u64();
        Some(Self {
            revision: answer.get("revision")?.as_u64()?,
            stored: number("entities").zip(number("bytes")),
        })
    }

    fn said(&self, count: usize) -> String {
        let revision = self.revision;
        let said = format!("{count} entities are written; the revision is {revision}");
        let Some((entities, bytes)) = self.stored.filter(|(entities, _)| *entities > 0) else {
            return said;
        };
        let (all, each) = (HumanBytes(bytes), bytes / entities);
        format!("{said}; the PDP holds {entities} in about {all}, {each} bytes each")
    }
}

/// The entities of a file, each as it is written there.
fn read(text: &str) -> anyhow::Result<Vec<&RawValue>> {
    if text.trim_start().starts_with('[') {
        return Ok(serde_json::from_str(text)?);
    }
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(at, line)| serde_json::from_str(line).with_context(|| format!("line {}", at + 1)))
        .collect()
}

/// Runs of entities that make a request each.
fn parts<'a, 'e>(entities: &'a [&'e RawValue]) -> impl Iterator<Item = &'a [&'e RawValue]> {
    let mut rest = entities;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |entity: &&&RawValue| {
            bytes += entity.get().len() + 1;
            bytes <= PART_BYTES
        };
        // One that is larger than that goes alone.
        let count = rest.iter().take_while(fits).count().max(1);
        let (part, others) = rest.split_at_checked(count)?;
        rest = others;
        Some(part)
    })
}

struct Target {
    client: reqwest::Client,
    url: Url,
    key: Option<Secret>,
}

impl Target {
    async fn new(load: &Load) -> anyhow::Result<Self> {
        let key = match &load.api_key_file {
            Some(path) => {
                let text = tokio::fs::read_to_string(path)
                    .await
                    .with_context(|| format!("cannot read `{}`", path.display()))?;
                Some(Secret::new(text.trim()))
            }
            None => None,
        };
        let files = PeerTlsFiles {
            place: "",
            authorities: load.ca_file.as_deref(),
            certificate: load.client_certificate_file.as_deref(),
            key: load.client_key_file.as_deref(),
        };
        let tls = PeerTls::read(Path::new(""), &files).map_err(|issue| anyhow!("{issue}"))?;
        Ok(Self {
            client: tls
                .client()
                .timeout(Duration::from_mins(1))
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
            url: load.pdp.join("cedar/v1/entities")?,
            key,
        })
    }

    /// Writes some, and tells what there is then.
    async fn write(&self, entities: &[&RawValue]) -> anyhow::Result<Written> {
        let body = serde_json::json!({ "upsert": entities }).to_string();
        let mut request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.reveal());
        }
        let mut response = request.send().await.context("the PDP does not answer")?;
        let status = response.status();
        let body = outbound::body(&mut response, MAX_ANSWER).await;
        let body = body.map_err(|unread| match unread {
            Unread::TooLong => anyhow!("the PDP's answer is too long"),
            Unread::Broken(error) => error.into(),
        })?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        match Written::of(&answer) {
            Some(written) if status.is_success() => Ok(written),
            _ => {
                let detail = answer.get("detail").and_then(Value::as_str);
                bail!(
                    "the PDP answered {status}: {}",
                    detail.unwrap_or("nothing more")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_an_array_or_one_entity_a_line() {
        for text in ["[{\"a\":1}, {\"a\":2}]", " {\"a\":1}\n\n{\"a\":2}\n"] {
            let texts: Vec<_> = read(text).unwrap().iter().map(|raw| raw.get()).collect();
            assert_eq!(texts, ["{\"a\":1}", "{\"a\":2}"]);
        }
        let error = read("{}\n{\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2");
        assert!(read("[{}").is_err());
    }

    #[test]
    fn the_last_line_says_what_an_entity_takes() {
        let answer =
            serde_json::json!({ "revision": 7, "stored": { "entities": 4, "bytes": 2048 } });
        assert_eq!(
            Written::of(&answer).unwrap().said(3),
            "3 entities are written; the revision is 7; the PDP holds 4 in about 2.00 KiB, 512 bytes each"
        );
        let plain = Written::of(&serde_json::json!({ "revision": 1 })).unwrap();
        assert_eq!(plain.said(3), "3 entities are written; the revision is 1");
    }

    #[test]
    fn every_entity_is_in_one_part_and_parts_are_bounded() {
        let large = format!("\"{}\"", "x".repeat(PART_BYTES));
        let small = format!("\"{}\"", "x".repeat(PART_BYTES / 3));
        let texts = [&small, &small, &small, &large, &small];
        let entities: Vec<&RawValue> = texts
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        let counts: Vec<_> = parts(&entities).map(<[_]>::len).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
        assert_eq!(parts(&[]).count(), 0);
    }
}
