//! The command `export`: the same rows in other layouts, and the model as ONNX.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::basic::Compression;

use crate::foreign::read;
use crate::harness::Sandbox;

const FILE: &str = "denoise/test-00000-of-00001.parquet";

fn finished() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to denoise").succeeds();
    sandbox
}

fn column(sandbox: &Sandbox, path: &str, name: &str) -> ArrayRef {
    read(sandbox, path).0.column_by_name(name).expect("is there").clone()
}

fn bytes(sandbox: &Sandbox) -> Vec<u8> {
    let own = column(sandbox, &format!("runs/small/{FILE}"), "image");
    own.as_fixed_size_list().values().as_primitive::<UInt8Type>().values().to_vec()
}

#[test]
fn hugging_face_gets_pictures_and_names() {
    let sandbox = finished();
    sandbox.limpid("export runs/small --to out/hf --profile hf").succeeds().prints("out/hf");
    let path = format!("out/hf/{FILE}");
    let image = column(&sandbox, &path, "image");
    let files = image.as_struct().column_by_name("bytes").expect("has bytes").as_binary::<i32>().clone();
    let pixels: Vec<u8> = files
        .iter()
        .flat_map(|file| {
            image::load_from_memory(file.expect("is there")).expect("is a picture").into_luma8().into_raw()
        })
        .collect();
    assert_eq!(pixels, bytes(&sandbox));
    let (batch, _) = read(&sandbox, &path);
    assert!(batch.schema().fields().iter().all(|field| field.is_nullable()));
    let features: serde_json::Value = serde_json::from_str(&batch.schema().metadata()["huggingface"]).expect("is JSON");
    let features = &features["info"]["features"];
    assert_eq!(features["image"]["_type"], "Image");
    assert_eq!((&features["label"]["_type"], &features["label"]["names"][7]), (&"ClassLabel".into(), &"7".into()));
    let card = String::from_utf8(sandbox.read("out/hf/README.md")).expect("is text");
    assert!(
        card.contains("- config_name: denoise\n  default: true\n") && card.contains("path: corrupt/train-*.parquet")
    );
    // Digests in the card keep `datasets` from reading another export from its cache.
    let digests = |card: &str| {
        card.lines().filter(|line| line.starts_with("  description: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(digests(&card).len(), 4);
    sandbox.limpid("run small.toml --set seed=9").succeeds();
    sandbox.limpid("export runs/small --to out/next --profile hf").succeeds();
    let next = String::from_utf8(sandbox.read("out/next/README.md")).expect("is text");
    assert!(digests(&card).iter().zip(digests(&next)).all(|(one, other)| *one != other));
    sandbox.limpid("run small.toml").succeeds();
    // An export can be a source.
    sandbox.limpid("run small.toml --set name=again --set source.parquet.path=out/hf/denoise --to ingest").succeeds();
    let again = column(&sandbox, "runs/again/ingest/test-00000-of-00001.parquet", "image");
    assert_eq!(again.as_fixed_size_list().values().as_primitive::<UInt8Type>().values(), &bytes(&sandbox)[..]);
}

#[test]
fn spark_gets_plain_lists_and_text() {
    let sandbox = finished();
    sandbox.limpid("export runs/small --to out --profile spark").succeeds();
    let (batch, footer) = read(&sandbox, &format!("out/{FILE}"));
    let types: Vec<_> = batch.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert!(matches!(&types[3], DataType::List(item) if *item.data_type() == DataType::UInt8));
    assert_eq!(types[1], DataType::Utf8);
    assert!(footer.row_group(0).columns().iter().all(|column| column.compression() == Compression::SNAPPY));
    let image = batch.column(3).as_list::<i32>().clone();
    assert_eq!(image.values().as_primitive::<UInt8Type>().values(), &bytes(&sandbox)[..]);
    let codes = "out/encode/test-00000-of-00001.parquet";
    assert_eq!(column(&sandbox, codes, "code").as_list::<i32>().value_length(5), 8);
    // Columns of distinct numbers have no dictionary, which would only enlarge them.
    let chunks = read(&sandbox, codes).1.row_group(0).columns().to_vec();
    let of = |name: &str| chunks.iter().find(|chunk| chunk.column_path().parts()[0] == name).expect("is there");
    assert!(["id", "code", "error"].iter().all(|name| of(name).dictionary_page_offset().is_none()));
    assert!(of("split").dictionary_page_offset().is_some());
}

#[test]
fn options_differ_from_the_profile() {
    let sandbox = finished();
    sandbox.limpid("export runs/small --to out --pixels f32 --lists variable --part-rows 250").succeeds();
    let parts = [
        "denoise/train-00000-of-00003.parquet",
        "denoise/train-00001-of-00003.parquet",
        "denoise/train-00002-of-00003.parquet",
    ];
    let ids: Vec<i64> = parts
        .iter()
        .flat_map(|part| {
            column(&sandbox, &format!("out/{part}"), "id")
                .as_primitive::<arrow_array::types::Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(ids, (0..600).collect::<Vec<_>>());
    let image = column(&sandbox, &format!("out/{FILE}"), "image");
    let floats = image.as_list::<i32>().values().as_primitive::<Float32Type>().values().to_vec();
    assert!(floats.iter().zip(bytes(&sandbox)).all(|(float, byte)| *float == f32::from(byte) / 255.0));
    // The default layout is a limpid table.
    sandbox.limpid("export runs/small --to own").succeeds();
    sandbox.limpid(&format!("encode runs/small own/{FILE} -o codes")).succeeds();
    assert_eq!(
        bytes(&sandbox).len(),
        column(&sandbox, &format!("own/{FILE}"), "image").as_fixed_size_list().values().len()
    );
}

#[test]
fn floats_stay_floats() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --set output.pixels=f32 --to denoise").succeeds();
    let floats = |path: &str| {
        column(&sandbox, path, "image").as_fixed_size_list().values().as_primitive::<Float32Type>().clone()
    };
    sandbox.limpid("export runs/small --to out").succeeds();
    assert_eq!(floats(&format!("out/{FILE}")), floats(&format!("runs/small/{FILE}")));
}

#[test]
fn an_export_never_overwrites() {
    let sandbox = finished();
    let result = "runs/small/train is the result of a run";
    sandbox.limpid("export runs/small --onnx runs/small/train/model.json").exits(2).says(result);
    sandbox.limpid("diff runs/small runs/small --html runs/small/train/history.html").exits(2).says(result);
    sandbox
        .limpid("export runs/small --to runs/small/denoise/out")
        .exits(2)
        .says("runs/small/denoise is the result of a run");
    sandbox
        .limpid(&format!("encode runs/small runs/small/{FILE} -o runs/small/encode"))
        .exits(2)
        .says("cannot be written to");
    sandbox.write("out/mine.txt", b"mine");
    sandbox.limpid("export runs/small --to out").exits(2).says("out exists already");
    assert_eq!(sandbox.read("out/mine.txt"), b"mine");
    sandbox.limpid("export runs/small").exits(2).says("--to");
    sandbox.limpid("export runs --to other").exits(2).says("is not a run directory");
    sandbox.write(&format!("runs/small/{FILE}"), b"damaged");
    sandbox.limpid("export runs/small --to other").exits(65).says("the result of denoise is damaged");
    assert!(!sandbox.path("other").exists() && !sandbox.path(".other.new").exists());
}

#[test]
fn a_model_is_written_as_onnx_whole_or_in_halves() {
    let sandbox = finished();
    // Exports compute nothing, so that `--device` is refused.
    sandbox.limpid("export runs/small --onnx a.onnx --device flex").exits(2).says("--device");
    let size = |part: &str| {
        sandbox.limpid(&format!("export runs/small --onnx {part}.onnx --part {part}")).succeeds().prints(".onnx");
        let bytes = sandbox.read(&format!("{part}.onnx"));
        // The first field is the format version, the second the producer.
        assert_eq!(&bytes[..10], b"\x08\x08\x12\x06limpid", "{part}");
        bytes.len()
    };
    let (whole, halves) = (size("whole"), size("encoder") + size("decoder"));
    // Weights of 784 → 32 → 8 → 32 → 784 and their biases.
    assert!(whole > 4 * 51_536 && halves.abs_diff(whole) < 1500, "{whole} and {halves}");
    let first = sandbox.read("whole.onnx");
    size("whole");
    assert_eq!(first, sandbox.read("whole.onnx"));
}
