//! `limpid schema`: prints the JSON schema of pipeline files or of the log, or all settings with their defaults.

use anyhow::Result;
use clap::Args;

use super::Execute;
use super::print::print_own;
use crate::{config, progress};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// That of the lines of `--log json` instead.
    #[arg(long)]
    log: bool,
    /// All settings with their defaults and what they do instead, as TOML.
    #[arg(long, conflicts_with = "log")]
    defaults: bool,
}

impl Execute for SchemaArgs {
    /// Prints the JSON schema of pipeline files, for editors that complete and check TOML, or that of the log.
    fn execute(&self) -> Result<()> {
        print_own(if self.log {
            progress::SCHEMA.trim_end().to_owned()
        } else if self.defaults {
            config::DEFAULTS.trim_end().to_owned()
        } else {
            serde_json::to_string_pretty(&config::schema())?
        })
    }
}
