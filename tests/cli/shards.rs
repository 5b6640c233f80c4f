//! Tables in several files, and map stages that many processes make.

use std::path::Path;
use std::process::Stdio;

use crate::harness::{PIPELINE, STAGES, Sandbox};
use crate::own_images::png;

/// The small pipeline with tables of six files of training images and two of test images.
fn sandbox() -> Sandbox {
    Sandbox::with(&format!("{PIPELINE}\n[output]\nshard-rows = 100\n"))
}

/// The names of the files of a folder, sorted; none if it is missing.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("is readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Files by name.
type Files = Vec<(String, Vec<u8>)>;

/// The result of every stage, as one process makes it.
fn whole() -> (Sandbox, Vec<Files>) {
    let sandbox = sandbox();
    sandbox.limpid("run small.toml").exits(0);
    let results = STAGES.iter().map(|stage| sandbox.files(&format!("runs/small/{stage}"))).collect();
    (sandbox, results)
}

#[test]
fn tables_are_files_of_at_most_so_many_rows_and_every_stage_reads_all_of_them() {
    let (sandbox, _) = whole();
    for stage in ["ingest", "corrupt", "encode", "denoise"] {
        let files = names(&sandbox.path(&format!("runs/small/{stage}")));
        let tables: Vec<_> = files.iter().filter(|name| name.ends_with(".parquet")).collect();
        assert_eq!(tables.len(), 6 + 2, "{stage}: {files:?}");
        assert_eq!(
            (tables[0].as_str(), tables[7].as_str()),
            ("test-00000-of-00002.parquet", "train-00005-of-00006.parquet")
        );
        let table = format!("runs/small/{stage}/train-00005-of-00006.parquet");
        sandbox.limpid("inspect").arg(&table).exits(0).prints("100 rows in 1 row groups").prints("id 500");
    }
    assert!(!sandbox.path("runs/small/.shards").exists(), "published shards are not kept twice");
    // The numbers are those of tables in one file each.
    let one = Sandbox::new();
    one.limpid("run small.toml").exits(0);
    let [shards, whole] = [&sandbox, &one].map(|sandbox| sandbox.files("runs/small/train"));
    assert!(shards == whole);
    // Scores are sums over batches, which end where files do.
    let score = |sandbox: &Sandbox| {
        let metrics: serde_json::Value =
            serde_json::from_slice(&sandbox.read("runs/small/evaluate/metrics.json")).expect("is JSON");
        metrics["scores"][0]["psnr-mean"].as_f64().expect("is a number")
    };
    assert!((score(&sandbox) - score(&one)).abs() < 1e-9);
    sandbox.limpid("plan small.toml --check").exits(0);
    sandbox.limpid("export runs/small --to out --profile spark").exits(0);
    sandbox.limpid("inspect out/denoise/train-00000-of-00001.parquet").exits(0).prints("600 rows");
    // Another size is another table; the same images give the same result.
    sandbox.limpid("run small.toml --to ingest --set output.shard-rows=200").exits(0);
    assert_eq!(names(&sandbox.path("runs/small/ingest")).len(), 3 + 1 + 1);
}

#[test]
fn tasks_in_any_order_make_what_one_process_makes() {
    let (_, expected) = whole();
    let sandbox = sandbox();
    sandbox.limpid("run small.toml --to ingest").exits(0);
    let make = |stage: &str, of: usize, order: &[usize]| {
        let commit = format!("commit small.toml --stage {stage}");
        for (done, index) in order.iter().enumerate() {
            // With more tasks than shards, some make none.
            if done > 0 && of <= 8 {
                sandbox.limpid(&commit).exits(75).says("shards are not finished: ");
                let finished = "of 8 shards are finished";
                sandbox.limpid(&format!("plan small.toml --only {stage}")).exits(0).prints(finished);
            }
            sandbox.limpid(&format!("shard small.toml --stage {stage} --index {index} --of {of}")).exits(0);
        }
        sandbox.limpid(&commit).exits(0).prints(&format!("runs/small/{stage}"));
        // Nothing more to do, for whoever comes late.
        sandbox.limpid(&commit).exits(0);
        sandbox.limpid(&format!("shard small.toml --stage {stage} --index 0 --of {of}")).exits(0).says("up to date");
    };
    make("corrupt", 3, &[2, 0, 1]);
    sandbox.limpid("run small.toml --only train").exits(0);
    make("encode", 8, &[7, 3, 1, 0, 6, 2, 5, 4]);
    // More tasks than shards: some have nothing to do.
    make("denoise", 11, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    sandbox.limpid("run small.toml").exits(0);
    for (stage, expected) in STAGES.iter().zip(expected) {
        let found = sandbox.files(&format!("runs/small/{stage}"));
        // The report tells the digests of inputs, not who made them.
        assert!(found == expected, "{stage}");
    }
    assert!(!sandbox.path("runs/small/.shards").exists());
    sandbox.limpid("plan small.toml --check").exits(0);
}

#[test]
fn tasks_that_are_killed_repeated_or_run_at_once_change_nothing() {
    let (_, expected) = whole();
    let sandbox = sandbox();
    sandbox.limpid("run small.toml --to ingest").exits(0);
    let shard = "shard small.toml --stage corrupt --of 2 --index";
    // A kill before each step that changes something, and the task again.
    let mut kills = 0;
    loop {
        _ = std::fs::remove_dir_all(sandbox.path("runs/small/.shards"));
        let killed =
            sandbox.limpid(&format!("{shard} 0")).env("LIMPID_FAILPOINT", format!(":{}:kill", kills + 1)).ends();
        if killed.status().success() {
            break;
        }
        kills += 1;
        sandbox.limpid(&format!("{shard} 0")).exits(0);
        let folder = names(&sandbox.path("runs/small/.shards/corrupt"));
        let folder = sandbox.path("runs/small/.shards/corrupt").join(&folder[0]);
        let made = names(&folder).into_iter().filter(|name| !name.starts_with('.'));
        for name in made {
            let bytes = std::fs::read(folder.join(&name)).expect("is there");
            assert!(expected[1].iter().any(|(other, whole)| (other, whole) == (&name, &bytes)), "{name} after {kills}");
        }
    }
    assert!(kills > 20, "{kills}");
    let started: Vec<_> = [0, 1, 0, 1, 1]
        .map(|index| {
            let mut command = sandbox.limpid(&format!("{shard} {index}")).into_command();
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
        })
        .into();
    for mut task in started {
        assert!(task.wait().expect("ends").success());
    }
    sandbox.limpid("commit small.toml --stage corrupt").exits(0);
    assert!(sandbox.files("runs/small/corrupt") == expected[1]);
    assert_eq!(names(&sandbox.path("runs/small/corrupt")).len(), 8 + 1, "nothing else is published");
}

#[test]
fn a_run_goes_on_at_the_shard_at_which_it_was_killed() {
    let (_, expected) = whole();
    let sandbox = sandbox();
    sandbox.limpid("run small.toml --to train").exits(0);
    let killed = sandbox.limpid("run small.toml --to encode");
    killed.env("LIMPID_FAILPOINT", "create runs/small/.shards/encode:5:kill").ends();
    let plan = sandbox.limpid("plan small.toml --to encode").exits(0);
    plan.prints("2 of 8 shards are finished");
    let finished = || {
        let folder = names(&sandbox.path("runs/small/.shards/encode"));
        let files = folder.iter().find(|name| !name.ends_with(".receipts")).expect("is there").clone();
        sandbox.path(&format!("runs/small/.shards/encode/{files}/train-00000-of-00006.parquet"))
    };
    let before = std::fs::metadata(finished()).and_then(|file| file.modified()).expect("is finished");
    // A shard that was damaged meanwhile is made again.
    let damaged = finished().with_file_name("train-00001-of-00006.parquet");
    std::fs::write(&damaged, b"damaged").expect("written");
    sandbox.limpid("run small.toml").exits(0);
    let after = std::fs::metadata(sandbox.path("runs/small/encode/train-00000-of-00006.parquet"));
    assert_eq!(after.and_then(|file| file.modified()).expect("is published"), before, "it was made again");
    assert!(sandbox.files("runs/small/encode") == expected[3]);
    assert!(!sandbox.path("runs/small/.shards").exists());
}

/// Ways to export, the number of shards that each has, and the start of the name of a file that it writes.
const EXPORTS: [(&str, usize, &str); 4] = [
    // Of the six files of train, parts of 250 begin in the first, the third and the sixth; pictures are made of each.
    ("--set output.profile=hf --set output.part-rows=250", 4 * (3 + 1), "denoise/train-00002-of-00003.parquet"),
    (
        "--set output.profile=hf --set output.part-rows=250 --set output.pictures=u8",
        3 * (6 + 2) + (3 + 1),
        "pictures/denoise/train/",
    ),
    // Parts of 331 rows of 784 floats, and of all rows of codes.
    (
        "--set output.profile=spark --set output.pixels=f32 --set output.part-mib=1",
        3 * (2 + 1) + 2,
        "ingest/train-00001-of-00002.parquet",
    ),
    // More parts than files: of the second file of test, which has 20 rows, all are in the part that begins in the first.
    ("--set output.profile=default --set output.part-rows=30", 4 * (6 + 1), "encode/train-00019-of-00020.parquet"),
];

#[test]
fn exports_are_made_by_tasks_as_by_one_process_and_as_of_tables_in_one_file() {
    let (sandbox, one) = (sandbox(), Sandbox::new());
    [&sandbox, &one].iter().for_each(|sandbox| _ = sandbox.limpid("run small.toml --to denoise").exits(0));
    for (settings, shards, name) in EXPORTS {
        let run = |sandbox: &Sandbox| {
            _ = std::fs::remove_dir_all(sandbox.path("runs/small/export"));
            sandbox.limpid(&format!("run small.toml --only export {settings}")).exits(0);
            sandbox.files("runs/small/export")
        };
        let expected = run(&sandbox);
        assert!(expected.iter().any(|(file, _)| file.starts_with(name)), "{settings}: {name}");
        // Files of an export end where the rows of its tables say, whatever files these are in.
        let names = |files: &Files| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&run(&one)), names(&expected), "{settings}");
        std::fs::remove_dir_all(sandbox.path("runs/small/export")).expect("removed");
        let commit = format!("commit small.toml --stage export {settings}");
        for index in [2, 0, 1] {
            let missing = sandbox.limpid(&commit).exits(75);
            missing.says(&format!("of {shards} shards are not finished: "));
            let shard = sandbox.limpid(&format!("shard small.toml --stage export --index {index} --of 3 {settings}"));
            shard.exits(0).prints("runs/small/.shards/export/");
        }
        let plan = sandbox.limpid(&format!("plan small.toml --only export {settings}")).exits(0);
        plan.prints(&format!("{shards} of {shards} shards are finished"));
        sandbox.limpid(&commit).exits(0).prints("runs/small/export");
        assert!(sandbox.files("runs/small/export") == expected, "{settings}");
        assert!(!sandbox.path("runs/small/.shards").exists());
        sandbox.limpid(&format!("plan small.toml --only export --check {settings}")).exits(0);
    }
}

#[test]
fn an_export_goes_on_at_the_shard_at_which_it_was_killed() {
    let sandbox = sandbox();
    let (settings, shards, _) = EXPORTS[1];
    sandbox.limpid("run small.toml --to denoise").exits(0);
    let run = format!("run small.toml --only export {settings}");
    sandbox.limpid(&run).exits(0);
    let expected = sandbox.files("runs/small/export");
    // At a picture, and at a table: what is half made is made again, and nothing of it is published.
    for kill in ["create runs/small/.shards/export:150:kill", "rename runs/small/.shards/export:1700:kill"] {
        std::fs::remove_dir_all(sandbox.path("runs/small/export")).expect("removed");
        sandbox.limpid(&run).env("LIMPID_FAILPOINT", kill).ends();
        let plan = sandbox.limpid(&format!("plan small.toml --only export {settings} --json")).exits(0);
        let plan: serde_json::Value = serde_json::from_str(&plan.stdout()).expect("is JSON");
        let finished = plan[0]["shards"]["finished"].as_u64().expect("is a number") as usize;
        assert!((1..shards).contains(&finished), "{kill}: {finished}");
        let receipts = sandbox.path("runs/small/.shards/export");
        let receipts =
            names(&receipts).into_iter().map(|name| receipts.join(name)).find(|path| path.extension().is_some());
        let receipts = receipts.expect("are there");
        // Of a finished shard, one file is damaged.
        let receipt = std::fs::read(receipts.join(&names(&receipts)[0])).expect("is there");
        let receipt: serde_json::Value = serde_json::from_slice(&receipt).expect("is JSON");
        let file = receipt["files"][0]["name"].as_str().expect("is a name");
        std::fs::write(receipts.with_extension("").join(file), b"damaged").expect("written");
        sandbox.limpid(&run).exits(0);
        assert!(sandbox.files("runs/small/export") == expected, "{kill}");
        assert!(!sandbox.path("runs/small/.shards").exists());
    }
}

#[test]
fn shards_that_nobody_publishes_are_removed_when_they_are_old() {
    let sandbox = sandbox();
    sandbox.limpid("run small.toml --to ingest").exits(0);
    sandbox.limpid("shard small.toml --stage corrupt --index 0 --of 2").exits(0);
    let shards = sandbox.path("runs/small/.shards");
    sandbox.limpid("clean runs/small").exits(0).prints("0 files removed");
    // A file that a task is writing keeps all of its result, however old the others are.
    let day = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
    let folder = shards.join("corrupt").join(&names(&shards.join("corrupt"))[0]);
    let mut files = Vec::new();
    for folder in [&folder, &folder.with_extension("receipts")] {
        files.extend(names(folder).into_iter().map(|name| folder.join(name)));
    }
    assert_eq!(files.len(), 8, "{files:?}");
    let age = |file: &Path| std::fs::File::open(file).and_then(|file| file.set_modified(day)).expect("is set");
    files.iter().for_each(|file| age(file));
    let written = sandbox.write(&format!("{}/.train-00005-of-00006.parquet.7", folder.display()), b"half");
    sandbox.limpid("clean runs/small").exits(0).prints("0 files removed");
    age(&written);
    sandbox.limpid("clean runs/small").exits(0).prints("9 files removed");
    assert!(!shards.exists());
    // What is left of a result that was published meanwhile is of no use.
    sandbox.limpid("run small.toml --to corrupt").exits(0);
    let key = folder.file_name().expect("has a name").to_string_lossy().into_owned();
    sandbox.write(&format!("runs/small/.shards/corrupt/{key}/train-00000-of-00006.parquet"), b"late");
    sandbox.limpid("clean runs/small").exits(0).prints("1 files removed");
    assert!(!shards.exists());
}

#[test]
fn shards_of_other_arithmetic_are_refused_unless_allowed() {
    let sandbox = sandbox();
    sandbox.limpid("run small.toml --to ingest").exits(0);
    let shard = |index: usize| format!("shard small.toml --stage corrupt --index {index} --of 2");
    sandbox.limpid(&shard(0)).exits(0);
    let folder = names(&sandbox.path("runs/small/.shards/corrupt"));
    let receipts = folder.iter().find(|name| name.ends_with(".receipts")).expect("are there");
    let receipt = sandbox.path(&format!("runs/small/.shards/corrupt/{receipts}/train-00000-of-00006.parquet.json"));
    // As a machine of another kind would have sealed it.
    let text = String::from_utf8(std::fs::read(&receipt).expect("is there")).expect("is text");
    let at = text.rfind(",\n  \"digest\": \"").expect("is sealed");
    let body = format!("{}\n}}\n", &text[..at]).replace("flex with", "flex with other");
    let digest = blake3::hash(body.as_bytes()).to_hex();
    let sealed = format!("{},\n  \"digest\": \"{digest}\"\n}}\n", body.strip_suffix("\n}\n").expect("ends"));
    std::fs::write(&receipt, sealed).expect("written");
    let refused = sandbox.limpid(&shard(1)).exits(2);
    refused.says("was computed by flex with other").says("--any-arithmetic");
    sandbox.limpid(&format!("{} --any-arithmetic", shard(1))).exits(0);
    sandbox.limpid("commit small.toml --stage corrupt").exits(2).says("use machines of one kind");
    sandbox.limpid("commit small.toml --stage corrupt --any-arithmetic").exits(0);
}

#[test]
fn mistakes_are_explained() {
    let sandbox = sandbox();
    sandbox.limpid("shard small.toml --stage corrupt --index 0 --of 1").exits(2).says("ingest, which has not run");
    sandbox.limpid("run small.toml --to ingest").exits(0);
    let whole = sandbox.limpid("shard small.toml --stage train --index 0 --of 1").exits(2);
    whole.says("train is made as a whole").says("corrupt, encode, denoise, export");
    sandbox.limpid("shard small.toml --stage corrupt --index 2 --of 2").exits(2).says("numbered from 0");
    sandbox.limpid("shard small.toml --stage nothing --index 0 --of 2").exits(2).says("has no stage");
    sandbox.limpid("commit small.toml --stage corrupt").exits(75).says("8 of 8 shards are not finished");
    sandbox.limpid("run small.toml --engine ballista").exits(2).says("--engine").says("limpid-cluster run has it");
}

/// A sandbox whose source is a folder, with three shards of training images and two of test images, of which some cannot be read.
fn photos() -> Sandbox {
    let source = "name = \"small\"\n[source]\nfolder = { path = \"photos\", on-error = \"skip\" }\n";
    let sandbox = Sandbox::with(&format!("{source}[model]\ndense = {{ code = 2 }}\n[output]\nshard-rows = 8\n"));
    for (split, seed) in (0..20).map(|seed| ("train", seed)).chain((0..9).map(|seed| ("test", seed))) {
        let bytes = if seed % 7 == 3 { b"no picture".to_vec() } else { png(8, 8, seed) };
        sandbox.write(&format!("photos/{split}/{seed:02}.png"), &bytes);
    }
    sandbox
}

/// What one process makes of it, and says.
fn ingested() -> Files {
    let sandbox = photos();
    let run = sandbox.limpid("run small.toml --to ingest").exits(0);
    run.says("ingest: 4 pictures cannot be read: see rejected.parquet");
    let files = sandbox.files("runs/small/ingest");
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 5 + 2, "{names:?}");
    assert!(names.contains(&"rejected.parquet") && names.contains(&"train-00002-of-00003.parquet"), "{names:?}");
    files
}

#[test]
fn an_ingest_goes_on_at_the_shard_at_which_it_was_killed() {
    let (sandbox, expected) = (photos(), ingested());
    // The opened source, a table and its receipt, twice, and the third table.
    let kill = "create runs/small/.shards/ingest:6:kill";
    sandbox.limpid("run small.toml --to ingest").env("LIMPID_FAILPOINT", kill).ends();
    sandbox.limpid("plan small.toml --to ingest").exits(0).prints("2 of 5 shards are finished");
    let folders = names(&sandbox.path("runs/small/.shards/ingest"));
    let folder = folders.iter().find(|name| !name.ends_with(".receipts")).expect("is there");
    let first = "train-00000-of-00003.parquet";
    let made =
        |path: String| std::fs::metadata(sandbox.path(&path)).and_then(|file| file.modified()).expect("is there");
    let before = made(format!("runs/small/.shards/ingest/{folder}/{first}"));
    let run = sandbox.limpid("run small.toml --to ingest").exits(0);
    run.says("ingest: 4 pictures cannot be read: see rejected.parquet");
    assert_eq!(made(format!("runs/small/ingest/{first}")), before, "it was made again");
    assert!(sandbox.files("runs/small/ingest") == expected);
    assert!(!sandbox.path("runs/small/.shards").exists() && !sandbox.path("runs/small/.checkpoint/ingest").exists());
}

#[test]
fn tasks_ingest_what_one_process_does() {
    let (sandbox, expected) = (photos(), ingested());
    let commit = "commit small.toml --stage ingest";
    for (index, finished) in [(2, 2), (0, 3), (1, 5)] {
        sandbox.limpid(commit).exits(75).says("shards are not finished: ");
        sandbox.limpid(&format!("shard small.toml --stage ingest --index {index} --of 3")).exits(0);
        let plan = sandbox.limpid("plan small.toml --only ingest").exits(0);
        plan.prints(&format!("{finished} of 5 shards are finished"));
    }
    sandbox.limpid(commit).exits(0).says("ingest: 4 pictures cannot be read: see rejected.parquet");
    assert!(sandbox.files("runs/small/ingest") == expected);
    assert!(!sandbox.path("runs/small/.shards").exists());
    sandbox.limpid("plan small.toml --only ingest --check").exits(0);
}

#[test]
fn pictures_that_change_between_tasks_are_not_mixed() {
    let (sandbox, expected) = (photos(), ingested());
    let task = |index: usize| format!("shard small.toml --stage ingest --index {index} --of 2");
    sandbox.limpid(&task(0)).exits(0);
    let before = sandbox.read("photos/train/00.png");
    sandbox.write("photos/train/00.png", &png(8, 8, 77));
    sandbox.limpid(&task(1)).exits(0);
    sandbox.limpid("commit small.toml --stage ingest").exits(75).says("2 of 5 shards are not finished: train-00000-of");
    // As it was: the shard that was made of it counts again.
    sandbox.write("photos/train/00.png", &before);
    sandbox.limpid("commit small.toml --stage ingest").exits(75).says("3 of 5 shards are not finished: ");
    sandbox.limpid(&task(1)).exits(0);
    sandbox.limpid("commit small.toml --stage ingest").exits(0);
    assert!(sandbox.files("runs/small/ingest") == expected);
}

#[test]
fn a_picture_that_changes_while_its_shard_is_made_is_refused() {
    let sandbox = photos();
    sandbox.limpid("shard small.toml --stage ingest --index 0 --of 5").exits(0);
    // The first read: another task has digested it, and looked at its header.
    for fault in ["rot", "gone"] {
        let before = sandbox.read("photos/train/09.png");
        let task = sandbox.limpid("shard small.toml --stage ingest --index 1 --of 5");
        task.env("LIMPID_FAILPOINT", format!("read photos/train/09.png:1:{fault}"))
            .exits(75)
            .says("photos (source.folder.path) has changed while it was read")
            .says("run the same command again");
        sandbox.write("photos/train/09.png", &before);
    }
    sandbox.limpid("commit small.toml --stage ingest").exits(75).says("4 of 5 shards are not finished");
    let run = sandbox.limpid("run small.toml --to ingest").env("LIMPID_FAILPOINT", "read photos/train/09.png:2:rot");
    run.exits(75).says("photos (source.folder.path) has changed while it was read");
}

#[test]
fn pictures_that_end_the_run_are_named_of_all_shards() {
    let sandbox = photos();
    let fail = "--set source.folder.on-error=fail";
    sandbox
        .limpid(&format!("run small.toml --to ingest {fail}"))
        .exits(65)
        .says("cannot use 4 pictures; source.folder");
    let task = sandbox.limpid(&format!("shard small.toml --stage ingest --index 0 --of 5 {fail}"));
    task.exits(65).says("cannot use photos/train/03.png");
    let commit = sandbox.limpid(&format!("commit small.toml --stage ingest {fail}"));
    commit.exits(75).says("5 of 5 shards are not finished");
    // Each shard has one or two, all of them four.
    sandbox
        .limpid("run small.toml --to ingest --set source.folder.max-rejected=3")
        .exits(65)
        .says("more than 3 pictures");
    let strokes = Sandbox::new();
    let whole = strokes.limpid("shard small.toml --stage ingest --index 0 --of 1").exits(2);
    whole.says("ingest is made as a whole");
}
