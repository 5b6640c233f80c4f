//! Parse, call, print the chain of causes, exit.

use std::process::ExitCode;

use clap::Parser;
use limpid::{cli::Cli, command, error};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A panic is a bug: it gets the exit code of one, after Rust's own message.
    match std::panic::catch_unwind(|| command::execute(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(cause)) => ExitCode::from(error::report(&cause)),
        Err(_) => ExitCode::from(error::report(&error::bug("a panic ended the work"))),
    }
}
