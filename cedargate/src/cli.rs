//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use service_kit::lifecycle::Terminations;
use service_kit::{Secret, SystemClock, Variables, descriptors, log};
use url::Url;

use crate::admin::command::AdminCommand;
use crate::config::{AdminConfig, ConnectConfig, DemoUpstreamConfig, FileConfig, Loaded};
use crate::entities_command::{self, EntitiesCommand};
use crate::explain::{self, ExplainCommand};
use crate::token_command::{self, TokenCommand};
use crate::wire::Addresses;
use crate::{admin, attack, check, demo, print, running, start};

/// Externalized authorization: PDP, phantom-token service and enforcing gateway.
///
/// Without a command: everything in one process, with a demo to try.
#[derive(Debug, Parser)]
#[command(name = "cedargate", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the roles that a configuration file has sections for
    Run(Serve),
    /// Run the file's PDP alone
    Pdp(Serve),
    /// Run the file's token service alone
    TokenService(Serve),
    /// Run the file's gateway alone
    Gateway(Serve),
    /// Say everything that is wrong with a configuration file and its policies
    Check(File),
    /// Attack the file's gateway on loopback with hostile requests, and say what got through
    ///
    /// Routes and limits are the file's; upstreams, token service, PDP and store are stand-ins. Nothing
    /// leaves this machine. Exit code 0 only when every case passes.
    Attack {
        #[command(flatten)]
        file: File,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what a gateway that runs would make of a request, step by step
    ///
    /// Nothing is forwarded. A DPoP proof that is given counts as used.
    Explain(ExplainCommand),
    /// Ask the admin listener of a process that runs: its configuration, routes, upstreams, caches, log level
    Admin(AdminCommand),
    /// Work on policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Load entities into a PDP
    #[command(subcommand)]
    Entities(EntitiesCommand),
    /// Issue, inspect and revoke tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make a client secret: prints it once, with the hash for the configuration
    NewSecret,
    /// Read a password from standard input; print its hash for the configuration
    HashPassword,
    /// Print the JSON Schema of the configuration file, for editors
    ConfigSchema,
    /// Run the demo's records API alone
    DemoUpstream {
        #[arg(long, default_value = "127.0.0.1:9000")]
        listen: SocketAddr,
    },
    /// Ask an admin listener whether it is ready; exit code 0 when it is
    Healthcheck {
        #[arg(long, default_value = "http://127.0.0.1:9901/readyz")]
        url: Url,
    },
}

#[derive(Debug, clap::Args)]
struct File {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Serve {
    #[command(flatten)]
    file: File,
    /// Take the place of the process that runs, if one does, without a lost request
    ///
    /// Needs `lifecycle.handover_socket`. On SIGUSR2 a process starts another one this way.
    #[arg(long)]
    take_over: bool,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Check a policy folder: schema, policies, entities
    Check {
        /// The folder
        folder: PathBuf,
    },
    /// Say why a policy folder answers a question as it does
    Explain {
        /// The folder
        folder: PathBuf,
        /// A file with an AuthZEN evaluation as JSON
        question: PathBuf,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            print::err(&format!("cannot start a runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::err(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run_policy(command: &PolicyCommand) -> anyhow::Result<()> {
    let said = match command {
        PolicyCommand::Check { folder } => pdp::check_policies(folder)?.to_string(),
        PolicyCommand::Explain { folder, question } => {
            let question = std::fs::read(question)
                .with_context(|| format!("cannot read `{}`", question.display()))?;
            pdp::explain_policies(folder, &question)?.to_string()
        }
    };
    print::out(&said);
    Ok(())
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let variables = Variables::from_environment();
    match cli.command {
        None => run_demo().await,
        Some(Command::Run(command)) => {
            let loaded = Loaded::read(&command.file.config, &variables)?;
            serve(loaded, command.take_over).await
        }
        Some(Command::Pdp(command)) => {
            let mut loaded = Loaded::read(&command.file.config, &variables)?;
            require(loaded.config.pdp.is_some(), "pdp")?;
            loaded.config = FileConfig {
                token_service: None,
                demo_upstream: None,
                ..without_gateway(loaded.config)
            };
            serve(loaded, command.take_over).await
        }
        Some(Command::TokenService(command)) => {
            let mut loaded = Loaded::read(&command.file.config, &variables)?;
            require(loaded.config.token_service.is_some(), "token_service")?;
            loaded.config = FileConfig {
                pdp: None,
                demo_upstream: None,
                ..without_gateway(loaded.config)
            };
            serve(loaded, command.take_over).await
        }
        Some(Command::Gateway(command)) => {
            let mut loaded = Loaded::read(&command.file.config, &variables)?;
            require(loaded.config.gateway.is_some(), "gateway")?;
            (loaded.config.pdp, loaded.config.token_service) = (None, None);
            loaded.config.demo_upstream = None;
            serve(loaded, command.take_over).await
        }
        Some(Command::Check(file)) => run_check(&file.config, &variables),
        Some(Command::Attack { file, json }) => {
            run_attack(&Loaded::read(&file.config, &variables)?, json).await
        }
        Some(Command::Explain(command)) => explain::run(command).await,
        Some(Command::Admin(command)) => admin::command::run(command).await,
        Some(Command::Policy(command)) => run_policy(&command),
        Some(Command::Entities(command)) => entities_command::run(command).await,
        Some(Command::Token(command)) => token_command::run(command).await,
        Some(Command::NewSecret) => {
            let (secret, hash) = token_service::new_client_secret()?;
            print::out(&format!("secret: {secret}\nsecret_hash: {hash}"));
            Ok(())
        }
        Some(Command::HashPassword) => hash_password(),
        Some(Command::ConfigSchema) => {
            print::out(&serde_json::to_string_pretty(&schemars::schema_for!(
                FileConfig
            ))?);
            Ok(())
        }
        Some(Command::DemoUpstream { listen }) => serve(demo_upstream_only(listen), false).await,
        Some(Command::Healthcheck { url }) => healthcheck(url).await,
    }
}

async fn run_demo() -> anyhow::Result<()> {
    let folder = std::env::current_dir()?;
    let loaded = demo::prepare(&folder)?;
    log::install(loaded.config.log.level);
    descriptors::raise();
    let mut told = Terminations::follow()?;
    let running = start::start(&loaded, Arc::new(SystemClock)).await?;
    drop(loaded);
    print::out(&demo::banner(&running.addresses, &own_path(&folder)));
    running.serve_until_told(&mut told).await;
    Ok(())
}

async fn serve(loaded: Loaded, take_over: bool) -> anyhow::Result<()> {
    log::install(loaded.config.log.level);
    let mut told = Terminations::follow()?;
    let clock = Arc::new(SystemClock);
    let starting = async {
        if take_over {
            Box::pin(start::take_over(&loaded, clock)).await
        } else {
            Box::pin(start::start(&loaded, clock)).await
        }
    };
    let started = tokio::select! {
        started = starting => started,
        () = told.next() => bail!("told to end before it served"),
    };
    let running = started.with_context(|| loaded.file.display().to_string())?;
    running.follow_signals()?;
    say_where(&running.addresses, &loaded.config);
    // With thousands of routes it is megabytes, and there may be secrets in it.
    drop(loaded);
    running::tell_ready();
    if !running.serve_until_told(&mut told).await {
        bail!("some requests were still in flight when patience ended");
    }
    Ok(())
}

/// Says what listens where.
fn say_where(at: &Addresses, config: &FileConfig) {
    let by_tls = |is_tls: bool| if is_tls { "https" } else { "http" };
    let token_service = config.token_service.as_ref();
    let token_service = by_tls(token_service.is_some_and(|section| section.tls.is_some()));
    let gateway = config.gateway.as_ref();
    let gateway = by_tls(gateway.is_some_and(|section| section.tls.is_some()));
    let pdp = by_tls(
        config
            .pdp
            .as_ref()
            .is_some_and(|section| section.tls.is_some()),
    );
    for (name, scheme, address) in [
        ("gateway", gateway, at.gateway),
        ("token service", token_service, at.token_service),
        (
            "token service, by certificate",
            "https",
            at.token_service_mtls,
        ),
        ("pdp", pdp, at.pdp),
        ("admin", "http", at.admin),
        ("demo upstream", "http", at.demo_upstream),
    ] {
        if let Some(address) = address {
            print::out(&format!("{name} listens on {scheme}://{address}"));
        }
    }
}

fn run_check(file: &Path, variables: &Variables) -> anyhow::Result<()> {
    match check::check(file, variables) {
        Ok(report) => {
            for line in report {
                print::out(&line);
            }
            print::out(&format!("{}: ok", file.display()));
            Ok(())
        }
        Err(problems) => {
            print::err(&problems);
            bail!("`{}` cannot be used", file.display())
        }
    }
}

async fn run_attack(loaded: &Loaded, json: bool) -> anyhow::Result<()> {
    let report = attack::attack(loaded)
        .await
        .with_context(|| loaded.file.display().to_string())?;
    if json {
        print::out(&serde_json::to_string_pretty(&report)?);
    } else {
        print::out(&report.to_string());
    }
    if report.is_clean() {
        return Ok(());
    }
    bail!(
        "{} of {} cases failed",
        report.failures.len(),
        report.cases()
    )
}

fn hash_password() -> anyhow::Result<()> {
    let mut password = String::new();
    std::io::stdin()
        .read_line(&mut password)
        .context("cannot read the password")?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("the password is empty");
    }
    print::out(&format!(
        "password_hash: {}",
        token_service::hash_password(password)?
    ));
    Ok(())
}

async fn healthcheck(url: Url) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(3))
        .no_proxy()
        .build()?;
    let status = client.get(url).send().await?.status();
    if status.is_success() {
        return Ok(());
    }
    bail!("not ready: {status}")
}

fn without_gateway(mut config: FileConfig) -> FileConfig {
    config.gateway = None;
    config.upstreams.clear();
    config.routes.clear();
    config
}

fn demo_upstream_only(listen: SocketAddr) -> Loaded {
    let config = FileConfig {
        log: crate::config::LogConfig::default(),
        tracing: None,
        // Its own port, beside the admin listener of the process that it serves.
        admin: AdminConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            hosts: Vec::new(),
        },
        lifecycle: crate::config::LifecycleConfig::default(),
        store: store::StoreConfig::default(),
        pdp: None,
        token_service: None,
        gateway: None,
        upstreams: std::collections::BTreeMap::new(),
        routes: Vec::new(),
        connect: ConnectConfig::default(),
        demo_upstream: Some(DemoUpstreamConfig { listen }),
    };
    Loaded {
        file: "demo-upstream".into(),
        variables: Variables::default(),
        base: PathBuf::new(),
        config,
        text: Secret::new(""),
    }
}

fn require(present: bool, section: &str) -> anyhow::Result<()> {
    if present {
        return Ok(());
    }
    bail!("the file has no `{section}` section")
}

/// How the user can call this program from where they are.
fn own_path(folder: &Path) -> String {
    let Ok(path) = std::env::current_exe() else {
        return "cedargate".into();
    };
    path.strip_prefix(folder)
        .unwrap_or(&path)
        .display()
        .to_string()
}
