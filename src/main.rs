//! Entry point: parses the command line, runs the command, prints its error and returns its exit code.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use limpid::command;
use limpid::progress::{LogMode, Progress};
use limpid::{error, text};

/// Training allocates and frees the same few large tensors repeatedly; this allocator keeps their pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match command::parse() {
        Ok(cli) => cli,
        Err(cause) => return refuse(&cause),
    };
    let log = cli.log_mode();
    std::panic::set_hook(Box::new(move |panic| tell(panic, log)));
    // A panic is a bug: its message is printed first, then it is reported with the exit code of bugs.
    match std::panic::catch_unwind(|| command::execute(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(cause)) => ExitCode::from(error::report(&cause, log)),
        Err(_) => ExitCode::from(error::report(&error::bug("a panic ended the work"), log)),
    }
}

/// Prints an error of the command line, or the help that it asks for. Clap's message has colours and the unescaped arguments:
/// if one of these has control characters, as in a file name that a shell has completed, the message is escaped and has no
/// colours.
fn refuse(cause: &clap::Error) -> ExitCode {
    let arguments = || std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    if arguments().all(|argument| matches!(text::escaped(&argument), Cow::Borrowed(_))) {
        cause.exit();
    }
    text::say(cause.render().to_string().trim_end());
    ExitCode::from(cause.exit_code() as u8)
}

/// Prints a panic as Rust does, with the stack if `RUST_BACKTRACE` asks for it.
fn tell(panic: &PanicHookInfo<'_>, log: LogMode) {
    let stack = Backtrace::capture();
    let asked = stack.status() == BacktraceStatus::Captured;
    let message = if asked { format!("{panic}\n{stack}") } else { panic.to_string() };
    let log = if log == LogMode::Json { log } else { LogMode::Lines };
    Progress::new(log).note(&message);
}
