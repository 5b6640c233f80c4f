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
pub(crate) mod arguments;
mod checked_model;
mod output_place;
mod path_kind;
mod print;
mod results;
mod scores;

use anyhow::Result;

use crate::cli::{Cli, Command};
use crate::disk::failpoint;

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
