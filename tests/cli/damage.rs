//! Detection of results that were damaged after they were published.

use std::path::Path;

use limpid::record::receipt::Receipt;

use crate::applying::idx;
use crate::harness::{STAGES, STAGES_AND_EXPORT, Sandbox};

/// A kind of damage to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// A flipped bit, with size and time unchanged.
    Bit,
    /// A truncated file.
    Cut,
    /// A missing file.
    Gone,
    /// Another file, with a new time.
    Replaced,
}

fn damage(path: &Path, how: Damage) {
    let mut bytes = std::fs::read(path).expect("readable");
    let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("has a time");
    let middle = bytes.len() / 2;
    match how {
        Damage::Bit => bytes[middle] ^= 0x10,
        Damage::Cut => bytes.truncate(middle),
        Damage::Gone => return std::fs::remove_file(path).expect("removed"),
        Damage::Replaced => bytes.reverse(),
    }
    std::fs::write(path, bytes).expect("written");
    if let Damage::Bit = how {
        std::fs::File::options().append(true).open(path).and_then(|file| file.set_modified(modified)).expect("set");
    }
}

#[test]
fn damage_to_any_file_is_found_and_undone() {
    let sandbox = Sandbox::new();
    let [run, check] =
        ["run small.toml", "plan small.toml --check"].map(|words| format!("{words} --set output.profile=spark"));
    sandbox.limpid(&run).succeeds();
    let mut kinds = [Damage::Bit, Damage::Cut, Damage::Gone, Damage::Replaced].into_iter().cycle();
    for stage in STAGES_AND_EXPORT {
        let folder = format!("runs/small/{stage}");
        let whole = sandbox.files(&folder);
        for (name, _) in &whole {
            let how = kinds.next().expect("never ends");
            damage(&sandbox.path(&folder).join(name), how);
            let plan = sandbox.limpid(&format!("{check} --verify")).exits(10).stdout();
            let work: Vec<_> = plan.lines().filter(|line| line.ends_with(" run")).collect();
            assert!(work.len() == 1 && work[0].starts_with(stage), "{stage}/{name} {how:?}\n{plan}");
            assert!(plan.contains(&format!("{folder}/{name} ")), "{how:?}\n{plan}");
            sandbox.limpid(&format!("{run} --verify")).succeeds();
            assert!(sandbox.files(&folder) == whole, "{stage}/{name} {how:?}");
        }
    }
    sandbox.limpid(&format!("{check} --verify")).succeeds();
}

/// `--verify` digests everything; without it, only inputs of stages that will run are digested.
#[test]
fn a_wrong_bit_is_noticed_before_it_is_used() {
    let sandbox = Sandbox::new();
    let settings = "--set encode.input=noisy";
    sandbox.limpid("run small.toml").succeeds();
    sandbox.limpid(&format!("run small.toml --runs clean {settings}")).succeeds();
    for (stage, name) in [
        ("ingest", "test-00000-of-00001.parquet"),
        ("corrupt", "train-00000-of-00001.parquet"),
        ("train", "last.safetensors"),
    ] {
        let path = sandbox.path(&format!("runs/small/{stage}/{name}"));
        damage(&path, Damage::Bit);
        // No stage reads it.
        sandbox.limpid("run small.toml").succeeds().says(&format!("{stage}: up to date"));
        sandbox.limpid("run small.toml --only encode --force").exits(if stage == "corrupt" { 0 } else { 65 });
        // Encode reads it.
        sandbox
            .limpid(&format!("run small.toml --to encode {settings}"))
            .succeeds()
            .says(&format!(
                "{stage}: {} has changed: digest",
                path.strip_prefix(sandbox.path("")).expect("is in it").display()
            ))
            .says(&format!("{stage}: done in"));
        for stage in &STAGES[..4] {
            let folder = |runs: &str| sandbox.files(&format!("{runs}/small/{stage}"));
            assert!(folder("runs") == folder("clean"), "{stage}");
        }
        sandbox.limpid("run small.toml").succeeds();
    }
}

/// Updates the stamp in ingest's receipt, so that the file counts as unchanged.
fn believe(sandbox: &Sandbox, file: &str) {
    use std::os::unix::fs::MetadataExt;
    let name = "runs/small/ingest/_receipt.json";
    let mut receipt = Receipt::parse(&sandbox.read(name)).expect("is one");
    let metadata = sandbox.path(file).metadata().expect("is there");
    let stamp = receipt.files.values_mut().find(|stamp| stamp.path.ends_with(file)).expect("is read");
    stamp.changed = metadata.ctime() as u64 * 1_000_000_000 + metadata.ctime_nsec() as u64;
    sandbox.write(name, &receipt.serialise().expect("is JSON"));
}

#[test]
fn what_a_source_holds_is_verified_too() {
    let sandbox = Sandbox::with(
        "[source]\nidx = { train = \"a.idx\", test = \"b.idx\" }\n[model]\ndense = { code = 2 }\n[training]\nepochs = 1\n",
    );
    sandbox.write("a.idx", &idx(&[5, 4, 4]));
    sandbox.write("b.idx", &idx(&[3, 4, 4]));
    sandbox.limpid("run small.toml --to train").succeeds();
    // An edit that keeps size and modification time changes the inode's change time, which no program can set. Bit rot does not,
    // which is simulated by a receipt with the new change time.
    damage(&sandbox.path("a.idx"), Damage::Bit);
    sandbox.limpid("plan small.toml --to train --check").exits(10).prints("source.idx.train: digest");
    believe(&sandbox, "a.idx");
    sandbox.limpid("run small.toml --to train").succeeds().says("ingest: up to date");
    // Stages that read the results of ingest do not read its source.
    sandbox.limpid("run small.toml --to train --set seed=2").succeeds().says("ingest: up to date");
    sandbox
        .limpid("plan small.toml --to train --set seed=2 --verify --check")
        .exits(10)
        .prints("source.idx.train: digest");
    sandbox.limpid("run small.toml --to train --verify").succeeds().says("ingest: done in");
    sandbox.limpid("run small.toml --to train --verify").succeeds().says("ingest: up to date");
}

#[test]
fn a_source_that_was_touched_is_digested_once() {
    let sandbox = Sandbox::with(
        "[source]\nidx = { train = \"a.idx\", test = \"b.idx\" }\n[model]\ndense = { code = 2 }\n[training]\nepochs = 1\n",
    );
    sandbox.write("a.idx", &idx(&[5, 4, 4]));
    sandbox.write("b.idx", &idx(&[3, 4, 4]));
    sandbox.limpid("run small.toml --to train").succeeds();
    // The same bytes, written again with new times.
    sandbox.write("a.idx", &sandbox.read("a.idx"));
    let plan = || sandbox.limpid("plan small.toml --to train --check").env("LIMPID_FAILPOINT", "read a.idx:1+:EIO");
    plan().exits(74);
    sandbox.limpid("run small.toml --to train").succeeds().says("ingest: up to date").says("train: up to date");
    plan().succeeds();
    // A new hard link changes the inode's change time only.
    std::fs::hard_link(sandbox.path("a.idx"), sandbox.path("linked.idx")).expect("linked");
    plan().exits(74);
    sandbox.limpid("run small.toml --to train").succeeds().says("ingest: up to date");
    plan().succeeds();
}

#[test]
fn a_corruption_that_does_not_fit_is_refused_whatever_ran_before() {
    let sandbox = Sandbox::with(
        "[source]\nidx = { train = \"a.idx\", test = \"b.idx\" }\n[corruption]\ngaussian = {}\n[model]\ndense = { code = 2 }\n\
         [training]\ninput = \"noisy\"\nepochs = 1\n",
    );
    sandbox.write("a.idx", &idx(&[5, 4, 4]));
    sandbox.write("b.idx", &idx(&[3, 4, 4]));
    sandbox.limpid("run small.toml --to train").succeeds();
    for stages in ["", "--only corrupt", "--only train"] {
        let run = sandbox.limpid(&format!("run small.toml {stages}")).arg("--set=corruption={grayscale={}}");
        run.exits(2).says("corruption.grayscale takes images of 3 channels, not 4×4");
    }
}

#[test]
fn a_damaged_model_is_not_used_on_other_images() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    let images = sandbox.write("some.idx", &idx(&[5, 28, 28]));
    let words = format!("encode runs/small {} -o out", images.display());
    let export = "export runs/small --onnx model.onnx";
    sandbox.limpid(&words).succeeds();
    // Files that a command does not use may be missing.
    std::fs::remove_file(sandbox.path("runs/small/train/history.parquet")).expect("removed");
    for words in [&words, export] {
        sandbox.limpid(words).succeeds();
    }
    damage(&sandbox.path("runs/small/train/last.safetensors"), Damage::Bit);
    for words in [&words, export] {
        sandbox
            .limpid(words)
            .exits(65)
            .says("the model in runs/small/train is damaged")
            .says("last.safetensors has changed: digest");
    }
    // A receipt that cannot be read is refused too, since it holds the digests of the weights.
    sandbox.write("runs/small/train/_receipt.json", b"{");
    for words in [&words, export, "export runs/small --to tables"] {
        sandbox.limpid(words).exits(65).says("runs/small/train/_receipt.json is damaged; run the pipeline again");
    }
    // A model without a receipt is read without a check.
    std::fs::remove_file(sandbox.path("runs/small/train/_receipt.json")).expect("removed");
    for words in [&words, export] {
        sandbox.limpid(words).succeeds();
    }
}

#[test]
fn a_damaged_checkpoint_is_not_used() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --runs whole").succeeds();
    let saved = "rename runs/small/.checkpoint/train.new:2:kill";
    sandbox.limpid("run small.toml").env("LIMPID_FAILPOINT", saved).ends();
    damage(&sandbox.path("runs/small/.checkpoint/train"), Damage::Bit);
    sandbox.limpid("run small.toml").succeeds().says("train: the checkpoint is not used: it is damaged");
    assert!(sandbox.files("runs/small/train") == sandbox.files("whole/small/train"));
}
