//! Exit codes, and how a failure is reported.
//!
//! Schedulers decide by the exit code whether to retry, so the codes are a contract (docs/scheduling.md). The code is
//! attached where the cause of a failure is known, as a [`Failure`] somewhere in the chain of causes; everything above only adds
//! context. [`report`] is the one place that turns a chain into a number.

use std::fmt;
use std::io::{self, ErrorKind};

use serde::Serialize;
use serde_json::json;

use crate::progress::{LogMode, Progress};

/// The kind of a failure, as schedulers distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line or the settings are wrong: the same command will fail again.
    Settings,
    /// The data are bad: the same command will fail again.
    Data,
    /// Reading or writing failed: disk full, no permission, no network.
    Io,
    /// Try again later: the lock was not obtained, or the run was interrupted with a checkpoint saved.
    TryAgain,
    /// The scores miss the gate; results are published.
    GateMissed,
    /// `plan --check` found work to do.
    WorkPending,
    /// A bug in limpid.
    Bug,
}

impl Kind {
    /// The process exit code: the values of BSD's `sysexits.h` where one fits.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Settings => 2,
            Kind::GateMissed => 3,
            Kind::WorkPending => 10,
            Kind::Data => 65,
            Kind::Bug => 70,
            Kind::Io => 74,
            Kind::TryAgain => 75,
        }
    }
}

/// A setting of a pipeline that is wrong, as programs are told of it.
#[derive(Debug, Serialize)]
pub struct WrongSetting {
    /// The setting, as in `training.epochs`.
    pub key: String,
    /// Where it is given: file, line and column, or the argument.
    pub place: String,
    /// What was found and what was expected.
    pub message: String,
}

/// A failure whose kind is known.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    /// The settings that are wrong, if it is that of a pipeline that cannot be resolved.
    settings: Vec<WrongSetting>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Bad command line or settings: exit code 2.
pub fn settings(message: impl Into<String>) -> anyhow::Error {
    failure(Kind::Settings, message)
}

/// Bad settings of a pipeline, which the message lists for people: exit code 2.
pub fn wrong_settings(message: String, settings: Vec<WrongSetting>) -> anyhow::Error {
    anyhow::Error::new(Failure { kind: Kind::Settings, message, settings })
}

/// Bad data: exit code 65.
pub fn data(message: impl Into<String>) -> anyhow::Error {
    failure(Kind::Data, message)
}

/// An I/O error that ends with the advice to try again: an object that has changed, or a request that was interrupted.
#[derive(Debug)]
pub struct Again(pub String);

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Again {}

/// Bad data, or an I/O error: some readers turn the system's error into a message, which then contains `(os error N)`, and that of
/// a store `(store error …)`. In that case the disk or the store is at fault and not the file.
pub fn reading(message: impl Into<String>) -> anyhow::Error {
    let message = message.into();
    if message.contains("(os error ") || message.contains("(store error") { io(message) } else { data(message) }
}

/// Failed reading or writing: exit code 74.
pub fn io(message: impl Into<String>) -> anyhow::Error {
    failure(Kind::Io, message)
}

/// Interrupted or locked out: exit code 75.
pub fn try_again(message: impl Into<String>) -> anyhow::Error {
    failure(Kind::TryAgain, message)
}

/// Scores miss the gate: exit code 3.
pub fn gate_missed(message: impl Into<String>) -> anyhow::Error {
    failure(Kind::GateMissed, message)
}

/// `plan --check` has work: exit code 10.
pub fn work_pending(message: impl Into<String>) -> anyhow::Error {
    failure(Kind::WorkPending, message)
}

/// A broken invariant of limpid itself: exit code 70.
pub fn bug(message: impl Into<String>) -> anyhow::Error {
    failure(Kind::Bug, message)
}

fn failure(kind: Kind, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failure { kind, message: message.into(), settings: Vec::new() })
}

/// The kind of a chain of causes: that of the outermost [`Failure`], else that of the I/O error in it, else a bug, since the
/// error was not foreseen.
pub fn kind(error: &anyhow::Error) -> Kind {
    match known(error) {
        Some(failure) => failure.kind,
        None => error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map_or(Kind::Bug, kind_of_io),
    }
}

/// The outermost [`Failure`] of a chain of causes.
fn known(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// The result `made` from some inputs, or the error of `check` if these changed meanwhile: the change explains more than the
/// failure that it caused. An interrupted result is returned without a check, since the work ends anyway.
///
/// # Errors
/// Those of `check`, and then of `made`.
pub fn held<T>(made: anyhow::Result<T>, check: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<T> {
    if made.as_ref().is_err_and(|cause| kind(cause) == Kind::TryAgain) {
        return made;
    }
    check().and(made)
}

/// The kind of an I/O error: some recur however often the command is retried.
fn kind_of_io(cause: &io::Error) -> Kind {
    match cause.kind() {
        _ if cause.get_ref().is_some_and(|inner| inner.is::<Again>()) => Kind::TryAgain,
        // A file where a folder has to be, or the reverse; a name that no file can have; a file system without locks, say.
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => Kind::Settings,
        ErrorKind::InvalidFilename | ErrorKind::Unsupported => Kind::Settings,
        // Without a code of the system it comes from Rust: a path with a zero byte.
        ErrorKind::InvalidInput if cause.raw_os_error().is_none() => Kind::Settings,
        // Text that is not UTF-8.
        ErrorKind::InvalidData => Kind::Data,
        // Without a code of the system: limpid's limit on files that it reads. With one: the system's, on files that are written.
        ErrorKind::FileTooLarge if cause.raw_os_error().is_none() => Kind::Data,
        // May succeed later: disk full, permission, network, a missing file.
        _ => Kind::Io,
    }
}

/// The chain of causes for people, outermost first, a line each.
pub fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    message.extend(error.chain().skip(1).map(|cause| format!("\n  because: {cause}")));
    if kind(error) == Kind::Bug {
        message += "\nThis is a bug in limpid. Please report it with the command and the lines above.";
    }
    message
}

/// Prints the chain of causes on stderr, outermost first, in lines or as one JSON event, and returns the exit code.
pub fn report(error: &anyhow::Error, log: LogMode) -> u8 {
    let kind = kind(error);
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let message = if log == LogMode::Json { error.to_string() } else { format!("limpid: {}", message(error)) };
    let settings = known(error).map_or(&[][..], |failure| &failure.settings);
    let fields = json!({ "causes": causes, "exit-code": kind.exit_code(), "settings": settings });
    // No task runs any more, so there are no bars that a line could break.
    let log = if log == LogMode::Json { log } else { LogMode::Lines };
    Progress::new(log).event("error", &message, fields);
    kind.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_outermost_known_failure_decides_the_exit_code() {
        let inner: anyhow::Result<()> = Err(io::Error::other("disk").into());
        assert_eq!(kind(&inner.context("writing").expect_err("is an error")), Kind::Io);
        assert_eq!(kind(&data("truncated").context("reading x")), Kind::Data);
        assert_eq!(kind(&anyhow::anyhow!("surprise")), Kind::Bug);
    }

    #[test]
    fn an_io_error_that_no_repetition_mends_is_none() {
        let of = |cause: io::Error| kind(&anyhow::Error::new(cause).context("cannot read x"));
        for (code, expected) in [
            (rustix::io::Errno::NOTDIR, Kind::Settings),
            (rustix::io::Errno::ISDIR, Kind::Settings),
            (rustix::io::Errno::EXIST, Kind::Settings),
            (rustix::io::Errno::NAMETOOLONG, Kind::Settings),
            (rustix::io::Errno::ACCESS, Kind::Io),
            (rustix::io::Errno::INVAL, Kind::Io),
            (rustix::io::Errno::NOENT, Kind::Io),
            (rustix::io::Errno::NOSPC, Kind::Io),
        ] {
            assert_eq!(of(code.into()), expected, "{code}");
        }
        assert_eq!(of(ErrorKind::InvalidData.into()), Kind::Data);
        assert_eq!(of(std::fs::read("a\0b").expect_err("has a zero byte")), Kind::Settings);
    }
}
