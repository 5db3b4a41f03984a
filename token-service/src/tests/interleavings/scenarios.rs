//! What happens at the same time, and what must come of it.

use serde_json::Value;

use super::explorer::{Actor, End, Scenario};
use super::{Fault, Model, explore};
use crate::tests::device::{self, Device};
use crate::tests::harness::{Browser, authorize_uri, encode, query, refresh_form};
use crate::tests::pushed;

const SCOPE: &str = "openid orders:read billing:read";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A login: its browser, the tokens of one code, and another code that is not used yet.
struct Login {
    browser: Browser,
    tokens: Value,
    code: String,
}

impl Login {
    async fn new(model: &Model) -> Self {
        let mut browser = Browser::default();
        let uri = authorize_uri(&[("client_id", "web"), ("scope", SCOPE)]);
        let first = browser.walk(&model.world, &uri, "alice").await;
        let tokens = model.world.redeem("web", &query(&first)["code"]).await;
        let second = browser.walk(&model.world, &uri, "alice").await;
        Self {
            browser,
            tokens: tokens.json(),
            code: query(&second)["code"].clone(),
        }
    }

    fn text(&self, member: &str) -> &str {
        self.tokens[member].as_str().unwrap()
    }

    fn given(&self) -> Vec<String> {
        ["access_token", "refresh_token"]
            .map(|member| self.text(member).to_owned())
            .into()
    }

    fn redeem<'a>(&'a self, model: &'a Model, name: &'static str) -> Actor<'a> {
        Actor::new(name, || model.world.redeem("web", &self.code))
    }

    fn refresh<'a>(&'a self, model: &'a Model, name: &'static str) -> Actor<'a> {
        Actor::new(name, || async {
            let form = refresh_form(self.text("refresh_token"));
            model.world.token("web", &form).await
        })
    }

    fn revoke<'a>(&'a self, model: &'a Model, member: &'static str) -> Actor<'a> {
        let revoke = move || async move {
            let form = [("token", self.text(member))];
            model.world.post_as("web", "/revoke", &form).await
        };
        Actor::new("revoke", revoke).ends()
    }

    fn log_out<'a>(&'a self, model: &'a Model) -> Actor<'a> {
        let log_out = || async {
            let hint = encode(&[("id_token_hint", self.text("id_token"))]);
            let mut browser = self.browser.clone();
            browser.get(&model.world, &format!("/logout?{hint}")).await
        };
        Actor::new("log out", log_out).ends()
    }

    fn exchange<'a>(&'a self, model: &'a Model) -> Actor<'a> {
        Actor::new("exchange", || async {
            let form = [
                ("grant_type", EXCHANGE),
                ("subject_token", self.text("access_token")),
                ("subject_token_type", ACCESS_TOKEN),
            ];
            model.world.token("orders", &form).await
        })
    }
}

fn disable<'a>(model: &'a Model, user: &'static str) -> Actor<'a> {
    let reload = move || model.reload(move |config| config.users.retain(|it| it.username != user));
    Actor::new("disable the user", reload).alone().ends()
}

fn withdraw<'a>(model: &'a Model, clients: &'static [&'static str]) -> Actor<'a> {
    let is_kept = |id: &str| !clients.contains(&id);
    let reload = move || model.reload(move |config| config.clients.retain(|it| is_kept(&it.id)));
    Actor::new("withdraw the client", reload).alone().ends()
}

fn pass(model: &Model, secs: u64) -> Actor<'_> {
    Actor::new("time", move || model.pass(secs)).alone()
}

fn poll<'a>(model: &'a Model, device: &'a Device, name: &'static str) -> Actor<'a> {
    Actor::new(name, || device::poll(&model.world, "tv", device))
}

fn expect(holds: bool, what: &str) -> Result<(), String> {
    holds.then_some(()).ok_or_else(|| what.to_owned())
}

/// Explores, says how much, and sees to it that it was something.
async fn check(scenario: Scenario<'_>) {
    let explored = explore(&scenario)
        .await
        .unwrap_or_else(|problem| panic!("{problem}"));
    println!("{}: {explored:?}", scenario.name);
    assert!(explored.ends > 1 && explored.crashes > 1, "{explored:?}");
}

fn twice_the_same(end: &End) -> Result<(), String> {
    let successors = end.distinct("refresh_token");
    expect(end.won() == end.answers.len(), "somebody was refused")?;
    expect(successors.len() == 1, "two successors")?;
    expect(successors.is_subset(&end.live), "the successor is not good")
}

fn one_at_most_and_dead(end: &End) -> Result<(), String> {
    let won = end.won();
    expect(won == 1 || (end.is_crashed && won == 0), "not one winner")?;
    expect(end.live.is_empty(), "somebody had a copy, and it lives")
}

fn one_and_alive(end: &End) -> Result<(), String> {
    let won = end.won();
    expect(won == 1 || (end.is_crashed && won == 0), "not one winner")?;
    expect(won == 0 || !end.live.is_empty(), "the winner's is not good")
}

fn refreshes<'a>(model: &'a Model, login: &'a Login) -> Scenario<'a> {
    Scenario {
        name: "refresh, refresh",
        model,
        actors: vec![login.refresh(model, "one"), login.refresh(model, "two")],
        given: login.given(),
        end: Some(twice_the_same),
    }
}

fn refresh_and_revoke<'a>(model: &'a Model, login: &'a Login) -> Scenario<'a> {
    Scenario {
        name: "refresh, revoke",
        model,
        actors: vec![
            login.refresh(model, "one"),
            login.revoke(model, "refresh_token"),
        ],
        given: login.given(),
        end: None,
    }
}

fn redemptions<'a>(model: &'a Model, login: &'a Login) -> Scenario<'a> {
    Scenario {
        name: "redeem, redeem",
        model,
        actors: vec![login.redeem(model, "one"), login.redeem(model, "two")],
        given: Vec::new(),
        end: Some(one_at_most_and_dead),
    }
}

fn polls<'a>(model: &'a Model, device: &'a Device) -> Scenario<'a> {
    Scenario {
        name: "poll, poll",
        model,
        actors: vec![poll(model, device, "one"), poll(model, device, "two")],
        given: Vec::new(),
        end: Some(one_and_alive),
    }
}

/// Two browsers that bring what was pushed once.
fn pushed_requests<'a>(model: &'a Model, uri: &'a str) -> Scenario<'a> {
    let open = |name| {
        Actor::new(name, || async {
            Browser::default().get(&model.world, uri).await
        })
    };
    Scenario {
        name: "authorize, authorize",
        model,
        actors: vec![open("one"), open("two")],
        given: Vec::new(),
        end: Some(|end| {
            let won = end.won();
            expect(won == 1 || (end.is_crashed && won == 0), "not one winner")
        }),
    }
}

async fn approved(model: &Model) -> Device {
    let device = device::begin(&model.world, "orders:read").await;
    let page = device::decide(&model.world, "alice", &device.user_code, "approve").await;
    assert_eq!(page.status, 200);
    device
}

#[tokio::test]
async fn whoever_refreshes_twice_gets_one_successor() {
    let model = Model::new(10).await;
    let login = Login::new(&model).await;
    check(refreshes(&model, &login)).await;
    let three = ["one", "two", "three"].map(|name| login.refresh(&model, name));
    check(Scenario {
        name: "refresh, refresh, refresh",
        actors: three.into(),
        ..refreshes(&model, &login)
    })
    .await;
    check(Scenario {
        name: "refresh, refresh, time beyond the window of repeated answers",
        actors: vec![
            login.refresh(&model, "one"),
            login.refresh(&model, "two"),
            pass(&model, 11),
        ],
        // At every moment there is one successor at most that is good: whoever comes too late
        // ends the grant.
        end: None,
        ..refreshes(&model, &login)
    })
    .await;
}

#[tokio::test]
async fn where_answers_are_not_repeated_a_second_refresh_ends_the_grant() {
    let model = Model::new(0).await;
    let login = Login::new(&model).await;
    check(Scenario {
        name: "refresh, refresh, never repeated",
        end: Some(one_at_most_and_dead),
        ..refreshes(&model, &login)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_good_once_a_revocation_is_answered() {
    let model = Model::new(10).await;
    let login = Login::new(&model).await;
    check(refresh_and_revoke(&model, &login)).await;
    let scenario = |name, actors| Scenario {
        name,
        actors,
        ..refresh_and_revoke(&model, &login)
    };
    let refresh = |name| login.refresh(&model, name);
    let revoke = || login.revoke(&model, "refresh_token");
    check(scenario(
        "refresh, refresh, revoke",
        vec![refresh("one"), refresh("two"), revoke()],
    ))
    .await;
    check(scenario("revoke, revoke", vec![revoke(), revoke()])).await;
    check(scenario(
        "revoke, log out, refresh",
        vec![revoke(), login.log_out(&model), refresh("one")],
    ))
    .await;
    let days = 400 * 24 * 3600;
    check(scenario(
        "refresh, the end of the grant's time",
        vec![refresh("one"), pass(&model, days).ends()],
    ))
    .await;
}

#[tokio::test]
async fn of_a_code_one_redemption_wins_and_its_replay_kills_what_it_bought() {
    let model = Model::new(10).await;
    let login = Login::new(&model).await;
    check(redemptions(&model, &login)).await;
    let three = ["one", "two", "three"].map(|name| login.redeem(&model, name));
    check(Scenario {
        name: "redeem, redeem, redeem",
        actors: three.into(),
        ..redemptions(&model, &login)
    })
    .await;
}

#[tokio::test]
async fn nothing_that_a_login_has_led_to_is_good_once_its_end_is_answered() {
    let model = Model::new(10).await;
    let login = Login::new(&model).await;
    let scenario = |name, actors| Scenario {
        name,
        actors,
        given: login.given(),
        ..refresh_and_revoke(&model, &login)
    };
    let (redeem, log_out) = (|name| login.redeem(&model, name), || login.log_out(&model));
    check(scenario("redeem, log out", vec![redeem("one"), log_out()])).await;
    check(scenario(
        "redeem, redeem, log out",
        vec![redeem("one"), redeem("two"), log_out()],
    ))
    .await;
    check(scenario(
        "refresh, log out",
        vec![login.refresh(&model, "one"), log_out()],
    ))
    .await;
    check(scenario("log out, log out", vec![log_out(), log_out()])).await;
}

#[tokio::test]
async fn what_was_exchanged_dies_with_what_it_came_from_whenever_that_ends() {
    let model = Model::new(10).await;
    let login = Login::new(&model).await;
    for (name, end) in [
        ("exchange, revoke", login.revoke(&model, "access_token")),
        (
            "exchange, revoke the grant",
            login.revoke(&model, "refresh_token"),
        ),
        ("exchange, log out", login.log_out(&model)),
        ("exchange, disable the user", disable(&model, "alice")),
        (
            "exchange, withdraw the client",
            withdraw(&model, &["orders"]),
        ),
    ] {
        let is_of_one_token = name != "exchange, withdraw the client";
        check(Scenario {
            name,
            actors: vec![login.exchange(&model), end],
            // Its refresh token outlives an access token.
            given: if is_of_one_token {
                vec![login.text("access_token").to_owned()]
            } else {
                Vec::new()
            },
            ..refresh_and_revoke(&model, &login)
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_is_good_once_its_user_is_disabled_or_its_client_withdrawn() {
    let model = Model::new(10).await;
    let login = Login::new(&model).await;
    for (name, other, end) in [
        (
            "refresh, disable the user",
            login.refresh(&model, "one"),
            disable(&model, "alice"),
        ),
        (
            "redeem, disable the user",
            login.redeem(&model, "one"),
            disable(&model, "alice"),
        ),
        (
            "refresh, withdraw the client",
            login.refresh(&model, "one"),
            withdraw(&model, &["web", "orders"]),
        ),
        (
            "redeem, withdraw the client",
            login.redeem(&model, "one"),
            withdraw(&model, &["web", "orders"]),
        ),
    ] {
        check(Scenario {
            name,
            actors: vec![other, end],
            ..refresh_and_revoke(&model, &login)
        })
        .await;
    }
}

#[tokio::test]
async fn of_a_device_code_one_poll_wins_and_of_two_answers_one_counts() {
    let model = Model::new(10).await;
    let device = approved(&model).await;
    check(polls(&model, &device)).await;
    let three = ["one", "two", "three"].map(|name| poll(&model, &device, name));
    check(Scenario {
        name: "poll, poll, poll",
        actors: three.into(),
        ..polls(&model, &device)
    })
    .await;

    let asked = device::begin(&model.world, "orders:read").await;
    let mut pages = Vec::new();
    for user in ["alice", "bob"] {
        let mut browser = device::logged_in(&model.world, user).await;
        let page = device::enter(&mut browser, &model.world, &asked.user_code).await;
        pages.push((browser, page));
    }
    let answer = |at: usize, decision: &'static str| {
        let (model, (browser, page)) = (&model, &pages[at]);
        Actor::new(decision, move || async move {
            let mut browser = browser.clone();
            device::answer(&mut browser, &model.world, page, decision).await
        })
    };
    check(Scenario {
        name: "approve, deny",
        actors: vec![answer(0, "approve"), answer(1, "deny")],
        end: Some(|end| {
            let won = end.won();
            expect(won == 1 || (end.is_crashed && won == 0), "not one answer")
        }),
        ..polls(&model, &asked)
    })
    .await;
    check(Scenario {
        name: "approve, poll, poll",
        actors: vec![
            answer(0, "approve"),
            poll(&model, &asked, "one"),
            poll(&model, &asked, "two"),
        ],
        end: Some(|end| {
            let given = end.distinct("access_token");
            expect(given.len() <= 1, "two families of one code")?;
            expect(given.is_subset(&end.live), "the winner's is not good")
        }),
        ..polls(&model, &asked)
    })
    .await;
}

#[tokio::test]
async fn what_was_pushed_is_brought_by_one_browser() {
    let model = Model::new(10).await;
    let uri = pushed::pushed(&model.world, "web", &[]).await;
    check(pushed_requests(&model, &uri)).await;
}

/// The checks themselves: a store that breaks its word must not get past them.
#[tokio::test]
async fn a_store_that_breaks_a_promise_is_found_out() {
    let model = Model::new(10).await;
    let login = Login::new(&model).await;
    let device = approved(&model).await;
    let uri = pushed::pushed(&model.world, "web", &[]).await;
    for (fault, scenario, problem) in [
        (
            Fault::NoConditions,
            refreshes(&model, &login),
            "a grant has two refresh tokens that are good",
        ),
        (
            Fault::NoConditions,
            redemptions(&model, &login),
            "not one winner",
        ),
        (
            Fault::NoConditions,
            polls(&model, &device),
            "not one winner",
        ),
        (
            Fault::TakesNothing,
            pushed_requests(&model, &uri),
            "not one winner",
        ),
        (
            Fault::LosesRevocations,
            refresh_and_revoke(&model, &login),
            "something of it is still good",
        ),
        (
            Fault::TearsBatches,
            redemptions(&model, &login),
            "somebody had a copy, and it lives",
        ),
    ] {
        let kept = model.store.keep(&model.clock).await;
        explore(&scenario).await.expect(scenario.name);
        model.store.set_fault(Some(fault));
        let found = explore(&scenario).await;
        model.store.set_fault(None);
        let found = found.expect_err("the fault was not found");
        assert!(found.contains(problem), "{fault:?}: {found}");
        model.store.restore(&kept, &model.clock).await;
    }
}
