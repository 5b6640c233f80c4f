//! Codes of pictures of any size: pooled over their patches, or of each patch.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_images::png;

/// Rows and columns of pictures; one is smaller than a patch.
const SIDES: [[u32; 2]; 8] = [[40, 31], [32, 48], [16, 16], [64, 32], [12, 40], [47, 50], [16, 33], [32, 61]];
/// Rows and columns of a patch.
const PATCH: u32 = 16;

/// Pictures of two classes.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(
        r#"
name = "small"
[source.folder]
path = "photos"
test-fraction = 0.4
grey = true
[model]
conv = { channels = [4, 6] }
[training]
patch = 16
epochs = 1
batch-size = 8
"#,
    );
    for (index, [rows, columns]) in SIDES.into_iter().enumerate() {
        let class = ["cats", "dogs"][index / 2 % 2];
        sandbox.write(&format!("photos/{class}/{index}.png"), &png(rows.max(PATCH), columns, index as u32));
        sandbox.write(&format!("more/{index}.png"), &png(rows, columns, index as u32));
    }
    sandbox
}

fn code(batch: &RecordBatch, row: usize) -> Vec<f32> {
    let codes = batch.column_by_name("code").expect("is there").as_fixed_size_list();
    codes.value(row).as_primitive::<Float32Type>().values().to_vec()
}

fn errors(batch: &RecordBatch) -> Vec<f32> {
    batch.column_by_name("error").expect("is there").as_primitive::<Float32Type>().values().to_vec()
}

/// The rows of each id.
fn rows(batch: &RecordBatch) -> BTreeMap<i64, Vec<usize>> {
    let mut rows = BTreeMap::<_, Vec<_>>::new();
    let ids = batch.column_by_name("id").expect("is there").as_primitive::<Int64Type>();
    ids.values().iter().enumerate().for_each(|(row, id)| rows.entry(*id).or_default().push(row));
    rows
}

#[test]
fn pooled_codes_are_the_means_of_those_of_patches() {
    let sandbox = sandbox();
    sandbox.limpid("run small.toml").exits(65).says("have no codes of one size").says("encode.codes").says("patches");
    sandbox.limpid("run small.toml --set encode.codes=pooled --threads 2").succeeds().says("report: done");
    for codes in ["pooled", "patches"] {
        sandbox.limpid(&format!("encode runs/small more -o {codes} --codes {codes}")).succeeds();
    }
    let [pooled, patches] = ["pooled", "patches"].map(|codes| read(&sandbox, &format!("{codes}/more.parquet")).0);
    let places = |name: &str| patches.column_by_name(name).expect("is there").as_primitive::<Int32Type>().values();
    let found = rows(&patches);
    assert_eq!(found.len(), SIDES.len());
    for (id, [height, width]) in (0..).zip(SIDES) {
        let patches_of = &found[&id];
        assert_eq!(patches_of.len() as u32, height.div_ceil(PATCH) * width.div_ceil(PATCH), "picture {id}");
        for &row in patches_of {
            let end = [places("top")[row], places("left")[row]].map(|start| start as u32 + PATCH);
            assert!(end[0] <= height.max(PATCH) && end[1] <= width.max(PATCH), "picture {id}: {end:?}");
        }
        // The code of a patch is a map of 4×4 places of 6 channels.
        let mut mean = [0.0; 6];
        for code in patches_of.iter().map(|&row| code(&patches, row)) {
            assert_eq!(code.len(), 96);
            code.iter().enumerate().for_each(|(at, number)| mean[at % 6] += f64::from(*number));
        }
        let count = patches_of.len() as f64;
        let code = code(&pooled, id as usize);
        assert_eq!(code.len(), 6);
        for (mean, found) in mean.iter().zip(code) {
            assert!((mean / (16.0 * count) - f64::from(found)).abs() < 1e-6, "picture {id}");
        }
        let mean: f64 = patches_of.iter().map(|&row| f64::from(errors(&patches)[row])).sum::<f64>() / count;
        assert!((mean - f64::from(errors(&pooled)[id as usize])).abs() < 1e-6, "picture {id}");
    }
    // A patch by itself has the code of the picture that it is.
    let alone = rows(&patches)[&2][0];
    sandbox.limpid("encode runs/small more/2.png -o alone").succeeds();
    assert_eq!(code(&read(&sandbox, "alone/2.parquet").0, 0), code(&patches, alone));
    sandbox.limpid("encode runs/small more -o whole").exits(65).says("of different sizes").says("pooled");
    sandbox.limpid("inspect patches/more.parquet").succeeds().prints("patch-features").prints("top");
}

#[test]
fn a_run_has_codes_of_patches_whatever_the_threads() {
    let sandbox = sandbox();
    sandbox.limpid("run small.toml --set encode.codes=patches --threads 2").succeeds().says("report: done");
    let table = read(&sandbox, "runs/small/encode/train-00000-of-00001.parquet").0;
    assert!(rows(&table).values().any(|rows| rows.len() > 1));
    let label = table.column_by_name("label").expect("is there");
    assert_eq!(label.null_count(), 0);
    let metrics = String::from_utf8(sandbox.read("runs/small/evaluate/metrics.json")).expect("is text");
    assert!(metrics.contains("codes are those of patches"), "{metrics}");
    let whole = sandbox.files("runs/small/encode");
    sandbox.limpid("run small.toml --set encode.codes=patches --threads 1 --runs again").succeeds();
    assert!(sandbox.files("again/small/encode") == whole);
    sandbox
        .limpid("run small.toml --set encode.codes=patches --set gate.probe-margin=0")
        .exits(2)
        .says("gate.probe-margin")
        .says("a code of each image");
    for profile in ["default", "hf", "spark"] {
        sandbox.limpid(&format!("export runs/small --to {profile} --profile {profile}")).succeeds();
        let exported = read(&sandbox, &format!("{profile}/encode/train-00000-of-00001.parquet")).0;
        assert_eq!(exported.num_rows(), table.num_rows());
    }
}

#[test]
fn models_of_one_size_code_the_patches_of_pictures_and_unets_none() {
    let sandbox = Sandbox::with(
        "name = \"small\"\n[source]\nstrokes = { train = 64, test = 16 }\n[model]\ndense = { hidden = [16], code = 5 }\n\
         [training]\nepochs = 1\n",
    );
    sandbox.write("more/a.png", &png(60, 30, 1));
    sandbox.write("more/b.png", &png(28, 28, 2));
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox.limpid("encode runs/small more -o out --codes pooled").succeeds();
    let pooled = read(&sandbox, "out/more.parquet").0;
    assert_eq!((pooled.num_rows(), code(&pooled, 0).len()), (2, 5));
    sandbox.write(
        "unet.toml",
        b"[source]\nstrokes = { train = 64, test = 16 }\n[model]\nunet = { channels = [4] }\n[training]\nepochs = 1\n",
    );
    sandbox.limpid("run unet.toml --to train").succeeds();
    sandbox.limpid("encode runs/unet more -o out --codes pooled").exits(2).says("a U-Net has no code");
    sandbox.limpid("run unet.toml --set encode.codes=pooled").exits(2).says("encode.codes").says("needs a code");
}

#[test]
fn codes_without_errors_are_the_same_and_need_no_decoder() {
    let sandbox = sandbox();
    sandbox.limpid("run small.toml --set encode.codes=pooled --to encode").succeeds();
    let name = "runs/small/encode/test-00000-of-00001.parquet";
    let with = read(&sandbox, name).0;
    sandbox
        .limpid("plan small.toml --set encode.codes=pooled --set encode.error=false --to encode")
        .succeeds()
        .prints("encode.error");
    for codes in ["pooled", "patches"] {
        let set = format!("--set encode.codes={codes} --set encode.error=false");
        sandbox.limpid(&format!("run small.toml {set}")).succeeds().says("report: done");
        let without = read(&sandbox, name).0;
        assert!(without.column_by_name("error").is_none());
        if codes == "pooled" {
            assert_eq!(with.column_by_name("code"), without.column_by_name("code"));
        }
        for profile in ["default", "hf", "spark"] {
            sandbox.limpid(&format!("export runs/small --to {codes}-{profile} --profile {profile}")).succeeds();
        }
        for (folder, more) in [("with", ""), ("without", "--no-error")] {
            sandbox.limpid(&format!("encode runs/small more -o {codes}-{folder} --codes {codes} {more}")).succeeds();
        }
        let [with, without] = ["with", "without"].map(|folder| format!("{codes}-{folder}/more.parquet"));
        let [with, without] = [&with, &without].map(|name| read(&sandbox, name).0);
        let columns: Vec<_> = (0..with.num_columns() - 1).collect();
        assert_eq!(with.schema().fields().last().expect("has columns").name(), "error");
        assert_eq!(with.project(&columns).expect("are there").columns(), without.columns(), "{codes}");
        sandbox.limpid(&format!("inspect {codes}-without/more.parquet")).succeeds().prints("features");
    }
}
