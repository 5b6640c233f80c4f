//! Pictures and arrays of more than 8 bits: nothing is rounded between the file and the result.

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma};

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_arrays::npy;

/// A grey picture of 16 bits.
pub fn deep(width: u32, words: Vec<u16>, format: ImageFormat) -> Vec<u8> {
    let height = words.len() as u32 / width;
    let image = ImageBuffer::<Luma<u16>, _>::from_raw(width, height, words).expect("fits");
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageLuma16(image).write_to(&mut bytes, format).expect("memory");
    bytes.into_inner()
}

/// The numbers of a grey picture of 16 bits.
pub fn words(picture: &[u8]) -> Vec<u16> {
    let picture = image::load_from_memory(picture).expect("is a picture");
    picture.as_luma16().expect("is grey, of 16 bits").as_raw().clone()
}

/// The images of a table, which are floats.
pub fn floats(sandbox: &Sandbox, path: &str) -> Vec<f32> {
    let batch = read(sandbox, path).0;
    let image = batch.column_by_name("image").expect("is there");
    image.as_fixed_size_list().values().as_primitive::<Float32Type>().values().to_vec()
}

/// A denoiser that has learnt next to nothing: its last layer was 0, so that it adds less than a ten-thousandth of a level.
fn identity(source: &str) -> String {
    format!(
        r#"
name = "same"
[source]
{source}
[corruption]
gaussian = {{ std = 0.1 }}
[model]
unet = {{ channels = [2, 2] }}
loss = "mse"
predict = "noise"
[training]
input = "noisy"
patch = 16
epochs = 1
learning-rate = 1e-9
"#
    )
}

/// Checks that pixels are the same but for what the model has learnt.
fn expect_same(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let most = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    assert!(most < 1e-6, "differ by {most}");
}

const TEST: &str = "runs/same/ingest/test-00000-of-00001.parquet";

#[test]
fn every_level_of_16_bits_comes_back_exact() {
    let sandbox = Sandbox::new();
    sandbox.write("same.toml", identity("folder = { path = \"photos\", labels = \"none\" }").as_bytes());
    let all: Vec<u16> = (0..=u16::MAX).collect();
    sandbox.write("photos/train/a.png", &deep(256, all.clone(), ImageFormat::Png));
    sandbox.write("photos/test/b.tif", &deep(256, all.iter().rev().copied().collect(), ImageFormat::Tiff));
    sandbox.limpid("run same.toml").succeeds();
    let stored = floats(&sandbox, TEST);
    assert!(stored.iter().zip(all.iter().rev()).all(|(float, word)| *float == f32::from(*word) / 65535.0));
    // Noise is not rounded to bytes either, though output.pixels is u8.
    let noisy = floats(&sandbox, "runs/same/corrupt/test-00000-of-00001.parquet");
    assert!(noisy.iter().any(|pixel| (255.0 * pixel).fract() > 0.1));
    for (file, format) in [("photos/train/a.png", "x.png"), ("photos/test/b.tif", "x.tif")] {
        sandbox.limpid(&format!("denoise runs/same {file} -o {format}")).succeeds();
        assert_eq!(words(&sandbox.read(format)), words(&sandbox.read(file)), "{file}");
    }
    // From picture to table, and from table to table.
    sandbox.limpid(&format!("denoise runs/same photos/test/b.tif {TEST} -o out")).succeeds();
    expect_same(&floats(&sandbox, "out/b.parquet"), &stored);
    expect_same(&floats(&sandbox, "out/test-00000-of-00001.parquet"), &stored);
    // A picture of 8 bits beside them is not rounded, and theirs do not become bytes.
    let byte = DynamicImage::ImageLuma8(ImageBuffer::from_pixel(256, 256, Luma([51])));
    let mut bytes = Cursor::new(Vec::new());
    byte.write_to(&mut bytes, ImageFormat::Png).expect("memory");
    sandbox.write("photos/test/a.png", &bytes.into_inner());
    sandbox.limpid("run same.toml --to ingest").succeeds();
    let both = floats(&sandbox, TEST);
    assert!(both[..1 << 16].iter().all(|pixel| *pixel == 0.2) && both[1 << 16..] == stored);
}

#[test]
fn exports_keep_the_depth_unless_it_is_refused() {
    let sandbox = Sandbox::new();
    let source = "folder = { path = \"photos\", labels = \"none\" }\n[output]\nprofile = \"default\"";
    sandbox.write("same.toml", identity(source).as_bytes());
    let all: Vec<u16> = (0..4096).map(|word| word * 16 + 5).collect();
    for name in ["train/a.png", "test/b.png"] {
        sandbox.write(&format!("photos/{name}"), &deep(64, all.clone(), ImageFormat::Png));
    }
    sandbox.limpid("run same.toml").succeeds();
    let stored = floats(&sandbox, TEST);
    let file = "ingest/test-00000-of-00001.parquet";
    assert_eq!(floats(&sandbox, &format!("runs/same/export/{file}")), stored);
    sandbox.limpid("export runs/same --to own").succeeds();
    assert_eq!(floats(&sandbox, &format!("own/{file}")), stored);
    sandbox.limpid("export runs/same --to spark --profile spark").succeeds();
    let batch = read(&sandbox, &format!("spark/{file}")).0;
    let lists = batch.column_by_name("image").expect("is there").as_list::<i32>().values().clone();
    assert_eq!(lists.as_primitive::<Float32Type>().values()[..], stored);
    for (words, folder) in [("export runs/same --to u8 --pixels u8", "u8"), ("", "runs/rounded/same/export")] {
        if words.is_empty() {
            sandbox.limpid("run same.toml --set output.pixels=u8 --runs runs/rounded").succeeds();
        } else {
            sandbox.limpid(words).succeeds();
        }
        let batch = read(&sandbox, &format!("{folder}/{file}")).0;
        let bytes = batch.column_by_name("image").expect("is there").as_fixed_size_list().values().clone();
        let bytes = bytes.as_primitive::<UInt8Type>().values().to_vec();
        assert!(bytes.iter().zip(&stored).all(|(byte, float)| *byte == (float * 255.0).round() as u8), "{folder}");
    }
    sandbox.limpid("export runs/same --to pictures --pictures").succeeds();
    assert_eq!(words(&sandbox.read("pictures/ingest/test/b.png")), all);
    sandbox.limpid("export runs/same --to bytes --pictures=u8").succeeds();
    let picture = image::load_from_memory(&sandbox.read("bytes/ingest/test/b.png")).expect("is a picture");
    assert_eq!(picture.color(), image::ColorType::L8);
}

#[test]
fn levels_hold_for_arrays_and_for_the_pictures_that_the_model_denoises() {
    let sandbox = Sandbox::new();
    let source = "npy = { train = \"train.npy\", test = \"test.npy\" }";
    sandbox.write("same.toml", identity(source).as_bytes());
    let array = |words: &[u16]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        npy("<u2", "(1, 64, 64)", &bytes)
    };
    let all: Vec<u16> = (0..4096).collect();
    sandbox.write("train.npy", &array(&all));
    sandbox.write("test.npy", &array(&all));
    let run = "run same.toml --set source.npy.levels=";
    sandbox
        .limpid("run same.toml")
        .exits(65)
        .says("train.npy: image 0 holds 256; integers must lie between 0 and 255")
        .says("`levels`");
    sandbox.limpid(&format!("{run}[0,4094]")).exits(65).says("holds 4095; `levels` says that numbers lie in [0, 4094]");
    sandbox.limpid(&format!("{run}[4095,0]")).exits(2).says("source.npy.levels").says("black and white");
    sandbox.limpid(&format!("{run}[0,4095]")).succeeds();
    let stored = floats(&sandbox, TEST);
    assert!(stored.iter().zip(&all).all(|(float, word)| *float == (f64::from(*word) / 4095.0) as f32));
    // The model knows them.
    sandbox.write("page.png", &deep(64, all.clone(), ImageFormat::Png));
    sandbox.limpid("denoise runs/same page.png -o clean.png").succeeds();
    assert_eq!(words(&sandbox.read("clean.png")), all);
    sandbox.limpid("denoise runs/same page.png test.npy -o out").succeeds();
    expect_same(&floats(&sandbox, "out/page.parquet"), &stored);
    expect_same(&floats(&sandbox, "out/test.parquet"), &stored);
    sandbox.write("bright.png", &deep(64, vec![5000; 4096], ImageFormat::Png));
    sandbox
        .limpid("denoise runs/same bright.png -o x.png")
        .exits(65)
        .says("bright.png")
        .says("row 0 holds 5000; `levels`");
    // Without levels, twelve bits are dark, which is said.
    let folder = "folder = { path = \"photos\", labels = \"none\" }";
    sandbox.write("same.toml", identity(folder).as_bytes());
    for split in ["train", "test"] {
        sandbox.write(&format!("photos/{split}/a.png"), &deep(64, all.clone(), ImageFormat::Png));
    }
    sandbox
        .limpid("run same.toml --to ingest")
        .succeeds()
        .says("the largest of all pixels is 16 of 255")
        .says("`levels`");
    sandbox.limpid("run same.toml --to ingest --set source.folder.levels=[0,4095]").succeeds().never_says("largest");
    assert_eq!(floats(&sandbox, TEST), stored);
}

#[test]
fn levels_by_percentile_are_measured_clip_and_stay_with_the_model() {
    let sandbox = Sandbox::new();
    let source = "folder = { path = \"photos\", labels = \"none\", levels = { percentile = [1.0, 99.0] } }";
    sandbox.write("same.toml", identity(source).as_bytes());
    // 100 to 1,123, and a few that are far off.
    let picture = |shift: u16| -> Vec<u16> {
        let far = |at: u16| if at == 7 { Some(0) } else { (at == 9).then_some(60_000) };
        (0..1024).map(|at| far(at).unwrap_or(100 + (at + shift) % 1024)).collect()
    };
    sandbox.write("photos/train/a.png", &deep(32, picture(0), ImageFormat::Png));
    sandbox.write("photos/train/b.tif", &deep(32, picture(300), ImageFormat::Tiff));
    // Those of the test split do not count.
    sandbox.write("photos/test/c.png", &deep(32, vec![50_000; 1024], ImageFormat::Png));
    let done = sandbox
        .limpid("run same.toml --threads 2 --set gate.baselines=[]")
        .succeeds()
        .says("levels: black is 110, white is 1114");
    assert_eq!(done.stderr().matches("levels: ").count(), 1);
    let model: serde_json::Value =
        serde_json::from_slice(&sandbox.read("runs/same/train/model.json")).expect("is JSON");
    assert_eq!(model["levels"], serde_json::json!({ "clip": [110.0, 1114.0] }));
    let train = floats(&sandbox, "runs/same/ingest/train-00000-of-00001.parquet");
    let expected: Vec<f32> = [picture(0), picture(300)]
        .concat()
        .into_iter()
        .map(|word| ((f64::from(word) - 110.0) / 1004.0).clamp(0.0, 1.0) as f32)
        .collect();
    assert_eq!(train, expected);
    assert!(floats(&sandbox, TEST).iter().all(|pixel| *pixel == 1.0));
    // Other pictures are clipped at the training's levels, and come back in their numbers.
    sandbox.write("d.png", &deep(2, vec![0, 110, 600, 65_535], ImageFormat::Png));
    sandbox.limpid("denoise runs/same d.png -o out.png").succeeds();
    assert_eq!(words(&sandbox.read("out.png")), [110, 110, 600, 1114]);
    sandbox.limpid("plan same.toml --check --set gate.baselines=[]").succeeds();
    let whole = sandbox.files("runs/same/ingest");
    sandbox.limpid("run same.toml --to ingest --threads 1 --runs again").succeeds();
    assert!(sandbox.files("again/same/ingest") == whole);
}

#[test]
fn levels_of_arrays_clip_and_impossible_ones_are_refused() {
    let sandbox = Sandbox::new();
    let source =
        |levels: &str| identity(&format!("npy = {{ train = \"train.npy\", test = \"test.npy\", levels = {levels} }}"));
    let numbers: Vec<u8> = (0..512_u16).flat_map(|at| (f32::from(at) - 100.0).to_le_bytes()).collect();
    for name in ["train.npy", "test.npy"] {
        sandbox.write(name, &npy("<f4", "(2, 16, 16)", &numbers));
    }
    sandbox.write("same.toml", source("{ clip = [0, 200] }").as_bytes());
    sandbox.limpid("run same.toml --to ingest").succeeds();
    let expected: Vec<f32> = (0..512).map(|at| ((f64::from(at) - 100.0) / 200.0).clamp(0.0, 1.0) as f32).collect();
    assert_eq!(floats(&sandbox, TEST), expected);
    sandbox.write("same.toml", source("{ percentile = [0, 100] }").as_bytes());
    sandbox.limpid("run same.toml --to ingest").succeeds().says("levels: black is -100, white is 411");
    for (levels, cause) in [
        ("{ percentile = [5, 101] }", "two shares in percent, 0 to 100"),
        ("{ clip = [3, 3] }", "two finite numbers, black and white"),
        ("[0, 1, 2]", "has 3 entries; at most 2 work"),
        ("{ centile = [1, 2] }", "unknown key `centile`"),
        ("{ clip = [1, 2], percentile = [1, 2] }", "either `clip` or `percentile`"),
    ] {
        sandbox.write("same.toml", source(levels).as_bytes());
        sandbox.limpid("run same.toml").exits(2).says(cause);
    }
    sandbox.write("flat.npy", &npy("<f4", "(2, 16, 16)", &1.5_f32.to_le_bytes().repeat(512)));
    let flat = source("{ percentile = [1, 99] }").replace("train.npy", "flat.npy");
    sandbox.write("same.toml", flat.as_bytes());
    sandbox.limpid("run same.toml").exits(65).says("are 1.5 and 1.5, between which there is nothing");
}

#[test]
fn a_picture_that_cannot_be_used_is_named_where_levels_are_measured() {
    let source = "folder = { path = \"photos\", labels = \"none\", levels = { percentile = [1, 99] } }";
    let sandbox = Sandbox::new();
    sandbox.write("same.toml", identity(&source.replace("folder = {", "folder = { test-fraction = 0.3,")).as_bytes());
    for index in 0..8 {
        let words = (0..400).map(|at| at * 100 + index).collect();
        sandbox.write(&format!("photos/{index}.png"), &deep(20, words, ImageFormat::Png));
    }
    sandbox.write("photos/empty.png", b"");
    sandbox.limpid("run same.toml --to ingest").exits(65).says("photos/empty.png");
    sandbox.limpid("run same.toml --to ingest --set source.folder.on-error=skip").succeeds();
}

#[test]
fn numbers_are_inspected_as_they_are_in_the_file() {
    let sandbox = Sandbox::new();
    sandbox.write("deep.png", &deep(20, (0..400).map(|at| 1000 + at * 50).collect(), ImageFormat::Png));
    let inspected = sandbox.limpid("inspect deep.png --draw none");
    inspected.succeeds().prints("(PNG, 16 bits)").prints("400 numbers, least 1000, mean 10975.00000, greatest 20950");
}
