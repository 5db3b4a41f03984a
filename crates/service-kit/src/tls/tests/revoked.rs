//! Clients whose certificates are revoked, or of which nobody knows whether they are.

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};

use super::*;

impl Authority {
    /// The list is good up to the end of a year.
    fn revokes(&self, serials: &[u64], year: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2019, 1, 1),
            next_update: rcgen::date_time_ymd(year, 12, 31),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    fn numbered(&self, serial: u64) -> Issued {
        self.issue_with(&["g"], ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.serial_number = Some(serial.into());
        })
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }
}

fn with_lists(authority: &Authority, lists: &str) -> Files {
    let mut files = Files::new(&authority.server(), Some(authority));
    files.config.client_crl_file = Some("revoked.pem".into());
    files.write("revoked.pem", lists);
    files
}

#[tokio::test]
async fn whoever_is_on_a_list_gets_in_until_it_is_taken_off_no_more() {
    let authority = Authority::new();
    let files = with_lists(&authority, &authority.revokes(&[7], 2060));
    for clients in [
        ClientCertificates::Optional,
        ClientCertificates::Required,
        ClientCertificates::Any,
    ] {
        files.write("revoked.pem", &authority.revokes(&[7], 2060));
        let (tls, tasks) = (files.open(clients).unwrap(), Tasks::new());
        let port = start(&tls, &tasks).await;
        let (one, other) = (authority.numbered(7), authority.numbered(8));
        // Of the one that takes anybody, handshakes say nothing: whether an authority vouches is asked beside.
        if clients != ClientCertificates::Any {
            assert!(ask(port, &authority, Some(&one)).await.is_err());
        }
        assert!(ask(port, &authority, Some(&other)).await.is_ok());
        files.write("revoked.pem", &authority.revokes(&[8], 2060));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while ask(port, &authority, Some(&one)).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "it is not read");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if clients != ClientCertificates::Any {
            assert!(ask(port, &authority, Some(&other)).await.is_err());
        }
        // A list that cannot be read takes nobody off.
        files.write("revoked.pem", "-----BEGIN X509 CRL-----\nMII");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(ask(port, &authority, Some(&one)).await.is_ok());
        assert!(tasks.finish(Duration::from_secs(5)).await);
    }
}

/// What a listener makes of a certificate at the end of a year: whether an authority vouches for it.
fn vouched(tls: &Tls, issued: &Issued, year: i32) -> Option<bool> {
    let chain = [CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
    let at = rcgen::date_time_ymd(year, 12, 30).unix_timestamp();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at.try_into().unwrap()));
    let found = tls.0.current.load().again(&chain, at);
    found.map(|it| it.is_trusted)
}

#[test]
fn an_authority_vouches_for_nobody_whom_it_has_revoked() {
    let authority = Authority::new();
    let files = with_lists(&authority, &authority.revokes(&[7], 2060));
    for clients in [ClientCertificates::Any, ClientCertificates::Optional] {
        let tls = files.open(clients).unwrap();
        assert_eq!(vouched(&tls, &authority.numbered(8), 2030), Some(true));
        // Whoever shows it may not be who it was made for, whatever else is taken.
        assert_eq!(vouched(&tls, &authority.numbered(7), 2030), None);
    }
}

#[test]
fn an_old_list_is_of_its_own_authority_alone() {
    let (one, other) = (Authority::named("one"), Authority::named("other"));
    let lists = [one.revokes(&[], 2040), other.revokes(&[], 2030)].concat();
    let files = with_lists(&one, &lists);
    files.write("clients.pem", &[one.pem(), other.pem()].concat());
    for (clients, unknown) in [
        (ClientCertificates::Optional, None),
        // It is taken as a stranger's would be.
        (ClientCertificates::Any, Some(false)),
    ] {
        let tls = files.open(clients).unwrap();
        let at = |year| {
            let [one, other] = [&one, &other].map(|it| vouched(&tls, &it.numbered(8), year));
            (one, other)
        };
        assert_eq!(at(2029), (Some(true), Some(true)));
        assert_eq!(at(2035), (Some(true), unknown));
        assert_eq!(at(2041), (unknown, unknown));
        // Each end is a reason to look again.
        let current = tls.0.current.load();
        let first = current.judged_until(0);
        let second = current.judged_until(first);
        assert!(first < second && second < u64::MAX, "{first} {second}");
        assert_eq!(current.judged_until(second), u64::MAX);
    }
}

#[tokio::test]
async fn where_nobody_knows_what_is_revoked_nobody_gets_in() {
    let (authority, other) = (Authority::named("one"), Authority::named("other"));
    for lists in [
        authority.revokes(&[], 2025),
        other.revokes(&[], 2060),
        // Of the same name, and by another key.
        Authority::named("one").revokes(&[], 2060),
    ] {
        let files = with_lists(&authority, &lists);
        let tls = files.open(ClientCertificates::Optional).unwrap();
        let tasks = Tasks::new();
        let port = start(&tls, &tasks).await;
        let client = authority.numbered(8);
        assert!(ask(port, &authority, Some(&client)).await.is_err());
        assert!(ask(port, &authority, None).await.is_ok());
        assert!(tasks.finish(Duration::from_secs(5)).await);
    }
}

#[test]
fn what_is_wrong_with_a_list_is_named() {
    let authority = Authority::new();
    let whole = authority.revokes(&[7], 2060);
    for (text, wanted) in [
        ("", "`pdp.tls.client_crl_file`: there is no revocation list"),
        (authority.pem().as_str(), "there is no revocation list"),
        (&whole.replacen("\nM", "\n!", 1), "damaged PEM"),
        (
            "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
            "cannot be read",
        ),
    ] {
        let files = with_lists(&authority, text);
        let issue = files.open(ClientCertificates::Optional).unwrap_err();
        assert!(issue.to_string().contains(wanted), "{issue}");
    }
    let mut files = Files::new(&authority.server(), None);
    files.config.client_crl_file = Some("revoked.pem".into());
    let issue = files.open(ClientCertificates::Optional).unwrap_err();
    assert!(issue.to_string().contains("needs `client_ca_file`"));
}
