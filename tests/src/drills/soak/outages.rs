//! What is killed, one part after the other, and comes back a while later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::task::block_in_place;

use super::deck::Deck;
use super::ledger::Part;
use super::line::{Line, NAME, Speaks};
use super::stage::{DISABLED, SETTLE, Stage};
use super::tally::Tally;
use super::wallet::Token;
use crate::drills::random::Random;

const PARTS: [Part; 6] = [
    Part::FirstEndpoint,
    Part::Redis,
    Part::Pdp,
    Part::SecondEndpoint,
    Part::TokenService,
    Part::SecondGateway,
];

/// For how long something is gone: mostly a moment, now and then longer than caches are trusted.
const GONE_MS: [u64; 6] = [0, 150, 400, 900, 1_800, 4_500];

/// For how long gateways leave out an endpoint that has failed, as they are configured, and somewhat longer.
const EJECTED: Duration = Duration::from_millis(1_300);

/// By when everything must be well again.
const PATIENCE: Duration = Duration::from_secs(40);

/// Kills until it is over, then leaves everything well.
pub async fn outages(
    stage: Arc<Stage>,
    tally: Arc<Tally>,
    is_over: Arc<AtomicBool>,
    mut random: Random,
    pace: Duration,
) {
    let mut deck = Deck::new(&PARTS);
    let mut is_disabled = false;
    let mut ended = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(random.about(pace)).await;
        let held = stage.outages_held.clone();
        let held = held.lock().await;
        let part = deck.draw(&mut random);
        let gone = Duration::from_millis(random.pick(&GONE_MS)).min(pace * 2);
        // The token service reads who is disabled when it starts.
        let turns = part == Part::TokenService && random.one_in(2);
        stage
            .ledger
            .note(format!("{part:?} is killed for {gone:.1?}"));
        let window = stage.ledger.open(part);
        block_in_place(|| kill(&stage, part));
        if turns {
            is_disabled = !is_disabled;
            ended = block_in_place(|| disable(&stage, is_disabled));
        }
        tokio::time::sleep(gone).await;
        block_in_place(|| restart(&stage, part));
        let begun = stage.ledger.now();
        while !is_well(&stage).await {
            if stage.ledger.now() - begun > PATIENCE {
                tally.fail(format!("{part:?} does not come back within {PATIENCE:?}"));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Announced before the token service answered.
        let now = stage.ledger.now();
        ended.drain(..).for_each(|token| token.dies(now));
        if matches!(part, Part::FirstEndpoint | Part::SecondEndpoint) {
            // Until nobody leaves it out any more: without either, there is nowhere to send anything again.
            tokio::time::sleep(EJECTED).await;
        }
        let took = stage.ledger.close(window, SETTLE);
        drop(held);
        stage.ledger.note(format!("{part:?} is back"));
        tally.fault(&format!("{part:?} killed"), took - gone);
        if turns {
            let what = if is_disabled { "disabled" } else { "enabled" };
            tally.fault(&format!("user {what}"), Duration::ZERO);
        }
    }
}

fn kill(stage: &Stage, part: Part) {
    let mut site = stage.site.lock().expect("lock");
    match part {
        Part::FirstEndpoint => stage.endpoints[0].lock().expect("lock").kill(),
        Part::SecondEndpoint => stage.endpoints[1].lock().expect("lock").kill(),
        Part::Redis => site.redis.as_mut().expect("redis").kill(),
        Part::Pdp => site.pdp.kill(),
        Part::TokenService => site.token_service.as_mut().expect("split").kill(),
        Part::SecondGateway => stage.second.lock().expect("lock").kill(),
    }
}

fn restart(stage: &Stage, part: Part) {
    match part {
        Part::FirstEndpoint => stage.restart_endpoint(0),
        Part::SecondEndpoint => stage.restart_endpoint(1),
        _ => {
            let mut site = stage.site.lock().expect("lock");
            match part {
                Part::Redis => site.redis.as_mut().expect("redis").restart(),
                Part::Pdp => site.pdp = site.restart("pdp"),
                Part::TokenService => site.token_service = Some(site.restart("token-service")),
                _ => {
                    let started = site.restart_gateway("gateway-2", stage.hosts[1]);
                    *stage.second.lock().expect("lock") = started;
                }
            }
        }
    }
}

/// The tokens that end by it.
fn disable(stage: &Stage, is_disabled: bool) -> Vec<Arc<Token>> {
    stage.is_disabled.store(is_disabled, Ordering::SeqCst);
    let tokens = stage.wallet.of(DISABLED);
    if is_disabled {
        let now = stage.ledger.now();
        tokens.iter().for_each(|token| token.may_die(now));
    } else {
        // Their grants live on; whether these do is not looked at here.
        stage.wallet.forget(DISABLED);
    }
    stage
        .ledger
        .note(format!("{DISABLED} is disabled: {is_disabled}"));
    let file = stage.file("config/token-service.yaml");
    let text = std::fs::read_to_string(&file).expect("configuration");
    let (on, off) = (
        format!("username: {DISABLED}\n      disabled: true\n"),
        format!("username: {DISABLED}\n"),
    );
    let text = text.replace(&on, &off);
    let text = if is_disabled {
        text.replace(&off, &on)
    } else {
        text
    };
    std::fs::write(file, text).expect("configuration");
    if is_disabled { tokens } else { Vec::new() }
}

/// A token that nobody has seen yet is good at both gateways, and what no token may is refused there.
async fn is_well(stage: &Stage) -> bool {
    for gateway in 0..2 {
        let Some(token) = stage.program_token().await else {
            return false;
        };
        let line = Line::new(Speaks::Kept, stage.gateway(gateway), &stage.tls);
        for (path, wanted) in [("/report", 200), ("/switch", 403)] {
            let request = Request::get(path)
                .header("host", NAME)
                .header("authorization", format!("Bearer {}", token.text));
            let request = request.body(Full::new(Bytes::new())).expect("a request");
            match line.ask(request).await {
                Ok(answer) if answer.status == wanted => {}
                _ => return false,
            }
        }
    }
    true
}
