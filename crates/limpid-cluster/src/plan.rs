//! The plan of a job: one partition a shard, whose row holds the shard as JSON and becomes its name, by which whoever sees the run
//! directory finds its receipt. A receipt may name more files than a message has room for.
//!
//! The rows come from Ballista's own source in memory: its scheduler gives each task the rows of its partitions for the sources that it
//! knows, while a source of ours would have every task make every shard. [`ShardCodec`] sends the plan, and says what the
//! process that reads it is.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use ballista_scheduler::cluster::ClusterState;
use datafusion::arrow::array::{Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use futures::StreamExt;
use limpid::record::ShardReceipt;
use limpid::shards::{LocalEngine, Observer, Shard};
use limpid::{error, interrupt};

use crate::failure::pack;

/// The plan that makes these shards, on executors of this arithmetic, or of any if none.
///
/// # Errors
/// None that a run can have.
pub fn plan(shards: &[&Shard], arithmetic: Option<String>) -> Result<Arc<dyn ExecutionPlan>> {
    let partition = |shard: &&Shard| -> Result<_> { Ok(vec![rows(vec![serde_json::to_string(shard)?])?]) };
    let partitions = shards.iter().map(partition).collect::<Result<Vec<_>>>()?;
    let input = MemorySourceConfig::try_new_exec(&partitions, schema(), None)?;
    Ok(Arc::new(MakeShards { input, arithmetic, worker: None }))
}

/// The names in a batch of the results of such a plan.
///
/// # Errors
/// Something else.
pub fn names(batch: &RecordBatch) -> Result<Vec<String>> {
    Ok(texts(batch)?.iter().flatten().map(str::to_owned).collect())
}

/// The columns of shards and of names.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("shard", DataType::Utf8, false)]))
}

/// Rows with these texts.
fn rows(texts: Vec<String>) -> PlanResult<RecordBatch> {
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(texts))])?)
}

/// The texts of rows.
fn texts(batch: &RecordBatch) -> Result<StringArray> {
    let column = batch.columns().first().and_then(|column| column.as_any().downcast_ref::<StringArray>());
    column.cloned().context("a row is no text")
}

/// What makes shards in an executor.
pub struct Worker {
    /// Makes them.
    pub engine: LocalEngine,
    /// What its results depend on besides their inputs.
    pub arithmetic: String,
}

/// Whom to tell of the progress within a shard: nobody, since the rows of a task are seen when it has ended.
struct Unobserved;

impl Observer for Unobserved {
    fn rows_done(&self, _rows: u64) {}

    fn shard_done(&self, _receipt: &ShardReceipt) {}
}

impl Worker {
    fn make(&self, shard: &str, arithmetic: Option<&str>) -> Result<String> {
        let host = limpid::record::host();
        if let Some(expected) = arithmetic.filter(|expected| *expected != self.arithmetic) {
            return Err(differs(&host, &self.arithmetic, expected));
        }
        let shard: Shard = serde_json::from_str(shard).context("a task is no shard of this version of limpid")?;
        let made = self.engine.run_shard(&shard, &Unobserved);
        Ok(made.with_context(|| format!("{} was not made on {host}", shard.name))?.shard)
    }
}

/// The error for an executor that computes in another way than the client.
fn differs(executor: &str, found: &str, expected: &str) -> anyhow::Error {
    let message = format!("the executor {executor} computes by {found}, but this run by {expected}");
    error::settings(format!("{message}; the last bits may differ: use machines of one kind, or --any-arithmetic"))
}

/// What stands between the name of an executor and its arithmetic in its id.
const COMPUTES_BY: &str = " computes by ";

/// The id of an executor, by which the scheduler knows its arithmetic.
pub fn executor_id(arithmetic: &str) -> String {
    format!("{} {}{COMPUTES_BY}{arithmetic}", limpid::record::host(), ballista_core::ids::new_instance_id())
}

/// Makes each shard, and gives its name.
#[derive(Debug)]
struct MakeShards {
    input: Arc<dyn ExecutionPlan>,
    arithmetic: Option<String>,
    /// None where shards are only planned.
    worker: Option<Arc<Worker>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arithmetic)
    }
}

impl DisplayAs for MakeShards {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MakeShards")
    }
}

impl ExecutionPlan for MakeShards {
    fn name(&self) -> &str {
        "MakeShards"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children).map_err(|_| internal("shards come from one source"))?;
        Ok(Arc::new(Self { input, arithmetic: self.arithmetic.clone(), worker: self.worker.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let worker = self.worker.clone().ok_or_else(|| internal("shards are made by executors alone"))?;
        let arithmetic = self.arithmetic.clone();
        let made = self.input.execute(partition, context)?.then(move |shard| {
            let (worker, arithmetic) = (Arc::clone(&worker), arithmetic.clone());
            async move {
                let shard = texts(&shard?).map_err(|cause| pack(&cause))?;
                // It computes, reads and writes, for minutes.
                let work =
                    move || shard.iter().flatten().map(|shard| worker.make(shard, arithmetic.as_deref())).collect();
                let made: Result<Vec<_>> = tokio::task::spawn_blocking(work)
                    .await
                    .unwrap_or_else(|panic| Err(error::bug(format!("a task ended: {panic}"))));
                if made.is_err() && interrupt::requested() {
                    // The process is about to end. A failed task could be given to it again, often enough to fail the job; one
                    // that it leaves behind goes to others.
                    std::future::pending::<()>().await;
                }
                rows(made.map_err(|cause| pack(&cause))?)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), made)))
    }
}

fn internal(message: &str) -> DataFusionError {
    DataFusionError::Internal(message.to_owned())
}

/// What a process does with plans.
pub enum Role {
    /// It submits them.
    Client,
    /// It has these executors run them.
    Scheduler(Arc<dyn ClusterState>),
    /// It runs them.
    Executor(Arc<Worker>),
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Client => "client",
            Role::Scheduler(_) => "scheduler",
            Role::Executor(_) => "executor",
        })
    }
}

/// Writes and reads plans: [`MakeShards`], and Ballista's own.
#[derive(Debug)]
pub struct ShardCodec {
    ballista: BallistaPhysicalExtensionCodec,
    role: Role,
}

impl From<Role> for ShardCodec {
    fn from(role: Role) -> Self {
        Self { ballista: BallistaPhysicalExtensionCodec::default(), role }
    }
}

/// What a [`MakeShards`] starts with in a message. No message of Ballista does: in protobuf its first byte ends a group.
const MARK: &[u8] = b"limpid-shards:";

impl PhysicalExtensionCodec for ShardCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let Some(arithmetic) = bytes.strip_prefix(MARK) else {
            return self.ballista.try_decode(bytes, inputs, context, converter);
        };
        let arithmetic: Option<String> =
            serde_json::from_slice(arithmetic).map_err(|_| internal("not a plan of this version of limpid"))?;
        let [input] = inputs else { return Err(internal("shards come from one source")) };
        let worker = match &self.role {
            Role::Client => None,
            Role::Scheduler(cluster) => {
                let executors = cluster.executor_heartbeats().into_keys();
                check_executors(executors, arithmetic.as_deref()).map_err(|cause| pack(&cause))?;
                None
            }
            Role::Executor(worker) => Some(Arc::clone(worker)),
        };
        Ok(Arc::new(MakeShards { input: Arc::clone(input), arithmetic, worker }))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> PlanResult<()> {
        let Some(node) = node.downcast_ref::<MakeShards>() else {
            return self.ballista.try_encode(node, bytes, converter);
        };
        bytes.extend_from_slice(MARK);
        serde_json::to_writer(bytes, &node.arithmetic).map_err(|cause| DataFusionError::External(cause.into()))
    }
}

/// Checks the executors that there are before their work starts. Those that come later check themselves.
fn check_executors(ids: impl Iterator<Item = String>, arithmetic: Option<&str>) -> Result<()> {
    let Some(expected) = arithmetic else { return Ok(()) };
    for id in ids {
        if let Some((name, found)) = id.split_once(COMPUTES_BY)
            && found != expected
        {
            return Err(differs(name, found, expected));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::unpack;
    use ballista_core::serde::protobuf::ExecutorHeartbeat;
    use ballista_scheduler::cluster::BallistaCluster;
    use ballista_scheduler::config::SchedulerConfig;
    use datafusion_proto::physical_plan::AsExecutionPlan;
    use datafusion_proto::protobuf::PhysicalPlanNode;
    use limpid::device::ComputeDevice;
    use limpid::error::Kind;

    /// Sends a plan to a scheduler that has executors of these arithmetics.
    async fn submit(executors: &[&str], arithmetic: Option<&str>) -> Result<()> {
        let cluster = BallistaCluster::new_from_config(&SchedulerConfig::default()).await?.cluster_state();
        for arithmetic in executors {
            let heartbeat = ExecutorHeartbeat { executor_id: executor_id(arithmetic), ..Default::default() };
            cluster.save_executor_heartbeat(heartbeat).await?;
        }
        let plan = plan(&[], arithmetic.map(str::to_owned))?;
        let sent = PhysicalPlanNode::try_from_physical_plan(plan, &ShardCodec::from(Role::Client))?;
        let received =
            sent.try_into_physical_plan(&TaskContext::default(), &ShardCodec::from(Role::Scheduler(cluster)));
        received.map(|_| ()).map_err(|cause| unpack(&format!("{cause:?}")).unwrap_or(cause.into()))
    }

    #[tokio::test]
    async fn executors_that_compute_in_another_way_are_refused_before_a_job_starts() {
        let (one, other) = ("flex with AVX2", "flex with AVX-512");
        submit(&[], Some(one)).await.expect("there may be no executor yet");
        submit(&[one, one], Some(one)).await.expect("all are the same");
        submit(&[one, other], None).await.expect("any will do");
        let refused = submit(&[one, other], Some(one)).await.expect_err("one differs");
        assert_eq!(error::kind(&refused), Kind::Settings);
        let message = refused.to_string();
        assert!(message.contains(&format!("computes by {other}, but this run by {one}")), "{message}");
        assert!(message.contains("--any-arithmetic"), "{message}");
    }

    #[test]
    fn an_executor_that_computes_in_another_way_makes_nothing() {
        let engine = LocalEngine::new(1, &ComputeDevice::default());
        let worker = Worker { engine, arithmetic: "flex with AVX2".to_owned() };
        let refused = worker.make("", Some("flex with AVX-512")).expect_err("differs");
        assert_eq!(error::kind(&refused), Kind::Settings);
        let message = worker.make("", None).expect_err("is no shard").to_string();
        assert!(message.contains("no shard of this version"), "{message}");
    }
}
