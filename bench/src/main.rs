//! What `bench/pdp`, `bench/token` and `bench/ladder` measure with: a world of shared documents in each engine's words,
//! questions about tokens, a generator of load that checks every answer, a server that decides
//! nothing, and a proxy that does nothing.

mod answer;
mod ask;
mod chain;
mod floor;
mod ladder;
mod load;
mod relay;
mod run;
mod table;
mod tokens;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures servers over HTTP; `bench/pdp` and `bench/token` say how.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write policies, entities and questions for each engine
    World {
        /// Kinds of documents, each with ten rules
        #[arg(long, default_value_t = 1)]
        kinds: usize,
        /// The folder; created when absent
        #[arg(long)]
        out: PathBuf,
    },
    /// Ask an authorization server for tokens, and write questions about them
    Tokens(tokens::Arguments),
    /// Serve an endpoint that reads JSON and gives a constant answer
    Floor {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Pass requests on to an upstream and do nothing else
    Relay {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        upstream: SocketAddr,
    },
    /// Keep the core that it runs on from sleeping, until the process ends
    Awake,
    /// Ask each question once, and compare the answers with what is expected
    Check(ask::Target),
    /// Ask for some time; append what came of it to a file of results
    Load(load::Arguments),
    /// Ask an authorization server for access tokens, and write them, a line each
    AccessTokens(tokens::ManyArguments),
    /// Print the rungs of a ladder, and write their plot
    Ladder(ladder::Arguments),
    /// Print a share of the requests a second that a set-up has answered
    Rate {
        results: PathBuf,
        #[arg(long)]
        setup: String,
        #[arg(long)]
        share: f64,
    },
    /// Print medians of a file of results as tables
    Table {
        results: PathBuf,
        /// The set-up that the others are compared with
        #[arg(long)]
        floor: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    // One thread: the load has one core, and so has the floor.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A schedule is waited for without sleeping. Were sockets looked at all the time meanwhile, the server
        // would pay for it: it shares their locks. Some ten microseconds late is soon enough.
        .event_interval(256)
        .build()?;
    match Cli::parse().command {
        Command::World { kinds, out } => world::write(kinds, &out),
        Command::Tokens(arguments) => runtime.block_on(tokens::write(&arguments)),
        Command::Floor { listen } => runtime.block_on(floor::serve(listen)),
        Command::Relay { listen, upstream } => runtime.block_on(relay::serve(listen, upstream)),
        Command::Awake => loop {
            // Whoever else wants to run is asked for each time.
            std::thread::yield_now();
        },
        Command::Check(target) => runtime.block_on(ask::check(&target)),
        Command::Load(arguments) => runtime.block_on(load::load(&arguments)),
        Command::AccessTokens(arguments) => runtime.block_on(tokens::write_many(&arguments)),
        Command::Ladder(arguments) => ladder::print(&arguments),
        Command::Rate {
            results,
            setup,
            share,
        } => ladder::rate(&results, &setup, share),
        Command::Table { results, floor } => table::print(&results, floor.as_deref()),
    }
}
