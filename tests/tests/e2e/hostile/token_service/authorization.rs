//! Cases about authorization, its pages, and logout.

use e2e::http::{Answer, get, post_form};
use url::Url;

use super::{Attacks, MACHINE, WEB};
use crate::hostile::browser::{Browser, Form};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) async fn authorization(attacks: &mut Attacks) {
    let (page, good) = request(attacks);
    let endpoint = attacks.url("/authorize");
    let url =
        |client: &str, redirect: &str, more: &str| request_of(&endpoint, client, redirect) + more;
    let bad: Vec<String> = ["/", "/../x", "/..;/x", "?x=1", "%2f", "#x", "\\@evil"]
        .iter()
        .map(|suffix| format!("{good}{suffix}"))
        .chain([
            "https://evil/cb".into(),
            "//evil/cb".into(),
            good.to_uppercase(),
        ])
        .chain([
            good.replace("http://", "http://evil@"),
            good.replace(":9999", ":9998"),
        ])
        .collect();
    let bad_urls: Vec<_> = bad.iter().map(|bad| url("records-web", bad, "")).collect();
    let unknown = url("nope", &good, "");
    let nowhere = page
        .replace("redirect_uri=", "x=")
        .replace("records-web", "pusher");
    let fragment = url("records-web", &format!("{good}#x"), "");
    for bad in bad_urls {
        let answer = get(&bad, None).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (400, ""),
            "{bad}"
        );
    }
    attacks.expectation("AZ-01");
    for url in [unknown, nowhere, fragment] {
        let answer = get(&url, None).await;
        attacks.expectation("AZ-03");
        assert_eq!(
            (answer.status, answer.header("location")),
            (400, ""),
            "{url}"
        );
    }
    for twice in ["client_id", "redirect_uri", "scope", "code_challenge"] {
        let answer = get(&format!("{page}&{twice}=x"), None).await;
        attacks.expectation("AZ-17");
        assert_eq!(
            (answer.status, answer.header("location")),
            (400, ""),
            "{twice}"
        );
    }
}

/// What is told to the client, and what goes along.
pub(super) async fn answers(attacks: &mut Attacks) {
    let (url, end) = request(attacks);
    let issuer = attacks.url("");
    for (id, bad, error) in [
        ("AZ-05", format!("{url}&prompt=none"), "login_required"),
        (
            "AZ-05",
            url.replace("scope=openid", "scope=bogus"),
            "invalid_scope",
        ),
        (
            "AZ-15",
            format!("{url}&request_uri=http://127.0.0.1:9/x"),
            "",
        ),
        (
            "AZ-15",
            format!("{url}&request_uri=https://169.254.169.254/"),
            "",
        ),
        ("AZ-07", url.replace("type=code", "type=token"), ""),
        (
            "AZ-07",
            url.replace("type=code", "type=id_token%20token"),
            "",
        ),
        ("AZ-07", format!("{url}&response_mode=query.jwt"), ""),
        ("AZ-07", format!("{url}&response_mode=form_post.jwt"), ""),
        ("AZ-07", format!("{url}&response_mode=web_message"), ""),
        ("AZ-07", format!("{url}&response_mode=bogus"), ""),
        (
            "TK-06",
            url.replace("code_challenge=", "x="),
            "invalid_request",
        ),
    ] {
        let answer = get(&bad, None).await;
        let expected = attacks.expectation(id);
        let location = answer.header("location");
        assert!(location.starts_with(&end), "{id} {bad}: {}", answer.body);
        let said = parameter(&answer, "error").expect("an error");
        let known = expected["error"]
            .as_array()
            .is_none_or(|known| known.contains(&said.as_str().into()));
        assert!(known && (error.is_empty() || said == error), "{id}: {said}");
        assert_eq!(parameter(&answer, "iss").as_ref(), Some(&issuer), "{id}");
        assert_eq!(parameter(&answer, "state").as_deref(), Some("s"), "{id}");
        assert!(
            !location.contains("code=") && !location.contains("token="),
            "{id}"
        );
    }
    let answer = Browser::default().walk(&url, "alice", &end).await;
    attacks.hold("AZ-05", &answer);
    attacks.hold("AZ-21", &answer);
    assert_eq!(parameter(&answer, "iss"), Some(issuer));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    let code = parameter(&answer, "code").expect("a code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &end),
    ];
    // Whoever has found the code has no verifier.
    attacks.hold("TK-06", &attacks.token(Some(WEB), &form).await);
    let metadata = get(&attacks.url("/.well-known/openid-configuration"), None).await;
    let says_so = &metadata.json()["authorization_response_iss_parameter_supported"];
    assert_eq!(*says_so, serde_json::json!(true));
}

/// No page of ours may be shown inside another's, be kept, or say where it was.
pub(super) async fn pages(attacks: &mut Attacks) {
    let (url, _) = request(attacks);
    let mut browser = Browser::default();
    let login = browser.get(&url).await;
    let form = Form::of(&Url::parse(&url).expect("a URL"), &login.body);
    let mut consent = browser
        .post(form.target.as_str(), &form.filled("bob"))
        .await;
    while !consent.header("location").is_empty() {
        let next = form.target.join(consent.header("location")).expect("a URL");
        consent = browser.get(next.as_str()).await;
    }
    assert!(
        consent.body.contains("value=\"approve\""),
        "{}",
        consent.body
    );
    let device = browser.get(&attacks.url("/device")).await;
    let logout = browser.get(&attacks.url("/logout")).await;
    let error = browser.get(&url.replace("records-web", "nope")).await;
    for page in [login, consent, device, logout, error] {
        let policy = page.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!page.body.contains("src=\"http"), "{}", page.body);
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert!(page.header("cache-control").contains("no-store"));
    }
    attacks.expectation("AZ-09");
}

pub(super) async fn pushed(attacks: &mut Attacks) {
    let (url, _) = request(attacks);
    let reference = format!("{url}&request_uri=urn:ietf:params:oauth:request_uri:x");
    for (who, url) in [
        (Some(WEB), &reference),
        (Some((MACHINE.0, WEB.1)), &url),
        (Some(MACHINE), &url),
        (None, &url),
    ] {
        let answer = push(attacks, who, url).await;
        attacks.hold("PA-02", &answer);
    }
    let plain = request_of(&attacks.url("/authorize"), "pusher", "http://127.0.0.1/one");
    let answer = get(&plain, None).await;
    let statuses = attacks.expectation("PA-04")["status"].clone();
    assert!(
        statuses
            .as_array()
            .expect("statuses")
            .contains(&answer.status.into())
    );
    assert!(answer.header("location").is_empty() || parameter(&answer, "error").is_some());
}

/// Nobody is sent where nobody has registered.
pub(super) async fn logout(attacks: &mut Attacks) {
    let grant = e2e::tokens::log_in(&attacks.site, "alice").await;
    let hint = e2e::tokens::text(&grant, "id_token");
    let registered = format!("http://{}:9999/signed-out", attacks.site.host);
    let forged = format!("{}AAAA", &hint[..hint.len() - 4]);
    for (target, more) in [
        ("https://evil.example/", "&client_id=records-web".to_owned()),
        ("https://evil.example/", String::new()),
        (&registered, String::new()),
        // Of the client `cli`, which has registered nothing.
        (&registered, format!("&id_token_hint={hint}")),
        (
            &registered,
            format!("&id_token_hint={hint}&client_id=records-web"),
        ),
        (&registered, format!("&id_token_hint={forged}")),
    ] {
        let url = attacks.url(&format!("/logout?post_logout_redirect_uri={target}{more}"));
        let answer = get(&url, None).await;
        attacks.hold("LO-01", &answer);
        assert_eq!(answer.header("location"), "", "{target}{more}");
    }
}

/// A good request of the demo's web client, and where it ends.
pub(super) fn request(attacks: &Attacks) -> (String, String) {
    let redirect = format!("http://{}:9999/callback", attacks.site.host);
    let url = request_of(&attacks.url("/authorize"), "records-web", &redirect);
    (url, redirect)
}

/// Pushes the same request.
pub(super) async fn push(attacks: &Attacks, who: Option<(&str, &str)>, url: &str) -> Answer {
    let url = Url::parse(url).expect("a URL");
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let form: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    post_form(&attacks.url("/par"), who, &form).await
}

/// A parameter of the URL that an answer sends the browser to.
pub(super) fn parameter(answer: &Answer, name: &str) -> Option<String> {
    let url = Url::parse(answer.header("location")).ok()?;
    let mut pairs = url.query_pairs();
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

fn request_of(endpoint: &str, client: &str, redirect: &str) -> String {
    let redirect: String = url::form_urlencoded::byte_serialize(redirect.as_bytes()).collect();
    format!(
        "{endpoint}?response_type=code&client_id={client}&scope=openid&state=s&code_challenge={CHALLENGE}&code_challenge_method=S256&redirect_uri={redirect}"
    )
}
