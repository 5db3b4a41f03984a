//! A PDP over TLS that knows its callers by certificate, asked as other roles and the command line
//! ask it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use authzen::{DecisionPoint as _, EvaluationRequest, HttpDecisionPoint};
use cedargate::config::ConnectPdp;
use e2e::process::{Process, cedargate, own_address, repository};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::json;
use service_kit::Variables;

/// An authority, and certificates by it for a server and a client, as files.
fn make_files(folder: &Path, host: &str) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("authority");
    std::fs::write(folder.join("ca.pem"), authority.pem()).expect("file");
    for (file, name, usage) in [
        ("server", host, ExtendedKeyUsagePurpose::ServerAuth),
        (
            "client",
            "gateway.internal",
            ExtendedKeyUsagePurpose::ClientAuth,
        ),
        (
            "other",
            "other.internal",
            ExtendedKeyUsagePurpose::ClientAuth,
        ),
    ] {
        let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("key");
        let issued = params.signed_by(&key, &authority).expect("certificate");
        std::fs::write(folder.join(format!("{file}.pem")), issued.pem()).expect("file");
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).expect("file");
    }
}

fn configure(folder: &Path, address: SocketAddr) {
    let policies = repository().join("policies/records");
    let text = format!(
        "admin: {{ listen: \"{}:9901\" }}\npdp:\n  listen: \"{address}\"\n  \
         policies: {policies:?}\n  decision_log: \"off\"\n  tls:\n    \
         certificate_file: server.pem\n    key_file: server.key\n    client_ca_file: ca.pem\n  \
         callers:\n    - name: gateway\n      certificate: {{ san_dns: gateway.internal }}\n      \
         entities: write\n",
        address.ip(),
    );
    std::fs::write(folder.join("pdp.yaml"), text).expect("file");
}

fn check(folder: &Path) -> Output {
    let mut command = Command::new(cedargate());
    command.args(["check", "-c"]).arg(folder.join("pdp.yaml"));
    command.output().expect("cedargate")
}

/// As the gateway and the token service connect.
fn connect(folder: &Path, address: SocketAddr, client: Option<&str>) -> HttpDecisionPoint {
    let mut text = format!("url: https://{address}\nca_file: ca.pem\ntimeout_ms: 10000\n");
    if let Some(client) = client {
        text += &format!("client_certificate_file: {client}.pem\nclient_key_file: {client}.key\n");
    }
    let connect: ConnectPdp =
        service_kit::config::parse(&text, &Variables::default()).expect("configuration");
    HttpDecisionPoint::new(&connect.resolve(folder).expect("files")).expect("client")
}

#[tokio::test]
async fn roles_and_the_command_line_ask_a_pdp_over_tls_by_certificate() {
    let folder = tempfile::tempdir().expect("folder");
    let host = own_address();
    let address = SocketAddr::from((host, 8082));
    make_files(folder.path(), &host.to_string());
    configure(folder.path(), address);
    let checked = check(folder.path());
    assert!(checked.status.success(), "{checked:?}");
    let mut command = Command::new(cedargate());
    command
        .args(["pdp", "-c"])
        .arg(folder.path().join("pdp.yaml"));
    let mut process = Process::start("pdp", folder.path(), &mut command);
    process.await_port(address);

    let question = json!({ "subject": { "type": "User", "id": "alice",
            "properties": { "scope": ["records:read"] } },
        "action": { "name": "view_record" }, "resource": { "type": "Record", "id": "1001" } });
    let question = EvaluationRequest::from_json(question.to_string().as_bytes()).expect("question");
    let known = connect(folder.path(), address, Some("client"));
    let answer = known.evaluate(&question).await.expect("answer");
    assert!(answer.decision.is_permit(), "{answer:?}");
    // Without a certificate nobody gets in; with another one nobody is known.
    let nobody = connect(folder.path(), address, None);
    assert!(nobody.evaluate(&question).await.is_err());
    let other = connect(folder.path(), address, Some("other"));
    let refused = other.evaluate(&question).await.expect_err("refused");
    assert!(refused.to_string().contains("401"), "{refused}");

    let users = folder.path().join("users.ndjson");
    let user = json!({ "uid": { "type": "User", "id": "zoe" }, "attrs": {}, "parents": [] });
    std::fs::write(&users, user.to_string()).expect("file");
    let load = |client: &str| {
        let file = |name: &str| folder.path().join(name);
        let mut command = Command::new(cedargate());
        command
            .args(["entities", "load", "--pdp", &format!("https://{address}")])
            .arg("--ca-file")
            .arg(file("ca.pem"))
            .arg("--client-certificate-file")
            .arg(file(&format!("{client}.pem")))
            .arg("--client-key-file")
            .arg(file(&format!("{client}.key")))
            .arg(&users);
        command.output().expect("cedargate")
    };
    let loaded = load("client");
    assert!(loaded.status.success(), "{loaded:?}");
    assert!(!load("other").status.success());
}

#[test]
fn check_names_the_file_that_cannot_be_served_with() {
    let folder = tempfile::tempdir().expect("folder");
    let host = own_address();
    make_files(folder.path(), &host.to_string());
    configure(folder.path(), SocketAddr::from((host, 8082)));
    std::fs::copy(
        folder.path().join("other.key"),
        folder.path().join("server.key"),
    )
    .expect("copy");
    let checked = check(folder.path());
    assert!(!checked.status.success());
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        said.contains("`pdp.tls.key_file`: the key is not the certificate's"),
        "{said}"
    );
}
