//! The `connwarden` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    connwarden::cli::main()
}
