//! Pairs of noisy and clean images: found by name, stored side by side, and learnt from.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::{Field, Schema};
use serde_json::Value;

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_arrays::{npy, npz};
use crate::own_images::{TEST, TRAIN, images, png};

const NOISY_TRAIN: &str = "runs/small/ingest/noisy/train-00000-of-00001.parquet";
const NOISY_TEST: &str = "runs/small/ingest/noisy/test-00000-of-00001.parquet";

/// A sandbox whose pipeline learns from the pairs of a source.
fn sandbox(source: &str) -> Sandbox {
    Sandbox::with(&format!(
        "[source]\n{source}\n[model]\nunet = {{ channels = [4, 6] }}\n[training]\ninput = \"noisy\"\nepochs = 1\nbatch-size = 20\n"
    ))
}

/// The documents that limpid draws, learnt from in patches.
const DOCUMENTS: &str = "documents = { train = 30, test = 5, size = [40, 56] }";

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_slice(&sandbox.read(path)).expect("is JSON")
}

/// The paths that a table of files lists, with ids.
fn paths(sandbox: &Sandbox, path: &str) -> Vec<String> {
    let (batch, _) = read(sandbox, path);
    let column = batch.column_by_name("path").expect("is there").as_string::<i32>().clone();
    column.iter().map(|path| path.expect("is there").to_owned()).collect()
}

#[test]
fn pairs_of_a_folder_are_found_by_their_names() {
    let sandbox = sandbox("folder = { noisy = \"scans\", clean = \"cleaned\" }");
    // In both splits; of other formats; listed in other orders, since one has more folders above.
    for (name, seed) in [("train/b/1", 1), ("train/a/2", 2), ("test/a/3", 3)] {
        sandbox.write(&format!("cleaned/{name}.png"), &png(12, 10, seed));
        sandbox.write(&format!("scans/{name}.PNG"), &png(12, 10, 100 + seed));
    }
    sandbox.limpid("run small.toml").succeeds().says("evaluate: done");
    let pixels = |seeds: &[u32]| {
        seeds
            .iter()
            .flat_map(|&seed| -> Vec<u8> { crate::own_images::picture(12, 10, seed).into_bytes() })
            .collect::<Vec<u8>>()
    };
    let expect = |path: &str, labels: &[i64], seeds: &[u32]| {
        let labels: Vec<_> = labels.iter().copied().map(Some).collect();
        let expected = ((0..seeds.len() as i64).collect(), labels, pixels(seeds));
        assert!(images(&sandbox, path) == expected, "{path}");
    };
    expect(TRAIN, &[0, 1], &[2, 1]);
    expect(NOISY_TRAIN, &[0, 1], &[102, 101]);
    expect(TEST, &[0], &[3]);
    expect(NOISY_TEST, &[0], &[103]);
    assert_eq!(paths(&sandbox, "runs/small/ingest/files.parquet"), ["train/a/2.png", "train/b/1.png", "test/a/3.png"]);
    assert_eq!(
        paths(&sandbox, "runs/small/ingest/noisy/files.parquet"),
        ["train/a/2.PNG", "train/b/1.PNG", "test/a/3.PNG"]
    );
    // There is nothing to corrupt, and every stage knows.
    assert!(!sandbox.path("runs/small/corrupt").exists());
    sandbox.limpid("plan small.toml --check").succeeds();
    let metrics = json(&sandbox, "runs/small/evaluate/metrics.json");
    assert_eq!((&metrics["task"], &metrics["scores"][1]["what"]), (&"denoising".into(), &"noisy input".into()));
    let squares = pixels(&[3])
        .into_iter()
        .zip(pixels(&[103]))
        .map(|(clean, noisy)| (f64::from(clean) - f64::from(noisy)).powi(2));
    let mse = squares.sum::<f64>() / 360.0 / 255.0 / 255.0;
    let found = metrics["scores"][1]["mse"].as_f64().expect("is a number");
    assert!((found / mse - 1.0).abs() < 1e-4, "{found} and not {mse}");
    let page = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert!(page.contains("noisy"));
    // A noisy image that changes is a reason to read them again.
    sandbox.write("scans/test/a/3.PNG", &png(12, 10, 9));
    sandbox.limpid("plan small.toml --check").exits(10).prints("source.folder.noisy");
}

#[test]
fn denoised_images_are_measured_against_the_clean_ones() {
    let sandbox = sandbox(DOCUMENTS);
    sandbox.limpid("run small.toml --to denoise").succeeds();
    let numbers = |path: &str| images(&sandbox, path).2.into_iter().map(|byte| f64::from(byte) / 255.0);
    let clean: Vec<f64> = numbers(TEST).collect();
    let made: Vec<f64> = numbers("runs/small/denoise/test-00000-of-00001.parquet").collect();
    let (batch, _) = read(&sandbox, "runs/small/denoise/test-00000-of-00001.parquet");
    let errors = batch.column_by_name("error").expect("is there").as_primitive::<Float32Type>().clone();
    for ((clean, made), error) in clean.chunks(40 * 56).zip(made.chunks(40 * 56)).zip(errors.values()) {
        let mse = clean.iter().zip(made).map(|(clean, made)| (clean - made).powi(2)).sum::<f64>() / clean.len() as f64;
        assert!((f64::from(*error) / mse - 1.0).abs() < 1e-4, "{error} and not {mse}");
    }
}

#[test]
fn patterns_pair_several_noisy_versions_with_a_clean_image_in_one_split() {
    let names = "noisy-name = \"{page}_Noise*_{set}\", clean-name = \"{page}_Clean_{set}\"";
    let sandbox = sandbox(&format!(
        "folder = {{ noisy = \"all\", clean = \"all\", {names}, labels = \"none\", test-fraction = 0.4 }}"
    ));
    for page in 0..12 {
        sandbox.write(&format!("all/Font{page:02}_Clean_TE.png"), &png(9, 9, page));
        for version in 0..3 {
            let name = format!("all/Font{page:02}_Noise{}_TE.png", ["c", "f", "p"][version as usize]);
            sandbox.write(&name, &png(9, 9, 50 + 10 * version + page));
        }
    }
    sandbox.limpid("run small.toml --to train").succeeds().never_says("passed over");
    let [clean, noisy] =
        ["files", "noisy/files"].map(|name| paths(&sandbox, &format!("runs/small/ingest/{name}.parquet")));
    assert_eq!((clean.len(), noisy.len()), (36, 36));
    for (clean, noisy) in clean.iter().zip(&noisy) {
        assert_eq!(clean[..6], noisy[..6]);
    }
    let pages = |path: &str| {
        let pixels = images(&sandbox, path).2;
        pixels.chunks(243).map(|image| image[2]).collect::<std::collections::BTreeSet<_>>()
    };
    let (train, test) = (pages(TRAIN), pages(TEST));
    assert!(train.is_disjoint(&test) && train.len() + test.len() == 12, "{train:?} and {test:?}");
}

#[test]
fn a_table_may_list_the_pairs() {
    let sandbox = sandbox("folder = { noisy = \"scans\", clean = \"cleaned\", csv = \"pairs.csv\" }");
    for (name, seed) in
        [("scans/x.png", 11), ("scans/y.png", 12), ("scans/z.png", 13), ("cleaned/a.png", 1), ("cleaned/b.png", 2)]
    {
        sandbox.write(name, &png(9, 9, seed));
    }
    let list = |rows: &str| _ = sandbox.write("pairs.csv", format!("noisy,clean,split\n{rows}").as_bytes());
    list("y.png,a.png,train\nx.png,b.png,test\nz.png,a.png,train\n");
    sandbox.limpid("run small.toml --to train").succeeds();
    assert_eq!(paths(&sandbox, "runs/small/ingest/files.parquet"), ["a.png", "a.png", "b.png"]);
    assert_eq!(paths(&sandbox, "runs/small/ingest/noisy/files.parquet"), ["y.png", "z.png", "x.png"]);
    let refused = |rows: &str, message: &str| {
        list(rows);
        sandbox.limpid("run small.toml --to ingest").exits(65).says(message);
    };
    refused("y.png,a.png,train\nz.png,a.png,test\n", "line 3: a.png has another split or label than in a line before");
    refused("y.png,a.png,train\ny.png,b.png,test\n", "line 3: y.png is listed twice");
    refused("y.png,c.png,train\n", "line 2: there is no file cleaned/c.png");
    refused("../cleaned/b.png,a.png,train\n", "leads out of scans");
    sandbox.write("pairs.csv", b"file,clean\ny.png,a.png\n");
    sandbox.limpid("run small.toml --to ingest").exits(65).says("`noisy` and `clean` must name the files");
    sandbox.limpid("plan small.toml --set source.folder.noisy-name={name}").exits(2).says("keep one");
}

#[test]
fn images_without_partner_are_counted_and_named() {
    let sandbox = sandbox("folder = { noisy = \"scans\", clean = \"cleaned\", labels = \"none\" }");
    for name in ["a", "b", "c", "d", "e"] {
        sandbox.write(&format!("cleaned/{name}.png"), &png(9, 9, 1));
    }
    for name in ["e", "f", "g"] {
        sandbox.write(&format!("scans/{name}.png"), &png(9, 9, 2));
    }
    sandbox
        .limpid("run small.toml")
        .exits(65)
        .says("4 clean images have no noisy one: cleaned/a.png, cleaned/b.png, cleaned/c.png, …")
        .says("2 noisy images have no clean one: scans/f.png, scans/g.png")
        .says("names like {name} and {name}, without extension (source.folder.noisy-name, .clean-name)");
    sandbox
        .limpid("run small.toml --set source.folder.clean-name={name}_clean")
        .exits(65)
        .says("no image files with names");
    // Two clean images for one noisy one.
    sandbox.write("two/a.png", &png(9, 9, 1));
    sandbox.write("two/a.jpg", &png(9, 9, 1));
    sandbox.limpid("run small.toml --set source.folder.clean=two").exits(65).says("would both be the clean image of a");
}

#[test]
fn pairs_of_different_sizes_are_refused() {
    let sandbox =
        sandbox("folder = { noisy = \"scans\", clean = \"cleaned\", labels = \"none\", test-fraction = 0.5 }");
    for name in ["a", "b", "c", "d"] {
        sandbox.write(&format!("cleaned/{name}.png"), &png(9, 9, 1));
        sandbox.write(&format!("scans/{name}.png"), &png(9, 8, 2));
    }
    sandbox.limpid("run small.toml").exits(65).says("9×8");
    sandbox.limpid("run small.toml --set source.folder.resize=[9,9] --to ingest").succeeds();
}

#[test]
fn pairs_keep_their_sizes() {
    let sandbox =
        sandbox("folder = { noisy = \"scans\", clean = \"cleaned\", labels = \"none\", test-fraction = 0.4 }");
    for index in 0..8 {
        let (rows, columns) = (20 + 3 * index, 30 - index);
        sandbox.write(&format!("cleaned/{index}.png"), &png(rows, columns, index));
        sandbox.write(&format!("scans/{index}.png"), &png(rows, columns, 40 + index));
    }
    let settings = "--set training.patch=16 --set training.augment=[\"flip\"]";
    sandbox.limpid(&format!("run small.toml {settings}")).succeeds();
    let train = sandbox.files("runs/small/train");
    sandbox.limpid(&format!("run small.toml {settings} --runs again --threads 1 --to train")).succeeds();
    assert!(train == sandbox.files("again/small/train"));
    sandbox.write("scans/3.png", &png(29, 28, 3));
    sandbox
        .limpid(&format!("run small.toml {settings}"))
        .exits(65)
        .says("scans/3.png is 29×28×3, but its clean version, cleaned/3.png, 29×27×3");
}

#[test]
fn settings_that_make_no_sense_with_pairs_are_refused() {
    let sandbox = sandbox(DOCUMENTS);
    let refused = |settings: &str, message: &str| {
        _ = sandbox.limpid(&format!("plan small.toml {settings}")).exits(2).says(message)
    };
    refused("--set corruption.gaussian.std=0.1", "corruption.gaussian: the source has noisy images of its own");
    refused("--set training.noise=fixed", "training.noise: \"fixed\" is about the noise of a corruption");
    refused("--set training.target=noisy", "training.target: \"noisy\" needs a corruption");
    let folder = "--set source.folder.noisy=a --set source.folder.clean=b";
    refused("--set source.folder.noisy=a", "source.folder.noisy: is for pairs, which have both `noisy` and `clean`");
    refused(&format!("{folder} --set source.folder.path=c"), "is for pairs");
    refused(
        &format!("{folder} --set source.folder.on-error=skip"),
        "source.folder.on-error: \"skip\" would leave the partners",
    );
    refused(&format!("{folder} --set source.folder.noisy-name={{page}}"), "has {page}, but `clean-name` has {name}");
    refused(&format!("{folder} --set source.folder.noisy-name=x"), "no part like {page}");
    let npz = "--set source.npz.path=a.npz --set source.npz";
    refused(&format!("{npz}.train-noisy=n"), "source.npz.test-noisy: is missing");
    refused(&format!("{npz}.test-noisy=n"), "source.npz.train-noisy: is missing");
    refused(&format!("{npz}.train-noisy=x_train --set source.npz.test-noisy=n"), "names the clean images");
    refused(
        "--set source.parquet.path=a --set source.parquet.noisy=image --set source.parquet.image=image",
        "source.parquet.noisy: names the column of the clean images",
    );
}

#[test]
fn arrays_and_columns_hold_pairs_too() {
    let numbers =
        |seed: usize, count: usize| (0..count * 80).map(|at| ((at * 7 + seed * 31) % 256) as u8).collect::<Vec<_>>();
    let array = |seed: usize, count: usize| npy("|u1", &format!("({count}, 10, 8)"), &numbers(seed, count));
    let expect = |sandbox: &Sandbox| {
        sandbox.limpid("run small.toml --to denoise").succeeds();
        for (path, seed, count) in [(TRAIN, 1, 6), (NOISY_TRAIN, 2, 6), (TEST, 3, 4), (NOISY_TEST, 4, 4)] {
            assert!(images(sandbox, path).2 == numbers(seed, count), "{path}");
        }
    };
    let files = [("train", 1, 6), ("train-noisy", 2, 6), ("test", 3, 4), ("test-noisy", 4, 4)];
    let keys = files.map(|(key, ..)| format!("{key} = \"{key}.npy\"")).join(", ");
    let separate = sandbox(&format!("npy = {{ {keys} }}"));
    files.iter().for_each(|(key, seed, count)| _ = separate.write(&format!("{key}.npy"), &array(*seed, *count)));
    expect(&separate);
    separate.write("test-noisy.npy", &array(4, 3));
    separate.limpid("run small.toml").exits(65).says("the split test has 3 noisy images, but 4 clean ones");
    for (name, count) in [("train-noisy", 6), ("test-noisy", 4)] {
        separate.write(&format!("{name}.npy"), &npy("<f4", &format!("({count}, 10, 8)"), &vec![0; count * 320]));
    }
    separate.limpid("run small.toml").exits(65).says("the noisy images are of another depth than the clean ones");
    let keys = files.map(|(key, ..)| format!("{key} = \"{key}\"")).join(", ");
    let archive = sandbox(&format!("npz = {{ path = \"all.npz\", {keys} }}"));
    let arrays: Vec<_> = files.iter().map(|(key, seed, count)| (*key, array(*seed, *count))).collect();
    archive.write("all.npz", &npz(&arrays, zip::CompressionMethod::Stored));
    expect(&archive);
    let columns = sandbox("parquet = { path = \"data\", image = \"sharp\", noisy = \"blurry\", grey = true }");
    for split in ["train", "test"] {
        let picture = |seed: u32| png(9, 9, seed);
        let column = |seeds: [u32; 2]| -> ArrayRef {
            let files = seeds.map(picture);
            Arc::new(files.iter().map(|file| Some(file.as_slice())).collect::<BinaryArray>())
        };
        let columns_of = [("blurry", column([30, 40])), ("sharp", column([10, 20]))];
        let schema = Schema::new(
            columns_of
                .iter()
                .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
                .collect::<Vec<_>>(),
        );
        let batch =
            RecordBatch::try_new(Arc::new(schema), columns_of.map(|(_, column)| column).to_vec()).expect("fits");
        let path = format!("data/{split}.parquet");
        columns.write(&path, b"");
        crate::foreign::write(&columns, &path, &[batch], parquet::basic::Compression::SNAPPY);
    }
    columns.limpid("run small.toml --to denoise").succeeds();
    let first = |path: &str| images(&columns, path).2[0];
    // The grey of a pixel of (seed, 0, seed).
    assert_eq!([first(TRAIN), first(NOISY_TRAIN)], [4, 12]);
}

#[test]
fn the_bytes_of_a_training_on_pairs_do_not_depend_on_threads_or_kills() {
    let sandbox = sandbox(DOCUMENTS);
    // Whole pages; patches; patches that do not fit the memory: 30 pages take 134 kB.
    for settings in ["", "--set training.patch=16 --set training.augment=[\"flip\",\"rotate\"]"] {
        let run = |runs: &str, more: &str| {
            format!("run small.toml --to train --runs {runs} {settings} --set training.checkpoint-seconds=0 {more}")
        };
        for threads in [1, 2, 3] {
            sandbox.limpid(&run(&format!("whole{threads}"), &format!("--threads {threads}"))).succeeds();
            for stage in ["ingest", "train"] {
                let files = |threads: usize| sandbox.files(&format!("whole{threads}/small/{stage}"));
                assert!(files(1) == files(threads), "{stage}: {threads} threads");
            }
        }
        for saved in [2, 3] {
            let fault = format!("rename killed/small/.checkpoint/train.new:{saved}:kill");
            sandbox.limpid(&run("killed", "")).env("LIMPID_FAILPOINT", fault).ends();
            sandbox.limpid(&run("killed", "")).succeeds().says("train: resuming after");
            assert!(sandbox.files("whole1/small/train") == sandbox.files("killed/small/train"), "{settings}: {saved}");
            std::fs::remove_dir_all(sandbox.path("killed")).expect("removed");
        }
        for threads in 1..4 {
            std::fs::remove_dir_all(sandbox.path(&format!("whole{threads}"))).expect("removed");
        }
    }
}

#[test]
fn pages_are_cleaned_and_exported() {
    let sandbox = sandbox("documents = { train = 60, test = 6, size = [64, 96] }");
    let settings = "--set training.epochs=6 --set training.patch=32 --set training.batch-size=10 --set training.learning-rate=0.005";
    sandbox.limpid(&format!("run small.toml {settings} --set output.profile=hf")).succeeds();
    let metrics = json(&sandbox, "runs/small/evaluate/metrics.json");
    let psnr = |index: usize| metrics["scores"][index]["psnr-pooled"].as_f64().expect("is a number");
    assert!(psnr(0) > psnr(1) + 3.0, "{} dB from {} dB", psnr(0), psnr(1));
    let card = String::from_utf8(sandbox.read("runs/small/export/README.md")).expect("is text");
    assert!(card.contains("config_name: noisy") && card.contains("path: noisy/train-*.parquet"), "{card}");
    assert!(sandbox.path("runs/small/export/noisy/test-00000-of-00001.parquet").exists());
    sandbox.limpid("export runs/small --to copy").succeeds();
    assert!(sandbox.path("copy/noisy/train-00000-of-00001.parquet").exists());
    sandbox.limpid("inspect runs/small/ingest/noisy/test-00000-of-00001.parquet").succeeds().prints("ingest");
}
