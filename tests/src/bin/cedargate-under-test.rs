//! The product, as the tests start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cedargate::cli::main()
}
