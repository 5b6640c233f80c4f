//! Clusters whose parts die, or are stopped: whoever makes the shards, the results have the bytes of a run on one machine, and each shard is
//! told once.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::link;
use crate::process::{Cluster, MAP_STAGES, results, same};

#[test]
fn a_cluster_in_one_process_makes_the_same_bytes() {
    let sandbox = Cluster::new();
    let mut run = sandbox.run("ballista");
    run.exits(0);
    run.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
    // Nothing more to do, and nothing is done.
    let mut again = sandbox.run("ballista");
    again.exits(0);
    again.tells_each_shard_once(&[]);
}

#[test]
fn one_executor_and_four_make_the_same_bytes() {
    for executors in [1, 4] {
        let sandbox = Cluster::new();
        let (_scheduler, address) = sandbox.scheduler();
        let _executors: Vec<_> = (0..executors).map(|_| sandbox.executor(&address, "")).collect();
        let mut run = sandbox.run(&address);
        run.exits(0);
        run.tells_each_shard_once(&MAP_STAGES);
        sandbox.check();
    }
}

#[test]
fn the_shards_of_a_killed_executor_are_made_by_another() {
    let sandbox = Cluster::new();
    let (_scheduler, address) = sandbox.scheduler();
    let mut killed = sandbox.executor(&address, &sandbox.fault("encode", "kill"));
    let mut run = sandbox.run(&address);
    assert_eq!(killed.code(), None, "{killed}");
    let before = sandbox.finished("encode").len();
    assert!((1..8).contains(&before), "{before}");
    let _other = sandbox.executor(&address, "");
    run.exits(0);
    run.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
}

#[test]
fn the_shards_of_an_export_are_made_by_another_if_an_executor_is_killed() {
    let cluster = Cluster::with("profile = \"spark\"\npart-rows = 150\npictures = \"u8\"\n", Vec::new());
    cluster.start("run small.toml --to denoise --runs alone", "").exits(0);
    link(&cluster.path("alone"), &cluster.path("runs"));
    cluster.start("run small.toml --only export --runs alone", "").exits(0);
    let (_scheduler, address) = cluster.scheduler();
    // In the midst of the pictures of the third shard.
    let mut killed = cluster.executor(&address, &cluster.fault("export", "kill").replace(":5:", ":250:"));
    let words = format!("run small.toml --only export --threads 2 --log json --engine {address}");
    let mut run = cluster.start(&words, "");
    assert_eq!(killed.code(), None, "{killed}");
    let _other = cluster.executor(&address, "");
    run.exits(0);
    // Images of three tables in eight files, and codes: of the parts of 150 rows, four begin in files of train, and one in one of test.
    let told = run.told_shards();
    assert!(told.len() == 3 * 8 + 5 && told.values().all(|times| *times == 1), "{told:?}\n{run}");
    let [found, expected] =
        ["runs", "alone"].map(|runs| results(&cluster.sandbox, &format!("{runs}/small"), &["export"]));
    same(&found, &expected, "the cluster");
    assert!(!cluster.path("runs/small/.shards").exists());
}

#[test]
fn an_executor_that_is_asked_to_stop_leaves_its_work_to_others() {
    let sandbox = Cluster::new();
    let (_scheduler, address) = sandbox.scheduler();
    let mut stopped = sandbox.executor(&address, &sandbox.fault("encode", "terminate"));
    let mut run = sandbox.run(&address);
    stopped.exits(75);
    let _other = sandbox.executor(&address, "");
    run.exits(0);
    run.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
}

#[test]
fn a_client_that_was_killed_goes_on_at_its_finished_shards() {
    let sandbox = Cluster::new();
    let (_scheduler, address) = sandbox.scheduler();
    let mut killed = sandbox.executor(&address, &sandbox.fault("encode", "kill"));
    let mut client = sandbox.run(&address);
    assert_eq!(killed.code(), None, "{killed}");
    client.kill();
    let before = sandbox.finished("encode");
    assert!((1..8).contains(&before.len()), "{before:?}");
    let _other = sandbox.executor(&address, "");
    let mut again = sandbox.run(&address);
    again.exits(0);
    // The job of the killed client may still be making shards, which the next run removes.
    sandbox.check_results();
    for (name, written) in before {
        let published = fs::metadata(sandbox.path(&format!("runs/small/encode/{name}")));
        assert_eq!(published.and_then(|file| file.modified()).expect("is published"), written, "{name} was made again");
    }
}

#[test]
fn a_scheduler_that_was_killed_can_be_replaced() {
    let sandbox = Cluster::new();
    let (mut scheduler, address) = sandbox.scheduler();
    let mut killed = sandbox.executor(&address, &sandbox.fault("encode", "kill"));
    let mut run = sandbox.run(&address);
    assert_eq!(killed.code(), None, "{killed}");
    scheduler.kill();
    run.exits(75);
    run.says("the cluster of 127.0.0.1:");
    let (_scheduler, address) = sandbox.scheduler();
    let _executor = sandbox.executor(&address, "");
    let mut again = sandbox.run(&address);
    again.exits(0);
    sandbox.check();
}

#[test]
fn a_shard_that_could_not_be_written_is_tried_again() {
    let sandbox = Cluster::new();
    let (_scheduler, address) = sandbox.scheduler();
    let _executor = sandbox.executor(&address, &sandbox.fault("corrupt", "ENOSPC"));
    let mut run = sandbox.run(&address);
    run.exits(0);
    run.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
}

#[test]
fn a_shard_that_can_never_be_written_is_the_error_of_the_run() {
    let sandbox = Cluster::new();
    let (_scheduler, address) = sandbox.scheduler();
    let _executor = sandbox.executor(&address, &sandbox.fault("corrupt", "ENOSPC").replace(":5:", ":5+:"));
    let mut run = sandbox.run(&address);
    run.exits(74);
    run.says("the stage corrupt failed");
    run.says("parquet was not made on");
    run.says("(os error 28)");
    assert!(!sandbox.path("runs/small/corrupt").exists());
    // What is finished stays so.
    assert!(!sandbox.finished("corrupt").is_empty());
}

#[test]
fn input_that_changes_under_an_executor_is_the_error_of_the_run() {
    let sandbox = Cluster::new();
    let (_scheduler, address) = sandbox.scheduler();
    let input = sandbox.path("runs/small/ingest/train-00002-of-00006.parquet");
    let _executor = sandbox.executor(&address, &format!("read {}:1:rot", input.display()));
    let mut run = sandbox.run(&address);
    run.exits(74);
    run.says("ingest/train-00002-of-00006.parquet has changed while it was read");
    run.says("nothing of the stage corrupt is published");
    assert!(!sandbox.path("runs/small/corrupt").exists());
}

#[test]
fn mistakes_are_explained() {
    let sandbox = Cluster::new();
    let mut unknown = sandbox.run("spark");
    unknown.exits(2);
    unknown.says("ballista://HOST:PORT");
    let mut short = sandbox.start("scheduler --bind 127.0.0.1:0 --executor-timeout 1s", "");
    short.exits(2);
    short.says("at least 6s");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("is free");
    let mut nowhere = sandbox.run(&format!("ballista://{free}"));
    nowhere.exits(75);
    nowhere.says("the cluster of 127.0.0.1:");
    let mut executor = sandbox.start(&format!("executor {free} --connect-timeout 1s"), "");
    executor.exits(74);
    executor.says("no scheduler answers at 127.0.0.1:");
}

#[test]
fn a_run_that_waits_for_an_executor_says_so_and_one_that_is_stopped_cancels_its_job() {
    let sandbox = Cluster::new();
    let (_scheduler, address) = sandbox.scheduler();
    let mut run = sandbox.run(&address);
    run.will_say("waiting for an executor: the scheduler at 127.0.0.1:");
    kill_process(Pid::from_child(run.child()), Signal::TERM).expect("is there");
    run.exits(75);
    let executor = sandbox.executor(&address, "");
    executor.will_say("computes by");
    // A job that was left would be begun at once.
    std::thread::sleep(Duration::from_secs(2));
    assert!(!sandbox.path("runs/small/.shards").exists());
    let mut again = sandbox.run(&address);
    again.exits(0);
    again.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
}
