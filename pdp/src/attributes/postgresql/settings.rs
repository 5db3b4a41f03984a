//! How a PostgreSQL server is reached: what its URL says, and who may vouch for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use service_kit::Secret;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::PostgresqlSource;

/// Everything that a connection is made by. It holds a password, and does not show it.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) transport: Transport,
}

/// How bytes travel.
pub(super) enum Transport {
    Plain,
    Tls(MakeRustlsConnect),
}

const FORM: &str = "`postgresql.url` must be postgresql://USER@HOST[:PORT]/DATABASE";

const MODES: &str = "`sslmode` in `postgresql.url` must be `verify-full`, which it is where nothing \
    is said, or `disable`: whoever is not verified may be anybody";

impl Settings {
    /// The error never repeats the URL: a password may be anywhere in it.
    pub(super) fn new(
        source: &PostgresqlSource,
        base: &Path,
        longest: Duration,
    ) -> Result<Self, String> {
        let (text, mode) = without_mode(source.url.reveal())?;
        let mut config: Config = text.parse().map_err(|_| FORM.to_owned())?;
        if config.get_user().is_none_or(str::is_empty) {
            return Err(format!("{FORM}: it has no user"));
        }
        if config.get_hosts().is_empty() {
            return Err(format!("{FORM}: it has no host"));
        }
        if let Some(file) = &source.password_file {
            if config.get_password().is_some() {
                return Err(
                    "a password is in `postgresql.url` and in `postgresql.password_file`: keep one"
                        .into(),
                );
            }
            let password = Secret::from_config("postgresql.password", None, Some(file), base)
                .map_err(|issue| issue.message)?;
            config.password(password.reveal());
        }
        let transport = transport(source, &config, mode, base)?;
        config.ssl_mode(match transport {
            Transport::Plain => SslMode::Disable,
            Transport::Tls(_) => SslMode::Require,
        });
        bind_session(&mut config, longest);
        Ok(Self { config, transport })
    }
}

/// Nothing is written, and what we have given up on does not go on there.
fn bind_session(config: &mut Config, longest: Duration) {
    let longest = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
    // The last of two that say different things holds.
    let own = config.get_options().unwrap_or_default();
    let options =
        format!("{own} -c default_transaction_read_only=on -c statement_timeout={longest}");
    config.options(options.trim_start());
    if config.get_application_name().is_none() {
        config.application_name("cedargate");
    }
}

/// The URL without `sslmode`, whose values are not those that the library knows.
fn without_mode(url: &str) -> Result<(String, Option<&str>), String> {
    let is_url = ["postgresql://", "postgres://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    if !is_url {
        return Err(FORM.into());
    }
    let Some((front, options)) = url.split_once('?') else {
        return Ok((url.to_owned(), None));
    };
    let (modes, others): (Vec<_>, Vec<_>) = options
        .split('&')
        .partition(|option| option.starts_with("sslmode="));
    let mode = match modes.as_slice() {
        [] => None,
        [one] => one.strip_prefix("sslmode="),
        _ => return Err(MODES.into()),
    };
    let url = if others.is_empty() {
        front.to_owned()
    } else {
        format!("{front}?{}", others.join("&"))
    };
    Ok((url, mode))
}

fn transport(
    source: &PostgresqlSource,
    config: &Config,
    mode: Option<&str>,
    base: &Path,
) -> Result<Transport, String> {
    let is_socket = |host: &Host| matches!(host, Host::Unix(_));
    let is_plain = match mode {
        Some("disable") => true,
        None => config.get_hosts().iter().all(is_socket),
        Some("verify-full") => false,
        Some(_) => return Err(MODES.into()),
    };
    match (is_plain, &source.ca_file) {
        (true, None) => Ok(Transport::Plain),
        (true, Some(_)) => {
            Err("`postgresql.ca_file` is for TLS, and the connection is without".into())
        }
        (false, file) => {
            let file = file.as_ref().map(|file| base.join(file));
            let config = tls(file.as_deref())?;
            Ok(Transport::Tls(MakeRustlsConnect::new(config)))
        }
    }
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let cannot = |error: rustls::Error| format!("TLS cannot be had: {error}");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(cannot)?;
    let builder = match ca {
        Some(file) => builder.with_root_certificates(roots(file)?),
        None => builder.with_platform_verifier().map_err(|error| {
            format!("the system has no certificates ({error}): name `postgresql.ca_file`")
        })?,
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let name = file.display();
    let cannot =
        |why: &dyn std::fmt::Display| format!("`postgresql.ca_file` {name} cannot be used: {why}");
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(file).map_err(|error| cannot(&error))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| cannot(&error))?;
        roots.add(certificate).map_err(|error| cannot(&error))?;
    }
    if roots.is_empty() {
        return Err(cannot(&"there is no certificate in it"));
    }
    Ok(roots)
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}
