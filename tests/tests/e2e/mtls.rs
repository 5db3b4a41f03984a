//! Mutual TLS (RFC 8705) over sockets: curl shows certificates of files to a token service that serves
//! by TLS, with a second listener for whoever has one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cedargate::config::ConnectTokenService;
use e2e::Site;
use e2e::site::eventually;
use oauth::{
    Confirmation, HttpTokenIntrospector, Introspection, IntrospectionError, OpaqueToken,
    ResourceId, TokenIntrospector as _,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::{Value, json};
use service_kit::Variables;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What came back over a connection.
#[derive(Debug)]
struct Told {
    status: u16,
    body: String,
    /// The server has asked for a certificate.
    is_asked: bool,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    #[track_caller]
    fn assert_stranger(&self) {
        assert_eq!(self.status, 401, "{self:?}");
        assert_eq!(self.json()["error"], "invalid_client");
    }
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    CertifiedIssuer::self_signed(params, key).expect("authority")
}

fn params(common_name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::new([common_name.to_owned()]).expect("parameters");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Example");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.extended_key_usages = vec![usage];
    params
}

/// A certificate and its key as files of this name. None: signed by itself.
fn write(folder: &Path, name: &str, params: &CertificateParams, by: Option<&Authority>) {
    let key = KeyPair::generate().expect("key");
    let issued = match by {
        Some(authority) => params.signed_by(&key, authority),
        None => params.self_signed(&key),
    };
    let pem = issued.expect("certificate").pem();
    std::fs::write(folder.join(format!("{name}.pem")), pem).expect("file");
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("file");
}

fn write_all(folder: &Path, host: &str) {
    let (own, other) = (authority(), authority());
    std::fs::write(folder.join("ca.pem"), own.pem()).expect("file");
    let client = || params("billing", ExtendedKeyUsagePurpose::ClientAuth);
    write(
        folder,
        "server",
        &params(host, ExtendedKeyUsagePurpose::ServerAuth),
        Some(&own),
    );
    write(folder, "billing", &client(), Some(&own));
    let mut expired = client();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    write(folder, "expired", &expired, Some(&own));
    write(folder, "other-ca", &client(), Some(&other));
    write(
        folder,
        "for-servers",
        &params("billing", ExtendedKeyUsagePurpose::ServerAuth),
        Some(&own),
    );
    write(
        folder,
        "namesake",
        &params("Billing", ExtendedKeyUsagePurpose::ClientAuth),
        Some(&own),
    );
    for name in ["billing-by-itself", "robot", "edge"] {
        write(folder, name, &client(), None);
    }
}

fn fingerprint(folder: &Path, name: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let output = command.arg(folder.join(format!("{name}.pem"))).output();
    let text = String::from_utf8(output.expect("openssl").stdout).expect("text");
    text.trim()
        .split_once('=')
        .expect("a fingerprint")
        .1
        .to_owned()
}

fn start(folder: &Path) -> Site {
    Site::all_in_one_with(|text| {
        let (_, rest) = text.split_once("issuer: http://").expect("issuer");
        let host = rest.split(':').next().expect("host").to_owned();
        write_all(folder, &host);
        configured(folder, &host, &text)
    })
}

fn configured(folder: &Path, host: &str, text: &str) -> String {
    let at = folder.display();
    let files = format!("certificate_file: {at}/server.pem, key_file: {at}/server.key");
    let listeners = format!(
        "issuer: https://{host}:8081\n  tls: {{ {files} }}\n  mtls:\n    listen: {host}:8444\n    \
         url: https://{host}:8444\n    tls: {{ {files}, client_ca_file: {at}/ca.pem }}\n"
    );
    let grant = "grant_types: [client_credentials], scope: 'records:list'";
    let clients = format!(
        "  clients:\n    - {{ id: billing, {grant}, tls_client_auth: {{ subject_dn: \
         'CN=billing,O=Example' }} }}\n    - {{ id: robot, {grant}, \
         tls_client_certificate_bound_access_tokens: true, self_signed_tls_client_auth: {{ sha256: \
         ['{}'] }} }}\n",
        fingerprint(folder, "robot"),
    );
    let server = format!(
        "  resource_servers:\n    - {{ id: edge, self_signed_tls_client_auth: {{ sha256: ['{}'] }}, \
         resources: ['https://records.demo.internal'] }}\n",
        fingerprint(folder, "edge"),
    );
    let gateway = format!(
        "gateway:\n  tls: {{ certificates: [{{ {files} }}], client_ca_file: {at}/ca.pem, \
         client_certificates: any }}\n"
    );
    text.replacen(&format!("issuer: http://{host}:8081\n"), &listeners, 1)
        .replacen("gateway:\n", &gateway, 1)
        .replacen("  clients:\n", &clients, 1)
        .replacen("  resource_servers:\n", &server, 1)
}

/// A site, its files, and curl.
struct Caller {
    folder: tempfile::TempDir,
    site: Site,
}

impl Caller {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let site = start(folder.path());
        for name in ["records.cedar", "scopes.cedar"] {
            let file = site.policies().join(name);
            let text = std::fs::read_to_string(&file).expect("policies");
            let changed = text.replace(
                "principal == Client::\"nightly-report\"",
                "principal is Client",
            );
            assert_ne!(changed, text);
            std::fs::write(file, changed).expect("write");
        }
        Self { folder, site }
    }

    fn curl(&self, certificate: Option<&str>, port: u16, path: &str, more: &[&str]) -> Told {
        let file = |name: &str| self.folder.path().join(name);
        let mut command = Command::new("curl");
        command
            .args([
                "-sv",
                "--max-time",
                "10",
                "-w",
                "\n%{http_code}",
                "--cacert",
            ])
            .arg(file("ca.pem"))
            .args(more)
            .arg(format!("https://{}:{port}{path}", self.site.host));
        if let Some(name) = certificate {
            command.arg("--cert").arg(file(&format!("{name}.pem")));
            command.arg("--key").arg(file(&format!("{name}.key")));
        }
        let output = command.output().expect("curl");
        let text = String::from_utf8(output.stdout).expect("text");
        let (body, status) = text.rsplit_once('\n').expect("a status");
        Told {
            status: status.parse().expect("a status"),
            body: body.to_owned(),
            is_asked: String::from_utf8_lossy(&output.stderr).contains("Request CERT"),
        }
    }

    /// A token for the client itself; with these headers.
    fn token(&self, certificate: Option<&str>, port: u16, client: &str, headers: &[&str]) -> Told {
        let named = format!("client_id={client}");
        let mut arguments = vec!["-d", "grant_type=client_credentials", "-d", &named];
        for header in headers {
            arguments.extend(["-H", header]);
        }
        self.curl(certificate, port, "/token", &arguments)
    }

    fn introspect(&self, certificate: Option<&str>, token: &str, media: &str) -> Told {
        let (token, accept) = (format!("token={token}"), format!("Accept: {media}"));
        let form = ["-d", "client_id=edge", "-d", &token, "-H", &accept];
        self.curl(certificate, MTLS, "/introspect", &form)
    }
}

const ORDINARY: u16 = 8081;
const MTLS: u16 = 8444;
const GATEWAY: u16 = 8080;

/// What proxies say of certificates that they have seen.
const HEADERS: [&str; 5] = [
    "X-Client-Cert: CN=billing,O=Example",
    "X-SSL-Client-Verify: SUCCESS",
    "X-SSL-Client-S-DN: CN=billing,O=Example",
    "X-Forwarded-Client-Cert: Subject=\"CN=billing,O=Example\"",
    "Client-Cert: :MIIB:",
];

#[tokio::test]
async fn clients_and_resource_servers_are_known_by_the_certificates_of_their_connections() {
    let mut caller = Caller::start();
    let permitted = || async { caller.token(Some("billing"), MTLS, "billing", &[]).status == 200 };
    eventually(
        "the policies permit every client",
        Duration::from_secs(20),
        permitted,
    )
    .await;
    let metadata = caller.curl(None, ORDINARY, "/.well-known/openid-configuration", &[]);
    let aliases = &metadata.json()["mtls_endpoint_aliases"];
    assert_eq!(
        aliases["token_endpoint"],
        format!("https://{}:8444/token", caller.site.host)
    );
    // Nobody is asked at the ordinary endpoint, and what is offered there is not looked at.
    assert!(!metadata.is_asked);
    let ordinary = caller.token(Some("billing"), ORDINARY, "billing", &[]);
    ordinary.assert_stranger();
    assert!(!ordinary.is_asked);

    let known = caller.token(Some("billing"), MTLS, "billing", &[]);
    assert!(known.status == 200 && known.is_asked, "{known:?}");
    let by_itself = caller.token(Some("robot"), MTLS, "robot", &[]);
    assert_eq!(by_itself.status, 200, "{by_itself:?}");
    for (certificate, client) in [
        (None, "billing"),
        (Some("expired"), "billing"),
        (Some("other-ca"), "billing"),
        (Some("for-servers"), "billing"),
        (Some("namesake"), "billing"),
        (Some("billing-by-itself"), "billing"),
        (Some("robot"), "billing"),
        (Some("billing"), "robot"),
        (Some("edge"), "robot"),
        (Some("billing-by-itself"), "robot"),
        (None, "robot"),
        (Some("edge"), "edge"),
        (Some("billing"), "nightly-report"),
    ] {
        caller
            .token(certificate, MTLS, client, &[])
            .assert_stranger();
    }
    // CA-08.
    for port in [ORDINARY, MTLS] {
        for certificate in [None, Some("billing-by-itself")] {
            caller
                .token(certificate, port, "billing", &HEADERS)
                .assert_stranger();
        }
    }
    let secret = ["Authorization: Basic YmlsbGluZzp4"];
    let twice = caller.token(Some("billing"), MTLS, "billing", &secret);
    assert_eq!(
        (twice.status, &twice.json()["error"]),
        (400, &json!("invalid_request"))
    );

    seen_from_outside(&caller, &known, &by_itself).await;
    taken_by_the_gateway(&caller, &known, &by_itself);

    follows_its_files(&caller).await;

    // A client that is disabled is nobody from then on.
    let file = caller.site.folder.path().join("config/all-in-one.yaml");
    let text = std::fs::read_to_string(&file).expect("text");
    std::fs::write(
        &file,
        text.replacen("id: billing,", "id: billing, disabled: true,", 1),
    )
    .expect("write");
    caller.site.pdp.kill();
    caller.site.pdp = caller.site.restart("all-in-one");
    caller
        .token(Some("billing"), MTLS, "billing", &[])
        .assert_stranger();
    assert_eq!(caller.token(Some("robot"), MTLS, "robot", &[]).status, 200);
}

/// curl speaks HTTP/2 there. What is bound to a certificate counts on its connections alone, remembered
/// or not; what is not bound is a bearer token.
fn taken_by_the_gateway(caller: &Caller, known: &Told, bound: &Told) {
    let show = |token: &Told, certificate: Option<&str>, version: &str| {
        let token = token.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let header = format!("Authorization: Bearer {token}");
        caller.curl(certificate, GATEWAY, "/records", &["-H", &header, version])
    };
    for version in ["--http2", "--http1.1", "--http2"] {
        let good = show(bound, Some("robot"), version);
        assert!(good.status == 200 && good.is_asked, "{good:?}");
        for certificate in [None, Some("billing"), Some("billing-by-itself")] {
            let refused = show(bound, certificate, version);
            assert_eq!(refused.status, 401, "{certificate:?} {refused:?}");
        }
        assert_eq!(show(known, None, version).status, 200);
    }
}

/// Certificates of the server and authorities of clients change while it serves.
async fn follows_its_files(caller: &Caller) {
    let (folder, host) = (caller.folder.path(), caller.site.host.to_string());
    let other = authority();
    let server = params(&host, ExtendedKeyUsagePurpose::ServerAuth);
    write(folder, "server", &server, Some(&other));
    std::fs::write(folder.join("ca.pem"), other.pem()).expect("file");
    let is_new = || async {
        let metadata = caller.curl(None, ORDINARY, "/.well-known/openid-configuration", &[]);
        let known = caller.token(Some("robot"), MTLS, "robot", &[]);
        let before = caller.token(Some("billing"), MTLS, "billing", &[]);
        (metadata.status, known.status, before.status) == (200, 200, 401)
    };
    eventually(
        "the new certificates serve",
        Duration::from_secs(20),
        is_new,
    )
    .await;
    let client = params("billing", ExtendedKeyUsagePurpose::ClientAuth);
    write(folder, "billing", &client, Some(&other));
    let known = caller.token(Some("billing"), MTLS, "billing", &[]);
    assert_eq!(known.status, 200, "{known:?}");
}

/// What resource servers and the gateway make of a token that is not bound, and of one that is.
async fn seen_from_outside(caller: &Caller, known: &Told, by_itself: &Told) {
    let text = |told: &Told| {
        told.json()["access_token"]
            .as_str()
            .expect("token")
            .to_owned()
    };
    let (plain, bound) = (text(known), text(by_itself));
    let json_media = "application/json";
    let told = caller.introspect(Some("edge"), &bound, json_media).json();
    let thumbprint = told["cnf"]["x5t#S256"].as_str().expect("a thumbprint");
    let expected = fingerprint(caller.folder.path(), "robot").replace(':', "");
    assert_eq!(hex_of(thumbprint), expected);
    assert_eq!(
        caller.introspect(Some("edge"), &plain, json_media).json()["cnf"],
        Value::Null
    );
    for certificate in [None, Some("robot"), Some("billing"), Some("expired")] {
        caller
            .introspect(certificate, &bound, json_media)
            .assert_stranger();
    }
    assert_eq!(
        caller
            .introspect(Some("edge"), &bound, "application/jwt")
            .status,
        204
    );
    assert_eq!(
        caller
            .introspect(Some("edge"), &plain, "application/jwt")
            .status,
        200
    );
    as_a_gateway(caller, &bound).await;
}

/// A gateway in another process asks with a certificate, as it is configured.
async fn as_a_gateway(caller: &Caller, bound: &str) {
    let introspector = |certificate: &str| {
        let text = format!(
            "introspection_url: https://{}:{MTLS}/introspect\nclient_id: edge\nca_file: ca.pem\n\
             client_certificate_file: {certificate}.pem\nclient_key_file: {certificate}.key\n",
            caller.site.host
        );
        let connect: ConnectTokenService =
            service_kit::config::parse(&text, &Variables::default()).expect("configuration");
        let config = connect.resolve(caller.folder.path()).expect("files");
        HttpTokenIntrospector::new(&config).expect("client")
    };
    let (token, resource) = (
        OpaqueToken::parse(bound).expect("token"),
        ResourceId::new("https://records.demo.internal"),
    );
    let told = introspector("edge").introspect(&token, &resource).await;
    let Ok(Introspection::Active(active)) = told else {
        panic!("{told:?}");
    };
    assert!(matches!(
        active.confirmation,
        Some(Confirmation::Certificate(_))
    ));
    let refused = introspector("robot").introspect(&token, &resource).await;
    assert!(
        matches!(refused, Err(IntrospectionError::Rejected { .. })),
        "{refused:?}"
    );
}

fn hex_of(base64url: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(base64url);
    let bytes = bytes.expect("base64url");
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
