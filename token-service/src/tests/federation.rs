//! Logging in elsewhere: who comes in, as whom, and everything that lets nobody in.

mod configured;
mod ends;
mod lies;
mod people;
mod upstream;

use super::harness::{Answer, Browser, World, authorize_uri, config, query};
use upstream::Upstream;

const START: u64 = 1_800_000_000;

/// A service with a provider `corp`.
struct Scene {
    world: World,
    upstream: Upstream,
}

impl Scene {
    async fn new() -> Self {
        Self::with("").await
    }

    /// `more`: of the provider's configuration, in lines of their own.
    async fn with(more: &str) -> Self {
        let upstream = Upstream::start(START).await;
        let world = World::with(config(|text| text + &provider("corp", &upstream, more))).await;
        Self { world, upstream }
    }

    /// The login page of a new authorization request.
    async fn page(&self, browser: &mut Browser, changes: &[(&str, &str)]) -> Answer {
        let page = browser.get(&self.world, &authorize_uri(changes)).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page
    }

    /// Presses the button: where the browser is sent.
    async fn sent(&self, browser: &mut Browser, page: &Answer) -> String {
        target(&self.press(browser, page, "corp").await)
    }

    async fn press(&self, browser: &mut Browser, page: &Answer, provider: &str) -> Answer {
        let form = form_of(page, provider);
        let form: Vec<_> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let path = format!("/federation/{provider}");
        browser.post(&self.world, &path, &form).await
    }

    async fn back(&self, browser: &mut Browser, query: &str) -> Answer {
        let uri = format!("/federation/corp/callback?{query}");
        browser.get(&self.world, &uri).await
    }

    /// Button, login there, back again: what the browser is answered.
    async fn log_in(&self, browser: &mut Browser, changes: &[(&str, &str)]) -> Answer {
        let page = self.page(browser, changes).await;
        let sent = self.sent(browser, &page).await;
        let query = self.upstream.approve(&sent);
        self.back(browser, &query).await
    }

    /// All of it, with the consent page: tokens of `web`.
    async fn tokens(&self, browser: &mut Browser) -> serde_json::Value {
        let answer = self.log_in(browser, &[]).await;
        let code = self.code(browser, answer).await;
        let answer = self.world.redeem("web", &code).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    async fn code(&self, browser: &mut Browser, mut answer: Answer) -> String {
        while answer.status == 200 || answer.location().starts_with('/') {
            answer = if answer.status == 200 {
                browser.decide(&self.world, &answer, "approve").await
            } else {
                let location = answer.location().to_owned();
                browser.get(&self.world, &location).await
            };
        }
        query(answer.location())["code"].clone()
    }
}

fn provider(id: &str, upstream: &Upstream, more: &str) -> String {
    format!(
        r"
identity_providers:
  - id: {id}
    name: Example & Sons
    issuer: {}
    client_id: cedar
    client_secret: upstream-secret
    claims: {{ attributes: {{ roles: groups, department: /realm/department }} }}
{more}",
        upstream.issuer
    )
}

/// The hidden fields of a provider's form.
fn form_of(page: &Answer, provider: &str) -> Vec<(String, String)> {
    let action = format!("action=\"/federation/{provider}\"");
    let (_, form) = page
        .body
        .split_once(&action)
        .unwrap_or_else(|| panic!("no {action} in {}", page.body));
    let (form, _) = form.split_once("</form>").unwrap();
    form.split("<input type=\"hidden\" name=\"")
        .skip(1)
        .map(|field| {
            let mut parts = field.split('"');
            (
                parts.next().unwrap().to_owned(),
                parts.nth(1).unwrap().to_owned(),
            )
        })
        .collect()
}

/// Where a page sends the browser by itself.
fn target(page: &Answer) -> String {
    assert_eq!(page.status, 200, "{}", page.body);
    let (_, rest) = page
        .body
        .split_once("http-equiv=\"refresh\" content=\"0;url=")
        .unwrap_or_else(|| panic!("{}", page.body));
    rest.split('"').next().unwrap().replace("&amp;", "&")
}
