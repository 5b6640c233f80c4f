//! Entry point: hands the arguments to [`limpid::command::main`].

use std::ffi::OsString;
use std::process::ExitCode;

use limpid::command;

/// Training allocates and frees the same few large tensors repeatedly; this allocator keeps their pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(command::main(&arguments))
}
