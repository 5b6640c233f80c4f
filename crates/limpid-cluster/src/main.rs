//! limpid on many machines: `limpid-cluster run` is `limpid run` whose stages with shards are made by a Ballista cluster, which `limpid-cluster
//! scheduler` and `limpid-cluster executor` are the processes of.
//!
//! The only program that contains Ballista; everything else of a run is limpid's own.

mod engine;
mod failure;
mod job;
mod plan;
mod server;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use limpid::command::{DeviceArgs, RunArgs, WorkArgs, carry_out, duration, print, progress, refuse, threads};
use limpid::device::ComputeDevice;
use limpid::progress::{LogMode, Progress};
use limpid::shards::{Engine, LocalEngine};
use limpid::{error, interrupt};
use tokio::runtime::Runtime;

use engine::BallistaEngine;
use plan::Worker;
use server::{Address, Executor, SHORTEST_TIMEOUT, Scheduler};

/// As in limpid itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs limpid's pipelines on many machines.
///
/// All other commands are those of limpid: plan, show, shard, commit, clean and so on. Exit codes are the same.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Distribute the work of runs among executors, until the process is stopped.
    Scheduler(SchedulerArgs),
    /// Do work for a scheduler, until the process is stopped.
    Executor(ExecutorArgs),
    /// Run a pipeline as `limpid run` does, with ingest (of folders, tar archives and Parquet), corrupt, encode, denoise and export on executors.
    Run(Box<ClusterRunArgs>),
    /// Every other command is limpid's own.
    #[command(external_subcommand)]
    Limpid(Vec<OsString>),
}

#[derive(Debug, Args)]
struct SchedulerArgs {
    /// The address to listen on; whoever reaches it can have anything done by the executors.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50050")]
    bind: SocketAddr,
    /// Give an executor up if it was not heard of for so long, at least 6s; others then do its work.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    executor_timeout: Duration,
}

#[derive(Debug, Args)]
struct ExecutorArgs {
    /// The scheduler.
    scheduler: Address,
    /// The address to listen on, for the scheduler, which fetches results; with port 0, a free port.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    bind: SocketAddr,
    /// The name or address by which the scheduler reaches this machine; unless given, the one that it sees.
    #[arg(long)]
    host: Option<String>,
    /// Shards that are made at once, each with all threads.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards_at_once: u16,
    /// Try so long to reach the scheduler.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    connect_timeout: Duration,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    work: WorkArgs,
}

#[derive(Debug, Args)]
struct ClusterRunArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The cluster: ballista://HOST:PORT of its scheduler, or ballista for one in this process; none unless given.
    #[arg(long)]
    engine: Option<Place>,
    /// Accept executors whose processors have other instructions, or other devices, so that the last bits may differ.
    #[arg(long)]
    any_arithmetic: bool,
}

/// Where the cluster of a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Here,
    At(Address),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ballista" => Ok(Place::Here),
            _ if text.starts_with("ballista://") => text.parse().map(Place::At),
            _ => Err("the engines are ballista, in this process, and ballista://HOST:PORT".to_owned()),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(match Cli::try_parse_from(&arguments) {
        Err(cause) => refuse(&cause, &arguments),
        Ok(Cli { command: Command::Scheduler(args) }) => carry_out(LogMode::Lines, || args.execute()),
        Ok(Cli { command: Command::Executor(args) }) => carry_out(args.work.log, || args.execute()),
        Ok(Cli { command: Command::Run(args) }) => carry_out(args.run.log_mode(), || args.execute()),
        Ok(Cli { command: Command::Limpid(words) }) => {
            limpid::command::main(&arguments[..1].iter().cloned().chain(words).collect::<Vec<_>>())
        }
    })
}

impl SchedulerArgs {
    fn execute(&self) -> Result<()> {
        if self.executor_timeout < SHORTEST_TIMEOUT {
            return Err(error::settings("--executor-timeout is at least 6s: executors are heard of every 5"));
        }
        runtime()?.block_on(async {
            let scheduler = Scheduler::listen(self.bind, self.executor_timeout).await?;
            print(format!("ballista://{}", Address::from(scheduler.address)))?;
            scheduler.serve().await
        })
    }
}

impl ExecutorArgs {
    fn execute(&self) -> Result<()> {
        interrupt::install()?;
        let (threads, progress) = (threads(self.work.threads)?, progress(&self.work));
        let device = self.device.device.open(threads, |reason| progress.note(reason))?;
        let executor = Executor {
            scheduler: self.scheduler.clone(),
            bind: self.bind,
            host: self.host.clone(),
            shards_at_once: self.shards_at_once.into(),
            connect_timeout: self.connect_timeout,
        };
        progress.note(&format!("computes by {} for the scheduler {}", device.arithmetic(), self.scheduler));
        runtime()?.block_on(executor.serve(worker(&device, threads)))
    }
}

impl ClusterRunArgs {
    fn execute(mut self) -> Result<()> {
        self.run.make_absolute()?;
        self.run.execute_with(&|device, threads, progress| {
            Ok(match &self.engine {
                Some(place) => {
                    Box::new(engine(place, self.any_arithmetic, device, threads, progress)?) as Box<dyn Engine>
                }
                None => Box::new(LocalEngine::new(threads, device)),
            })
        })
    }
}

fn engine(
    place: &Place,
    any_arithmetic: bool,
    device: &ComputeDevice,
    threads: usize,
    progress: &Progress,
) -> Result<BallistaEngine> {
    let runtime = runtime()?;
    let scheduler = match place {
        Place::At(address) => address.clone(),
        Place::Here => runtime.block_on(here(worker(device, threads), progress))?,
    };
    Ok(BallistaEngine {
        runtime,
        scheduler,
        arithmetic: (!any_arithmetic).then(|| device.arithmetic()),
        local: LocalEngine::new(threads, device),
        progress: progress.clone(),
    })
}

/// Starts a scheduler and an executor in this process.
async fn here(worker: Worker, progress: &Progress) -> Result<Address> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let scheduler = Scheduler::listen(loopback, SHORTEST_TIMEOUT).await?;
    let address = Address::from(scheduler.address);
    let executor = Executor {
        scheduler: address.clone(),
        bind: loopback,
        host: None,
        shards_at_once: 1,
        connect_timeout: Duration::from_secs(30),
    };
    let told = progress.clone();
    tokio::spawn(async move {
        let ended = tokio::try_join!(scheduler.serve(), executor.serve(worker));
        if let Err(cause) = ended
            && !interrupt::requested()
        {
            told.note(&error::message(&cause));
        }
    });
    Ok(address)
}

fn worker(device: &ComputeDevice, threads: usize) -> Worker {
    Worker { engine: LocalEngine::new(threads, device), arithmetic: device.arithmetic() }
}

fn runtime() -> Result<Runtime> {
    Runtime::new().context("cannot start the threads of the network")
}
