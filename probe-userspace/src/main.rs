//! The `cordon` binary: daemon and command line in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    cordon::cli::main()
}
