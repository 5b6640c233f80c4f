//! Links in data folders, which may be cyclic or lead outside, and tables that list files anywhere.

#![cfg(unix)]

use std::os::unix::fs::symlink;

use arrow_array::cast::AsArray;

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_images::{TEST, TRAIN, images, png, sandbox};

/// Creates a link in the sandbox, and its folder.
fn link(sandbox: &Sandbox, target: &str, path: &str) {
    let path = sandbox.path(path);
    std::fs::create_dir_all(path.parent().expect("has one")).expect("created");
    symlink(target, path).expect("linked");
}

/// The files that were read, of both splits.
fn files(sandbox: &Sandbox) -> Vec<String> {
    let (files, _) = read(sandbox, "runs/small/ingest/files.parquet");
    files.column_by_name("path").expect("is there").as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

const INGEST: &str = "run small.toml --to ingest";

#[test]
fn links_that_lead_back_are_followed_once() {
    let sandbox = sandbox("folder = { path = \"photos\", test-fraction = 0.5 }");
    (0..8).for_each(|index| _ = sandbox.write(&format!("photos/a/{index}.png"), &png(4, 4, index)));
    // With two cyclic links, every level would have twice as many folders as the one above it.
    link(&sandbox, ".", "photos/0");
    link(&sandbox, "..", "photos/a/z");
    link(&sandbox, "a/3.png", "photos/3.png");
    sandbox.limpid("plan small.toml").succeeds();
    let told = "links to what is read anyway, which counts once: 3, such as photos/0";
    sandbox.limpid(INGEST).succeeds().says(told);
    assert_eq!(files(&sandbox).len(), 8);
    sandbox.limpid(&format!("{INGEST} --check").replace("run", "plan")).succeeds();
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox.limpid("encode runs/small photos -o out").succeeds();
    assert_eq!(read(&sandbox, "out/photos.parquet").0.num_rows(), 8);
}

#[test]
fn splits_may_be_links_to_what_lies_elsewhere() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    for (index, path) in ["cats/1.png", "cats/2.png", "dogs/3.png", "dogs/4.png"].into_iter().enumerate() {
        sandbox.write(&format!("photos/all/{path}"), &png(4, 4, index as u32));
    }
    for (target, path) in
        [("../all/cats", "train/cats"), ("../../all/dogs/3.png", "train/dogs/3.png"), ("../all/dogs", "test/dogs")]
    {
        link(&sandbox, target, &format!("photos/{path}"));
    }
    // Training sees more than one label, as it must.
    sandbox.write("photos/train/birds/0.png", &png(4, 4, 9));
    // The target of links of both splits belongs to training, unless it lies in a split; links to folders precede links to files.
    sandbox.limpid(INGEST).succeeds().says("links to what is read anyway, which counts once: 1, such as");
    assert_eq!(
        files(&sandbox),
        ["train/birds/0.png", "train/cats/1.png", "train/cats/2.png", "test/dogs/3.png", "test/dogs/4.png"]
    );
    link(&sandbox, "../all/cats", "photos/test/cats");
    link(&sandbox, "../../test", "photos/train/cats/back");
    sandbox.limpid(&format!("{INGEST} --force")).succeeds().says("which counts once: 3, such as");
    assert_eq!(
        (images(&sandbox, TRAIN).1, images(&sandbox, TEST).1),
        (vec![Some(0), Some(1), Some(1)], vec![Some(2); 2])
    );
}

#[test]
fn tables_that_links_lead_to_are_read_once() {
    let sandbox = Sandbox::new();
    sandbox.limpid(INGEST).succeeds();
    let table = sandbox.read(TEST);
    for name in ["train-0.parquet", "train-1.parquet", "test-0.parquet"] {
        sandbox.write(&format!("data/a/{name}"), &table);
    }
    link(&sandbox, ".", "data/one");
    link(&sandbox, "..", "data/a/two");
    link(&sandbox, "train-0.parquet", "data/a/train-2.parquet");
    let run = |source: &str| sandbox.limpid(INGEST).arg(format!("--set=source={{{source}}}"));
    for source in [
        "parquet = { train = \"data/**/train*.parquet\", test = \"data/**/test*.parquet\" }",
        "parquet = { train = \"data/*/train*.parquet\", test = \"data/a/test*.parquet\" }",
        "parquet = { path = \"data\" }",
    ] {
        run(source).succeeds();
        assert_eq!((images(&sandbox, TRAIN).0.len(), images(&sandbox, TEST).0.len()), (240, 120), "{source}");
    }
    // The same file under another name.
    link(&sandbox, "a/train-0.parquet", "data/test-1.parquet");
    run("parquet = { path = \"data\" }").succeeds().says("ingest: up to date");
    let source = "parquet = { train = \"data/a/train*.parquet\", test = \"data/test*.parquet\" }";
    run(source).exits(65).says("would be in both splits");
}

#[test]
fn a_table_lists_files_of_its_folder_alone_unless_it_may() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    let outside = sandbox.write("secret.png", &png(4, 4, 9));
    for (index, split) in ["train", "test"].into_iter().enumerate() {
        sandbox.write(&format!("photos/{split}/{index}.png"), &png(4, 4, index as u32));
    }
    let outside = outside.to_str().expect("is text");
    for path in ["../secret.png", "train/../../secret.png", "/etc/passwd", outside, "train/../../photos/train/0.png"] {
        sandbox.write("photos/metadata.csv", format!("file_name,label\n{path},1\ntest/1.png,2\n").as_bytes());
        let refused =
            format!("photos/metadata.csv: line 2: {path} leads out of photos; source.folder.outside = true reads");
        sandbox.limpid(INGEST).exits(65).says(&refused);
        sandbox.write("photos/list.jsonl", format!("{{\"file\": {path:?}, \"split\": \"train\"}}").as_bytes());
        let csv = "--set source.folder.csv=photos/list.jsonl";
        sandbox
            .limpid(&format!("{INGEST} {csv}"))
            .exits(65)
            .says(&format!("photos/list.jsonl: line 1: {path} leads out"));
    }
    // `..` that stays within the folder is allowed.
    std::fs::remove_file(sandbox.path("photos/metadata.csv")).expect("removed");
    sandbox.write("photos/train/metadata.csv", b"file_name,label\n../train/0.png,1\n");
    sandbox.write("photos/test/metadata.csv", b"file_name,label\n1.png,2\n");
    sandbox.limpid(INGEST).succeeds();
    let list = format!("file,split\n{outside},train\n../photos/test/1.png,test\n");
    sandbox.write("list.csv", list.as_bytes());
    let settings = "--set source.folder.csv=list.csv --set source.folder.outside=true";
    sandbox.limpid(&format!("{INGEST} {settings}")).succeeds();
    sandbox.limpid(&format!("plan small.toml --to ingest --check {settings}")).succeeds();
}
