//! A job at the scheduler: it is submitted, asked for, and cancelled if nobody waits for it any more.
//!
//! Ballista's own client waits for the end of a job and keeps its number to itself, so that a job of an interrupted client would go on.

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use ballista_core::BALLISTA_VERSION;
use ballista_core::client::BallistaClient;
use ballista_core::extension::SessionConfigExt;
use ballista_core::ids::new_instance_id;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair, PartitionLocation, execute_query_result,
};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use ballista_core::version::{check_compatibility, insert_version_header, version_from_metadata};
use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::TryStreamExt;
use tonic::Request;
use tonic::transport::Channel;

use crate::plan::{Role, ShardCodec};
use crate::server::Address;

/// What the cluster fails with; the error of a task is packed into the text.
#[derive(Debug)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

fn fault(cause: impl fmt::Debug) -> anyhow::Error {
    Fault(format!("{cause:?}")).into()
}

/// A job that was submitted.
pub struct Job {
    scheduler: SchedulerGrpcClient<Channel>,
    address: Address,
    limits: GrpcClientConfig,
    id: String,
    /// Whether the scheduler has told anything of it.
    is_known: bool,
}

impl Job {
    /// Submits a plan.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn submit(address: &Address, plan: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let config = SessionConfig::new_with_ballista().set_usize("ballista.scheduler.max_partitions_per_task", 1);
        let settings = config.options().entries().into_iter();
        let settings = settings.map(|entry| KeyValuePair { key: entry.key, value: entry.value }).collect();
        let mut bytes = Vec::new();
        let plan = PhysicalPlanNode::try_from_physical_plan(plan, &ShardCodec::from(Role::Client)).map_err(fault)?;
        plan.try_encode(&mut bytes).map_err(fault)?;
        let limits = GrpcClientConfig::from(&config.ballista_config());
        let endpoint = create_grpc_client_endpoint(format!("http://{address}"), Some(&limits)).map_err(fault)?;
        let scheduler = SchedulerGrpcClient::new(endpoint.connect().await.map_err(fault)?);
        let mut scheduler = scheduler
            .max_encoding_message_size(limits.max_message_size)
            .max_decoding_message_size(limits.max_message_size);
        let mut request = Request::new(ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(bytes)),
            settings,
            session_id: new_instance_id(),
            operation_id: new_instance_id(),
        });
        insert_version_header(request.metadata_mut());
        let answer = scheduler.execute_query(request).await.map_err(fault)?;
        let versions = check_compatibility(Some(BALLISTA_VERSION), version_from_metadata(answer.metadata()));
        let id = match answer.into_inner().result {
            Some(execute_query_result::Result::Success(success)) => success.job_id,
            Some(execute_query_result::Result::Failure(failure)) => return Err(fault(failure)),
            None => return Err(fault("the scheduler does not answer")),
        };
        let mut job = Self { scheduler, address: address.clone(), limits, id, is_known: false };
        if let Err(cause) = versions {
            // An older scheduler has queued it all the same.
            job.cancel().await;
            return Err(Fault(cause).into());
        }
        Ok(job)
    }

    /// Its rows, once it has ended.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn ended(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        let asked = self.scheduler.get_job_status(GetJobStatusParams { job_id: self.id.clone() });
        let status = asked.await.map_err(fault)?.into_inner().status.and_then(|job| job.status);
        match status {
            None if self.is_known => Err(fault("the scheduler was started again, and does not know the job")),
            None => Ok(None),
            Some(Status::Queued(_) | Status::Running(_)) => {
                self.is_known = true;
                Ok(None)
            }
            Some(Status::Failed(failed)) => Err(Fault(format!("job {} failed: {}", self.id, failed.error)).into()),
            Some(Status::Successful(job)) => self.rows(job.partition_location).await.map(Some),
        }
    }

    /// Fetches rows from where they are, through the scheduler.
    async fn rows(&self, places: Vec<PartitionLocation>) -> Result<Vec<RecordBatch>> {
        let GrpcClientConfig { max_message_size, io_retries_times, io_retry_wait_time_ms, .. } = self.limits;
        let (host, port) = self.address.parts();
        let client = BallistaClient::try_new(
            host,
            port,
            max_message_size,
            false,
            None,
            io_retries_times,
            io_retry_wait_time_ms,
            0,
            0,
        );
        let mut client = client.await.map_err(fault)?;
        let mut rows = Vec::new();
        for place in places {
            let layout = place.layout();
            let (Some(executor), Some(partition)) = (place.executor_meta, place.partition_id) else {
                return Err(fault("the scheduler does not say where the results are"));
            };
            let (id, host, port, partition) = (&executor.id, &executor.host, executor.port as u16, partition.into());
            let stream = client.fetch_partition_proxied(id, &partition, place.file_id, layout, host, port, true);
            rows.extend(stream.await.map_err(fault)?.try_collect::<Vec<_>>().await.map_err(fault)?);
        }
        Ok(rows)
    }

    /// Has no more shards of it begun. That it ends is not waited for: those under way are finished.
    pub async fn cancel(&mut self) {
        // The scheduler may be what has failed.
        _ = self.scheduler.cancel_job(CancelJobParams { job_id: self.id.clone() }).await;
    }
}
