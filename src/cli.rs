//! The command line: definitions, nothing else.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::command::arguments::{DeviceArgs, PipelineArgs, WorkArgs, duration};
use crate::export::onnx::Part;
use crate::progress::LogMode;
use crate::table::layout::{Lists, Profile, StoredPixels};
use crate::terminal::Drawing;

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
    /// How the command tells about its progress and its failure.
    pub fn log_mode(&self) -> LogMode {
        match &self.command {
            Command::Run(args) => args.work.log,
            Command::Encode(args) | Command::Denoise(args) => args.work.log,
            Command::Export(args) => args.work.log,
            _ => LogMode::Auto,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline: every stage whose result is not there or no longer right.
    Run(RunArgs),
    /// Say what a run would do and why.
    Plan(PlanArgs),
    /// Show the stages, files, rows, settings and scores of a run.
    Show(ShowArgs),
    /// Compare the settings and scores of two runs.
    Diff(DiffArgs),
    /// Write the features of other images with a trained model.
    ///
    /// The `id`, `split` and `label` of limpid's own tables are kept, and an integer `id` and the labels of other tables; other images are
    /// numbered (rows of a table, files of a folder in the order of their paths) and count as `test`. `error` is the error of the reconstruction against the input itself, since
    /// there is no other image to compare with.
    Encode(ApplyArgs),
    /// Clean other images with a trained model.
    ///
    /// The `id`, `split` and `label` of limpid's own tables are kept, and an integer `id` and the labels of other tables; other images are
    /// numbered (rows of a table, files of a folder in the order of their paths) and count as `test`. `error` is how far the result is from the input itself, since there is
    /// no clean image to compare with: it says how much was changed.
    Denoise(ApplyArgs),
    /// Copy the tables of a run into the form that another program likes best, or write its model as ONNX.
    Export(ExportArgs),
    /// Show what is in a Parquet file, an IDX file or a picture, where it comes from, and what is wrong with one that is none.
    Inspect(InspectArgs),
    /// List the devices for `--device`: whether this build and this machine have each, and how fast it trains.
    Devices(DevicesArgs),
    /// Print the JSON schema of pipeline files.
    Schema {
        /// That of the lines of `--log json` instead.
        #[arg(long)]
        log: bool,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which pipeline, and which of its stages.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Where.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// How.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Wait so long if another process uses the run directory, as in 30s, 10m or 2h; for ever unless given.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub lock_timeout: Option<Duration>,
    /// The folder for downloaded data.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Append OpenLineage run events to this file, one a line.
    #[arg(long, value_name = "FILE")]
    pub lineage: Option<PathBuf>,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which pipeline, and which of its stages.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Exit with 10 if anything would run.
    #[arg(long)]
    pub check: bool,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The run directory.
    pub run: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A run directory.
    pub left: PathBuf,
    /// Another one.
    pub right: PathBuf,
    /// Also write a page with the reports of both, side by side.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Arguments of `encode` and `denoise`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The model: a run directory, or the folder of its train stage.
    pub model: PathBuf,
    /// Parquet files with a column of images, pictures, folders of pictures, IDX files (raw or gzip), or NumPy arrays (.npy).
    #[arg(required = true)]
    pub input: Vec<PathBuf>,
    /// The folder to write to: one Parquet file for each input, under its name without the format.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Scale every picture to the size of the model's images.
    #[arg(long)]
    pub resize: bool,
    /// Scale every picture until it covers that size, and keep the middle.
    #[arg(long, conflicts_with = "resize")]
    pub crop: bool,
    /// The column of images in the Parquet files of others; `image` or another usual name unless given.
    #[arg(long, value_name = "COLUMN")]
    pub image: Option<String>,
    /// Where.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// How.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["to", "onnx"])))]
pub struct ExportArgs {
    /// The run directory.
    pub run: PathBuf,
    /// A new folder for the tables: one folder in it for each stage.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Whom the tables are for.
    #[arg(long, value_enum, default_value = "default", requires = "to")]
    pub profile: Profile,
    /// How images are stored; as the profile has them unless given.
    #[arg(long, value_enum, requires = "to")]
    pub pixels: Option<StoredPixels>,
    /// How lists are stored; as the profile has them unless given.
    #[arg(long, value_enum, requires = "to")]
    pub lists: Option<Lists>,
    /// Most rows of one file; a split is one file unless given.
    #[arg(long, value_name = "N", requires = "to", value_parser = clap::value_parser!(u64).range(1..))]
    pub part_rows: Option<u64>,
    /// Most content of one file before it is compressed, in MiB.
    #[arg(long, value_name = "N", requires = "to", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub part_mib: Option<u64>,
    /// A file for the model, as ONNX.
    #[arg(long, value_name = "FILE")]
    pub onnx: Option<PathBuf>,
    /// Which part of the model.
    #[arg(long, value_enum, default_value = "whole", requires = "onnx")]
    pub part: Part,
    /// How.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A Parquet file, an IDX file or a picture.
    pub file: PathBuf,
    /// How many images to draw, or rows of another table to print.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub images: usize,
    /// How images are drawn.
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub draw: Drawing,
}

/// Arguments of `devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Threads for devices that are the CPU; all cores unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
