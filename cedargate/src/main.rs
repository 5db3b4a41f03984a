//! Entry point: everything is in the library, so that tests can start it, too.

use std::process::ExitCode;

fn main() -> ExitCode {
    cedargate::cli::main()
}
