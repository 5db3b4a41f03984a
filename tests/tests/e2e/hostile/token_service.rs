//! The token service's attack corpus. Its steps are prose, so each case that is carried has a
//! function here; the statuses that it may answer with are read from the corpus.

use std::collections::BTreeSet;

use e2e::Site;
use e2e::http::{Answer, get, post_form};
use e2e::process::repository;
use e2e::site::Topology;
use e2e::tokens::{self, text};
use serde_json::{Value, json};

const GATEWAY: (&str, &str) = ("gateway", "demo-secret-of-gateway");
const MACHINE: (&str, &str) = ("nightly-report", "demo-secret-of-nightly-report");

/// One site, the corpus, and what was carried.
struct Attacks {
    site: Site,
    corpus: Value,
    carried: Vec<String>,
}

impl Attacks {
    fn expectation(&mut self, id: &str) -> Value {
        let cases = self.corpus["cases"].as_array().expect("cases");
        let case = cases.iter().find(|case| case["id"] == id);
        self.carried.push(id.to_owned());
        case.unwrap_or_else(|| panic!("no case {id}"))["expectation"].clone()
    }

    /// Holds an answer against the statuses and error codes of a case.
    fn hold(&mut self, id: &str, answer: &Answer) {
        let expectation = self.expectation(id);
        if let Some(statuses) = expectation["status"].as_array() {
            assert!(
                statuses.iter().any(|s| *s == answer.status),
                "{id}: {} {}",
                answer.status,
                answer.body
            );
        }
        if let Some(errors) = expectation["error"].as_array()
            && answer.status >= 400
        {
            let error = answer.json()["error"].clone();
            assert!(errors.contains(&error), "{id}: {error}");
        }
    }

    async fn introspect(&self, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answer {
        post_form(&self.site.token_service_url("/introspect"), basic, form).await
    }

    async fn token(&self, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answer {
        post_form(&self.site.token_service_url("/token"), basic, form).await
    }

    async fn is_active(&self, token: &str) -> bool {
        self.introspect(Some(GATEWAY), &[("token", token)])
            .await
            .json()["active"]
            == json!(true)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hostile_request_gets_through_the_token_service() {
    let text = std::fs::read_to_string(repository().join("tests/vectors/token-attacks.json"))
        .expect("corpus");
    let mut attacks = Attacks {
        site: Site::start(Topology::AllInOne),
        corpus: serde_json::from_str(&text).expect("JSON"),
        carried: Vec::new(),
    };
    introspection(&mut attacks).await;
    revocation(&mut attacks).await;
    authorization(&mut attacks).await;
    token_endpoint(&mut attacks).await;
    secrets_at_rest(&mut attacks).await;
    println!(
        "token service attack corpus: {} cases carried here",
        attacks.carried.len()
    );
    assert!(attacks.carried.len() >= 20);
}

async fn introspection(attacks: &mut Attacks) {
    let grant = tokens::log_in(&attacks.site, "alice").await;
    let access = text(&grant, "access_token");
    let inactive = |answer: &Answer| answer.body.trim() == r#"{"active":false}"#;

    let answer = attacks.introspect(None, &[("token", &access)]).await;
    attacks.hold("PT-01", &answer);
    assert!(!answer.body.contains("active") && !answer.header("www-authenticate").is_empty());

    let answer = attacks
        .introspect(None, &[("token", &access), ("client_id", "cli")])
        .await;
    attacks.hold("PT-07", &answer);

    let answer = attacks
        .introspect(Some(GATEWAY), &[("token", "x"), ("token", &access)])
        .await;
    attacks.hold("PT-11", &answer);

    for length in 1..access.len() {
        let answer = attacks
            .introspect(Some(GATEWAY), &[("token", &access[..length])])
            .await;
        assert!(inactive(&answer), "a truncated token: {}", answer.body);
    }
    attacks.expectation("PT-09");

    let answer = attacks
        .introspect(Some(GATEWAY), &[("token", "unknown")])
        .await;
    attacks.hold("PT-17", &answer);
    assert!(inactive(&answer) && answer.header("cache-control").contains("no-store"));

    for kind in ["refresh_token", "id_token"] {
        let answer = attacks
            .introspect(Some(GATEWAY), &[("token", &text(&grant, kind))])
            .await;
        assert!(inactive(&answer), "{kind}: {}", answer.body);
    }
    attacks.expectation("PT-13");

    for hint in ["refresh_token", "bogus"] {
        let form = [("token", access.as_str()), ("token_type_hint", hint)];
        let answer = attacks.introspect(Some(GATEWAY), &form).await;
        attacks.hold("PT-27", &answer);
        assert_eq!(answer.json()["active"], json!(true));
    }
    // A JWT from outside is not swapped, and nobody is asked about it.
    let jwt = text(&grant, "id_token");
    let answer = get(&attacks.site.gateway_url("/records/1001"), Some(&jwt)).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").contains("invalid_token"));
    attacks.expectation("PT-21");
}

async fn revocation(attacks: &mut Attacks) {
    let access = tokens::access_token(&attacks.site, "alice").await;
    let revoke = attacks.site.token_service_url("/revoke");
    let answer = post_form(&revoke, Some(MACHINE), &[("token", &access)]).await;
    attacks.hold("RV-03", &answer);
    assert!(
        attacks.is_active(&access).await,
        "another client's revocation counted"
    );
    let answer = post_form(&revoke, Some(MACHINE), &[("token", "garbage")]).await;
    attacks.hold("RV-05", &answer);
    assert!(answer.body.is_empty());
    tokens::revoke(&attacks.site, &access).await;
    assert!(!attacks.is_active(&access).await);
    attacks.expectation("RV-01");
}

async fn authorization(attacks: &mut Attacks) {
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let url = |client: &str, redirect: &str, more: &str| {
        format!(
            "{}?response_type=code&client_id={client}&scope=openid&state=s&code_challenge={challenge}&code_challenge_method=S256{more}&redirect_uri={}",
            attacks.site.token_service_url("/authorize"),
            url::form_urlencoded::byte_serialize(redirect.as_bytes()).collect::<String>(),
        )
    };
    let good = format!("http://{}:9999/callback", attacks.site.host);
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
    let repeated = url("records-web", &good, "&client_id=records-web");
    let by_reference = url("records-web", &good, "&request_uri=http://127.0.0.1:9/x");
    let implicit =
        url("records-web", &good, "").replace("response_type=code", "response_type=token");
    let page = url("records-web", &good, "");
    for bad in bad_urls {
        let answer = get(&bad, None).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (400, ""),
            "{bad}"
        );
    }
    attacks.expectation("AZ-01");
    for (id, url) in [("AZ-03", unknown), ("AZ-17", repeated)] {
        let answer = get(&url, None).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (400, ""),
            "{id}"
        );
        attacks.expectation(id);
    }
    for (id, url) in [("AZ-15", by_reference), ("AZ-07", implicit)] {
        let answer = get(&url, None).await;
        let statuses = attacks.expectation(id)["status"].clone();
        assert!(
            statuses
                .as_array()
                .expect("statuses")
                .iter()
                .any(|s| *s == answer.status),
            "{id}"
        );
        assert!(!answer.header("location").contains("code="), "{id}");
        assert!(answer.header("location").contains("error="), "{id}");
    }
    let answer = get(&page, None).await;
    let answer = if answer.status == 303 || answer.status == 302 {
        let location = answer.header("location").to_owned();
        let base: url::Url = page.parse().expect("url");
        get(base.join(&location).expect("url").as_str(), None).await
    } else {
        answer
    };
    assert!(
        answer
            .header("content-security-policy")
            .contains("frame-ancestors 'none'")
    );
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert!(answer.header("cache-control").contains("no-store"));
    attacks.expectation("AZ-09");
}

async fn token_endpoint(attacks: &mut Attacks) {
    let machine = ("grant_type", "client_credentials");
    let answer = attacks.token(Some(MACHINE), &[machine, machine]).await;
    attacks.hold("TK-08", &answer);
    let answer = attacks
        .token(Some(MACHINE), &[machine, ("client_secret", MACHINE.1)])
        .await;
    attacks.hold("TK-12", &answer);
    for grant in ["password", "implicit", "urn:x"] {
        let answer = attacks.token(Some(MACHINE), &[("grant_type", grant)]).await;
        attacks.hold("TK-14", &answer);
    }
    let form = [machine, ("scope", "records:list admin:all")];
    let answer = attacks.token(Some(MACHINE), &form).await;
    attacks.hold("TK-16", &answer);
    assert!(answer.status == 400 || !answer.json()["scope"].to_string().contains("admin"));
    let answer = attacks
        .token(Some(MACHINE), &[machine, ("foo", "bar")])
        .await;
    attacks.hold("TK-20", &answer);
    let bad = attacks.token(Some((MACHINE.0, "wrong")), &[machine]).await;
    for answer in [&answer, &bad] {
        assert!(answer.header("cache-control").contains("no-store"));
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json")
        );
    }
    attacks.expectation("TK-10");

    let device = attacks.site.token_service_url("/device_authorization");
    let device = post_form(&device, None, &[("client_id", "cli")]).await;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "cli"),
        ("device_code", &text(&device.json(), "device_code")),
    ];
    for error in ["authorization_pending", "slow_down", "slow_down"] {
        let answer = attacks.token(None, &form).await;
        attacks.hold("DV-01", &answer);
        assert_eq!(answer.json()["error"], json!(error));
    }

    // Fifty at once: one successor at most, and none survives beside another.
    let grant = tokens::log_in(&attacks.site, "bob").await;
    let refresh = text(&grant, "refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", &refresh),
    ];
    let race = futures_util::future::join_all((0..50).map(|_| attacks.token(None, &form))).await;
    let won = race.iter().filter(|answer| answer.status == 200);
    let won: BTreeSet<_> = won
        .map(|answer| text(&answer.json(), "refresh_token"))
        .collect();
    assert_eq!(won.len(), 1, "successors");
    attacks.expectation("RT-02");

    // Once more, a moment later: an answer may be lost. Not when it is known to have arrived.
    let answer = attacks.token(None, &form).await;
    attacks.hold("RT-04", &answer);
    assert!(won.contains(&text(&answer.json(), "refresh_token")));
    let successor = text(&answer.json(), "refresh_token");
    let next = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", &successor),
    ];
    let answer = attacks.token(None, &next).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let replayed = attacks.token(None, &form).await;
    assert_eq!(replayed.json()["error"], "invalid_grant");
    assert!(
        !attacks
            .is_active(&text(&answer.json(), "access_token"))
            .await
    );

    let grant = tokens::log_in(&attacks.site, "bob").await;
    let refresh = text(&grant, "refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", &refresh),
        ("scope", "openid email"),
    ];
    let answer = attacks.token(None, &form).await;
    attacks.hold("RT-06", &answer);

    let userinfo = attacks.site.token_service_url("/userinfo");
    let none = get(&userinfo, None).await;
    assert_eq!(none.status, 401);
    assert!(!none.header("www-authenticate").contains("error"));
    let wrong = get(&userinfo, Some("cg_at_wrong")).await;
    assert!(wrong.header("www-authenticate").contains("invalid_token"));
    attacks.expectation("UI-01");
    let answer = attacks.token(Some(MACHINE), &[machine]).await;
    let answer = get(&userinfo, Some(&text(&answer.json(), "access_token"))).await;
    attacks.hold("UI-03", &answer);

    let evil = e2e::http::send(
        e2e::http::client()
            .get(
                attacks
                    .site
                    .token_service_url("/.well-known/openid-configuration"),
            )
            .header("host", "evil.test")
            .header("x-forwarded-host", "evil.test"),
    )
    .await;
    assert!(!evil.body.contains("evil"), "{}", evil.body);
    attacks.expectation("KY-02");
}

/// Nothing that opens a door is at rest or in a log.
async fn secrets_at_rest(attacks: &mut Attacks) {
    let grant = tokens::log_in(&attacks.site, "alice").await;
    let secrets: Vec<String> = ["access_token", "refresh_token", "id_token"]
        .iter()
        .map(|member| text(&grant, member))
        .chain([
            "alice-demo-password".to_owned(),
            "demo-secret-of-gateway".to_owned(),
        ])
        .collect();
    assert_eq!(
        get(
            &attacks.site.gateway_url("/records/1001"),
            Some(&secrets[0])
        )
        .await
        .status,
        200
    );
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut folders = vec![attacks.site.folder.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        if folder.ends_with("config") {
            continue;
        }
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).expect("file");
            for secret in &secrets {
                let found = bytes
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!found, "a secret is in {}", path.display());
            }
        }
    }
    assert!(files >= 3, "only {files} files were looked at");
    attacks.expectation("TK-22");
}
