//! The command line: the list of the commands, each with its arguments in a file of its own.
//!
//! A new command is a module, a variant of [`Command`] and an arm of its `match` here. Results go to stdout, everything else to
//! stderr.

mod apply;
mod clean;
mod completions;
mod devices;
mod diff;
mod export;
mod init;
mod inspect;
pub mod library;
mod pictures;
mod plan;
mod process;
mod run;
mod schema;
mod shard;
mod show;

// Shared by several commands.
mod arguments;
mod checked_model;
mod output_name;
mod output_place;
mod path_kind;
mod print;
mod results;
mod scores;

pub use arguments::{DeviceArgs, WorkArgs, duration, progress, threads};
pub use print::print;
pub use process::{carry_out, main, refuse};
pub use run::{MakeEngine, RunArgs};

use std::ffi::OsString;

use anyhow::Result;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

use crate::progress::LogMode;

/// Compresses and denoises images with autoencoders: images in, features and denoised images in Parquet out.
///
/// Exit codes: 0 done; 2 usage or settings; 3 the scores miss the gate; 10 `plan --check` found work; 65 bad data; 70 a bug; 74 I/O; 75 try again later.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The form of progress messages and of the error message.
    pub fn log_mode(&self) -> LogMode {
        self.command.arguments().log_mode()
    }
}

/// Parses the command line. A mistyped command gets the nearest one for a hint, also one of three letters, to which clap's own measure of
/// likeness does not reach.
///
/// # Errors
/// Arguments that are wrong, and those that ask for help or the version.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments).map_err(|mut cause| {
        if matches!(cause.get(ContextKind::InvalidArg), Some(ContextValue::String(unknown)) if unknown == "--engine") {
            let advice = "limpid-cluster run has it: this program works on one machine".into();
            cause.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice]));
        }
        let known = cause.get(ContextKind::SuggestedSubcommand).is_some();
        if let (false, Some(ContextValue::String(typed))) = (known, cause.get(ContextKind::InvalidSubcommand)) {
            let command = Cli::command();
            let names = command.get_subcommands().map(clap::Command::get_name);
            let nearest = names.map(|name| (strsim::damerau_levenshtein(name, typed), name)).min();
            if let Some((_, name)) = nearest.filter(|(distance, name)| *distance <= 1.max(name.len() / 3)) {
                let name = ContextValue::Strings(vec![name.to_owned()]);
                cause.insert(ContextKind::SuggestedSubcommand, name);
            }
        }
        cause
    })
}

/// Carries out a command.
///
/// # Errors
/// Those of the command; see `error` for how they are reported.
fn execute(cli: Cli) -> Result<()> {
    cli.command.arguments().execute()
}

/// A command, implemented for its arguments.
trait Execute {
    /// Carries out the command.
    fn execute(&self) -> Result<()>;

    /// The form of progress messages and of the error message. A command with `--log` returns the value of that argument.
    fn log_mode(&self) -> LogMode {
        LogMode::Auto
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a pipeline for some data, after a look at them.
    Init(init::InitArgs),
    /// Run a pipeline: every stage whose result is not there or no longer right.
    Run(run::RunArgs),
    /// Say what a run would do and why.
    Plan(plan::PlanArgs),
    /// Make some of the shards of one stage: a task of many, on any machine that sees the run directory.
    ///
    /// A killed or repeated task does no harm: a shard that is finished is not made again, and has the same bytes whoever makes it.
    Shard(shard::ShardArgs),
    /// Publish the result of a stage whose shards are all finished; exit code 75 while some are not.
    Commit(shard::CommitArgs),
    /// Show the stages, files, rows, settings and scores of a run.
    Show(show::ShowArgs),
    /// Remove what killed runs have left in a run directory, and in a store the results that newer ones have replaced.
    Clean(clean::CleanArgs),
    /// Compare the settings and scores of two runs.
    Diff(diff::DiffArgs),
    /// Write the features of other images with a trained model.
    ///
    /// The `id`, `split` and `label` of limpid's own tables are kept, and those of other tables that can be; other images are numbered (rows
    /// of a table, files of a folder in the order of their paths) and count as `test`. `error` is the error of the reconstruction against the input itself, since
    /// there is no other image to compare with.
    Encode(apply::EncodeArgs),
    /// Clean other images with a trained model.
    ///
    /// One picture becomes a picture if `-o` names one: `limpid denoise RUN photo.jpg -o clean.png`. With `--pictures`, all do.
    /// Pictures have any size then, and keep their depth, colour profile and transparency, unless the model has a dense layer.
    /// A model of grey images takes each channel of a colour picture by itself.
    ///
    /// Otherwise the result is a table:
    /// The `id`, `split` and `label` of limpid's own tables are kept, and those of other tables that can be; other images are numbered (rows
    /// of a table, files of a folder in the order of their paths) and count as `test`. `error` is how far the result is from the input itself, since there is
    /// no clean image to compare with: it says how much was changed.
    Denoise(apply::DenoiseArgs),
    /// Copy the tables of a run into the layout that another program reads best, or write its model as ONNX.
    Export(export::ExportArgs),
    /// Show what is in a Parquet file, an IDX file or a picture, where it comes from, and what is wrong with one that is none.
    Inspect(inspect::InspectArgs),
    /// List the devices for `--device`: whether this build and this machine have each, and how fast it trains.
    Devices(devices::DevicesArgs),
    /// Print the JSON schema of pipeline files.
    Schema(schema::SchemaArgs),
    /// Print completions for a shell.
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// The arguments of the command.
    fn arguments(&self) -> &dyn Execute {
        match self {
            Command::Init(args) => args,
            Command::Run(args) => args,
            Command::Plan(args) => args,
            Command::Shard(args) => args,
            Command::Commit(args) => args,
            Command::Show(args) => args,
            Command::Clean(args) => args,
            Command::Diff(args) => args,
            Command::Encode(args) => args,
            Command::Denoise(args) => args,
            Command::Export(args) => args,
            Command::Inspect(args) => args,
            Command::Devices(args) => args,
            Command::Schema(args) => args,
            Command::Completions(args) => args,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
