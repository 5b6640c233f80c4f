//! The split `validation`: where each source has it from, how many images it gets.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::inputs::tar;
use crate::own_arrays::{npy, npz};
use crate::own_images::{TEST, TRAIN, VALIDATION, images, png, sandbox};

/// Numbers of images of train, test and validation in the tables of ingest, and their pixels.
fn splits(sandbox: &Sandbox) -> [(usize, Vec<u8>); 3] {
    [TRAIN, TEST, VALIDATION].map(|path| {
        let there = sandbox.path(path).exists().then(|| images(sandbox, path));
        there.map_or((0, Vec::new()), |(ids, _, pixels)| (ids.len(), pixels))
    })
}

fn counts(sandbox: &Sandbox) -> [usize; 3] {
    splits(sandbox).map(|(count, _)| count)
}

/// An array of `count` images of 4×3 that are all of this value.
fn array(count: usize, value: u8) -> Vec<u8> {
    npy("|u1", &format!("({count}, 4, 3)"), &vec![value; 12 * count])
}

fn idx(count: u32, value: u8) -> Vec<u8> {
    let sizes = [count, 4, 3].map(u32::to_be_bytes).concat();
    [&[0, 0, 8, 3][..], &sizes, &vec![value; 12 * count as usize]].concat()
}

fn csv(count: usize, value: u8) -> Vec<u8> {
    let head: Vec<_> = (0..9).map(|at| format!("pixel{at}")).collect();
    let row = vec![value.to_string(); 9].join(",");
    format!("{}\n{}\n", head.join(","), vec![row; count].join("\n")).into_bytes()
}

fn parquet(sandbox: &Sandbox, path: &str, count: usize, seed: u32) {
    let pictures: ArrayRef = Arc::new((0..count).map(|_| Some(png(4, 4, seed))).collect::<BinaryArray>());
    sandbox.write(path, b"");
    let batch = RecordBatch::try_from_iter([("image", pictures)]).expect("fits");
    crate::foreign::write(sandbox, path, &[batch], parquet::basic::Compression::SNAPPY);
}

fn shard(count: usize, seed: u32) -> Vec<u8> {
    tar(&(0..count).map(|at| (format!("{at}.png"), png(4, 4, seed))).collect::<Vec<_>>())
}

/// Files of every kind of source for each split: 30, 6 and 4 images.
fn write_all(sandbox: &Sandbox) {
    let of = [("train", 30, 10), ("test", 6, 20), ("val", 4, 30)];
    for (name, count, seed) in of {
        sandbox.write(&format!("{name}.npy"), &array(count, seed as u8));
        sandbox.write(&format!("{name}.idx"), &idx(count as u32, seed as u8));
        sandbox.write(&format!("{name}.csv"), &csv(count, seed as u8));
        sandbox.write(&format!("{name}.tar"), &shard(count, seed));
        parquet(sandbox, &format!("tables/{name}-0.parquet"), count, seed);
        for at in 0..count {
            sandbox.write(&format!("photos/{name}/{at:02}.png"), &png(4, 4, seed));
            sandbox.write(&format!("clean/{name}/{at:02}.png"), &png(8, 8, seed));
            sandbox.write(&format!("noisy/{name}/{at:02}.png"), &png(8, 8, seed + 1));
        }
    }
    let archive = of.map(|(name, count, seed)| (format!("{name}_images"), array(count, seed as u8)));
    let archive = archive.each_ref().map(|(name, array)| (name.as_str(), array.clone()));
    sandbox.write("all.npz", &npz(&archive, zip::CompressionMethod::Deflated));
    let rows =
        of.map(|(name, count, _)| (0..count).map(|at| format!("{name}/{at:02}.png,{name}\n")).collect::<String>());
    sandbox.write("list.csv", format!("file_name,split\n{}", rows.concat()).as_bytes());
}

#[test]
fn every_source_may_have_images_for_validation() {
    let three = |kind: &str, end: &str| {
        format!("{kind} = {{ train = \"train.{end}\", test = \"test.{end}\", validation = \"val.{end}\" }}")
    };
    let archive = "path = \"all.npz\", train = \"train_images\", test = \"test_images\"";
    for source in [
        three("npy", "npy"),
        three("idx", "idx"),
        three("columns", "csv"),
        three("tar", "tar"),
        "parquet = { path = \"tables\" }".to_owned(),
        three("parquet", "parquet")
            .replace(".parquet", "-*.parquet")
            .replace("= \"t", "= \"tables/t")
            .replace("\"val", "\"tables/val"),
        format!("npz = {{ {archive} }}"),
        format!("npz = {{ {archive}, validation = \"val_images\" }}"),
        "folder = { path = \"photos\" }".to_owned(),
        "folder = { path = \"photos\", validation = \"val\" }".to_owned(),
        "folder = { path = \"photos\", csv = \"list.csv\" }".to_owned(),
        "folder = { noisy = \"noisy\", clean = \"clean\" }".to_owned(),
    ] {
        let sandbox = sandbox(&source);
        write_all(&sandbox);
        let pairs = if source.contains("noisy") { " --set training.input=noisy" } else { "" };
        sandbox.limpid(&format!("run small.toml --to ingest{pairs}")).succeeds();
        let [train, test, validation] = splits(&sandbox);
        assert_eq!([train.0, test.0, validation.0], [30, 6, 4], "{source}");
        // Each its own.
        assert!(train.1[0] != validation.1[2] && test.1 != validation.1, "{source}");
        assert_eq!(*validation.1.last().expect("has some"), 30, "{source}");
        sandbox.limpid(&format!("plan small.toml --to ingest --check{pairs}")).succeeds();
    }
    let sandbox = sandbox("npz = { path = \"all.npz\", train = \"train_images\", test = \"test_images\" }");
    write_all(&sandbox);
    sandbox.limpid("run small.toml --to ingest").succeeds().says("the array val_images of all.npz is for validation");
}

#[test]
fn a_share_of_the_images_is_drawn_for_validation() {
    for (source, test_given) in [
        ("npy = { train = \"train.npy\"", "test = \"test.npy\""),
        ("idx = { train = \"train.idx\"", "test = \"test.idx\""),
        ("columns = { train = \"train.csv\"", "test = \"test.csv\""),
        ("tar = { train = \"train.tar\"", "test = \"test.tar\""),
        ("parquet = { train = \"tables/train-0.parquet\"", "test = \"tables/test-0.parquet\""),
        ("npz = { path = \"all.npz\", train = \"train_images\"", "test = \"test_images\""),
        ("folder = { path = \"photos/train\"", ""),
    ] {
        let sandbox = sandbox(&format!("{source}, test-fraction = 0.3 }}"));
        write_all(&sandbox);
        let kind = source.split(' ').next().expect("has one");
        sandbox.limpid("run small.toml --to ingest --set seed=4").succeeds();
        let found = images(&sandbox, TEST);
        // Beside the same test images, unless the archive has its own for validation.
        let drawn = format!("--set seed=4 --set source.{kind}.validation-fraction=0.2");
        sandbox.limpid(&format!("run small.toml --to ingest {drawn}")).succeeds();
        let [train, test, validation] = counts(&sandbox);
        assert!(train + test + validation == 30 && (1..15).contains(&validation), "{source}: {:?}", counts(&sandbox));
        assert!(images(&sandbox, TEST) == found, "{source}");
        let mut ids = [TRAIN, TEST, VALIDATION].map(|path| images(&sandbox, path).0).concat();
        ids.sort_unstable();
        // A folder numbers the images of each split.
        assert!(kind == "folder" || kind == "tar" || ids == (0..30).collect::<Vec<_>>(), "{source}");
        sandbox
            .limpid(&format!("plan small.toml --to ingest --check {drawn} --set source.{kind}.validation-fraction=0.3"))
            .exits(10)
            .prints(&format!("source.{kind}.validation-fraction: 0.2 → 0.3"));
        sandbox
            .limpid(&format!("plan small.toml {drawn} --set source.{kind}.test-fraction=0.8"))
            .exits(2)
            .says(&format!("source.{kind}.validation-fraction: leaves nothing to train on beside `test-fraction`"));
        if !test_given.is_empty() {
            // Of the training images, if only these are drawn from.
            let text =
                format!("[source]\n{source}, {test_given}, validation-fraction = 0.2 }}\n[model]\ndense = {{}}\n");
            sandbox.write("given.toml", text.as_bytes());
            sandbox.limpid("run given.toml --to ingest --runs given").succeeds();
            let rows = |split: &str| {
                read(&sandbox, &format!("given/given/ingest/{split}-00000-of-00001.parquet")).0.num_rows()
            };
            assert_eq!((rows("train") + rows("validation"), rows("test")), (30, 6), "{source}");
        }
        if !matches!(kind, "folder" | "npz") {
            sandbox
                .limpid(&format!("plan small.toml {drawn} --set source.{kind}.validation=x"))
                .exits(2)
                .says(&format!("source.{kind}.validation: is given although `validation-fraction` has"));
        }
    }
}

#[test]
fn images_in_folders_of_train_and_test_are_drawn_for_validation() {
    let sandbox = sandbox("folder = { path = \"set\", validation-fraction = 0.3 }");
    for at in 0..30 {
        sandbox.write(&format!("set/train/{at:02}.png"), &png(4, 4, at));
        sandbox.write(&format!("set/test/{at:02}.png"), &png(4, 4, at));
    }
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let [train, test, validation] = counts(&sandbox);
    assert!(train + validation == 30 && test == 30 && (3..20).contains(&validation), "{:?}", counts(&sandbox));
    // Images that are there for it come first.
    sandbox.write("set/val/1.png", &png(4, 4, 1));
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!(counts(&sandbox), [30, 30, 1]);
    for (setting, code, message) in [
        ("validation=dev", 65, "source.folder.validation names dev, but set has no such sub-folder with images"),
        ("validation=test", 2, "source.folder.validation: names the folder of another split"),
        ("validation-fraction=1.5", 2, "must lie between 0 and 0.999999"),
    ] {
        let set = format!("run small.toml --to ingest --set source.folder.{setting}");
        sandbox.limpid(&set).exits(code).says(message);
    }
    sandbox.write("set/empty/notes.txt", b"");
    sandbox
        .limpid("run small.toml --to ingest --set source.folder.validation=empty")
        .exits(65)
        .says("source.folder.validation names empty, but set has no such sub-folder with images");
    std::fs::remove_dir_all(sandbox.path("set/test")).expect("removed");
    // The only other split is for testing, unless it is named otherwise.
    sandbox.limpid("run small.toml --to ingest --set source.folder.validation=val").exits(65).says("none called test");
    sandbox.limpid("run small.toml --to ingest --set source.folder.validation-fraction=0").succeeds();
    assert_eq!(counts(&sandbox), [30, 1, 0]);
}

#[test]
fn metadata_in_the_folders_of_splits_say_the_labels_of_validation_too() {
    let sandbox = sandbox("folder = { path = \"set\" }");
    for (split, label) in [("train", 3), ("test", 4), ("validation", 5)] {
        sandbox.write(&format!("set/{split}/a.png"), &png(4, 4, 1));
        sandbox.write(&format!("set/{split}/metadata.csv"), format!("file_name,label\na.png,{label}\n").as_bytes());
    }
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!([TRAIN, TEST, VALIDATION].map(|path| images(&sandbox, path).1), [[Some(3)], [Some(4)], [Some(5)]]);
}
