//! Entry point: everything is in the library, so that tests can start it, too.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cedargate::cli::main()
}
