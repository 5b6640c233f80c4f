//! A whole process: parses the command line, runs the command, prints its error and returns its exit code. limpid-cluster, which has another
//! command line, does the rest in the same way.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::ffi::OsString;
use std::panic::{PanicHookInfo, UnwindSafe};

use anyhow::Result;

use crate::progress::{LogMode, Progress};
use crate::store::failpoint;
use crate::{error, text};

/// Carries out the command of these arguments, of which the first is the name of the program, and returns the exit code of the
/// process.
pub fn main(arguments: &[OsString]) -> u8 {
    match super::parse(arguments) {
        Ok(cli) => carry_out(cli.log_mode(), || super::execute(cli)),
        Err(cause) => refuse(&cause, arguments),
    }
}

/// Does the work of a process, prints its error in this form, and returns the exit code.
pub fn carry_out(log: LogMode, work: impl FnOnce() -> Result<()> + UnwindSafe) -> u8 {
    std::panic::set_hook(Box::new(move |panic| tell(panic, log)));
    // A panic is a bug: its message is printed first, then it is reported with the exit code of bugs.
    match std::panic::catch_unwind(|| failpoint::install().and_then(|()| work())) {
        Ok(Ok(())) => 0,
        Ok(Err(cause)) => error::report(&cause, log),
        Err(_) => error::report(&error::bug("a panic ended the work"), log),
    }
}

/// Prints an error of the command line, or the help that it asks for. Clap's message has colours and the unescaped arguments:
/// if one of these has control characters, as in a file name that a shell has completed, the message is escaped and has no
/// colours.
pub fn refuse(cause: &clap::Error, arguments: &[OsString]) -> u8 {
    let plain = |argument: &OsString| matches!(text::escaped(&argument.to_string_lossy()), Cow::Borrowed(_));
    if arguments.iter().all(plain) {
        // There is nothing else to say it on.
        _ = cause.print();
    } else {
        text::say(cause.render().to_string().trim_end());
    }
    cause.exit_code() as u8
}

/// Prints a panic as Rust does, with the stack if `RUST_BACKTRACE` asks for it.
fn tell(panic: &PanicHookInfo<'_>, log: LogMode) {
    let stack = Backtrace::capture();
    let asked = stack.status() == BacktraceStatus::Captured;
    let message = if asked { format!("{panic}\n{stack}") } else { panic.to_string() };
    let log = if log == LogMode::Json { log } else { LogMode::Lines };
    Progress::new(log).note(&message);
}
