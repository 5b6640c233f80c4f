//! `limpid clean`: removes what killed runs have left, and in a store the results that newer ones have replaced. Shards that are not
//! published may be under way in processes without a lease, which only their age can tell.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::Execute;
use super::arguments::duration;
use super::print::print;
use crate::interrupt;
use crate::progress::{LogMode, Progress};
use crate::record::workspace::Workspace;
use crate::stage::STAGES;

/// Arguments of `clean`.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// The run directory, or its URL (s3://, gs://, az://).
    run: PathBuf,
    /// Give up after waiting this long for another process to leave it: 90s, 10m or 2h; for ever unless given.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    lock_timeout: Option<Duration>,
    /// Keep finished shards of results that are not published yet if one of them is younger than this, since tasks of `limpid shard` or
    /// of a cluster may be making the others; 0s if there are none.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    keep: Duration,
}

impl Execute for CleanArgs {
    /// Removes it, and prints how much it was.
    fn execute(&self) -> Result<()> {
        interrupt::install()?;
        let workspace = Workspace::existing(&self.run)?;
        let lease = workspace.lock(self.lock_timeout, &Progress::new(LogMode::Auto))?;
        let swept = workspace.sweep(STAGES.iter().map(|stage| stage.name()), self.keep, &*lease)?;
        print(format!("{}: {} files removed, {} bytes", self.run.display(), swept.files, swept.bytes))
    }
}
