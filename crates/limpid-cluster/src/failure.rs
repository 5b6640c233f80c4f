//! limpid's errors on their way through Ballista, which passes the text of an error and nothing else.
//!
//! The text of a failed task has the message for whoever reads the scheduler's log, and behind it the exit code and the chain of causes
//! in hexadecimal, which come through any quoting. What may pass (a full disk, a store that does not answer, a task that was
//! interrupted) becomes the one error that Ballista tries again.

use std::io;

use datafusion::error::DataFusionError;
use limpid::error::{self, Kind};
use serde::{Deserialize, Serialize};

/// What the hexadecimal digits stand between.
const START: &str = "[limpid:";
const END: char = ']';

#[derive(Serialize, Deserialize)]
struct Packed {
    exit_code: u8,
    /// Outermost first.
    causes: Vec<String>,
}

/// The error of a task.
pub fn pack(failure: &anyhow::Error) -> DataFusionError {
    let kind = error::kind(failure);
    let packed = Packed { exit_code: kind.exit_code(), causes: failure.chain().map(ToString::to_string).collect() };
    let packed = serde_json::to_string(&packed).unwrap_or_default();
    let digits: String = packed.bytes().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{failure:#} {START}{digits}{END}");
    match kind {
        Kind::Io | Kind::TryAgain => DataFusionError::IoError(io::Error::other(text)),
        _ => DataFusionError::Execution(text),
    }
}

/// The error of a task in the text of an error of Ballista; none if it is Ballista's own.
pub fn unpack(text: &str) -> Option<anyhow::Error> {
    let (digits, _) = text.split_once(START)?.1.split_once(END)?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes = (0..digits.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    let Packed { exit_code, mut causes } = serde_json::from_slice(&bytes).ok()?;
    let innermost = causes.pop()?;
    let of_kind =
        [Kind::Settings, Kind::Data, Kind::Io, Kind::TryAgain].into_iter().find(|kind| kind.exit_code() == exit_code);
    let failure = match of_kind {
        Some(Kind::Settings) => error::settings(innermost),
        Some(Kind::Data) => error::data(innermost),
        Some(Kind::Io) => error::io(innermost),
        Some(Kind::TryAgain) => error::try_again(innermost),
        _ => error::bug(innermost),
    };
    Some(causes.into_iter().rev().fold(failure, |failure, cause| failure.context(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn kind_and_causes_come_through_quoting() {
        for failure in [error::settings("a"), error::data("b"), error::io("c"), error::try_again("d"), error::bug("e")]
        {
            let kind = error::kind(&failure);
            let failure = Err::<(), _>(failure).context("the \"shard\" ü").expect_err("is an error");
            let sent = pack(&failure);
            let retried = matches!(sent, DataFusionError::IoError(_));
            assert_eq!(retried, matches!(kind, Kind::Io | Kind::TryAgain));
            let received = unpack(&format!("Job x failed: {:?}", format!("{sent:?}"))).expect("is one of limpid");
            assert_eq!(error::kind(&received), kind);
            assert_eq!(format!("{received:#}"), format!("{failure:#}"));
        }
        for other in ["", "Job failed", "[limpid:", "[limpid:zz]", "[limpid:é1]", "[limpid:7]", "[limpid:7b]"] {
            assert!(unpack(other).is_none(), "{other}");
        }
    }
}
