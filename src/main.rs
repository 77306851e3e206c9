//! The `connwarden` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Taking notifications in is for a good part allocating: measured, this one spares a tenth of all processor time. It is
/// built without huge pages (`no_thp`): they cost an idle daemon 13 MiB.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    connwarden::cli::main()
}
