//! Arguments that several commands take, and the functions that read them.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value};

use crate::config::{self, Pipeline};
use crate::device::DeviceChoice;
use crate::error;
use crate::pipeline::Selection;
use crate::progress::{LogMode, Progress};

/// A pipeline and where it runs.
#[derive(Debug, Args)]
pub struct PipelineArgs {
    /// The pipeline, a TOML file.
    pub pipeline: PathBuf,
    /// Override one setting, as in `--set training.epochs=5`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The folder that holds the run directories, or a URL as s3://bucket/runs.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Only this stage.
    #[arg(long, value_name = "STAGE", conflicts_with_all = ["from", "to"])]
    pub only: Option<String>,
    /// This stage and those after it.
    #[arg(long, value_name = "STAGE")]
    pub from: Option<String>,
    /// Nothing after this stage.
    #[arg(long, value_name = "STAGE")]
    pub to: Option<String>,
    /// Run the selected stages even if they are up to date.
    #[arg(long)]
    pub force: bool,
    /// Digest every file instead of believing those whose size and time are unchanged.
    #[arg(long)]
    pub verify: bool,
    /// Train from the start: go on neither from a checkpoint nor from a finished training of fewer epochs.
    #[arg(long)]
    pub fresh: bool,
}

/// Where models are trained and applied.
#[derive(Debug, Args)]
pub struct DeviceArgs {
    /// The compute device: flex (the CPU, also called cpu), tch, tch:cuda:N, cuda:N, wgpu, or auto, the best that `limpid devices` lists.
    #[arg(long, default_value = "flex")]
    pub device: DeviceChoice,
}

/// How work is done.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// Threads; all cores unless given. Results do not depend on it, on flex.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
    /// The form of progress messages on stderr.
    #[arg(long, value_enum, default_value = "auto")]
    pub log: LogMode,
    /// Time between two lines about the same task, where there are no bars.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub log_every: Duration,
}

/// Parses a duration: seconds, or a number with s, m or h.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| c.is_ascii_alphabetic()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("unknown unit {unit:?}; use s, m or h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{number:?} is not a whole number"))?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

/// Loads the pipeline, or takes it from a document in place of the file, and the selection of its stages.
pub fn load(args: &PipelineArgs, document: Option<Map<String, Value>>) -> Result<(Pipeline, Selection)> {
    let pipeline = match document {
        None => config::load(&args.pipeline, &args.set)?,
        Some(document) => config::of_document(document, &args.set)?,
    };
    let selection = match &args.only {
        Some(stage) => Selection { from: Some(stage.clone()), to: Some(stage.clone()) },
        None => Selection { from: args.from.clone(), to: args.to.clone() },
    };
    Ok((pipeline, selection))
}

/// The progress reporter that the arguments describe.
pub fn progress(args: &WorkArgs) -> Progress {
    Progress::new(args.log).every(args.log_every)
}

/// The process that has started rayon's pool.
static STARTED: Mutex<Option<u32>> = Mutex::new(None);

/// The number of threads, which becomes the size of rayon's pool, if this is the first call in the process.
///
/// # Errors
/// The system refuses; the process was forked from one with a pool, whose threads it does not have.
pub fn threads(given: Option<u16>) -> Result<usize> {
    let threads = given.map_or_else(available, usize::from);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    match *started {
        None => {
            // Without a cause of its own, the error says that the program which this library is a part of has started the pool.
            if let Err(cause) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()
                && cause.source().is_some()
            {
                return Err(cause).context("cannot start the threads");
            }
            *started = Some(std::process::id());
        }
        Some(started) if started == std::process::id() => {}
        Some(_) => {
            let advice = "start it with the method \"spawn\" or \"forkserver\", or run the pipeline as a program";
            return Err(error::settings(format!(
                "this process was forked from one that has run a pipeline, whose threads it lacks: {advice}"
            )));
        }
    }
    Ok(threads)
}

/// The number of cores that this process may use.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert!(duration("1d").is_err() && duration("-1s").is_err() && duration("99999999999999999999h").is_err());
    }
}
