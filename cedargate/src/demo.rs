//! The demo: what `cedargate` without arguments starts, and what it tells the newcomer.
//!
//! Its users' passwords and its clients' secrets are public by design, so it listens on
//! loopback only. The secret that its tokens hang on is made at the first start.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use service_kit::{Secret, Variables, random};

use crate::config::Loaded;
use crate::wire::Addresses;

const CONFIG: &str = include_str!("../demo.yaml");

/// The policy domain, for a demo started away from the source tree.
const POLICIES: &[(&str, &str)] = &[
    (
        "schema.cedarschema",
        include_str!("../../policies/records/schema.cedarschema"),
    ),
    (
        "records.cedar",
        include_str!("../../policies/records/records.cedar"),
    ),
    (
        "scopes.cedar",
        include_str!("../../policies/records/scopes.cedar"),
    ),
    (
        "claims.cedar",
        include_str!("../../policies/records/claims.cedar"),
    ),
    (
        "entities.json",
        include_str!("../../policies/records/entities.json"),
    ),
];

const USERS: &[(&str, &str)] = &[
    ("alice", "customer, owns record 1001"),
    ("bob", "customer, owns record 1002"),
    ("sam", "support: sees every record, personal data masked"),
    ("ada", "auditor: may list, never write"),
];

/// Makes what the demo needs in `folder` (its data, and the policies where there are none) and
/// reads its configuration.
pub fn prepare(folder: &Path) -> anyhow::Result<Loaded> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data)
        .with_context(|| format!("cannot make the folder `{}`", data.display()))?;
    write_secret(&data.join("token-service.secret"))?;
    let policies = folder.join("policies/records");
    if !policies.exists() {
        std::fs::create_dir_all(&policies)
            .with_context(|| format!("cannot make the folder `{}`", policies.display()))?;
        for (name, text) in POLICIES {
            std::fs::write(policies.join(name), text)?;
        }
    }
    let config = service_kit::config::parse(CONFIG, &Variables::default())
        .map_err(|issue| anyhow::anyhow!("the built-in configuration: {issue}"))?;
    Ok(Loaded {
        file: "(built in)".into(),
        base: folder.to_owned(),
        variables: Variables::default(),
        config,
        text: Secret::new(CONFIG),
    })
}

/// The demo password of a user, if it is one.
pub fn password_of(user: &str) -> Option<String> {
    USERS
        .iter()
        .any(|(name, _)| *name == user)
        .then(|| format!("{user}-demo-password"))
}

/// The demo secret of a client or resource server, if it has one.
pub fn secret_of(client: &str) -> Option<String> {
    ["records-web", "nightly-report", "gateway"]
        .contains(&client)
        .then(|| format!("demo-secret-of-{client}"))
}

/// What is listening, who there is, and what to paste.
pub fn banner(addresses: &Addresses, binary: &str) -> String {
    let mut text = String::from("\nCedargate is up. Everything below is on this machine only.\n\n");
    for (name, address) in [
        ("gateway", addresses.gateway),
        ("token service", addresses.token_service),
        ("PDP", addresses.pdp),
        ("admin", addresses.admin),
        ("demo upstream", addresses.demo_upstream),
    ] {
        if let Some(address) = address {
            let _ = writeln!(text, "  {name:<14} http://{address}");
        }
    }
    text.push_str("\nUsers (password: NAME-demo-password)\n");
    for (name, what) in USERS {
        let _ = writeln!(text, "  {name:<14} {what}");
    }
    text.push_str(
        "\nClients (secret: demo-secret-of-NAME)\n  \
         records-web    a web application: authorization code + PKCE, refresh\n  \
         nightly-report a machine: client credentials, may list\n  \
         cli            this terminal: public, no secret\n",
    );
    let _ = write!(text, "\nPaste these\n{}", tour(binary));
    text.push_str("\nCtrl-C stops it. Its data is in data/.\n");
    text
}

/// The commands, each with what it shows.
fn tour(binary: &str) -> String {
    format!(
        r#"  curl -i http://127.0.0.1:8080/records/1001                                     # no token: 401
  ALICE=$({binary} token issue --user alice)
  curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:8080/records/1001   # her own: 200
  curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:8080/records/1002   # bob's: 403
  SAM=$({binary} token issue --user sam)
  curl -i -H "Authorization: Bearer $SAM" http://127.0.0.1:8080/records/1002     # 200, personal data masked
  ADA=$({binary} token issue --user ada)
  curl -i -H "Authorization: Bearer $ADA" http://127.0.0.1:8080/records          # 200, the list
  curl -i -X PUT -H "Authorization: Bearer $ADA" -H "Content-Type: application/json" -d '{{"plan":"free"}}' http://127.0.0.1:8080/records/1001   # 403
  NIGHTLY=$({binary} token issue --client nightly-report --scope records:list)
  curl -i -H "Authorization: Bearer $NIGHTLY" http://127.0.0.1:8080/records      # a machine client: 200
  echo "the client holds: $ALICE"
  curl -s -H "Authorization: Bearer $ALICE" http://127.0.0.1:8080/whoami         # the upstream received a JWT
  {binary} token revoke "$ALICE"
  curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:8080/records/1001   # revoked: 401
"#
    )
}

/// Makes a secret that only this user can read; keeps one that is there.
fn write_secret(path: &Path) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write `{}`", path.display()));
        }
    };
    let secret = URL_SAFE_NO_PAD.encode(random::bytes::<32>()?);
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    Ok(())
}
