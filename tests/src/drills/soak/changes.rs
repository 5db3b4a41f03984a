//! What changes while everything runs: policies, certificates, the gateways' configuration, and tokens that are
//! taken back. Nothing of it may cost a request.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::deck::Deck;
use super::ledger::Part;
use super::line::{Line, NAME, Speaks};
use super::stage::{PROGRAM, Stage};
use super::tally::Tally;
use super::wallet::{Token, Worth};
use crate::drills::random::Random;

/// The policy that comes and goes, and what stands in its place.
pub const SWITCH_ON: &str = "@id(\"switch-on\")\npermit (principal is User, action == Action::\"view_switch\", resource == Service::\"switch\");\n";
const SWITCH_OFF: &str = "@id(\"switch-off\")\nforbid (principal is User, action == Action::\"view_switch\", resource == Service::\"switch\");\n";
const SWITCH_BROKEN: &str = "@id(\"switch-on\") permit (principal is User, action ==";

#[derive(Debug, Clone, Copy)]
enum Change {
    Revoke,
    RevokeOfPerson,
    Policy,
    BrokenPolicy,
    Certificate,
    HalfCertificate,
    Reload,
    BrokenReload,
}

impl Change {
    fn is_of_files(self) -> bool {
        !matches!(self, Self::Revoke | Self::RevokeOfPerson | Self::Policy)
    }
}

const CHANGES: [Change; 12] = [
    Change::Revoke,
    Change::Policy,
    Change::Certificate,
    Change::Revoke,
    Change::Reload,
    Change::BrokenPolicy,
    Change::Revoke,
    Change::Policy,
    Change::HalfCertificate,
    Change::RevokeOfPerson,
    Change::BrokenReload,
    Change::Revoke,
];

/// By when a change must be in force, a part that is down meanwhile included.
const PATIENCE: Duration = Duration::from_secs(40);

/// Changes until it is over.
pub async fn changes(
    stage: Arc<Stage>,
    tally: Arc<Tally>,
    is_over: Arc<AtomicBool>,
    mut random: Random,
    pace: Duration,
) {
    let mut deck = Deck::new(&CHANGES);
    let mut site = Changing {
        stage,
        tally,
        is_on: true,
        has_route: false,
    };
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(random.about(pace)).await;
        let change = deck.draw(&mut random);
        site.stage.ledger.note(format!("{change:?} begins"));
        let begun = site.stage.ledger.now();
        // A part that starts with half a file, or is told to read it before it can be told anything, does not start.
        let held = site.stage.outages_held.clone();
        let held = if change.is_of_files() {
            Some(held.lock().await)
        } else {
            None
        };
        match change {
            Change::Revoke => site.revoke(&mut random).await,
            Change::RevokeOfPerson => site.revoke_of_person(&mut random).await,
            Change::Policy => site.policy().await,
            Change::BrokenPolicy => site.broken_policy().await,
            Change::Certificate => site.certificate(false).await,
            Change::HalfCertificate => site.certificate(true).await,
            Change::Reload => site.reload(&mut random).await,
            Change::BrokenReload => site.broken_reload().await,
        }
        drop(held);
        site.stage.ledger.note(format!("{change:?} is done"));
        let took = site.stage.ledger.now() - begun;
        site.tally.fault(&format!("{change:?}"), took);
    }
}

struct Changing {
    stage: Arc<Stage>,
    tally: Arc<Tally>,
    is_on: bool,
    has_route: bool,
}

impl Changing {
    /// Some of the program's tokens; new ones take their places.
    async fn revoke(&mut self, random: &mut Random) {
        for _ in 0..1 + random.below(3) {
            let Some(token) = self.stage.wallet.program(random) else {
                return;
            };
            self.end(&token).await;
            let issue = async || self.stage.program_token().await;
            if let Some(new) = self.until(issue).await {
                self.stage.wallet.keep_program(new);
            }
        }
    }

    async fn revoke_of_person(&mut self, random: &mut Random) {
        let name = random.pick(&["alice", "bob", "sam"]);
        let Some(token) = self.stage.wallet.person(name) else {
            return;
        };
        // While everything is there: of logins that come to nothing there may be only so many.
        let held = self.stage.outages_held.clone();
        let held = held.lock().await;
        let logged_in = self.stage.person_token(name).await;
        drop(held);
        let new = match logged_in {
            Ok(new) => new,
            Err(error) => {
                self.tally.fail(format!("{name} cannot log in: {error:#}"));
                return;
            }
        };
        self.stage.wallet.keep(name, new);
        self.end(&token).await;
    }

    async fn end(&self, token: &Arc<Token>) {
        token.may_die(self.stage.ledger.now());
        let revoke = async || self.stage.revoke(token).await.then_some(());
        if self.until(revoke).await.is_some() {
            token.dies(self.stage.ledger.now());
        }
        self.stage.wallet.retire(token);
        for gateway in 0..2 {
            self.watch_end(token, gateway).await;
        }
    }

    /// Shows the token until it is refused. One that is still good when everybody has heard of its end, is good for
    /// too long; what the gateway does not answer meanwhile says nothing.
    async fn watch_end(&self, token: &Token, gateway: usize) {
        let ledger = &self.stage.ledger;
        let line = Line::new(Speaks::Kept, self.stage.gateway(gateway), &self.stage.tls);
        let path = if token.subject == PROGRAM {
            "/report"
        } else {
            "/records"
        };
        while token.worth(ledger, ledger.now(), ledger.now()) != Worth::Live {
            let sent = ledger.now();
            let request = Request::get(path)
                .header("host", NAME)
                .header("authorization", format!("Bearer {}", token.text));
            let request = request.body(Full::new(Bytes::new())).expect("a request");
            match line.ask(request).await {
                Ok(answer) if answer.status == 401 => return,
                Ok(answer) if answer.status == 200 => {
                    self.tally.heard(sent.saturating_sub(token.dead_at()));
                    if token.worth(ledger, sent, ledger.now()) == Worth::Dead {
                        let story = token.story();
                        self.tally
                            .fail(format!("WRONG at gateway {}: {story}", gateway + 1));
                        return;
                    }
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn policy(&mut self) {
        self.is_on = !self.is_on;
        let turn = self.stage.ledger.begin_turn(self.is_on);
        self.write_switch(if self.is_on { SWITCH_ON } else { SWITCH_OFF });
        let is_on = self.is_on;
        let decides = async || (self.stage.switch_at_pdp().await == Some(is_on)).then_some(());
        if self.until(decides).await.is_some() {
            self.stage.ledger.end_turn(turn);
        }
    }

    /// Nothing changes by it: what was there before decides.
    async fn broken_policy(&mut self) {
        self.write_switch(SWITCH_BROKEN);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let said = self.stage.switch_at_pdp().await;
        if said.is_some_and(|said| said != self.is_on) {
            self.tally
                .fail(format!("a broken policy decides: {said:?}"));
        }
        self.write_switch(if self.is_on { SWITCH_ON } else { SWITCH_OFF });
    }

    fn write_switch(&self, text: &str) {
        replace(&self.stage.file("policies/records/switch.cedar"), text);
    }

    /// A new pair of files, one after the other; or the first half of a certificate, for a while.
    async fn certificate(&mut self, is_half: bool) {
        let (pem, key) = self.stage.certificate();
        let file = self.stage.file("tls/gate.pem");
        if is_half {
            // As an editor writes, in place.
            std::fs::write(&file, &pem[..pem.len() / 2]).expect("a file");
            tokio::time::sleep(Duration::from_millis(2_500)).await;
        }
        replace(&file, &pem);
        replace(&self.stage.file("tls/gate.key"), &key);
        let wanted = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        for gateway in 0..2 {
            let line = Line::new(Speaks::Kept, self.stage.gateway(gateway), &self.stage.tls);
            let shows = async || {
                let stream = line.connect().await.ok()?;
                let shown = stream.get_ref().1.peer_certificates()?.first()?.clone();
                (shown == wanted).then_some(())
            };
            self.until(shows).await;
        }
    }

    /// A route that was not there, or is not there any more: by the admin listener, or by a signal.
    async fn reload(&mut self, random: &mut Random) {
        self.has_route = !self.has_route;
        for name in FILES {
            let file = self.stage.file(name);
            let text = std::fs::read_to_string(&file).expect("configuration");
            let without = text.replace(ROUTE, "");
            replace(
                &file,
                &if self.has_route {
                    format!("{without}{ROUTE}")
                } else {
                    without
                },
            );
        }
        let by_signal = random.one_in(2);
        for gateway in 0..2 {
            let is_routed =
                async || (self.is_routed(gateway).await? == self.has_route).then_some(());
            if by_signal {
                self.hang_up(gateway);
                // A gateway that was killed has read it when it started.
                self.until(is_routed).await;
                continue;
            }
            let status = self.ask_reload(gateway).await;
            let is_wrong = status != Some(200) || is_routed().await.is_none();
            let now = self.stage.ledger.now();
            let down = self.stage.ledger.down(now, now);
            let may_be_down = gateway == 1 && down.contains(&Part::SecondGateway);
            if is_wrong && !may_be_down {
                self.tally.fail(format!(
                    "gateway {} answers /reload by {status:?}, or is what it was before",
                    gateway + 1
                ));
            }
        }
    }

    async fn broken_reload(&mut self) {
        let file = self.stage.file(FILES[0]);
        let text = std::fs::read_to_string(&file).expect("configuration");
        replace(&file, &text[..text.len() - 20]);
        let status = self.ask_reload(0).await;
        if status != Some(422) {
            self.tally
                .fail(format!("a configuration that is cut off: {status:?}"));
        }
        replace(&file, &text);
    }

    /// None: no answer.
    async fn is_routed(&self, gateway: usize) -> Option<bool> {
        let line = Line::new(Speaks::Kept, self.stage.gateway(gateway), &self.stage.tls);
        let request = Request::get("/extra").header("host", NAME);
        let request = request.body(Full::new(Bytes::new())).expect("a request");
        let answer = line.ask(request).await.ok()?;
        Some(answer.status == 401)
    }

    async fn ask_reload(&self, gateway: usize) -> Option<u16> {
        let url = format!("http://{}:9901/reload", self.stage.hosts[gateway]);
        let request = self
            .stage
            .http
            .post(url)
            .header("content-type", "application/json");
        Some(crate::http::try_send(request).await?.status)
    }

    fn hang_up(&self, gateway: usize) {
        let id = match gateway {
            0 => self
                .stage
                .site
                .lock()
                .expect("lock")
                .gateway
                .as_ref()
                .map(|it| it.id()),
            _ => Some(self.stage.second.lock().expect("lock").id()),
        };
        let id = id.unwrap_or_default().to_string();
        // One that was killed a moment ago takes no signal.
        let _ = std::process::Command::new("kill")
            .args(["-HUP", &id])
            .status();
    }

    /// Tries until there is something; none, and a failure, where there is not.
    async fn until<T>(&self, mut tried: impl AsyncFnMut() -> Option<T>) -> Option<T> {
        let end = self.stage.ledger.now() + PATIENCE;
        loop {
            if let Some(it) = tried().await {
                return Some(it);
            }
            if self.stage.ledger.now() > end {
                let before = self.stage.ledger.before(end).join("\n    ");
                self.tally.fail(format!(
                    "not within {PATIENCE:?}; what had happened:\n    {before}"
                ));
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

const FILES: [&str; 2] = ["config/gateway.yaml", "config/gateway-2.yaml"];

const ROUTE: &str = "  - { match: /extra, methods: [GET], upstream: records, action: view_events, resource: Service/events }\n";

/// At once: nobody reads a part of it.
fn replace(file: &Path, text: &str) {
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, text).expect("a file");
    std::fs::rename(temporary, file).expect("a file");
}
