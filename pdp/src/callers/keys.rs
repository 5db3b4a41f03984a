//! Where an issuer's keys come from, and how they are kept up to date: what cannot be read leaves the old keys
//! in force. Whoever verifies never waits for a lock, and waits for a reading only where it cannot do without.

use std::path::PathBuf;
use std::sync::Arc;

use ::http::HeaderValue;
use arc_swap::ArcSwapOption;
use jose::KeySet;
use prometheus::IntCounterVec;
use service_kit::renewal::{self, Pace, Reader, Renewal, Renewals};
use service_kit::{Tasks, digest, outbound};
use url::Url;

/// Keys as they were read at one time.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) keys: KeySet,
    /// Of the text. Equal versions have equal keys.
    pub(super) version: [u8; 32],
}

impl Known {
    fn parse(text: &[u8]) -> Result<Self, String> {
        Ok(Self {
            keys: KeySet::parse(text)?,
            version: digest::sha256(text),
        })
    }
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    source: Source,
    current: ArcSwapOption<Known>,
    renewals: Arc<Renewals>,
}

/// Where they are.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url(Box<Remote>),
}

#[derive(Debug)]
pub(super) struct Remote {
    url: Url,
    client: reqwest::Client,
}

/// Reads them, and says how that went.
struct KeyReader {
    keys: Arc<Keys>,
    issuer: String,
    loads: IntCounterVec,
    /// A failure is told once, and again when it is another one.
    told: Option<String>,
}

/// Longer key sets are not read. Bytes.
const LONGEST: usize = 256 << 10;

impl Keys {
    /// Keys in a file must be there at once; others may come later.
    pub(super) fn open(source: Source, pace: Pace) -> Result<Self, String> {
        let current = match &source {
            Source::File(path) => {
                let text =
                    std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
                Some(Arc::new(Known::parse(&text)?))
            }
            Source::Url(_) => None,
        };
        Ok(Self {
            source,
            current: ArcSwapOption::new(current),
            renewals: Arc::new(Renewals::new(pace)),
        })
    }

    /// What is known. None: nothing has been read yet.
    pub(super) fn current(&self) -> Option<Arc<Known>> {
        self.current.load_full()
    }

    /// Waits for a reading, if one may be had now. False: what is known is all there is.
    pub(super) async fn renew(&self) -> bool {
        self.renewals.renew().await == Renewal::Read
    }

    /// Keeps the keys up to date until the tasks drain.
    pub(super) fn follow(self: Arc<Self>, issuer: String, loads: IntCounterVec, tasks: &Tasks) {
        let reader = KeyReader {
            keys: self.clone(),
            issuer,
            loads,
            told: None,
        };
        self.renewals.clone().follow(reader, tasks);
    }
}

impl Reader for KeyReader {
    async fn read(&mut self) -> bool {
        let read = tokio::time::timeout(renewal::READING, self.keys.source.read()).await;
        match read.unwrap_or_else(|_| Err("do not come in time".into())) {
            Ok(known) => {
                self.take(known);
                true
            }
            Err(problem) => {
                self.tell(problem);
                false
            }
        }
    }
}

impl KeyReader {
    fn take(&mut self, known: Known) {
        self.loads.with_label_values(&["ok"]).inc();
        self.told = None;
        let before = self.keys.current.load();
        let is_new = before
            .as_ref()
            .is_none_or(|old| old.version != known.version);
        if is_new {
            let issuer = &*self.issuer;
            tracing::info!(issuer, "the keys of an issuer of callers' tokens are read");
            self.keys.current.store(Some(Arc::new(known)));
        }
    }

    fn tell(&mut self, problem: String) {
        self.loads.with_label_values(&["failed"]).inc();
        if self.told.as_ref() != Some(&problem) {
            tracing::warn!(
                issuer = self.issuer,
                problem,
                old_keys_stay = self.keys.current.load().is_some(),
                "the keys of an issuer of callers' tokens cannot be read"
            );
            self.told = Some(problem);
        }
    }
}

impl Source {
    /// A URL that can be trusted to be the issuer's: https, or this machine itself.
    pub(super) fn url(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        if !outbound::is_trusted(&url, true) {
            return Err("must be https".into());
        }
        let client = outbound::client(renewal::READING)
            .build()
            .map_err(|error| format!("cannot be asked: {error}"))?;
        Ok(Self::Url(Box::new(Remote { url, client })))
    }

    async fn read(&self) -> Result<Known, String> {
        let text = match self {
            Self::File(path) => tokio::fs::read(path)
                .await
                .map_err(|error| format!("cannot be read: {error}"))?,
            Self::Url(remote) => {
                let Remote { url, client } = &**remote;
                let json = HeaderValue::from_static("application/json");
                outbound::fetch(client, url, json, LONGEST).await?
            }
        };
        Known::parse(&text)
    }
}
