//! Kills executors, clients and shards in flight at random, and repeats the run until it has finished: on a disk, and in a store that
//! fails one request in twenty.
//!
//! `LIMPID_KILLS` is the number of kills (100 for a night, a few otherwise), `LIMPID_SEED` the seed of the moments and victims.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::everywhere::{Digests, Place, digest};
use crate::harness::link;
use crate::process::{Cluster, Process, expected};
use crate::random::{Random, number};
use crate::store_server::{Proxy, Server, login, s3};

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

/// A place for runs, and how often its store fails.
struct Ground {
    place: Place,
    cluster: Cluster,
    proxy: Option<Proxy>,
}

impl Ground {
    fn disk() -> Self {
        Self { place: Place::Disk, cluster: Cluster::new(), proxy: None }
    }

    /// An object store that fails one request in twenty.
    fn failing(server: &'static Server) -> Self {
        let proxy = Proxy::new(server.address, 20);
        let cluster = Cluster::with("", login(&proxy.url()).into());
        Self { place: Place::S3(server), cluster, proxy: Some(proxy) }
    }

    fn way(round: usize) -> String {
        format!("kills-{round}")
    }

    fn runs(&self, round: usize) -> String {
        self.place.runs(&Self::way(round))
    }

    /// Makes what comes before the stages.
    fn prepare(&self, round: usize) {
        let train = |runs: &str| self.cluster.start(&format!("run small.toml --to train --runs {runs}"), "").exits(0);
        if let Place::Disk = self.place {
            if round == 0 {
                train("trained");
            }
            link(&self.cluster.path("trained"), &self.cluster.path(&self.runs(round)));
        } else {
            train(&self.runs(round));
        }
    }

    /// Has the next client go on at once: the lease of a killed one would expire in a minute.
    fn free(&self, round: usize) {
        if let Place::S3(server) = self.place {
            server.ask("DELETE", &format!("/everywhere/{}/small/_lease.json", Self::way(round)), b"");
        }
    }

    /// What is left of shards and of earlier results.
    fn left(&self, round: usize) -> Vec<String> {
        if let Place::S3(server) = self.place {
            let run = format!("{}/small/", Self::way(round));
            let generations = STAGES.map(|stage| {
                let receipt = self.place.receipt(&self.cluster, &Self::way(round), stage);
                format!("{run}{stage}/{}/", &receipt["fingerprint"].as_str().expect("is text")[..16])
            });
            let is_named = |key: &String| generations.iter().any(|generation| key.starts_with(generation));
            let of_stages = |key: &String| STAGES.iter().any(|stage| key.starts_with(&format!("{run}{stage}/")));
            let is_receipt = |key: &String| key.ends_with("/_receipt.json");
            return server
                .keys("everywhere")
                .into_iter()
                .filter(|key| of_stages(key) && !is_named(key) && !is_receipt(key))
                .collect();
        }
        let folder = self.cluster.path(&format!("{}/small", self.runs(round)));
        [".shards", ".scratch"].into_iter().filter(|left| folder.join(left).exists()).map(str::to_owned).collect()
    }
}

#[test]
fn whoever_is_killed_at_random_the_bytes_are_the_same_and_each_shard_counts_once() {
    kill_at_random(&Ground::disk());
}

#[test]
fn whoever_is_killed_while_a_store_fails_the_bytes_are_the_same_and_each_shard_counts_once() {
    if let Some(server) = s3("everywhere") {
        kill_at_random(&Ground::failing(server));
    }
}

fn kill_at_random(ground: &Ground) {
    let (wanted, seed) = (number("LIMPID_KILLS", 5), number("LIMPID_SEED", 1));
    println!("seed: {seed}");
    let mut random = Random(seed);
    let cluster = &ground.cluster;
    let expected = expected().iter().filter(|(name, _)| STAGES.iter().any(|stage| name.starts_with(stage)));
    let expected: Digests = expected.map(|(name, bytes)| (name.clone(), digest(bytes))).collect();
    let (_scheduler, address) = cluster.scheduler();
    let mut executors = Executors::new(cluster, &address);
    // Of executors, of clients, and of executors at a step of a shard.
    let mut kills = [0_u64; 3];
    let (mut rounds, mut clients) = (0, 0);
    while rounds == 0 || kills.iter().sum::<u64>() < wanted {
        ground.prepare(rounds);
        let runs = ground.runs(rounds);
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
                None | Some(74 | 75) => ground.free(rounds),
                Some(_) => panic!("after {kills:?} kills, seed {seed}: {client}"),
            }
        }
        let whose = format!("after {kills:?} kills, seed {seed}");
        assert_eq!(ground.place.published_of(cluster, &Ground::way(rounds), &STAGES), expected, "{whose}");
        assert!(told.len() <= 8 * STAGES.len() && told.values().all(|times| *times == 1), "{whose}: {told:?}");
        for stage in STAGES {
            let receipt = ground.place.receipt(cluster, &Ground::way(rounds), stage);
            let rows = receipt["outputs"].as_array().expect("is a list").iter().map(|file| file["rows"].as_u64());
            assert_eq!(rows.sum::<Option<u64>>(), Some(720), "{whose}: {stage}");
            assert_eq!(receipt["details"]["shards"].as_array().map(Vec::len), Some(8), "{whose}: {stage}");
        }
        rounds += 1;
    }
    drop(executors);
    // Jobs of killed clients may have made shards after these were published.
    for round in 0..rounds {
        let runs = ground.runs(round);
        let words = if round % 2 == 0 {
            format!("clean {runs}/small --keep 0s")
        } else {
            format!("run small.toml --to denoise --runs {runs}")
        };
        cluster.start(&words, "").exits(0);
        assert_eq!(ground.left(round), [""; 0], "left in round {round}, seed {seed}");
    }
    let [of_executors, of_clients, at_a_step] = kills;
    println!("kills: {of_executors} of executors, {of_clients} of clients, {at_a_step} at a step of a shard");
    let failed = ground.proxy.as_ref().map_or(0, |proxy| proxy.failed.load(Ordering::Relaxed));
    println!("rounds: {rounds}, clients: {clients}, failed requests: {failed}");
    println!("differences: 0, shards told twice: 0, left behind: 0");
}
