//! What refused and killed commands leave behind: nothing, or what the next one removes.

use std::time::{Duration, SystemTime};

use crate::harness::Sandbox;

#[test]
fn a_refused_run_leaves_no_folder() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --set training.precision=bf16").exits(2).says("is not for the device flex");
    assert!(!sandbox.path("runs").exists());
    // Refused once the lock is held. That of a killed process is removed as well, but not a folder that was there.
    let refused = || {
        let source = "source={idx={train=\"a.idx\",test=\"b.idx\"}}";
        sandbox.limpid("run small.toml --set").arg(source).exits(65).says("does not exist");
    };
    refused();
    assert!(sandbox.path("runs").exists() && !sandbox.path("runs/small").exists());
    sandbox.write("runs/small/.lock", b"");
    refused();
    assert_eq!(sandbox.files("runs/small"), []);
    // What a run has made stays.
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_ne!(sandbox.limpid("run small.toml --set training.precision=bf16").ends().status().code(), Some(0));
    assert!(sandbox.path("runs/small/ingest/_receipt.json").exists());
}

#[test]
fn the_file_of_a_killed_writer_is_removed_by_the_next() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let write = |name: &str, age: u64| {
        let file = std::fs::File::create(sandbox.write(name, b"half")).expect("created");
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("is possible");
        file
    };
    let names =
        ["out/.old.html.limpid.new", "out/.young.html.limpid.new", "out/.locked.html.limpid.new", "out/.notes.new"];
    let files = names.map(|name| write(name, if name.contains("young") { 0 } else { 3600 }));
    files[2].lock().expect("is free");
    let killed = sandbox.limpid("diff runs/small runs/small --html out/a.html").env("LIMPID_FAILPOINT", "rename:kill");
    assert_eq!(killed.ends().status().code(), None);
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let half = std::fs::File::options().append(true).open(sandbox.path("out/.a.html.limpid.new"));
    half.expect("was left").set_modified(hour_ago).expect("is possible");
    sandbox.limpid("diff runs/small runs/small --html out/b.html").succeeds();
    let names: Vec<_> = sandbox.files("out").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [".locked.html.limpid.new", ".notes.new", ".young.html.limpid.new", "b.html"]);
}
