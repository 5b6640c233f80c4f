//! The scheduler and the executors of a cluster, as Ballista has them, set up for shards.
//!
//! Executors ask the scheduler for work and open one port, for their results, which clients get through the scheduler: only the scheduler
//! has to be reached by the clients and the executors, and it alone reaches the executors.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use limpid::{error, interrupt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::plan::{Role, ShardCodec, Worker, executor_id};

/// Executors ask for work every five seconds at least, also while they work.
pub const SHORTEST_TIMEOUT: Duration = Duration::from_secs(6);

/// Most bytes of the answer to a question about the scheduler's state.
const MOST_ANSWER: u64 = 4096;
/// Longest time to wait for it.
const MOST_WAIT: Duration = Duration::from_secs(5);
/// The status of a scheduler without executors.
const NOT_READY: &str = "503";

/// Where a scheduler is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.strip_prefix("ballista://").unwrap_or(text);
        let place = place.strip_suffix('/').unwrap_or(place);
        let parts = place.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains(['/', '@']));
        let address = parts.and_then(|(host, port)| Some(Self { host: host.to_owned(), port: port.parse().ok()? }));
        address.ok_or_else(|| format!("{text:?} is not HOST:PORT, as in ballista://10.0.0.1:50050"))
    }
}

impl Address {
    /// The host, as a URL has it, and the port.
    pub fn parts(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether the scheduler there has an executor; true if it cannot be asked, which other requests report.
    pub async fn has_executors(&self) -> bool {
        let asked = async {
            let mut stream = TcpStream::connect(self.to_string()).await?;
            stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {self}\r\n\r\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.take(MOST_ANSWER).read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer.split_whitespace().nth(1) != Some(NOT_READY))
        };
        tokio::time::timeout(MOST_WAIT, asked).await.map_or(true, |answer| answer.unwrap_or(true))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        Self { host, port: address.port() }
    }
}

/// A scheduler that listens. An executor that was not heard of for so long is given up, and its shards are made by others.
pub struct Scheduler {
    /// Where it listens.
    pub address: SocketAddr,
    listener: TcpListener,
    config: SchedulerConfig,
    cluster: BallistaCluster,
}

impl Scheduler {
    /// Listens at an address; port 0 is any that is free.
    ///
    /// # Errors
    /// It cannot.
    pub async fn listen(address: SocketAddr, executor_timeout: Duration) -> Result<Self> {
        let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("cannot listen")?;
        let mut config = SchedulerConfig {
            bind_host: address.ip().to_string(),
            bind_port: address.port(),
            scheduling_policy: TaskSchedulingPolicy::PullStaged,
            enable_embedded_flight_proxy: true,
            executor_timeout_seconds: executor_timeout.as_secs(),
            expire_dead_executor_interval_seconds: 1,
            no_executors_grace_period_seconds: executor_timeout.as_secs(),
            ..SchedulerConfig::default()
        };
        let cluster = BallistaCluster::new_from_config(&config).await.map_err(failed)?;
        config.override_physical_codec = Some(Arc::new(ShardCodec::from(Role::Scheduler(cluster.cluster_state()))));
        Ok(Self { address, listener, config, cluster })
    }

    /// Serves until it fails.
    ///
    /// # Errors
    /// The network.
    pub async fn serve(self) -> Result<()> {
        let config = Arc::new(self.config);
        let server =
            create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(self.cluster, config).await.map_err(failed)?;
        start_grpc_service_with_listener(self.listener, server).await.map_err(failed)
    }
}

/// Listens; connections inherit that small messages are sent at once. Otherwise the end of each answer, a message of its own, waits 40
/// milliseconds until the client confirms the message before it, and so does each shard.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    const WAITING: u32 = 1024;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    // As TcpListener::bind has it: a scheduler that is started again gets its port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// What an executor is asked to be.
pub struct Executor {
    /// Where its scheduler is.
    pub scheduler: Address,
    /// The address of its results; port 0 is any that is free.
    pub bind: SocketAddr,
    /// The name or address by which the scheduler reaches it, if not the one that it is seen to connect from.
    pub host: Option<String>,
    /// Shards that it makes at once.
    pub shards_at_once: usize,
    /// How long it tries to reach the scheduler.
    pub connect_timeout: Duration,
}

impl Executor {
    /// Makes shards until the process is asked to stop.
    ///
    /// # Errors
    /// The scheduler cannot be reached; the port is in use.
    pub async fn serve(self, worker: Worker) -> Result<()> {
        self.wait().await?;
        let scratch = tempfile::tempdir().context("cannot create a temporary folder")?;
        let port = match self.bind.port() {
            // Ballista tells the scheduler the number that it is given, so that a free one is found here.
            0 => TcpListener::bind(self.bind).await.and_then(|free| free.local_addr()).context("cannot listen")?.port(),
            port => port,
        };
        let config = ExecutorProcessConfig {
            executor_id: executor_id(&worker.arithmetic),
            bind_host: Address::from(self.bind).host,
            external_host: self.host,
            port,
            scheduler_host: self.scheduler.host.clone(),
            scheduler_port: self.scheduler.port,
            vcores: self.shards_at_once,
            task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
            work_dir: Some(scratch.path().to_string_lossy().into_owned()),
            override_physical_codec: Some(Arc::new(ShardCodec::from(Role::Executor(Arc::new(worker))))),
            ..ExecutorProcessConfig::default()
        };
        tokio::select! {
            ended = start_executor_process(Arc::new(config)) => ended.map_err(failed)?,
            () = leave() => {}
        }
        interrupt::check()?;
        Err(error::io(format!("the executor has stopped: the scheduler dismissed it, or port {port} is in use")))
    }
}

impl Executor {
    /// Waits for the scheduler. Ballista's own waiting never ends.
    async fn wait(&self) -> Result<()> {
        let address = self.scheduler.to_string();
        let reached = async {
            while TcpStream::connect(&address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let failed =
            |_| error::io(format!("no scheduler answers at {address}; start it first, or give --connect-timeout"));
        tokio::time::timeout(self.connect_timeout, reached).await.map_err(failed)
    }
}

/// Waits until the process is asked to stop, and then for Ballista to say so to the scheduler, which gives the work to others; without
/// that it does when the executor is given up.
async fn leave() {
    while !interrupt::requested() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// An error of Ballista's servers. All of them are about the network.
fn failed(cause: BallistaError) -> anyhow::Error {
    error::io(cause.to_string())
}
