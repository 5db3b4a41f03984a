//! A device's code that a person has approved at a browser.

use std::collections::BTreeMap;

use e2e::Site;
use e2e::http::{Answer, client, post_form, send};
use e2e::tokens::text;

/// Cookies, and nothing else of a browser.
struct Browser<'a> {
    site: &'a Site,
    cookies: BTreeMap<String, String>,
}

/// The device code of a request that alice has approved.
pub(super) async fn approved(site: &Site) -> String {
    let form = [("client_id", "cli"), ("scope", "records:read")];
    let begun = post_form(
        &site.token_service_url("/device_authorization"),
        None,
        &form,
    )
    .await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let (begun, cookies) = (begun.json(), BTreeMap::new());
    let mut browser = Browser { site, cookies };
    let page = browser.get("/device").await;
    let login = [("username", "alice"), ("password", "alice-demo-password")];
    let answer = browser.submit("/login", &page, &["interaction", "csrf"], &login);
    assert_eq!(answer.await.status, 303, "logged in");
    let page = browser.get("/device").await;
    let code = text(&begun, "user_code");
    let typed = [("user_code", code.as_str())];
    let page = browser.submit("/device", &page, &["csrf"], &typed).await;
    let fields = ["user_code", "scope", "csrf"];
    let typed = [("decision", "approve")];
    let answer = browser
        .submit("/device/confirm", &page, &fields, &typed)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    text(&begun, "device_code")
}

impl Browser<'_> {
    async fn get(&mut self, path: &str) -> Answer {
        let request = client().get(self.site.token_service_url(path));
        self.send(request).await
    }

    /// Sends the hidden fields of a page, and what is typed.
    async fn submit(
        &mut self,
        path: &str,
        page: &Answer,
        hidden: &[&str],
        typed: &[(&str, &str)],
    ) -> Answer {
        let hidden: Vec<_> = hidden
            .iter()
            .map(|name| (*name, field(page, name)))
            .collect();
        let hidden = hidden.iter().map(|(name, value)| (*name, value.as_str()));
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(hidden.chain(typed.iter().copied()))
            .finish();
        let request = client()
            .post(self.site.token_service_url(path))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        self.send(request).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let answer = send(request.header("cookie", cookies)).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            let pair = cookie.split(';').next().expect("a pair");
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }
}

/// The value of a hidden field.
fn field(page: &Answer, name: &str) -> String {
    let (_, rest) = page
        .body
        .split_once(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("no `{name}` in {}", page.body));
    rest.split_once('"').expect("a value").0.to_owned()
}
