//! Clients and resource servers that others wrote, each against the real binary.

mod authlib;
mod google_auth;
mod mcp;
mod mod_auth_openidc;
mod mod_oauth2;
mod openid_client;
mod spa;

use e2e::Site;
use service_kit::digest;

/// One process, with what the demo does not have: clients, and a resource server `outside` that fronts
/// the records. `HOST` stands for the site's address, in what is changed, too.
fn site(clients: &str, change: impl FnOnce(String) -> String) -> Site {
    Site::all_in_one_with(|text| {
        let (_, after) = text.split_once("issuer: http://").expect("an issuer");
        let (host, _) = after.split_once(':').expect("a port");
        let host = host.to_owned();
        let server = format!(
            "    - id: {}\n      secret_hash: {}\n      resources: [https://records.demo.internal]\n",
            OUTSIDE.0,
            hash(OUTSIDE.1)
        );
        let text = text
            .replacen(
                "  scope_meanings:\n",
                &format!("{clients}  scope_meanings:\n"),
                1,
            )
            .replacen(
                "  resource_servers:\n",
                &format!("  resource_servers:\n{server}"),
                1,
            );
        change(text).replace("HOST", &host)
    })
}

/// A resource server that is not ours.
const OUTSIDE: (&str, &str) = ("outside", "secret-of-outside");

/// As a configuration has it.
fn hash(secret: &str) -> String {
    format!("sha256:{}", digest::sha256_base64url(secret.as_bytes()))
}
