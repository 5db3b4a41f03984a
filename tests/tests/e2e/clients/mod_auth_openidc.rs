//! Debian's `libapache2-mod-auth-openidc` as a relying party: a web site behind a login.

use std::net::SocketAddr;

use e2e::apache::Apache;
use e2e::browser::plays;

use super::{hash, site};

#[test]
fn a_site_behind_apache_logs_people_in_and_hears_from_behind_that_they_are_out() {
    // With characters that HTTP Basic has to escape (RFC 6749 section 2.3.1), as the module does.
    let secret = "secret of apache: 100% + more";
    let site = site(&CLIENT.replace("HASH", &hash(secret)), |text| text);
    let issuer = site.token_service_url("");
    let configuration = CONFIGURATION
        .replace("ISSUER", &issuer)
        .replace("HOST", &site.host.to_string())
        .replace("SECRET", secret);
    let apache = Apache::start(
        SocketAddr::from((site.host, 9710)),
        &configuration,
        &[("private/page", "inside"), ("signed-out", "signed out")],
    );
    let summary = plays(
        "mod_auth_openidc.mjs",
        &[
            ("SITE", &apache.url("")),
            ("ISSUER", &issuer),
            ("USERNAME", "alice"),
            ("PASSWORD", "alice-demo-password"),
        ],
        &[
            "denied",
            "login",
            "claims",
            "refresh",
            "forged",
            "logout",
            "login_again",
            "backchannel",
        ],
    );
    assert_eq!(summary["sub"], "alice");
    assert_eq!(summary["email"], "alice@example.com");
    let told: Vec<_> = site
        .pdp
        .output()
        .lines()
        .filter(|line| line.contains("logout_not_told"))
        .map(str::to_owned)
        .collect();
    assert!(told.is_empty(), "{told:?}");
    let log = apache.log();
    for line in log.lines().filter(|line| line.contains("auth_openidc:")) {
        let is_known = KNOWN.iter().any(|known| line.contains(known));
        assert!(is_known, "the module complains: {line}");
    }
}

/// What the module says of plain HTTP, of the answer that is forged here, and of the logout that it has
/// begun itself.
const KNOWN: [&str; 5] = [
    "SHOULD be \"https\"",
    "mod_auth_openidc_state_anything",
    "unable to restore state",
    "invalid authorization response state",
    "could not (or no longer) find a session",
];

const CLIENT: &str = "    - id: apache
      name: A site behind Apache
      secret_hash: HASH
      id_token_signed_response_alg: PS256
      grant_types: [authorization_code, refresh_token]
      redirect_uris: ['http://HOST:9710/private/callback']
      post_logout_redirect_uris: ['http://HOST:9710/signed-out']
      backchannel_logout_uri: 'http://HOST:9710/private/callback?logout=backchannel'
      scope: openid profile email offline_access records:read
";

const CONFIGURATION: &str = r#"
LoadModule auth_openidc_module MODULES/mod_auth_openidc.so
OIDCProviderMetadataURL ISSUER/.well-known/openid-configuration
OIDCClientID apache
OIDCClientSecret "SECRET"
OIDCRedirectURI http://HOST:9710/private/callback
OIDCCryptoPassphrase a-passphrase-of-the-tests
OIDCScope "openid profile email offline_access records:read"
OIDCPKCEMethod S256
OIDCRemoteUserClaim sub
OIDCInfoHook access_token id_token userinfo refresh_token session
<Location /private>
  AuthType openid-connect
  Require valid-user
  Header set X-Sub "expr=%{REMOTE_USER}"
  Header set Cache-Control no-store
</Location>
<Location /private/page>
  AuthType openid-connect
  Require claim email:alice@example.com
</Location>
"#;
