//! Stages shard by shard: what a stage makes of one file of its input, by any process, and how all of them become its result.
//!
//! [`LocalEngine::run_shard`] is the one primitive that everything uses that makes parts of a result: the threads of `limpid run`, the tasks of
//! `limpid shard`, and engines that send jobs to other machines. It is idempotent: a shard that is finished is not made again, and
//! one that is made twice has the same bytes. [`Collector`] takes the receipts of all, for the one process that publishes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ingest::job::{IngestJob, Ingester};
use crate::device::ComputeDevice;
use crate::engine::threads::Threads;
use crate::engine::{InputFile, Job};
use crate::error::{self, Kind};
use crate::export::job::{ExportJob, Exporter};
use crate::progress::Progress;
use crate::record::digest::{digest, short};
use crate::record::{ShardFolder, ShardReceipt};
use crate::source::Looked;
use crate::{interrupt, text};

/// The shard of a result that is made of one file of an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shard {
    /// The result, and where its finished shards are.
    pub folder: ShardFolder,
    /// Its name among them.
    pub name: String,
    /// The shards of its table.
    pub of: usize,
    /// Rows that it reads, for the progress.
    pub rows: u64,
    /// What makes it.
    pub work: Work,
}

/// What makes a shard: plain data, which can be sent to another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A file is mapped to another.
    Map(Job),
    /// Rows are written for other programs.
    Export(ExportJob),
    /// Images of a source are written to a table.
    Ingest(IngestJob),
}

impl Work {
    /// The files of the run that are read, with their digests.
    fn inputs(&self) -> Vec<InputFile> {
        match self {
            Work::Map(job) => job.inputs(),
            Work::Export(job) => job.inputs(),
            // It reads files outside of the run, and checks them itself.
            Work::Ingest(_) => Vec::new(),
        }
    }
}

/// Makes the shards of a stage's result.
pub trait Engine: Sync {
    /// Makes those shards that are not finished, and returns the receipts of all, in their order.
    ///
    /// # Errors
    /// As [`LocalEngine::run_shard`].
    fn run(&self, shards: &[Shard], observer: &dyn Observer) -> Result<Vec<ShardReceipt>>;

    /// Is asked before this process makes the result of a stage as a whole, of which others of its kind have shards.
    ///
    /// # Errors
    /// This process is not to make anything.
    fn made_as_a_whole(&self, _stage: &str, _progress: &Progress) -> Result<()> {
        Ok(())
    }
}

/// Is told what an engine has done.
pub trait Observer: Sync {
    /// So many more rows.
    fn rows_done(&self, rows: u64);

    /// A shard.
    fn shard_done(&self, receipt: &ShardReceipt);
}

/// The engine that makes one shard after the other on the threads of this process.
pub struct LocalEngine {
    threads: Threads,
    exporter: Exporter,
    ingester: Ingester,
    arithmetic: String,
}

impl LocalEngine {
    /// So many threads, and the device for models.
    pub fn new(threads: usize, device: &ComputeDevice) -> Self {
        let arithmetic = device.arithmetic();
        Self {
            threads: Threads::new(threads, device.inference()),
            exporter: Exporter::new(threads),
            ingester: Ingester::new(threads),
            arithmetic,
        }
    }
}

impl Engine for LocalEngine {
    fn run(&self, shards: &[Shard], observer: &dyn Observer) -> Result<Vec<ShardReceipt>> {
        let (looked, mut receipts, mut failure) = (Mutex::default(), Vec::new(), None);
        for shard in shards {
            match self.make(shard, observer, &looked) {
                Ok(receipt) => receipts.push(receipt),
                // The pictures of the other shards are looked at too, so that one run names all that need repair.
                Err(cause) if is_bad(&looked) && error::kind(&cause) == Kind::Data => failure = Some(cause),
                Err(cause) => return Err(cause),
            }
        }
        failure.map_or(Ok(receipts), Err)
    }
}

impl LocalEngine {
    /// Makes a shard, unless it is finished, and returns its receipt.
    ///
    /// # Errors
    /// Unreadable input, and input that is not what the fingerprint says; another process that has published the result
    /// meanwhile; errors of the operation or of the store.
    pub fn run_shard(&self, shard: &Shard, observer: &dyn Observer) -> Result<ShardReceipt> {
        self.make(shard, observer, &Mutex::default())
    }

    /// As [`Self::run_shard`], after the pictures of other shards were looked at.
    fn make(&self, shard: &Shard, observer: &dyn Observer, looked: &Mutex<Looked>) -> Result<ShardReceipt> {
        let Shard { folder, name, of: _, rows, work } = shard;
        if let Some(receipt) = folder.finished_or_removed(name)? {
            observer.rows_done(receipt.rows);
            return Ok(receipt);
        }
        interrupt::check()?;
        folder.create()?;
        let clock = Instant::now();
        let rows_done = |rows| observer.rows_done(rows);
        let made = match work {
            Work::Map(job) => (vec![self.threads.run(job, &rows_done)?], None),
            Work::Export(job) => (self.exporter.run(job, &rows_done)?, None),
            Work::Ingest(job) => {
                let (file, learned) = self.ingester.run(job, &rows_done, looked)?;
                (vec![file], Some(learned))
            }
        };
        // Digested after it was read: what was read before it changed would otherwise give a wrong shard under a right name.
        work.inputs().par_iter().try_for_each(|input| {
            let found = digest(&input.path)?;
            if found == input.digest {
                return Ok(());
            }
            let (path, expected, found) = (input.path.display(), short(&input.digest), short(&found));
            let message = format!("{path} has changed while it was read: digest {expected} → {found}");
            Err(error::io(format!("{message}; run the same command again")))
        })?;
        let seconds = clock.elapsed().as_secs_f64();
        let receipt = ShardReceipt::new(folder, (name, *rows), made, self.arithmetic.clone(), seconds);
        folder.keep(&receipt)?;
        observer.shard_done(&receipt);
        Ok(receipt)
    }

    /// Checks that finished shards of the same result were computed as this process would, so that all have the bytes that one
    /// process would give them.
    ///
    /// # Errors
    /// Another device, or a processor with other instructions.
    pub fn check(&self, shards: &[Shard]) -> Result<()> {
        let Some(first) = shards.first() else { return Ok(()) };
        let finished = first.folder.receipts_of(shards.iter().map(|shard| shard.name.as_str()))?;
        let Some(other) = finished.values().find(|receipt| receipt.arithmetic != self.arithmetic) else {
            return Ok(());
        };
        Err(differing(other, "this process", &self.arithmetic))
    }
}

/// Whether a picture was looked at that ends the work.
fn is_bad(looked: &Mutex<Looked>) -> bool {
    looked.lock().unwrap_or_else(PoisonError::into_inner).is_bad()
}

/// The error for a shard that was not computed as another is.
fn differing(receipt: &ShardReceipt, other: &str, arithmetic: &str) -> anyhow::Error {
    let ShardReceipt { arithmetic: found, host, shard, .. } = receipt;
    let message = format!("{shard} was computed by {found} on {host}, but {other} by {arithmetic}");
    let advice = "the last bits may differ: use machines of one kind, or --any-arithmetic";
    error::settings(format!("{message}; {advice}"))
}

/// The engine that makes no shard: it takes those that other processes have finished.
pub struct Collector {
    /// Whether shards may have been computed by different devices or instructions.
    pub any_arithmetic: bool,
}

impl Engine for Collector {
    fn run(&self, shards: &[Shard], observer: &dyn Observer) -> Result<Vec<ShardReceipt>> {
        let (mut receipts, mut missing) = (Vec::new(), Vec::new());
        for Shard { folder, name, .. } in shards {
            interrupt::check()?;
            match folder.finished(name)? {
                Some(receipt) => {
                    observer.rows_done(receipt.rows);
                    receipts.push(receipt);
                }
                None => missing.push(name.as_str()),
            }
        }
        if !missing.is_empty() {
            let (count, of) = (missing.len(), shards.len());
            return Err(error::try_again(format!("{count} of {of} shards are not finished: {}", text::few(&missing))));
        }
        if let [first, rest @ ..] = receipts.as_slice()
            && let Some(other) = rest.iter().find(|other| other.arithmetic != first.arithmetic && !self.any_arithmetic)
        {
            return Err(differing(other, &first.shard, &first.arithmetic));
        }
        Ok(receipts)
    }

    fn made_as_a_whole(&self, stage: &str, _progress: &Progress) -> Result<()> {
        Err(error::settings(format!(
            "{stage} of this source is made as a whole: run it with limpid run --only {stage}"
        )))
    }
}

/// The different kinds of arithmetic that made shards.
pub fn arithmetics(receipts: &[ShardReceipt]) -> String {
    let different: BTreeSet<&str> = receipts.iter().map(|receipt| receipt.arithmetic.as_str()).collect();
    different.into_iter().collect::<Vec<_>>().join(", ")
}
