//! Pictures in tar archives are read as the same files in a folder are: of different sizes, of any depth, with bad ones among them.

use image::ImageFormat;

use crate::depth::{deep, floats, words};
use crate::harness::Sandbox;
use crate::inputs::tar;
use crate::own_images::png;
use crate::pages::tiff;

/// Rows and columns of pictures, of which none is the largest on both sides.
const SIDES: [[u32; 2]; 8] = [[40, 31], [32, 48], [33, 33], [64, 32], [47, 50], [41, 32], [32, 61], [39, 37]];

const REST: &str = r#"
[corruption]
gaussian = { std = [0.0, 0.2] }
[model]
unet = { channels = [4, 6], residual-blocks = 1 }
loss = "mse"
predict = "noise"
[training]
input = "noisy"
epochs = 1
batch-size = 8
patch = 16
[output]
shard-rows = 2
"#;

const ARCHIVES: &str = "tar = { train = \"train.tar\", test = \"test.tar\", label = \"none\"";
const FOLDER: &str = "folder = { path = \"photos\", labels = \"none\"";

/// The same pictures in archives and in a folder, as pipelines `archives` and `folder` with some settings of their source.
fn both(pictures: &[(&str, Vec<u8>)], settings: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, source) in [("archives", ARCHIVES), ("folder", FOLDER)] {
        sandbox.write(&format!("{name}.toml"), format!("[source]\n{source}{settings} }}\n{REST}").as_bytes());
    }
    for split in ["train", "test"] {
        let inside = |name: &str| name.strip_prefix(split)?.strip_prefix('/').map(str::to_owned);
        let members: Vec<_> = pictures.iter().filter_map(|(name, file)| Some((inside(name)?, file.clone()))).collect();
        sandbox.write(&format!("{split}.tar"), &tar(&members));
        members.iter().for_each(|(name, file)| _ = sandbox.write(&format!("photos/{split}/{name}"), file));
    }
    sandbox
}

/// The tables of a stage but those that have the paths of pictures.
fn tables(sandbox: &Sandbox, run: &str, stage: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = sandbox.files(&format!("runs/{run}/{stage}"));
    files.retain(|(name, _)| name.contains("-of-") || name == "levels.parquet");
    assert!(files.len() > 1, "{stage} has written nothing to compare");
    files
}

fn expect_the_same(sandbox: &Sandbox) {
    for name in ["archives", "folder"] {
        sandbox.limpid(&format!("run {name}.toml --to ingest --threads 2")).succeeds();
    }
    assert!(tables(sandbox, "archives", "ingest") == tables(sandbox, "folder", "ingest"));
}

fn mixed() -> Vec<(&'static str, Vec<u8>)> {
    let names = ["train/0", "train/1", "train/2", "train/3", "train/4", "test/5", "test/6", "test/7"];
    names
        .into_iter()
        .zip(SIDES)
        .zip(0..)
        .map(|((name, [rows, columns]), seed)| (name, png(rows, columns, seed)))
        .collect()
}

#[test]
fn pictures_of_different_sizes_keep_them() {
    let pictures: Vec<_> = mixed().into_iter().map(|(name, file)| (format!("{name}.png"), file)).collect();
    let pictures: Vec<_> = pictures.iter().map(|(name, file)| (name.as_str(), file.clone())).collect();
    let sandbox = both(&pictures, "");
    expect_the_same(&sandbox);
    let ingested = sandbox.files("runs/archives/ingest");
    sandbox.limpid("run archives.toml").succeeds().says("report: done");
    sandbox.limpid("run folder.toml").succeeds();
    assert!(tables(&sandbox, "archives", "denoise") == tables(&sandbox, "folder", "denoise"));
    // By several processes, too.
    for index in 0..2 {
        let task = format!("shard archives.toml --stage ingest --index {index} --of 2 --runs tasks");
        sandbox.limpid(&task).succeeds();
    }
    sandbox.limpid("commit archives.toml --stage ingest --runs tasks").succeeds();
    assert!(sandbox.files("tasks/archives/ingest") == ingested);
    sandbox
        .limpid("run archives.toml --set training.patch=40 --runs others")
        .exits(65)
        .says("train.tar/0.png: no patch of 40×40 fits into images of 40×31");
    let without = String::from_utf8(sandbox.read("archives.toml")).expect("is text").replace("patch = 16\n", "");
    sandbox.write("whole.toml", without.as_bytes());
    sandbox
        .limpid("run whole.toml")
        .exits(65)
        .says("train.tar/1.png is 32×48, but train.tar/0.png is 40×31")
        .says("set training.patch");
    sandbox.limpid("run whole.toml --set source.tar.resize=[32,32]").succeeds();
}

#[test]
fn pictures_may_be_made_larger_than_images_of_one_size_can_be() {
    let pictures = [("train/a.png", png(40, 31, 1)), ("test/b.png", png(20, 30, 2))];
    let sandbox = both(&pictures, ", resize = [600, 600]");
    expect_the_same(&sandbox);
    sandbox.limpid("run archives.toml --to denoise").succeeds();
}

#[test]
fn bad_pictures_colours_and_pages_are_dealt_with_as_in_a_folder() {
    let grey = deep(40, vec![7; 1600], ImageFormat::Png);
    let mut pictures = vec![("train/a.png", b"no picture".to_vec()), ("train/b.png", png(40, 31, 1))];
    pictures.extend([("train/c.png", png(40, 40, 2)), ("train/d.tif", tiff(&[(40, 41), (50, 42)], false))]);
    pictures.extend([
        ("test/e.png", grey.clone()),
        ("test/f.png", png(30, 31, 3)),
        ("test/g.png", grey[..90].to_vec()),
    ]);
    let sandbox = both(&pictures, ", grey = true, on-error = \"skip\"");
    expect_the_same(&sandbox);
    let reasons = |run: &str| {
        let rejected = crate::foreign::read(&sandbox, &format!("runs/{run}/ingest/rejected.parquet")).0;
        let column = rejected.column_by_name("reason").expect("is there");
        arrow_array::cast::AsArray::as_string::<i32>(column).iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    let in_folder =
        reasons("folder").iter().map(|reason| reason.replace("source.folder", "source.tar")).collect::<Vec<_>>();
    let found = reasons("archives");
    assert_eq!(found.len(), 3);
    assert_eq!(found[..1], in_folder[..1]);
    assert!(found[1].contains("it has 2 pages; source.tar.pages = \"first\""), "{}", found[1]);
    assert_eq!(found[2], in_folder[2]);
    sandbox
        .limpid("run archives.toml --to ingest --set source.tar.on-error=fail")
        .exits(65)
        .says("cannot use 3 pictures");
    let sandbox = both(&pictures[1..3], "");
    sandbox.write("test.tar", &tar(&[("e.png".to_owned(), grey)]));
    sandbox
        .limpid("run archives.toml --to ingest")
        .exits(65)
        .says("test.tar/e.png is grey, but train.tar/b.png is RGB; source.tar.grey = true");
}

#[test]
fn sixteen_bits_come_back_exact_and_levels_are_black_and_white() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let back: Vec<u16> = all.iter().rev().copied().collect();
    let pictures = [
        ("train/a.png", deep(256, all.clone(), ImageFormat::Png)),
        ("train/b.png", deep(256, all.iter().map(|word| word / 2).collect(), ImageFormat::Png)),
        ("test/c.tif", deep(256, back.clone(), ImageFormat::Tiff)),
    ];
    let sandbox = both(&pictures, "");
    expect_the_same(&sandbox);
    let stored = floats(&sandbox, "runs/archives/ingest/test-00000-of-00001.parquet");
    let found: Vec<u16> = stored.iter().map(|pixel| (pixel * 65535.0).round() as u16).collect();
    assert_eq!(found, back);
    sandbox.limpid("run archives.toml --set training.learning-rate=1e-9").succeeds();
    sandbox.write("c.tif", &pictures[2].1);
    sandbox.limpid("denoise runs/archives c.tif -o clean.tif").succeeds();
    assert_eq!(words(&sandbox.read("clean.tif")), back);
    for levels in ["[0, 65535]", "{ clip = [100, 3000] }", "{ percentile = [1, 99] }"] {
        expect_the_same(&both(&pictures, &format!(", levels = {levels}")));
    }
    let sandbox = both(&pictures, ", levels = [0, 4095]");
    sandbox.limpid("run archives.toml --to ingest").exits(65).says("`levels` says that numbers lie in [0, 4095]");
}
