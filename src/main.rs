//! Parse, call, print the chain of causes, exit.

use std::process::ExitCode;

use clap::Parser;
use limpid::cli::Cli;
use limpid::progress::{LogMode, Progress};
use limpid::{command, error};

/// Training takes and gives back the same few large tensors again and again: this allocator keeps their pages at hand.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = cli.log_mode();
    if log == LogMode::Json {
        std::panic::set_hook(Box::new(move |panic| Progress::new(log).note(&panic.to_string())));
    }
    // A panic is a bug: it gets the exit code of one, after Rust's own message.
    match std::panic::catch_unwind(|| command::execute(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(cause)) => ExitCode::from(error::report(&cause, log)),
        Err(_) => ExitCode::from(error::report(&error::bug("a panic ended the work"), log)),
    }
}
