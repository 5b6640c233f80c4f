//! `[output]`: a pipeline with the stage `export`.

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::reuse::plan;

/// The stages that would run, with their reasons.
fn work(sandbox: &Sandbox, words: &str) -> Vec<(String, String)> {
    let work = plan(sandbox, words).into_iter().filter(|(_, action, _)| action != "up-to-date");
    work.map(|(stage, _, reasons)| (stage, reasons)).collect()
}

fn reason(stage: &str, reason: &str) -> Vec<(String, String)> {
    vec![(stage.to_owned(), reason.to_owned())]
}

#[test]
fn a_pipeline_that_names_a_profile_exports_its_tables() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds().never_says("export");
    assert!(!sandbox.path("runs/small/export").exists());
    // No other stage runs again.
    let hf = "--set output.profile=hf";
    assert_eq!(work(&sandbox, hf), reason("export", "it has not run yet"));
    sandbox.limpid(&format!("run small.toml {hf}")).succeeds().says("report: up to date").says("export: done in");
    let card = String::from_utf8(sandbox.read("runs/small/export/README.md")).expect("is text");
    for part in [
        "pretty_name: \"small\"",
        "- config_name: denoise\n  default: true\n",
        "path: corrupt/train-*.parquet",
        "| `encode` | their features, `code`, and the `error` of the reconstruction from them | train 600, test 120 |",
    ] {
        assert!(card.contains(part), "{part}\n{card}");
    }
    // The command writes the same.
    sandbox.limpid("export runs/small --to out --profile hf").succeeds();
    assert!(sandbox.files("out") == sandbox.files("runs/small/export"));
    sandbox.limpid("show runs/small").succeeds().prints("runs/small/export/denoise/test-00000-of-00001.parquet");

    sandbox.limpid(&format!("plan small.toml --check {hf}")).succeeds();
    let parts = format!("{hf} --set output.part-rows=250");
    assert_eq!(work(&sandbox, &parts), reason("export", "output.part-rows: \"(unset)\" → 250"));
    assert_eq!(work(&sandbox, &format!("{hf} --set output.lists=fixed")), []);
    sandbox.limpid(&format!("run small.toml {parts} --only export")).succeeds();
    let names: Vec<_> = sandbox.files("runs/small/export").into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names[1..5].join(" "),
        "corrupt/test-00000-of-00001.parquet corrupt/train-00000-of-00003.parquet corrupt/train-00001-of-00003.parquet corrupt/train-00002-of-00003.parquet"
    );
    let damaged = "runs/small/export/encode/test-00000-of-00001.parquet";
    std::fs::remove_file(sandbox.path(damaged)).expect("removed");
    assert_eq!(work(&sandbox, &parts), reason("export", &format!("{damaged} is missing")));
    // Exports follow changes of the tables.
    let stages: Vec<_> =
        work(&sandbox, &format!("{parts} --set encode.input=noisy")).into_iter().map(|(stage, _)| stage).collect();
    assert_eq!(stages, ["encode", "evaluate", "report", "export"]);
    // Without a profile the stage does not exist, and no other stage changes.
    sandbox.limpid("plan small.toml --check").succeeds();
    sandbox.limpid("run small.toml --only export").exits(2).says("this pipeline has no stage \"export\"");
}

#[test]
fn pixels_lists_and_parts_are_settings() {
    let sandbox = Sandbox::new();
    sandbox
        .limpid("run small.toml --set output.profile=spark --set output.pixels=f32 --set output.part-mib=1")
        .succeeds();
    // The tables of the run have the class names too.
    for (path, rows) in [
        ("corrupt/test-00000-of-00001.parquet", 120),
        ("export/corrupt/test-00000-of-00001.parquet", 120),
        // 2^20 bytes are 331 rows of 784 floats and the columns beside them.
        ("export/denoise/train-00000-of-00002.parquet", 331),
        ("export/denoise/train-00001-of-00002.parquet", 269),
        ("export/encode/train-00000-of-00001.parquet", 600),
    ] {
        let (batch, _) = read(&sandbox, &format!("runs/small/{path}"));
        assert_eq!(batch.num_rows(), rows, "{path}");
        if !path.contains("encode") {
            let image = batch.column_by_name("image").expect("is there");
            let values = match image.as_list_opt::<i32>() {
                Some(list) if path.starts_with("export") => list.values(),
                _ => image.as_fixed_size_list().values(),
            };
            assert!(values.as_primitive::<Float32Type>().values().iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        }
    }
    let settings = "--set output.pixels=png --set output.lists=variable --set output.part-mib=3";
    let refused = sandbox.limpid(&format!("plan small.toml {settings}")).exits(2);
    let refused = refused.says("the settings have 3 problems").says("output.pixels: is how tables are exported");
    refused.says("say for whom with output.profile = \"default\", \"hf\" or \"spark\"");
    sandbox
        .limpid("plan small.toml --set output.profile=spork --set output.part-row=0")
        .exits(2)
        .says("expected \"default\" or \"hf\" or \"spark\", found \"spork\"")
        .says("unknown key `part-row`; did you mean `part-rows`?");
    sandbox.limpid("plan small.toml --set output.profile=hf --set output.part-mib=0").exits(2).says("between 1 and");
}

#[test]
fn what_a_model_does_not_have_is_not_exported() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --set output.profile=spark").succeeds();
    let stages = |folder: &str| {
        let mut stages: Vec<_> = std::fs::read_dir(sandbox.path(folder))
            .expect("is there")
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with('_'))
            .collect();
        stages.sort();
        stages.join(" ")
    };
    assert_eq!(stages("runs/small/export"), "corrupt denoise encode ingest");
    // A U-Net has no code; the codes of the previous model still exist.
    let unet = "--set model.unet={channels=[4,8]} --set training.epochs=1";
    sandbox.limpid(&format!("run small.toml {unet} --set output.profile=spark")).succeeds();
    assert!(sandbox.path("runs/small/encode").exists());
    assert_eq!(stages("runs/small/export"), "corrupt denoise ingest");
    sandbox.limpid("export runs/small --to out").succeeds().never_says("out of date");
    assert_eq!(stages("out"), "corrupt denoise ingest");
    // Outdated results are exported, with a note.
    sandbox.limpid(&format!("run small.toml {unet} --set seed=2 --to train")).succeeds();
    sandbox.limpid("export runs/small --to other").succeeds().says("denoise is out of date (");
}

#[test]
fn pixels_that_png_does_not_have_are_refused_before_anything_is_made_of_them() {
    let sandbox = Sandbox::with(
        "[source]\nnpy = { train = \"x.npy\", test = \"y.npy\", channels = 5 }\n[model]\ndense = { code = 2 }\n[output]\nprofile = \"hf\"\n",
    );
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 8, 8, 5), }\n";
    let start = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    let array = [start, vec![7; 2 * 8 * 8 * 5]].concat();
    sandbox.write("x.npy", &array);
    sandbox.write("y.npy", &array);
    sandbox.limpid("run small.toml").exits(65).says("images of 5 channels cannot be exported as PNG");
    assert!(!sandbox.path("runs/small/ingest").exists());
    sandbox.limpid("run small.toml --set output.pixels=u8 --to ingest").succeeds();
}
