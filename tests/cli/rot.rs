//! Bit rot, and files that change while they are read: no wrong result is ever published.
//!
//! A failpoint strikes at each read of each file in turn, until it is beyond the last one. If `LIMPID_ROUNDS` is set,
//! all cases also run with new times; otherwise only the second read of each file does.

use std::collections::BTreeMap;
use std::path::Path;

use image::ImageFormat;
use serde_json::Value;

use crate::applying::idx;
use crate::harness::{Done, STAGES_AND_EXPORT, Sandbox, files};
use crate::own_arrays::{npy, npz};
use crate::own_images::{encoded, picture, png};

/// Copies a folder with the times of its files.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("created");
    for entry in std::fs::read_dir(from).expect("is there") {
        let entry = entry.expect("is readable");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("copied");
            let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("has a time");
            std::fs::File::options().append(true).open(&to).and_then(|file| file.set_modified(modified)).expect("set");
        }
    }
}

/// The inputs of a stage from earlier ones, by its receipt.
fn inputs(sandbox: &Sandbox, stage: &str) -> Vec<String> {
    let receipt: Value =
        serde_json::from_slice(&sandbox.read(&format!("base/small/{stage}/_receipt.json"))).expect("is JSON");
    receipt["parts"]["inputs"].as_object().expect("is one").keys().filter(|key| key.contains('/')).cloned().collect()
}

/// The cases of a file: the number of a read, and the fault at it.
fn cases() -> impl Iterator<Item = (usize, &'static str)> {
    let all = std::env::var_os("LIMPID_ROUNDS").is_some();
    (1..).flat_map(move |read| {
        [(read, "rot"), (read, "edit")].into_iter().filter(move |case| all || case.1 == "rot" || read == 2)
    })
}

/// Runs `stage` with each input changed at each read; `settings` are those of the results in `base`.
fn rot_at_every_read(sandbox: &Sandbox, stage: &str, settings: &str) {
    let run = format!("run small.toml {settings}");
    let mut table: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    for input in inputs(sandbox, stage) {
        for (read, action) in cases() {
            _ = std::fs::remove_dir_all(sandbox.path("runs"));
            copy(&sandbox.path("base"), &sandbox.path("runs"));
            let fault = format!("read runs/small/{input}:{read}:{action}");
            let done = sandbox.limpid(&format!("{run} --only {stage} --force")).env("LIMPID_FAILPOINT", &fault).ends();
            if sandbox.read(&format!("runs/small/{input}")) == sandbox.read(&format!("base/small/{input}")) {
                assert!(read > 1, "{stage} does not read {input}");
                break;
            }
            let code = done.status().code().expect("was not killed");
            let name = input.rsplit('/').next().expect("has a name");
            assert!(
                code == 0 || ([65, 74].contains(&code) && done.stderr().contains(name)),
                "{stage}: {fault}\n{done}"
            );
            let folder = |runs: &str| sandbox.files(&format!("{runs}/small/{stage}"));
            assert!(folder("runs") == folder("base"), "{stage}: {fault} published something else\n{done}");
            *table.entry((action, code)).or_default() += 1;
            if read == 1 {
                sandbox.limpid(&format!("{run} --to {stage} --verify")).succeeds();
                for stage in STAGES_AND_EXPORT.iter().take_while(|name| **name != stage).chain([&stage]) {
                    let folder = |runs: &str| sandbox.files(&format!("{runs}/small/{stage}"));
                    assert!(folder("runs") == folder("base"), "{stage} after {fault}");
                }
            }
        }
    }
    let told = |((action, code), count): (&(&str, i32), &usize)| format!("{action} {count} times {code}");
    println!("{stage} {settings}: {}", table.iter().map(told).collect::<Vec<_>>().join(", "));
}

#[test]
fn a_bit_that_rots_while_a_stage_reads_is_never_published() {
    let settings = "--set output.profile=spark --set source.strokes.train=100 --set source.strokes.test=30";
    let sandbox = Sandbox::new();
    sandbox.limpid(&format!("run small.toml --runs base {settings}")).succeeds();
    for stage in &STAGES_AND_EXPORT[1..] {
        rot_at_every_read(&sandbox, stage, settings);
    }
}

#[test]
fn nor_while_a_training_streams() {
    let settings = "--set source.strokes.train=1500 --set training.memory-mib=1";
    let sandbox = Sandbox::new();
    sandbox.limpid(&format!("run small.toml --runs base --to train {settings}")).succeeds();
    rot_at_every_read(&sandbox, "train", settings);
}

#[test]
fn a_checkpoint_of_damaged_images_is_not_gone_on_from() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --runs base --to train").succeeds();
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let file = "runs/small/ingest/train-00000-of-00001.parquet";
    // Digest, opening and the only row group; then the first epoch ends.
    let faults = format!("read {file}:3:rot,rename runs/small/.checkpoint/train.new:2:kill");
    sandbox.limpid("run small.toml --to train").env("LIMPID_FAILPOINT", faults).ends();
    if sandbox.path("runs/small/.checkpoint/train").exists() {
        let again = sandbox.limpid("run small.toml --to train").succeeds().never_says("resuming");
        again.says("train: its checkpoint is not used, since the result of ingest is damaged");
    }
    sandbox.limpid("run small.toml --to train").succeeds();
    assert!(sandbox.files("runs/small/train") == sandbox.files("base/small/train"));
}

/// Changes each of these files at each read of `command`; its output in `folder` must be that for the changed files, or
/// nothing.
fn change_at_every_read(sandbox: &Sandbox, command: &str, changed: &[&str], folder: &str) {
    let result =
        |done: &Done| (done.status().code(), files(&sandbox.path(folder)).ok().filter(|files| !files.is_empty()));
    let clean = || {
        _ = std::fs::remove_dir_all(sandbox.path(folder));
        result(&sandbox.limpid(command).ends())
    };
    // limpid's tables detect damage themselves, so that a change after they were read does no harm.
    let guarded = |file: &str| folder == "out" && file.ends_with(".parquet");
    let unchanged = clean();
    let (mut refused, mut whole) = (0, 0);
    for file in changed {
        for (read, action) in cases() {
            let before = sandbox.read(file);
            _ = std::fs::remove_dir_all(sandbox.path(folder));
            let fault = format!("read {file}:{read}:{action}");
            let done = sandbox.limpid(command).env("LIMPID_FAILPOINT", &fault).ends();
            let found = result(&done);
            if sandbox.read(file) == before {
                assert!(read > 1, "{command} does not read {file}");
                break;
            }
            if found.0 == Some(75) {
                assert!(found.1.is_none() && done.stderr().contains("while it was read"), "{command}: {fault}\n{done}");
                refused += 1;
            } else {
                assert!(
                    (guarded(file) && found == unchanged) || found == clean(),
                    "{command}: {fault} gave something else\n{done}"
                );
                whole += 1;
            }
            sandbox.write(file, &before);
        }
    }
    println!("{command}: refused {refused} times, as the file then was {whole} times");
}

fn byte_images(count: usize) -> Vec<u8> {
    npy("|u1", &format!("({count}, 8, 8)"), &(0..count * 64).map(|index| (index * 7 % 251) as u8).collect::<Vec<_>>())
}

/// A sandbox with files of every kind of source.
fn sources() -> Sandbox {
    let sandbox = Sandbox::with("[source]\nstrokes = { train = 40, test = 10 }\n[model]\ndense = { code = 2 }\n");
    sandbox.write("a.npy", &byte_images(40));
    sandbox.write("b.npy", &byte_images(10));
    let labels = |count: usize| npy("|u1", &format!("({count},)"), &vec![1; count]);
    sandbox.write("y.npy", &labels(40));
    let archive =
        [("x_train", byte_images(40)), ("x_test", byte_images(10)), ("y_train", labels(40)), ("y_test", labels(10))];
    sandbox.write("a.npz", &npz(&archive, zip::CompressionMethod::Stored));
    sandbox.write("a.idx", &idx(&[40, 8, 8]));
    sandbox.write("b.idx", &idx(&[10, 8, 8]));
    for (split, count) in [("train", 6), ("test", 3)] {
        for seed in 0..count {
            sandbox.write(&format!("photos/{split}/cat/{seed}.png"), &png(8, 8, seed));
            sandbox.write(&format!("photos/{split}/dog/{seed}.bmp"), &encoded(&picture(8, 8, seed), ImageFormat::Bmp));
        }
    }
    sandbox.write(
        "photos/list.csv",
        b"file,label,split\ntrain/cat/0.png,a,train\ntrain/cat/1.png,b,test\ntest/cat/0.png,a,train\n",
    );
    sandbox
}

#[test]
fn a_source_that_changes_while_ingest_reads_is_not_published() {
    let sandbox = sources();
    sandbox.limpid("run small.toml --runs tables --to ingest").succeeds();
    for split in ["train", "test"] {
        let name = format!("{split}-00000-of-00001.parquet");
        sandbox.write(&format!("tables/{name}"), &sandbox.read(&format!("tables/small/ingest/{name}")));
    }
    std::fs::remove_dir_all(sandbox.path("tables/small")).expect("removed");
    for (name, source, changed) in [
        (
            "npy",
            "npy = { train = \"a.npy\", test = \"b.npy\", train-labels = \"y.npy\" }",
            &["a.npy", "b.npy", "y.npy"][..],
        ),
        ("npz", "npz = { path = \"a.npz\", train = \"x_train\", test = \"x_test\" }", &["a.npz"]),
        ("idx", "idx = { train = \"a.idx\", test = \"b.idx\" }", &["a.idx", "b.idx"]),
        (
            "folder",
            "folder = { path = \"photos\" }",
            &["photos/train/cat/0.png", "photos/train/dog/3.bmp", "photos/test/dog/0.bmp"],
        ),
        (
            "csv",
            "folder = { path = \"photos\", csv = \"photos/list.csv\" }",
            &["photos/list.csv", "photos/train/cat/1.png"],
        ),
        ("parquet", "parquet = { path = \"tables\" }", &["tables/train-00000-of-00001.parquet"]),
    ] {
        let pipeline = format!("[source]\n{source}\n[model]\ndense = {{ code = 2 }}\n[gate]\nbaselines = []\n");
        sandbox.write(&format!("{name}.toml"), pipeline.as_bytes());
        let command = format!("run {name}.toml --to ingest");
        sandbox.limpid(&command).succeeds();
        change_at_every_read(&sandbox, &command, changed, &format!("runs/{name}/ingest"));
        // A source that was trusted by its time is digested before it is read again.
        sandbox.limpid(&command).succeeds();
        sandbox.limpid(&format!("{command} --force")).succeeds();
    }
}

#[test]
fn pictures_that_come_or_go_while_a_folder_is_read_are_noticed() {
    let sandbox = sources();
    let pipeline = "[source]\nfolder = { path = \"photos\" }\n[model]\ndense = { code = 2 }\n";
    sandbox.write("f.toml", pipeline.as_bytes());
    for (fault, says) in [
        // The third read, after those for the digest and for the shape.
        ("read photos/train/cat/0.png:3:come", "photos/train/cat/copy-of-0.png changed last"),
        // The second read, after the digest.
        (
            "read photos/train/dog/5.bmp:2:gone",
            "photos (source.folder.path) has changed while it was read, or files have come or gone",
        ),
    ] {
        let run = sandbox.limpid("run f.toml --to ingest").env("LIMPID_FAILPOINT", fault);
        run.exits(75).says(says).says("nothing of the stage ingest is published");
        assert!(!sandbox.path("runs/f/ingest").exists());
        sandbox.limpid("run f.toml --to ingest").succeeds();
        std::fs::remove_dir_all(sandbox.path("runs")).expect("removed");
    }
}

#[test]
fn nor_is_an_input_of_a_command_that_changes() {
    let sandbox = sources();
    sandbox.write("m.toml", b"[source]\nnpy = { train = \"a.npy\", test = \"b.npy\" }\n[model]\nconv = { channels = [2], code = 2 }\n[training]\nepochs = 1\n[gate]\nbaselines = []\n");
    sandbox.limpid("run m.toml --to train").succeeds();
    sandbox.write("other.parquet", &sandbox.read("runs/m/ingest/test-00000-of-00001.parquet"));
    for (input, changed) in [
        ("b.npy", &["b.npy"][..]),
        ("b.idx", &["b.idx"]),
        ("photos/test/dog/0.bmp", &["photos/test/dog/0.bmp"]),
        ("photos", &["photos/train/dog/2.bmp", "photos/test/cat/1.png"]),
        ("other.parquet", &["other.parquet"]),
    ] {
        for command in ["encode", "denoise"] {
            change_at_every_read(&sandbox, &format!("{command} runs/m {input} --resize -o out"), changed, "out");
        }
    }
    // The first reading is for a look before anything is written.
    let fault = "read photos/test/cat/1.png:2:come";
    let run = sandbox.limpid("encode runs/m photos --resize -o out").env("LIMPID_FAILPOINT", fault);
    run.exits(75).says("copy-of-1.png has come while it was read");
}

#[test]
fn an_export_of_a_table_that_rots_is_not_published() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    copy(&sandbox.path("runs"), &sandbox.path("base"));
    for (read, _) in cases() {
        _ = std::fs::remove_dir_all(sandbox.path("runs"));
        _ = std::fs::remove_dir_all(sandbox.path("tables"));
        copy(&sandbox.path("base"), &sandbox.path("runs"));
        let file = "runs/small/denoise/train-00000-of-00001.parquet";
        let fault = format!("read {file}:{read}:rot");
        let done = sandbox.limpid("export runs/small --to tables").env("LIMPID_FAILPOINT", &fault).ends();
        if sandbox.read(file) == sandbox.read(&file.replace("runs", "base")) {
            break;
        }
        assert_eq!(done.status().code(), Some(65), "{fault}\n{done}");
        assert!(!sandbox.path("tables").exists(), "{fault}");
    }
}
