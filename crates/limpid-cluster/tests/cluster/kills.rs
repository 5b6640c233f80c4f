//! Kills executors, clients and shards in flight at random, and repeats the run until it has finished.
//!
//! `LIMPID_KILLS` is the number of kills (100 for a night, a few otherwise), `LIMPID_SEED` the seed of the moments and victims.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::link;
use crate::process::{Cluster, Process, expected, results, same};
use crate::random::{Random, number};

/// Executors at any time: one that is killed is replaced.
const EXECUTORS: usize = 4;

/// The stages that are made under kills, each of eight shards.
const STAGES: [&str; 2] = ["encode", "denoise"];

/// Longest time between two kills, in milliseconds.
const PAUSE: usize = 1500;

/// The executors of a cluster, some of which kill themselves at a step of a shard.
struct Executors<'a> {
    cluster: &'a Cluster,
    scheduler: &'a str,
    running: Vec<Process>,
}

impl<'a> Executors<'a> {
    fn new(cluster: &'a Cluster, scheduler: &'a str) -> Self {
        let running = (0..EXECUTORS).map(|_| cluster.executor(scheduler, "")).collect();
        Self { cluster, scheduler, running }
    }

    fn kill(&mut self, which: usize, fault: &str) {
        self.running[which].kill();
        self.running[which] = self.cluster.executor(self.scheduler, fault);
    }

    /// Replaces those that have killed themselves, and returns how many these are.
    fn replace(&mut self) -> u64 {
        let mut killed = 0;
        for executor in &mut self.running {
            if executor.ended().is_some() {
                *executor = self.cluster.executor(self.scheduler, "");
                killed += 1;
            }
        }
        killed
    }

    /// Replaces all, so that none is about to kill itself.
    fn renew(&mut self) {
        (0..EXECUTORS).for_each(|which| self.kill(which, ""));
    }
}

#[test]
fn whoever_is_killed_at_random_the_bytes_are_the_same_and_each_shard_counts_once() {
    let (wanted, seed) = (number("LIMPID_KILLS", 5), number("LIMPID_SEED", 1));
    println!("seed: {seed}");
    let mut random = Random(seed);
    let cluster = Cluster::new();
    cluster.start("run small.toml --to train --runs trained", "").exits(0);
    let expected = expected().iter().filter(|(name, _)| STAGES.iter().any(|stage| name.starts_with(stage)));
    let expected = expected.map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
    let (_scheduler, address) = cluster.scheduler();
    let mut executors = Executors::new(&cluster, &address);
    // Of executors, of clients, and of executors at a step of a shard.
    let mut kills = [0_u64; 3];
    let (mut rounds, mut clients) = (0, 0);
    while rounds == 0 || kills.iter().sum::<u64>() < wanted {
        let runs = format!("runs{rounds}");
        link(&cluster.path("trained"), &cluster.path(&runs));
        let words = format!("run small.toml --to denoise --threads 2 --log json --runs {runs} --engine {address}");
        let mut told = BTreeMap::<String, usize>::new();
        let mut is_last = false;
        loop {
            let mut client = cluster.start(&words, "");
            clients += 1;
            let mut next = Instant::now() + Duration::from_millis(random.below(PAUSE) as u64);
            let ended = loop {
                kills[2] += executors.replace();
                if let Some(ended) = client.ended() {
                    break ended;
                }
                if kills.iter().sum::<u64>() >= wanted && !is_last {
                    // What is under way now may be finished.
                    is_last = true;
                    executors.renew();
                }
                if !is_last && Instant::now() >= next {
                    next = Instant::now() + Duration::from_millis(random.below(PAUSE) as u64);
                    let which = random.below(EXECUTORS);
                    match random.below(3) {
                        0 => {
                            client.kill();
                            kills[1] += 1;
                        }
                        1 => {
                            executors.kill(which, "");
                            kills[0] += 1;
                        }
                        _ => {
                            executors.kill(which, &format!(":{}:kill", 1 + random.below(20)));
                            kills[0] += 1;
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            for (shard, times) in client.told_shards() {
                *told.entry(shard).or_insert(0) += times;
            }
            match ended {
                Some(0) => break,
                // Killed, or worth another try.
                None | Some(74 | 75) => {}
                Some(_) => panic!("after {kills:?} kills, seed {seed}: {client}"),
            }
        }
        let whose = format!("after {kills:?} kills, seed {seed}");
        same(&results(&cluster.sandbox, &format!("{runs}/small"), &STAGES), &expected, &whose);
        assert!(told.len() <= 8 * STAGES.len() && told.values().all(|times| *times == 1), "{whose}: {told:?}");
        for stage in STAGES {
            let receipt = cluster.sandbox.read(&format!("{runs}/small/{stage}/_receipt.json"));
            let receipt: serde_json::Value = serde_json::from_slice(&receipt).expect("is JSON");
            let rows = receipt["outputs"].as_array().expect("is a list").iter().map(|file| file["rows"].as_u64());
            assert_eq!(rows.sum::<Option<u64>>(), Some(720), "{whose}: {stage}");
            assert_eq!(receipt["details"]["shards"].as_array().map(Vec::len), Some(8), "{whose}: {stage}");
        }
        rounds += 1;
    }
    drop(executors);
    // Jobs of killed clients may have made shards after these were published.
    for round in 0..rounds {
        let runs = format!("runs{round}");
        let words = if round % 2 == 0 {
            format!("clean {runs}/small")
        } else {
            format!("run small.toml --to denoise --runs {runs}")
        };
        cluster.start(&words, "").exits(0);
        for left in [".shards", ".scratch"] {
            assert!(
                !cluster.path(&format!("{runs}/small/{left}")).exists(),
                "{left} is left in round {round}, seed {seed}"
            );
        }
    }
    let [of_executors, of_clients, at_a_step] = kills;
    println!("kills: {of_executors} of executors, {of_clients} of clients, {at_a_step} at a step of a shard");
    println!("rounds: {rounds}, clients: {clients}, differences: 0, shards told twice: 0, left behind: 0");
}
