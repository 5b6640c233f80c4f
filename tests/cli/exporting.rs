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

#[test]
fn pictures_lie_in_folders_of_their_labels() {
    let sandbox = finished();
    sandbox.limpid("export runs/small --to out/u8 --pictures").succeeds().prints("out/u8");
    sandbox.limpid("export runs/small --to out/u16 --pictures=u16 --threads 1").succeeds();
    let labels = column(&sandbox, &format!("runs/small/{FILE}"), "label");
    let labels = labels.as_primitive::<arrow_array::types::Int64Type>();
    let pixels = bytes(&sandbox);
    for (id, (label, pixels)) in labels.values().iter().zip(pixels.chunks(784)).enumerate() {
        let name = format!("denoise/test/{label}/{id:06}.png");
        let picture = image::load_from_memory(&sandbox.read(&format!("out/u8/{name}"))).expect("is a picture");
        assert_eq!((picture.color(), picture.as_bytes()), (image::ColorType::L8, pixels), "{name}");
        let deep = image::load_from_memory(&sandbox.read(&format!("out/u16/{name}"))).expect("is a picture");
        assert_eq!(deep.color(), image::ColorType::L16);
        let deep = deep.into_luma16().into_raw();
        assert!(deep.iter().zip(pixels).all(|(deep, byte)| *deep == u16::from(*byte) * 257), "{name}");
    }
    // Images of three stages in two splits, and no features.
    assert_eq!(sandbox.files("out/u8").len(), 3 * 720);
    sandbox.limpid("export runs/small --to out/x --pictures --profile hf").exits(2).says("cannot be used with");
    sandbox.limpid("export runs/small --onnx x.onnx --pictures").exits(2).says("--to <DIR>");
    // As the last stage of a pipeline, which another setting runs again.
    let run = "run small.toml --to export --set output.pictures";
    sandbox.limpid(&format!("{run}=u8")).succeeds();
    assert_eq!(sandbox.files("runs/small/export/pictures"), sandbox.files("out/u8"));
    sandbox.limpid(&format!("{run}=u8")).succeeds().says("export: up to date");
    sandbox.limpid(&format!("{run}=u16")).succeeds();
    assert_eq!(sandbox.files("runs/small/export/pictures"), sandbox.files("out/u16"));
    sandbox.limpid(&format!("{run}=u8 --set output.profile=spark")).succeeds();
    assert_eq!(sandbox.files("runs/small/export/pictures"), sandbox.files("out/u8"));
    assert!(sandbox.path("runs/small/export/encode/test-00000-of-00001.parquet").exists());
}

#[test]
fn pictures_have_the_names_of_their_files() {
    let sandbox = Sandbox::with(
        "[source]\nfolder = { path = \"photos\", test-fraction = 0.5 }\n[model]\ndense = { code = 2 }\n[training]\nepochs = 1\n",
    );
    for (seed, name) in ["a/1.png", "a/1.bmp", "b/2.png", "b/3.png", "b/4.png", "b/5.png"].iter().enumerate() {
        let picture = crate::own_images::picture(8, 9, seed as u32);
        let format = if name.ends_with("bmp") { image::ImageFormat::Bmp } else { image::ImageFormat::Png };
        sandbox.write(&format!("photos/{name}"), &crate::own_images::encoded(&picture, format));
    }
    sandbox.limpid("run small.toml --to ingest").succeeds();
    sandbox.limpid("export runs/small --to out --pictures").succeeds();
    let mut found = 0;
    for (name, _) in sandbox.files("out") {
        let own = name.split('/').skip(2).collect::<Vec<_>>().join("/");
        let own = match own.as_str() {
            "a/1.png.png" => "a/1.png".to_owned(),
            "a/1.bmp.png" => "a/1.bmp".to_owned(),
            // The other one may be in the other split.
            "a/1.png" if !sandbox.path(&format!("out/{}", name.replace("1.png", "1.bmp.png"))).exists() => continue,
            other => other.to_owned(),
        };
        let [made, before] = [format!("out/{name}"), format!("photos/{own}")]
            .map(|path| image::load_from_memory(&sandbox.read(&path)).expect("is a picture").into_rgb8().into_raw());
        assert_eq!(made, before, "{name}");
        found += 1;
    }
    assert!(found >= 4 && sandbox.files("out").len() == 6);
}
