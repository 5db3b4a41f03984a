//! What may be written about providers: every problem with its place, and no secret in any.

use std::path::Path;

use crate::TokenService;
use crate::tests::harness::config;

fn problems(text: &'static str) -> Vec<String> {
    let config = config(|before| before + text);
    TokenService::check(&config, Path::new("/nowhere"))
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_provider_needs_no_more_than_its_name_and_ours() {
    let text = "
identity_providers:
  - { id: corp, issuer: 'https://id.example/realm', client_id: cedar, client_secret: s3cret }
  - { id: near, issuer: 'http://127.0.0.1:9998', client_id: cedar, client_secret: s3cret }
";
    assert_eq!(problems(text), Vec::<String>::new());
}

#[test]
fn every_problem_of_a_provider_is_reported_with_its_place() {
    let all = problems(
        "
identity_providers:
  - { id: Corp, issuer: 'http://id.example', client_id: '', client_secret: s3cret }
  - { id: a, issuer: 'https://id.example?x', client_id: c, client_secret_file: missing.txt }
  - { id: b, issuer: x, client_id: c, client_secret: s3cret, client_secret_file: y, ca_file: ca.pem }
  - { id: c, issuer: 'https://id.example', client_id: c, client_secret: s3cret, create: false,
      authorization_parameters: { state: x }, require: { hd: [] },
      claims: { username: '', attributes: { identity_provider: x } } }
  - { id: d, issuer: 'https://id.example', client_id: c, client_secret: s3cret }
  - { id: d, issuer: 'https://id.example', client_id: c, client_secret: s3cret }
  - { id: e, issuer: 'https://id.example', client_id: c }
",
    );
    let text = all.join("\n");
    for expected in [
        "identity_providers[0].id`: must be 1 to 32 lower-case letters",
        "identity_providers[0].issuer`: must be `https`, or `http` on loopback",
        "identity_providers[0].client_id`: must not be empty",
        "identity_providers[1].issuer`: must have no query",
        "identity_providers[1].client_secret_file`: cannot read",
        "identity_providers[2].issuer`: must be a URL",
        "identity_providers[2].client_secret` and",
        "identity_providers[2].ca_file`: cannot read",
        "identity_providers[3].create`: must be true",
        "identity_providers[3].authorization_parameters`: `state` is the service's own",
        "identity_providers[3].require`: `hd` has no value",
        "identity_providers[3].claims`: a claim has no name",
        "identity_providers[3].claims.attributes`: `identity_provider` is the service's own",
        "identity_providers[5].id`: `d` is there twice",
        "identity_providers[6].client_secret` is missing",
    ] {
        assert!(text.contains(expected), "{expected} not in\n{text}");
    }
    assert_eq!(all.len(), 15, "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn nobody_of_the_configuration_can_be_called_as_somebody_from_elsewhere_is() {
    let config = config(|text| {
        text.replace("sub: u-2", "sub: 'federated:corp:x'")
            .replace("id: svc,", "id: 'federated:corp:y',")
    });
    let issues = TokenService::check(&config, Path::new("."));
    let text: Vec<_> = issues.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(text[0].contains("clients[3].id`: must not begin with `federated:`"));
    assert!(text[1].contains("users[1].sub`: must not begin with `federated:`"));
}
