//! Concurrent processes in one run directory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use crate::harness::{STAGES, Sandbox};

/// Takes the lock of the run directory, as another process would.
fn locked(sandbox: &Sandbox) -> File {
    let signature = r#"{"pid":4711,"host":"elsewhere","since":"2026-01-02T03:04:05Z"}"#;
    let path = sandbox.write("runs/small/.lock", signature.as_bytes());
    let file = File::open(path).expect("is there");
    file.lock().expect("can be locked");
    file
}

#[test]
fn of_ten_processes_one_works_and_the_others_find_everything_done() {
    let sandbox = Sandbox::new();
    let lock = locked(&sandbox);
    let rivals: Vec<_> = (0..10).map(|_| sandbox.limpid("run small.toml --threads 1").spawn()).collect();
    let pids: Vec<u32> = rivals.iter().map(std::process::Child::id).collect();
    // All of them wait before the lock is released.
    let waiting = rivals.into_iter().map(|mut rival| {
        let mut stderr = BufReader::new(rival.stderr.take().expect("is piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("readable");
        let expected =
            "waiting for runs/small, which is in use by process 4711 on elsewhere since 2026-01-02T03:04:05Z\n";
        assert_eq!(line, expected);
        (rival, stderr)
    });
    let waiting: Vec<_> = waiting.collect();
    drop(lock);
    // Read in parallel, so that no process blocks on a full pipe.
    let told: Vec<String> = std::thread::scope(|scope| {
        let readers = waiting.into_iter().map(|(mut rival, mut stderr)| {
            scope.spawn(move || {
                let mut told = String::new();
                stderr.read_to_string(&mut told).expect("readable");
                assert_eq!(rival.wait().expect("ends").code(), Some(0), "{told}");
                told
            })
        });
        let readers: Vec<_> = readers.collect();
        readers.into_iter().map(|reader| reader.join().expect("succeeds")).collect()
    });
    for stage in STAGES {
        let count = |text: &str| told.iter().filter(|told| told.contains(&format!("{stage}: {text}"))).count();
        assert_eq!((count("done in"), count("up to date")), (1, 9), "{stage}");
    }
    // The process that they name as the holder of the lock is one of them.
    for line in told.iter().flat_map(|told| told.lines()).filter(|line| line.starts_with("waiting")) {
        let pid = line.split("process ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        assert!(pid.is_some_and(|pid| pids.contains(&pid)), "{line}");
    }
    sandbox.limpid("run small.toml --runs alone").succeeds();
    for stage in STAGES {
        assert!(
            sandbox.files(&format!("runs/small/{stage}")) == sandbox.files(&format!("alone/small/{stage}")),
            "{stage}"
        );
    }
}

#[test]
fn whoever_waits_gives_up_when_it_is_told_to() {
    let sandbox = Sandbox::new();
    let _lock = locked(&sandbox);
    let message = "runs/small is in use by process 4711 on elsewhere since 2026-01-02T03:04:05Z; waited ";
    sandbox.limpid("run small.toml --lock-timeout 0s").exits(75).says(message);
    sandbox.limpid("run small.toml --lock-timeout 1s").exits(75).says("waiting for runs/small").says(message);
    // Reading needs no lock.
    sandbox.limpid("plan small.toml").succeeds().never_says("waiting");

    let mut waiting = sandbox.limpid("run small.toml").spawn();
    let mut stderr = BufReader::new(waiting.stderr.take().expect("is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("readable");
    assert!(line.starts_with("waiting for"), "{line}");
    std::process::Command::new("kill").args(["-s", "INT", &waiting.id().to_string()]).status().expect("kills");
    assert_eq!(waiting.wait().expect("ends").code(), Some(75));
    assert!(!sandbox.path("runs/small/ingest").exists());
}

/// A removed run directory takes its lock along: a process that waits for it must not run beside one that locks the new one.
#[test]
fn a_run_directory_that_is_removed_is_locked_again() {
    let sandbox = Sandbox::new();
    let _gone = locked(&sandbox);
    let mut waiting = sandbox.limpid("run small.toml").spawn();
    let mut stderr = BufReader::new(waiting.stderr.take().expect("is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("readable");
    std::fs::remove_dir_all(sandbox.path("runs/small")).expect("removed");
    // The lock of the removed directory is still held, and must not be waited for.
    let mut told = String::new();
    stderr.read_to_string(&mut told).expect("readable");
    assert_eq!(waiting.wait().expect("ends").code(), Some(0), "{told}");
    assert!(told.contains("report: done in"), "{told}");
}
