//! The commands: one file each. Results go to stdout, everything else to stderr.

mod apply;
mod completions;
mod devices;
mod diff;
mod export;
mod inspect;
mod plan;
mod run;
mod schema;
mod show;

// What several commands use.
mod checked_model;
mod output_place;
mod path_kind;
mod print;
mod results;
mod scores;

use anyhow::{Context, Result};

use crate::cli::{Cli, Command, PipelineArgs, WorkArgs};
use crate::config::{self, Pipeline};
use crate::disk::failpoint;
use crate::pipeline::Selection;
use crate::progress::Progress;

/// Carries out a command.
///
/// # Errors
/// Whatever it fails with; see `error` for what becomes of it.
pub fn execute(cli: Cli) -> Result<()> {
    failpoint::install()?;
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Show(args) => show::show(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Encode(args) => apply::apply(&args, apply::Direction::Encode),
        Command::Denoise(args) => apply::apply(&args, apply::Direction::Denoise),
        Command::Export(args) => export::export(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Devices(args) => devices::devices(&args),
        Command::Schema { log } => schema::schema(log),
        Command::Completions { shell } => completions::completions(shell),
    }
}

/// The pipeline and the stages that the arguments mean.
fn load(args: &PipelineArgs) -> Result<(Pipeline, Selection)> {
    let pipeline = config::load(&args.pipeline, &args.set)?;
    let selection = match &args.only {
        Some(stage) => Selection { from: Some(stage.clone()), to: Some(stage.clone()) },
        None => Selection { from: args.from.clone(), to: args.to.clone() },
    };
    Ok((pipeline, selection))
}

/// Where the progress of work is told.
fn progress(args: &WorkArgs) -> Progress {
    Progress::new(args.log).every(args.log_every)
}

/// The number of threads, which rayon is told too.
fn threads(given: Option<u16>) -> Result<usize> {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = given.map_or_else(available, usize::from);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start the threads")?;
    Ok(threads)
}
