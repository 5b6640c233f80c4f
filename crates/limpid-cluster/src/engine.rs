//! The engine that has a Ballista cluster make shards.
//!
//! Shards that are finished are not sent. The receipts come back as the rows of a job, once it has ended; until then the engine looks
//! into the folder of the finished shards, which all processes see, and tells of each. A job that Ballista itself gives up (its
//! scheduler was started again, the results of an executor were lost with it) is submitted again with what is missing then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::TryStreamExt;
use limpid::progress::Progress;
use limpid::record::ShardReceipt;
use limpid::shards::{Engine, LocalEngine, Observer, Shard};
use limpid::{error, interrupt};
use tokio::runtime::Runtime;

use crate::failure::unpack;
use crate::plan::{Role, ShardCodec, plan, receipts};

/// Most shards in a job: a plan is one message, of 16 MiB at most, and an interrupted client leaves its last job to the cluster.
const SHARDS_AT_ONCE: usize = 1000;

/// Time between two looks for finished shards.
const LOOK: Duration = Duration::from_millis(500);

/// How often shards are asked for if Ballista fails.
const ATTEMPTS: usize = 3;

/// Has a cluster make shards.
pub struct BallistaEngine {
    /// Runs the connections, and the cluster if it is in this process.
    pub runtime: Runtime,
    /// The scheduler, as `http://HOST:PORT`.
    pub scheduler: String,
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
            self.runtime.block_on(self.make(shards, &mut finished))?;
        }
        let mut receipt_of = |shard: &Shard| finished.receipts.remove(&shard.job.output.name);
        let receipts: Option<Vec<_>> = shards.iter().map(&mut receipt_of).collect();
        receipts.ok_or_else(|| error::bug("a shard is missing that was made"))
    }
}

impl BallistaEngine {
    /// Makes those of these shards that are not finished.
    async fn make(&self, shards: &[Shard], finished: &mut Finished<'_>) -> Result<()> {
        for attempt in 1.. {
            let missing: Vec<_> = shards.iter().filter(|shard| !finished.has(shard)).collect();
            if missing.is_empty() {
                break;
            }
            let done = self.watched(&missing, finished).await;
            let Err(cause) = done else { continue };
            let Some(text) = cause.downcast_ref::<DataFusionError>().map(ToString::to_string) else {
                return Err(cause);
            };
            if let Some(failure) = unpack(&text) {
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

    /// Has shards made by one job, and tells of each when it is finished.
    async fn watched(&self, shards: &[&Shard], finished: &mut Finished<'_>) -> Result<()> {
        let mut job = std::pin::pin!(self.job(shards));
        let mut look = tokio::time::interval(LOOK);
        let received = loop {
            tokio::select! {
                received = &mut job => break received?,
                _ = look.tick() => {
                    interrupt::check()?;
                    finished.look(shards.iter().copied(), true)?;
                }
            }
        };
        let mut missing: BTreeSet<_> = shards.iter().map(|shard| shard.job.output.name.as_str()).collect();
        for receipt in received {
            if !missing.remove(receipt.file.name.as_str()) {
                return Err(error::bug(format!("{} has come twice, or was not asked for", receipt.file.name)));
            }
            finished.add(receipt);
        }
        match missing.first() {
            None => Ok(()),
            Some(name) => Err(error::bug(format!("a job has ended without {name}"))),
        }
    }

    /// Runs a job and returns its rows.
    async fn job(&self, shards: &[&Shard]) -> Result<Vec<ShardReceipt>> {
        let config = SessionConfig::new_with_ballista().set_usize("ballista.scheduler.max_partitions_per_task", 1);
        let session = ballista_core::ids::new_instance_id();
        let (scheduler, settings) = (self.scheduler.clone(), config.ballista_config());
        let (plan, codec) = (plan(shards, self.arithmetic.clone())?, ShardCodec::from(Role::Client));
        let stream =
            execute_physical_plan::<PhysicalPlanNode>(scheduler, &settings, plan, &codec, session, config).await?;
        let batches: Vec<_> = stream.try_collect().await?;
        let receipts = batches.iter().map(receipts).collect::<Result<Vec<_>>>()?;
        Ok(receipts.into_iter().flatten().collect())
    }
}

/// The shards that are finished.
struct Finished<'a> {
    /// Their receipts, by the names of the files.
    receipts: BTreeMap<String, ShardReceipt>,
    observer: &'a dyn Observer,
}

impl Finished<'_> {
    fn has(&self, shard: &Shard) -> bool {
        self.receipts.contains_key(&shard.job.output.name)
    }

    /// Looks for shards that have been finished meanwhile. The files of those that were made in this run are not looked at again: the
    /// process that publishes them does.
    fn look<'a>(&mut self, shards: impl Iterator<Item = &'a Shard>, in_this_run: bool) -> Result<()> {
        let shards: Vec<_> = shards.filter(|shard| !self.has(shard)).collect();
        let Some(first) = shards.first() else { return Ok(()) };
        let names = shards.iter().map(|shard| shard.job.output.name.as_str());
        for name in first.folder.receipts_of(names)?.into_keys() {
            if let Some(receipt) = first.folder.finished(&name).with_context(|| format!("cannot look at {name}"))? {
                if in_this_run {
                    self.add(receipt);
                } else {
                    self.observer.rows_done(receipt.file.rows.unwrap_or(0));
                    self.receipts.insert(name, receipt);
                }
            }
        }
        Ok(())
    }

    /// Adds one that was made in this run.
    fn add(&mut self, receipt: ShardReceipt) {
        if self.receipts.contains_key(&receipt.file.name) {
            return;
        }
        self.observer.rows_done(receipt.file.rows.unwrap_or(0));
        self.observer.shard_done(&receipt);
        self.receipts.insert(receipt.file.name.clone(), receipt);
    }
}
