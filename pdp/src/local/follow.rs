//! Asks for snapshots, one after the other, and takes those that are signed, whole, and newer.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, StatusCode, header};
use authzen::HttpDecisionPointConfig;
use jose::KeySet;
use service_kit::error::chain;
use service_kit::outbound::{self, Unread};
use service_kit::{ConfigIssue, Status, Tasks, UnixTime, digest, random};
use tokio::time::Instant;
use url::Url;

use super::held::{self, Held, Understood};
use super::{LocalConfig, PART, Refused, State, keys};
use crate::handout::{STATEMENT_HEADER, Statement};
use crate::snapshot::Snapshot;

/// Asks one decision point.
pub(super) struct Follower {
    state: Arc<State>,
    client: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    keys: KeySet,
    max_bytes: usize,
    /// How long an answer may take where nothing is new.
    wait: Duration,
    held: Option<Held>,
    understood: Option<Arc<Understood>>,
    /// Why the last answer was refused: told once.
    told: Option<&'static str>,
}

/// What an answer was good for.
#[derive(Clone, Copy)]
enum Answered {
    Taken,
    Same,
}

const LONGEST_WAIT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(250);

impl Follower {
    pub(super) fn new(
        state: Arc<State>,
        config: &LocalConfig,
        keys: KeySet,
        remote: &HttpDecisionPointConfig,
    ) -> Result<Self, ConfigIssue> {
        let issue = |what: String| ConfigIssue::new(format!("`connect.pdp`: {what}"));
        let wait = LONGEST_WAIT.min(state.max_age / 3);
        let mut client =
            outbound::client(wait + remote.timeout + DOWNLOAD).connect_timeout(remote.timeout);
        if !remote.trusted.is_empty() {
            client = client.tls_certs_only(remote.trusted.iter().cloned());
        }
        if let Some(identity) = &remote.identity {
            client = client.identity(identity.clone());
        }
        let client = client.build().map_err(|error| issue(chain(&error)))?;
        let mut url = remote.url.clone();
        url.path_segments_mut()
            .map_err(|()| issue("the URL cannot be a base".into()))?
            .pop_if_empty()
            .extend(["cedar", "v1", "snapshot"]);
        Ok(Self {
            state,
            client,
            url,
            authorization: remote.authorization.clone(),
            keys,
            max_bytes: config.max_bytes,
            wait,
            held: None,
            understood: None,
            told: None,
        })
    }

    pub(super) fn spawn(mut self, tasks: &Tasks) {
        let state = self.state.clone();
        let draining = tasks.draining();
        tasks.spawn(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = self.follow() => {}
                () = grow_old(&state) => {}
            }
        });
    }

    async fn follow(&mut self) {
        loop {
            let asked = self.state.moment();
            match self.ask().await {
                Ok(answered) => self.heard(asked, answered),
                Err(refused) => {
                    self.refuse(&refused);
                    // The same document would be sent, and read, again and again.
                    let pause = if refused.is_lasting() {
                        self.wait.max(RETRY)
                    } else {
                        RETRY
                    };
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn heard(&mut self, asked: (Instant, UnixTime), answered: Answered) {
        let state = &self.state;
        let was_fresh = state.is_fresh(Instant::now());
        // What was said is younger than the question, and not than the answer.
        state.hear(asked);
        state.meters.answered(match answered {
            Answered::Taken => "taken",
            Answered::Same => "same",
        });
        if self.told.take().is_some() || !was_fresh {
            tracing::info!("decisions are made here");
            state.health.set(PART, Status::Ready);
        }
        if matches!(answered, Answered::Taken) || !was_fresh {
            // SECURITY: after the swap, so that nothing from before it is kept as from after it. Who was asked while
            // nothing was decided here may have decided by something else.
            state.changes.send_modify(|count| *count += 1);
        }
    }

    fn refuse(&mut self, refused: &Refused) {
        self.state.meters.answered(refused.label());
        if self.told.replace(refused.label()) != Some(refused.label()) {
            tracing::warn!(error = %refused, "no snapshot is taken");
        }
    }

    async fn ask(&mut self) -> Result<Answered, Refused> {
        let nonce = random::id().map_err(|error| Refused::Unreachable(error.to_string()))?;
        let mut answer = self.send(&nonce).await?;
        let status = answer.status();
        if status != StatusCode::OK && status != StatusCode::NO_CONTENT {
            return Err(Refused::Status(status));
        }
        let statement = answer.headers().get(STATEMENT_HEADER);
        let statement = statement.and_then(|value| value.to_str().ok());
        let statement = statement.ok_or(Refused::Unreadable("its statement"))?;
        let statement = keys::believe(&self.keys, statement, &nonce)?;
        if let Some(held) = &self.held
            && held.digest == statement.document
        {
            return Ok(self.stand_by(&statement));
        }
        // What nobody stands by any more decides nothing, and is newer for nobody: who is asked instead may be the
        // one that says this.
        if let Some(held) = &self.held
            && held.is_newer_than(&statement)
            && self.state.is_fresh(Instant::now())
        {
            return Err(Refused::Older);
        }
        if statement.bytes > self.max_bytes {
            return Err(Refused::TooLarge);
        }
        let document = outbound::body(&mut answer, statement.bytes)
            .await
            .map_err(|unread| match unread {
                Unread::TooLong => Refused::Tampered,
                Unread::Broken(error) => Refused::Unreachable(chain(&error)),
            })?;
        // SECURITY: before a byte of it is looked at.
        if digest::sha256_base64url(&document) != statement.document {
            return Err(Refused::Tampered);
        }
        self.take(document, statement).await?;
        Ok(Answered::Taken)
    }

    async fn send(&self, nonce: &str) -> Result<reqwest::Response, Refused> {
        let mut url = self.url.clone();
        // What is not held is not waited for.
        let wait = self.held.as_ref().map_or(Duration::ZERO, |_| self.wait);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("nonce", nonce);
            query.append_pair("wait_ms", &wait.as_millis().to_string());
            if let Some(held) = &self.held {
                query.append_pair("have", &held.digest);
            }
        }
        let mut request = self.client.get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let sent = request.send().await;
        sent.map_err(|error| Refused::Unreachable(chain(&error.without_url())))
    }

    /// The decision point still decides by what is held, or again.
    fn stand_by(&mut self, statement: &Statement) -> Answered {
        let is_renumbered = |held: &Held| held.is_renumbered_by(statement);
        if !self.held.as_ref().is_some_and(is_renumbered) {
            return Answered::Same;
        }
        let inner = &self.state.engine.0;
        let snapshot = inner.snapshot.load().numbered(statement.snapshot.clone());
        self.swap(Arc::new(snapshot), statement);
        Answered::Taken
    }

    async fn take(&mut self, document: Vec<u8>, statement: Statement) -> Result<(), Refused> {
        let before = self.understood.clone();
        let building = tokio::task::spawn_blocking(move || {
            let understood = held::understand(&document, &statement, before.as_deref());
            understood.map(|understood| (understood, statement))
        });
        let built = building.await;
        let (understood, statement) =
            built.map_err(|error| Refused::Invalid(error.to_string()))??;
        self.swap(Arc::clone(&understood.snapshot), &statement);
        self.understood = Some(Arc::new(understood));
        Ok(())
    }

    fn swap(&mut self, snapshot: Arc<Snapshot>, statement: &Statement) {
        let inner = &self.state.engine.0;
        let version = snapshot.version.value();
        inner.meters.entities(&snapshot.store, version.revision);
        let epoch = i64::try_from(version.epoch).unwrap_or(i64::MAX);
        inner.meters.epoch.set(epoch);
        inner.snapshot.store(snapshot);
        tracing::info!(
            version = version.version,
            epoch = version.epoch,
            revision = version.revision,
            "a snapshot is taken"
        );
        inner.changes.send_replace(version);
        self.held = Some(Held::of(statement));
    }
}

/// Says when the decision point has not been heard for too long.
async fn grow_old(state: &State) {
    let mut was_fresh = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = Instant::now();
        let age = state.age(now).map(|age| age.as_secs());
        let age = age.map_or(-1, |age| i64::try_from(age).unwrap_or(i64::MAX));
        state.meters.age.set(age);
        let is_fresh = state.is_fresh(now);
        if was_fresh && !is_fresh {
            let reason = "the decision point has not been heard for `max_age_ms`";
            tracing::warn!(reason);
            state.say_stale(reason);
            // What was decided here is not remembered longer than it may be decided.
            state.changes.send_modify(|count| *count += 1);
        }
        was_fresh = is_fresh;
    }
}

/// A large document may take so long beside the waiting.
const DOWNLOAD: Duration = Duration::from_secs(20);
