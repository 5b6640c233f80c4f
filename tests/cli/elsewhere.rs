//! Files that commands write outside a run directory are whole or absent, after a fault at any step that changes the disk.

use std::os::unix::process::ExitStatusExt;

use crate::applying::idx;
use crate::harness::{Done, Run, Sandbox};
use crate::steps::{PIPELINE, expect_durable, steps};

/// Expects the end of a command after this fault: a full disk, a kill, or a signal.
fn expect_end(done: &Done, action: &str, what: &str) {
    let status = done.status();
    match action {
        "kill" => assert_eq!(status.signal(), Some(9), "{what}"),
        "terminate" => assert!(matches!(status.code(), Some(0 | 75)), "{what}"),
        _ => {
            assert_eq!(status.code(), Some(74), "{what}");
            assert!(done.stderr().contains("No space left on device") && done.stderr().contains("out"), "{what}");
        }
    }
}

fn with_failpoint(run: Run, failpoint: &str) -> Run {
    if failpoint.is_empty() { run } else { run.env("LIMPID_FAILPOINT", failpoint) }
}

/// The output of `encode` for other images replaces an earlier one.
#[test]
fn features_of_other_images_are_whole_or_absent() {
    let sandbox = Sandbox::with(PIPELINE);
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox.limpid("run small.toml --runs old --set seed=2 --to train").succeeds();
    sandbox.write("a.idx", &idx(&[30, 28, 28]));
    let encode = |runs: &str, failpoint: &str| {
        with_failpoint(sandbox.limpid(&format!("encode {runs}/small a.idx -o out")), failpoint)
    };
    let output = || sandbox.files("out");
    encode("old", "").succeeds();
    let old = output();
    let told = encode("runs", "trace").succeeds().stderr();
    let steps = steps(&told);
    let new = output();
    assert!(steps.len() >= 6 && old != new, "{told}");
    let hidden = |(name, _): &(String, Vec<u8>)| name.starts_with('.');
    for (index, step) in steps.iter().enumerate() {
        for action in ["kill", "terminate", "ENOSPC"] {
            encode("old", "").succeeds();
            let done = encode("runs", &format!(":{}:{action}", index + 1)).ends();
            let what = format!("{action} at `{step}`\n{done}");
            expect_end(&done, action, &what);
            let mut found = output();
            assert!(action == "kill" || !found.iter().any(hidden), "a temporary file is left after {what}");
            found.retain(|file| !hidden(file));
            assert!(found == old || found == new, "{what}");
            encode("runs", "").succeeds();
            assert!(output() == new, "after {what}");
        }
    }
    let lock = std::fs::File::create(sandbox.path("out/.a.parquet.new")).expect("created");
    lock.lock().expect("locked");
    encode("runs", "").exits(75).says("another process is writing out/a.parquet");
}

/// Single files are replaced at once, and the next writer reuses the temporary file that a kill leaves.
#[test]
fn a_model_and_a_page_are_whole_or_absent() {
    let sandbox = Sandbox::with(PIPELINE);
    sandbox.limpid("run small.toml").succeeds();
    for (words, name) in
        [("export runs/small --onnx out/m.onnx", "m.onnx"), ("diff runs/small runs/small --html out/m.html", "m.html")]
    {
        let write = |failpoint: &str| with_failpoint(sandbox.limpid(words), failpoint);
        let steps = steps(&write("trace").succeeds().stderr());
        let whole = sandbox.files("out");
        assert!(whole.len() == 1 && whole[0].0 == name && steps.len() >= 5, "{steps:?}");
        for (index, step) in steps.iter().enumerate() {
            for action in ["kill", "ENOSPC"] {
                std::fs::remove_dir_all(sandbox.path("out")).expect("removed");
                let done = write(&format!(":{}:{action}", index + 1)).ends();
                expect_end(&done, action, &format!("{action} at `{step}`\n{done}"));
                write("").succeeds();
                assert!(sandbox.files("out") == whole, "after {action} at `{step}`");
            }
        }
        let lock = std::fs::File::create(sandbox.path(&format!("out/.{name}.limpid.new"))).expect("created");
        lock.lock().expect("locked");
        write("").exits(75).says(&format!("another process is writing out/{name}"));
        drop(lock);
        // A link in place of the temporary file is not followed.
        std::fs::remove_file(sandbox.path(&format!("out/.{name}.limpid.new"))).expect("removed");
        let mine = sandbox.write("mine.txt", b"mine");
        std::os::unix::fs::symlink(&mine, sandbox.path(&format!("out/.{name}.limpid.new"))).expect("linked");
        write("").exits(2).says("is a link, which limpid does not write through");
        assert_eq!(sandbox.read("mine.txt"), b"mine");
        std::fs::remove_dir_all(sandbox.path("out")).expect("removed");
    }
}

/// An export appears at once.
#[test]
fn an_export_is_whole_or_absent() {
    let sandbox = Sandbox::with(PIPELINE);
    sandbox.limpid("run small.toml").succeeds();
    let words = "export runs/small --to out --profile hf --part-rows 150 --threads 1";
    let export = |failpoint: &str| with_failpoint(sandbox.limpid(words), failpoint);
    let steps = steps(&export("trace").succeeds().stderr());
    expect_durable(&steps, ".", "nothing is left over");
    let whole = sandbox.files("runs/small/export");
    assert!(whole.len() == 4 * 3 + 1 && sandbox.files("out") == whole, "the stage and the command write the same");
    let left = || [".out.new", ".out.lock"].map(|name| sandbox.path(name).exists());
    assert_eq!(left(), [false; 2]);
    let all = std::env::var("LIMPID_STEPS").is_ok_and(|steps| steps == "all");
    let every = if all { 1 } else { 4 };
    let (mut absent, mut there) = (0, 0);
    for (index, step) in steps.iter().enumerate().skip(steps.len() % every).step_by(every) {
        for action in ["kill", "terminate", "ENOSPC"] {
            _ = std::fs::remove_dir_all(sandbox.path("out"));
            let done = export(&format!(":{}:{action}", index + 1)).ends();
            let what = format!("{action} at `{step}`\n{done}");
            // The lock file may stay, since it is not locked.
            if step != "remove .out.lock" || action != "ENOSPC" {
                expect_end(&done, action, &what);
                assert!(action == "kill" || left() == [false; 2], "something is left after {what}");
            }
            if sandbox.path("out").exists() {
                there += 1;
            } else {
                absent += 1;
                export("").succeeds();
                assert_eq!(left(), [false; 2], "after {what}");
            }
            assert!(sandbox.files("out") == whole, "after {what}");
            _ = std::fs::remove_file(sandbox.path(".out.lock"));
        }
    }
    assert!(absent > 0 && there > 0, "{absent} and {there}");
}

#[test]
fn two_exports_to_one_folder_do_not_mix() {
    let sandbox = Sandbox::with(PIPELINE);
    sandbox.limpid("run small.toml").succeeds();
    let export =
        |part_rows: usize| sandbox.limpid(&format!("export runs/small --to out --profile hf --part-rows {part_rows}"));
    let lock = std::fs::File::create(sandbox.path(".out.lock")).expect("created");
    lock.lock().expect("locked");
    export(150).exits(75).says("another process is writing out");
    drop(lock);
    let rows = [150, 40, 80, 150];
    let running: Vec<_> = rows.iter().map(|rows| export(*rows).spawn()).collect();
    let codes: Vec<_> = running
        .into_iter()
        .map(|run| run.wait_with_output().expect("ends").status.code().expect("is not killed"))
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 0 | 2 | 75)), "{codes:?}");
    let won = rows[codes.iter().position(|code| *code == 0).expect("one did")];
    let found = sandbox.files("out");
    sandbox.limpid(&format!("export runs/small --to alone --profile hf --part-rows {won}")).succeeds();
    assert!(found == sandbox.files("alone"));
    assert!(!sandbox.path(".out.new").exists() && !sandbox.path(".out.lock").exists());
}
