//! The engine that has a Ballista cluster make shards.
//!
//! Shards that are finished are not sent. Their names come back as the rows of a job, once it has ended; until then the engine looks
//! into the folder of the finished shards, which all processes see, and tells of each. A job that Ballista itself gives up (its
//! scheduler was started again, the results of an executor were lost with it) is submitted again with what is missing then. An
//! interrupted run cancels its job.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use limpid::progress::Progress;
use limpid::record::ShardReceipt;
use limpid::shards::{Engine, LocalEngine, Observer, Shard};
use limpid::{error, interrupt};
use tokio::runtime::Runtime;

use crate::failure::unpack;
use crate::job::{Fault, Job};
use crate::plan::{names, plan};
use crate::server::Address;

/// Most shards in a job: a plan is one message, of 16 MiB at most, and a client that is killed leaves its last job to the cluster.
const SHARDS_AT_ONCE: usize = 1000;

/// Time between two looks for finished shards.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two questions whether a job has ended.
const ASK: Duration = Duration::from_millis(100);

/// How long no shard may be finished before the scheduler is asked whether it has any executor.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often shards are asked for if Ballista fails.
const ATTEMPTS: usize = 3;

/// Has a cluster make shards.
pub struct BallistaEngine {
    /// Runs the connections, and the cluster if it is in this process.
    pub runtime: Runtime,
    /// The scheduler.
    pub scheduler: Address,
    /// What all executors have to compute by; anything if none.
    pub arithmetic: Option<String>,
    /// Checks the shards of earlier runs.
    pub local: LocalEngine,
    /// Is told what the engine has to do again.
    pub progress: Progress,
}

impl Engine for BallistaEngine {
    fn run(&self, shards: &[Shard], observer: &dyn Observer) -> Result<Vec<ShardReceipt>> {
        if self.arithmetic.is_some() {
            self.local.check(shards)?;
        }
        let mut finished = Finished { receipts: BTreeMap::new(), observer };
        finished.look(shards.iter(), false)?;
        for shards in shards.chunks(SHARDS_AT_ONCE) {
            self.make(shards, &mut finished)?;
        }
        let mut receipt_of = |shard: &Shard| finished.receipts.remove(&shard.name);
        let receipts: Option<Vec<_>> = shards.iter().map(&mut receipt_of).collect();
        receipts.ok_or_else(|| error::bug("a shard is missing that was made"))
    }

    fn made_as_a_whole(&self, stage: &str, progress: &Progress) -> Result<()> {
        let which = "executors ingest folders, and Parquet files of images of one size with on-error = \"fail\"";
        progress.note(&format!("{stage} of this source is made as a whole, by this process: {which}"));
        Ok(())
    }
}

impl BallistaEngine {
    /// Makes those of these shards that are not finished.
    fn make(&self, shards: &[Shard], finished: &mut Finished<'_>) -> Result<()> {
        for attempt in 1.. {
            let missing: Vec<_> = shards.iter().filter(|shard| !finished.has(shard)).collect();
            if missing.is_empty() {
                break;
            }
            let done = self.watched(&missing, finished);
            let Err(cause) = done else { continue };
            let Some(Fault(text)) = cause.downcast_ref() else { return Err(cause) };
            if let Some(failure) = unpack(text) {
                return Err(failure);
            }
            if attempt == ATTEMPTS {
                return Err(error::try_again(format!("the cluster of {} fails: {text}", self.scheduler)));
            }
            self.progress.note(&format!("the cluster fails, and is asked again for what is missing: {text}"));
            finished.look(missing.into_iter(), true)?;
        }
        Ok(())
    }

    /// Has shards made by one job, and tells of each when it is finished. Only requests to the scheduler are in the runtime: stores have one
    /// of their own, and none may wait in another.
    fn watched(&self, shards: &[&Shard], finished: &mut Finished<'_>) -> Result<()> {
        let plan = plan(shards, self.arithmetic.clone())?;
        let mut job = self.runtime.block_on(Job::submit(&self.scheduler, plan))?;
        let (mut looked, mut waiting) = (Instant::now(), Some(Instant::now()));
        let rows = loop {
            if let Err(interrupted) = interrupt::check() {
                self.runtime.block_on(job.cancel());
                return Err(interrupted);
            }
            if let Some(rows) = self.runtime.block_on(job.ended())? {
                break rows;
            }
            if looked.elapsed() >= LOOK {
                let before = finished.receipts.len();
                finished.look(shards.iter().copied(), true)?;
                waiting = waiting.filter(|_| finished.receipts.len() == before);
                looked = Instant::now();
            }
            if waiting.is_some_and(|since| since.elapsed() >= PATIENCE) {
                waiting = None;
                self.tell_of_missing_executors();
            }
            std::thread::sleep(ASK);
        };
        let mut missing: BTreeMap<_, _> = shards.iter().map(|shard| (shard.name.as_str(), *shard)).collect();
        for name in rows.iter().map(names).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            let Some(shard) = missing.remove(name.as_str()) else {
                return Err(error::bug(format!("{name} has come twice, or was not asked for")));
            };
            if !finished.has(shard) {
                finished.add(shard.folder.receipt(&name)?.ok_or_else(|| unseen(shard))?);
            }
        }
        match missing.first_key_value() {
            None => Ok(()),
            Some((name, _)) => Err(error::bug(format!("a job has ended without {name}"))),
        }
    }

    /// Says why nothing happens, if that is the reason.
    fn tell_of_missing_executors(&self) {
        if !self.runtime.block_on(self.scheduler.has_executors()) {
            let scheduler = &self.scheduler;
            self.progress.note(&format!("waiting for an executor: the scheduler at {scheduler} has none"));
        }
    }
}

/// The error for a shard that an executor has made where this process does not see it.
fn unseen(shard: &Shard) -> anyhow::Error {
    let (name, run) = (&shard.name, shard.folder.run.display());
    error::io(format!(
        "{name} was made, but is not in {run}: executors must see the same run directory under the same path"
    ))
}

/// The shards that are finished.
struct Finished<'a> {
    /// Their receipts, by their names.
    receipts: BTreeMap<String, ShardReceipt>,
    observer: &'a dyn Observer,
}

impl Finished<'_> {
    fn has(&self, shard: &Shard) -> bool {
        self.receipts.contains_key(&shard.name)
    }

    /// Looks for shards that have been finished meanwhile. The files of those that were made in this run are not looked at again: the
    /// process that publishes them does.
    fn look<'a>(&mut self, shards: impl Iterator<Item = &'a Shard>, in_this_run: bool) -> Result<()> {
        let shards: Vec<_> = shards.filter(|shard| !self.has(shard)).collect();
        let Some(first) = shards.first() else { return Ok(()) };
        let names = shards.iter().map(|shard| shard.name.as_str());
        for name in first.folder.receipts_of(names)?.into_keys() {
            if let Some(receipt) = first.folder.finished(&name).with_context(|| format!("cannot look at {name}"))? {
                if in_this_run {
                    self.add(receipt);
                } else {
                    self.observer.rows_done(receipt.rows);
                    self.receipts.insert(name, receipt);
                }
            }
        }
        Ok(())
    }

    /// Adds one that was made in this run.
    fn add(&mut self, receipt: ShardReceipt) {
        if self.receipts.contains_key(&receipt.shard) {
            return;
        }
        self.observer.rows_done(receipt.rows);
        self.observer.shard_done(&receipt);
        self.receipts.insert(receipt.shard.clone(), receipt);
    }
}
