//! The commands `encode` and `denoise`, which apply a model to other data.

use std::process::Command;

use crate::foreign::read;
use crate::harness::{Sandbox, link};

/// An IDX file of zeros.
pub fn idx(sizes: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.resize(bytes.len() + sizes.iter().product::<u32>() as usize, 0);
    bytes
}

fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    sandbox
}

#[test]
fn a_trained_model_applies_to_tables_and_idx() {
    let sandbox = trained();
    let input = "runs/small/ingest/test-00000-of-00001.parquet";
    sandbox.limpid(&format!("encode runs/small {input} -o out")).succeeds().prints("out/test-00000-of-00001.parquet");
    // The same images give the same codes as the stage.
    let [made, of_stage] = ["out", "runs/small/encode"].map(|folder| format!("{folder}/test-00000-of-00001.parquet"));
    assert_eq!(read(&sandbox, &made).0.columns(), read(&sandbox, &of_stage).0.columns());
    sandbox.write("some.idx", &idx(&[5, 28, 28]));
    sandbox.limpid("denoise runs/small/train some.idx -o out").succeeds().prints("out/some.parquet");
    sandbox.limpid("inspect out/some.parquet").succeeds().prints("5 rows").prints("limpid.table = denoised");
    sandbox.limpid("inspect some.idx").succeeds().prints("5 images of 28×28");
    sandbox.limpid("inspect out/test-00000-of-00001.parquet").succeeds().prints("limpid.table = features");
}

#[test]
fn results_name_the_model_wherever_it_lies() {
    let sandbox = trained();
    sandbox.write("some.idx", &idx(&[5, 28, 28]));
    let receipt: serde_json::Value =
        serde_json::from_slice(&sandbox.read("runs/small/train/_receipt.json")).expect("is JSON");
    let weights = blake3::hash(&sandbox.read("runs/small/train/last.safetensors")).to_hex();
    let lines = [
        format!("limpid.model-weights = {weights}\n"),
        format!("limpid.model-fingerprint = {}\n", receipt["fingerprint"].as_str().expect("is text")),
    ];
    link(&sandbox.path("runs/small/train"), &sandbox.path("copied"));
    for command in ["encode", "denoise"] {
        sandbox.limpid(&format!("{command} runs/small some.idx -o {command}")).succeeds();
        let shown = sandbox.limpid(&format!("inspect {command}/some.parquet")).succeeds();
        lines.iter().fold(shown, |shown, line| shown.prints(line));
        sandbox.limpid(&format!("{command} copied some.idx -o again")).succeeds();
        assert_eq!(sandbox.files("again"), sandbox.files(command), "a path is in the table");
    }
    // Without its receipt, a model has no fingerprint.
    std::fs::remove_file(sandbox.path("copied/_receipt.json")).expect("removed");
    sandbox.limpid("denoise copied some.idx -o again").succeeds();
    let shown = sandbox.limpid("inspect again/some.parquet").succeeds().prints(&lines[0]);
    assert!(!shown.stdout().contains("limpid.model-fingerprint"));
}

#[test]
fn images_of_another_size_are_refused_with_the_size_that_is_wanted() {
    let sandbox = trained();
    sandbox.write("wide.idx", &idx(&[5, 28, 30]));
    let wanted = "wide.idx has images of 28×30, but the model takes images of 28×28";
    sandbox.limpid("encode runs/small wide.idx -o out").exits(65).says(wanted);
    sandbox.limpid("denoise runs/small wide.idx -o out").exits(65).says(wanted);
    assert!(!sandbox.path("out").exists(), "nothing is written before all inputs are checked");
    sandbox
        .limpid("encode runs/small runs/small/encode/test-00000-of-00001.parquet -o out")
        .exits(65)
        .says("it holds features, not images");
    sandbox.limpid("encode runs/small small.toml -o out").exits(65).says("small.toml is a TOML file");
    sandbox.limpid("encode runs/small missing.idx -o out").exits(2).says("missing.idx does not exist");
    sandbox.limpid("encode runs small.toml -o out").exits(2).says("holds no model");
    sandbox.limpid("encode small.toml wide.idx -o out").exits(2).says("small.toml holds no model");
    let input = "runs/small/ingest/test-00000-of-00001.parquet";
    let run = sandbox.limpid(&format!("denoise runs/small {input} -o runs/small/ingest"));
    run.exits(2).says("runs/small/ingest is the result of a run");
    sandbox.write("mine/some.parquet", &sandbox.read(input));
    let run = sandbox.limpid("denoise runs/small mine/some.parquet -o mine");
    run.exits(2).says("overwritten by its own result");
}

#[test]
fn weights_that_do_not_fit_their_model_are_refused() {
    let sandbox = trained();
    let description = String::from_utf8(sandbox.read("runs/small/train/model.json")).expect("is text");
    let weights = sandbox.read("runs/small/train/last.safetensors");
    let input = "runs/small/ingest/test-00000-of-00001.parquet";
    let refuses = |expected: &str| {
        sandbox.limpid(&format!("encode copy {input} -o out")).exits(65).says(expected);
    };
    sandbox.write("copy/last.safetensors", &weights);
    sandbox.write("copy/model.json", description.replace("\"code\": 8", "\"code\": 9").as_bytes());
    refuses("encoder.1.weight has shape [8, 32], expected [9, 32]");
    sandbox.write("copy/model.json", description.replace("\"code\": 8", "\"code\": 0").as_bytes());
    refuses("a layer of the model has the width 0");
    sandbox.write("copy/model.json", description.replace("\"format\": 1", "\"format\": 7").as_bytes());
    refuses("its format is 7, this limpid reads 1");
    sandbox.write("copy/model.json", b"{");
    refuses("not JSON");
    sandbox.write("copy/model.json", description.replace("last.safetensors", "../x").as_bytes());
    refuses("are not the name of a file beside it");
    // Weights that would exceed the memory if they were allocated.
    let hidden = format!("\"hidden\": [{}]", vec!["262144"; 99].join(","));
    let vast = description.replace("\"hidden\": [\n        32\n      ]", &hidden);
    assert_ne!(vast, description);
    sandbox.write("copy/model.json", vast.as_bytes());
    refuses("a layer of the model would have 68719476736 weights");
    sandbox.write("copy/model.json", vast.replace("262144", "16000").as_bytes());
    refuses("it holds 51544 numbers, the model has ");
    sandbox.write("copy/model.json", description.replace("last.safetensors", "lost.safetensors").as_bytes());
    refuses("lost.safetensors is missing: model.json names it");
    sandbox.write("copy/model.json", description.as_bytes());
    sandbox.write("copy/last.safetensors", &weights[..weights.len() - 1]);
    refuses("not whole safetensors");
}

#[test]
fn a_damaged_table_is_refused() {
    let sandbox = trained();
    let whole = sandbox.read("runs/small/ingest/test-00000-of-00001.parquet");
    sandbox.write("cut.parquet", &whole[..whole.len() - 9]);
    sandbox.limpid("encode runs/small cut.parquet -o out").exits(65).says("not a whole Parquet file");
    sandbox.limpid("inspect cut.parquet").exits(65).says("not a whole Parquet file");
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    sandbox.write("damaged.parquet", &damaged);
    sandbox
        .limpid("encode runs/small damaged.parquet -o out")
        .exits(65)
        .says("limpid: cannot encode damaged.parquet\n")
        .says("damaged near row")
        .never_says(".new");
    assert!(!sandbox.path("out/damaged.parquet").exists());
}

#[test]
fn many_inputs_need_few_open_files() {
    let sandbox = trained();
    let inputs: Vec<String> = (0..40).map(|index| format!("scan{index}.idx3")).collect();
    for input in &inputs {
        sandbox.write(input, &idx(&[2, 28, 28]));
    }
    let script = "ulimit -n 24 && exec \"$0\" denoise runs/small -o out \"$@\"";
    let limited = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_limpid")])
        .args(&inputs)
        .current_dir(sandbox.path(""))
        .output()
        .expect("starts");
    assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
    assert_eq!(sandbox.files("out").len(), 40);
    // Images without ids are numbered and belong to the test split.
    sandbox.limpid("inspect out/scan7.parquet --images 1").succeeds().prints("2 rows").prints("id 0, error ");
}
