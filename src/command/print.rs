//! Printing results to stdout: control characters are escaped, and a closed pipe is no failure.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};

use crate::text::{escaped, on_one_line};

/// Prints lines of the result, with control characters escaped.
pub fn print(lines: impl Display) -> Result<()> {
    print_own(escaped(&lines.to_string()))
}

/// Prints one line of the result, with line breaks in names and values escaped too.
pub fn print_line(line: impl Display) -> Result<()> {
    print_own(on_one_line(&line.to_string()))
}

/// Prints text of limpid's own without escaping, such as drawings, which use control sequences. A closed pipe, as by `| head`,
/// changes neither the rest of the work nor the exit code.
pub fn print_own(text: impl Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}
