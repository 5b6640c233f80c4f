//! Injects faults for tests: makes the program fail or end right before a chosen step.
//!
//! `LIMPID_FAILPOINT` is read once, when the program starts; if it is unset, a step costs the check of one variable. Failpoints
//! are compiled into every build, so that tests run the program that users run. The variable holds, separated by commas,
//! `trace`, which prints every step to stderr, and faults of the form `STEP:ACTION` or `STEP:N:ACTION`:
//!
//! - STEP is any part of a step as `trace` prints it, like `sync` or `create runs/x/.scratch/train/model.json`; empty for all.
//! - N is the number of the matching step, counted from 1; with a `+` after it, all from that one on.
//! - ACTION is `kill` (SIGKILL), `terminate` (SIGTERM; the work goes on until it notices), the error with which the step fails
//!   (`ENOSPC`, `EIO`, `EROFS`, or `EINVAL`), or a change of the file that the step names: `rot` flips a bit in its middle and
//!   keeps its modification time, `edit` flips the bit and gives it a new one, `come` makes a copy beside it, `gone` removes
//!   it.
//!
//! A write that is killed or fails has written half of its bytes. Reads are steps as well, but only for faults whose STEP
//! starts with `read`: they are many, and `trace` does not print them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use rustix::io::Errno;
#[cfg(unix)]
use rustix::process::{Signal, getpid, kill_process};

use crate::error;
use crate::text::say;

const VARIABLE: &str = "LIMPID_FAILPOINT";

/// The parsed variable; unset until [`install`].
static FAILPOINTS: OnceLock<Vec<Failpoint>> = OnceLock::new();

#[derive(Debug)]
enum Failpoint {
    Trace,
    Fault { step: String, first: u64, repeated: bool, action: Action, seen: AtomicU64 },
}

/// What happens instead of a step, or before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Terminate,
    Fail(Errno),
    /// Flips a bit of the file; true gives it a new modification time.
    Flip(bool),
    /// Copies the file.
    Come,
    /// Removes the file.
    Gone,
}

/// Reads and parses the variable.
///
/// # Errors
/// A value that is not of the form given at the head of this file.
pub fn install() -> Result<()> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(()) };
    let text = text.to_string_lossy();
    let failpoints = text.split(',').map(|text| {
        let expected = || error::settings(format!("{VARIABLE}: {text:?} is neither trace nor STEP[:N[+]]:ACTION"));
        Failpoint::parse(text).ok_or_else(expected)
    });
    _ = FAILPOINTS.set(failpoints.collect::<Result<_>>()?);
    Ok(())
}

/// Whether any failpoint is set.
pub fn installed() -> bool {
    FAILPOINTS.get().is_some()
}

/// Triggers the failpoints of the step `operation` on some paths, right before it is taken.
///
/// # Errors
/// The injected error.
pub fn reach(operation: &str, paths: &[&Path]) -> io::Result<()> {
    let Some(failpoints) = FAILPOINTS.get() else { return Ok(()) };
    failpoints.iter().filter(|point| !point.is_of_reads()).try_for_each(|point| point.reach(operation, paths))
}

/// Triggers the failpoints of a read of a file.
///
/// # Errors
/// As [`reach`].
pub fn read(path: &Path) -> io::Result<()> {
    let Some(failpoints) = FAILPOINTS.get() else { return Ok(()) };
    failpoints.iter().filter(|point| point.is_of_reads()).try_for_each(|point| point.reach("read", &[path]))
}

impl Failpoint {
    fn parse(text: &str) -> Option<Self> {
        if text == "trace" {
            return Some(Self::Trace);
        }
        let (rest, action) = text.rsplit_once(':')?;
        let action = match action {
            "kill" => Action::Kill,
            "terminate" => Action::Terminate,
            "ENOSPC" => Action::Fail(Errno::NOSPC),
            "EIO" => Action::Fail(Errno::IO),
            "EROFS" => Action::Fail(Errno::ROFS),
            "EINVAL" => Action::Fail(Errno::INVAL),
            "rot" => Action::Flip(false),
            "edit" => Action::Flip(true),
            "come" => Action::Come,
            "gone" => Action::Gone,
            _ => return None,
        };
        let (step, which) = rest.rsplit_once(':').unwrap_or((rest, "1"));
        let first = which.strip_suffix('+').unwrap_or(which).parse().ok()?;
        let (step, repeated) = (step.to_owned(), which.ends_with('+'));
        Some(Self::Fault { step, first, repeated, action, seen: AtomicU64::new(0) })
    }

    /// Whether it applies to reads.
    fn is_of_reads(&self) -> bool {
        matches!(self, Self::Fault { step, .. } if step.starts_with("read"))
    }

    fn reach(&self, operation: &str, paths: &[&Path]) -> io::Result<()> {
        let places = paths;
        let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
        let told = format!("{operation} {}", paths.join(" → "));
        match self {
            Self::Trace => {
                say(&format!("step: {told}"));
                Ok(())
            }
            Self::Fault { step, .. } if !told.contains(step.as_str()) => Ok(()),
            Self::Fault { first, repeated, action, seen, .. } => {
                let count = seen.fetch_add(1, Ordering::Relaxed) + 1;
                if count == *first || (*repeated && count > *first) { action.strike(places) } else { Ok(()) }
            }
        }
    }
}

impl Action {
    fn strike(self, paths: &[&Path]) -> io::Result<()> {
        match self {
            Self::Come => paths.iter().try_for_each(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                fs::copy(path, path.with_file_name(format!("copy-of-{name}"))).map(|_| ())
            }),
            Self::Gone => paths.iter().try_for_each(fs::remove_file),
            Self::Flip(new_time) => paths.iter().try_for_each(|path| flip(path, new_time)),
            #[cfg(unix)]
            Self::Kill => loop {
                _ = kill_process(getpid(), Signal::KILL);
            },
            #[cfg(unix)]
            // To this thread, so that the signal has arrived when the step is done.
            Self::Terminate => signal_hook::low_level::raise(signal_hook::consts::SIGTERM),
            #[cfg(not(unix))]
            Self::Kill | Self::Terminate => std::process::abort(),
            Self::Fail(errno) => Err(errno.into()),
        }
    }
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path, new_time: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let (metadata, mut byte) = (file.metadata()?, [0]);
    file.seek(SeekFrom::Start(metadata.len() / 2))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Current(-1))?;
    file.write_all(&[byte[0] ^ 0x10])?;
    if new_time { Ok(()) } else { file.set_modified(metadata.modified()?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(text: &str) -> Vec<bool> {
        let failpoint = Failpoint::parse(text).expect("is understood");
        let step = |operation| failpoint.reach(operation, &["a:b".as_ref(), "c".as_ref()]).is_err();
        ["sync", "write", "sync", "sync"].map(step).to_vec()
    }

    #[test]
    fn the_step_that_is_asked_for_fails() {
        assert_eq!(failures("sync:2:EIO"), [false, false, true, false]);
        assert_eq!(failures("sync:2+:EIO"), [false, false, true, true]);
        assert_eq!(failures("sync a:b → c:1:ENOSPC"), [true, false, false, false]);
        assert_eq!(failures(":3:EROFS"), [false, false, true, false]);
        assert_eq!(failures("rename:EROFS"), [false; 4]);
        for text in ["kill", "sync:kill:1", "sync:x:EIO", "sync:EPERM"] {
            assert!(Failpoint::parse(text).is_none(), "{text}");
        }
    }
}
