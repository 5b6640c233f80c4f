//! Full and read-only disks.

use std::process::Command;

use crate::harness::Sandbox;

/// Runs limpid with `runs` on a file system that is mounted in a private namespace; none where mounting is not allowed.
fn with_mount(sandbox: &Sandbox, options: &str, words: &str) -> Option<(i32, String)> {
    let runs = sandbox.path("runs");
    std::fs::create_dir_all(&runs).expect("created");
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs {runs} || exit 99; cd {folder}; {limpid} {words}",
        runs = runs.display(),
        folder = sandbox.path("").display(),
        limpid = env!("CARGO_BIN_EXE_limpid"),
    );
    let output = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).output();
    let output = match output {
        Ok(output) if output.status.code() != Some(99) && !output.stderr.starts_with(b"unshare") => output,
        _ => Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().ok()?,
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(99) | None => None,
        Some(_) if stderr.starts_with("unshare") => None,
        Some(code) => Some((code, stderr)),
    }
}

/// Reports a skipped test; fails where mounting is known to work, so that the test is not skipped unnoticed.
fn skipped() {
    let expected = std::env::var_os("CI").is_some() && rustix::process::geteuid().is_root();
    let why = "file systems cannot be mounted here, which takes a user namespace or the capability CAP_SYS_ADMIN";
    assert!(!expected, "CI is set and this is root, but {why}; allow it, or unset CI to skip this test");
    eprintln!("skipped: {why}");
}

#[test]
fn a_full_disk_is_an_io_error_with_the_path() {
    let sandbox = Sandbox::new();
    let Some((code, stderr)) = with_mount(&sandbox, "size=100k", "run small.toml") else { return skipped() };
    assert_eq!(code, 74, "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(stderr.contains("runs/small/.scratch/ingest/train-00000-of-00001.parquet"), "{stderr}");
}

/// Like the failpoint tests, on a real file system: a new result does not fit beside the old one.
#[test]
fn a_disk_that_fills_up_keeps_the_last_good_result() {
    let sandbox = Sandbox::new();
    let limpid = env!("CARGO_BIN_EXE_limpid");
    let script = format!(
        "run small.toml && head -c 1G /dev/zero > runs/filler; {limpid} run small.toml --set seed=2; \
         code=$?; {limpid} plan small.toml --verify --check && test ! -e runs/small/.scratch && rm runs/filler && \
         {limpid} run small.toml --set seed=2 && exit $code"
    );
    let Some((code, stderr)) = with_mount(&sandbox, "size=8M", &script) else { return skipped() };
    assert_eq!(code, 74, "{stderr}");
    assert!(
        stderr.contains("No space left on device") && stderr.contains("cannot write runs/small/.scratch"),
        "{stderr}"
    );
    assert!(stderr.trim_end().lines().last().is_some_and(|line| line.starts_with("report: done in")), "{stderr}");
}

#[test]
fn a_read_only_disk_is_an_io_error_with_the_path() {
    let sandbox = Sandbox::new();
    let Some((code, stderr)) = with_mount(&sandbox, "ro", "run small.toml") else { return skipped() };
    assert_eq!(code, 74, "{stderr}");
    assert!(stderr.contains("cannot create runs/small") && stderr.contains("Read-only file system"), "{stderr}");
}

#[test]
fn a_folder_that_cannot_be_made_is_told_with_its_path() {
    let sandbox = Sandbox::new();
    sandbox.write("runs", b"a file");
    sandbox.limpid("run small.toml").exits(2).says("cannot create runs");
}

/// A link to itself cannot be read even by the superuser, as a folder without permission cannot by others.
#[cfg(unix)]
#[test]
fn what_cannot_be_read_is_not_told_as_missing() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let replace_by_loop = |name: &str| {
        let path = sandbox.path(name);
        std::fs::rename(&path, sandbox.path("aside")).expect("renamed");
        std::os::unix::fs::symlink(&path, &path).expect("linked");
        path
    };
    let stage = replace_by_loop("runs/small/encode");
    for command in ["plan small.toml", "run small.toml", "show runs/small", "diff runs/small runs/small"] {
        sandbox.limpid(command).exits(74).says("cannot read runs/small/encode/_receipt.json").says("symbolic links");
    }
    std::fs::remove_file(&stage).and_then(|()| std::fs::rename(sandbox.path("aside"), &stage)).expect("renamed");
    replace_by_loop("runs/small/pipeline.json");
    sandbox.limpid("show runs/small").exits(74).says("cannot read runs/small/pipeline.json");
    sandbox.limpid("show small.toml").exits(2).says("small.toml is not a run directory");
}
