//! Training on noisy images alone.

use serde_json::Value;

use crate::harness::Sandbox;
use crate::own_arrays::npy;

/// Pictures with noise that is added once, of which training sees nothing else.
const PIPELINE: &str = r#"
name = "small"
[source]
scenes = { train = 30, test = 6, size = [48, 40] }
[corruption]
gaussian = { std = 0.15, clip = false }
[model]
unet = { channels = [8, 12] }
loss = "mse"
[training]
target = "blind-spot"
patch = 32
augment = ["rotate", "flip"]
epochs = 2
batch-size = 8
learning-rate = 3e-3
[output]
pixels = "f32"
"#;

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_slice(&sandbox.read(path)).expect("is JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

#[test]
fn noisy_images_alone_teach_a_model_to_denoise() {
    let sandbox = Sandbox::with(PIPELINE);
    let settings = "--set training.epochs=25 --set training.blind-spot.constant-noise=true";
    sandbox.limpid(&format!("run small.toml {settings}")).succeeds().says("evaluate: done").says("report: done");
    // What training has read: the noisy images, and no clean one.
    let receipt = json(&sandbox, "runs/small/train/_receipt.json");
    let inputs = receipt["parts"]["inputs"].as_object().expect("has inputs");
    assert!(!inputs.is_empty() && inputs.keys().all(|input| input.starts_with("corrupt/")), "{inputs:?}");
    let metrics = json(&sandbox, "runs/small/evaluate/metrics.json");
    let psnr = |metrics: &Value, at: usize| number(&metrics["scores"][at]["psnr-pooled"]);
    assert_eq!(metrics["scores"][1]["what"], "noisy input");
    let (made, noisy) = (psnr(&metrics, 0), psnr(&metrics, 1));
    assert!(made > noisy + 4.0, "{made} dB from {noisy} dB");
    let levels = &metrics["noise-levels"];
    assert!((number(&levels["noisy"]) - 0.15).abs() < 0.03, "{levels}");
    assert!(number(&levels["made"]) < 0.5 * number(&levels["noisy"]), "{levels}");
    let level = number(&json(&sandbox, "runs/small/train/model.json")["noise-level"]);
    assert!((level - 0.15).abs() < 0.03, "{level}");
    sandbox.limpid("show runs/small").succeeds().prints("estimated noise");
    let report = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert!(report.contains("noise before, estimated") && report.contains("estimated noise"));
    sandbox.limpid("export runs/small --onnx model.onnx").exits(2).says("cannot be exported to ONNX");
    // Without the noise of the pixel itself it is the same training, and the weights are those.
    let weights = sandbox.read("runs/small/train/last.safetensors");
    let plain = format!("run small.toml {settings} --set training.blind-spot.constant-noise=false");
    sandbox.limpid(&plain).succeeds().says("train: resuming after 25 epochs");
    assert!(sandbox.read("runs/small/train/last.safetensors") == weights);
    let plain = psnr(&json(&sandbox, "runs/small/evaluate/metrics.json"), 0);
    assert!(made > plain + 0.3, "{made} dB and {plain} dB without");
    sandbox.limpid("export runs/small --onnx model.onnx").succeeds();
}

#[test]
fn neither_threads_nor_kills_change_a_byte() {
    let sandbox = Sandbox::with(&PIPELINE.replace("epochs = 2", "epochs = 2\ncheckpoint-seconds = 0"));
    for settings in
        ["", "--set training.memory-mib=1 --set training.weights=\"best\" --set training.patches-per-image=30"]
    {
        _ = std::fs::remove_dir_all(sandbox.path("whole"));
        sandbox.limpid(&format!("run small.toml --runs whole --to denoise --threads 1 {settings}")).succeeds();
        for saved in [2, 7] {
            _ = std::fs::remove_dir_all(sandbox.path("runs"));
            let run = format!("run small.toml --to denoise --threads 3 {settings}");
            let fault = format!("rename runs/small/.checkpoint/train.new:{saved}:kill");
            sandbox.limpid(&run).env("LIMPID_FAILPOINT", fault).ends();
            assert!(sandbox.path("runs/small/.checkpoint/train").exists());
            sandbox.limpid(&run).succeeds().says("train: resuming after");
            for stage in ["train", "denoise"] {
                let [left, right] = ["runs", "whole"].map(|runs| sandbox.files(&format!("{runs}/small/{stage}")));
                assert!(left == right, "{stage}, {settings}: {saved}");
            }
        }
    }
}

#[test]
fn images_that_came_noisy_are_denoised_and_nothing_is_said_of_clean_ones() {
    // Discs with noise, as bytes.
    let noisy = |count: usize, seed: u32| {
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24) - 0.5
        };
        let mut pixels = Vec::new();
        for image in 0..count {
            let radius = 8.0 + (image % 5) as f64;
            for at in 0..40 * 40 {
                let (y, x) = ((at / 40) as f64 - 20.0, (at % 40) as f64 - 18.0);
                let clean = if y.hypot(x) < radius { 170.0 } else { 90.0 };
                // The sum of three uniform numbers: a standard deviation of half their width.
                pixels.push((clean + 60.0 * (random() + random() + random())).clamp(0.0, 255.0) as u8);
            }
        }
        npy("|u1", &format!("({count}, 40, 40)"), &pixels)
    };
    let text = PIPELINE
        .replace("scenes = { train = 30, test = 6, size = [48, 40] }", "npy = { train = \"a.npy\", test = \"b.npy\" }");
    let text = text.replace("[corruption]\ngaussian = { std = 0.15, clip = false }\n", "");
    let sandbox = Sandbox::with(&text);
    sandbox.write("a.npy", &noisy(30, 1));
    sandbox.write("b.npy", &noisy(6, 2));
    sandbox.limpid("run small.toml --set training.epochs=20").succeeds().says("report: done");
    let metrics = json(&sandbox, "runs/small/evaluate/metrics.json");
    assert_eq!(metrics["task"], "denoising without clean images");
    assert!(metrics["scores"] == serde_json::json!([]) && metrics["best"] == serde_json::json!([]), "{metrics}");
    let levels = &metrics["noise-levels"];
    assert!((number(&levels["noisy"]) * 255.0 - 30.0).abs() < 5.0, "{levels}");
    assert!(number(&levels["made"]) < 0.5 * number(&levels["noisy"]), "{levels}");
    sandbox.limpid("show runs/small").succeeds().prints("denoising without clean images").prints("no clean images");
    let report = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert!(report.contains("there are no clean images to compare with") && !report.contains("PSNR, pooled"));
    sandbox.limpid("diff runs/small runs/small").succeeds();
    // Another gate judges the metrics that are there.
    sandbox
        .limpid("run small.toml --set training.epochs=20 --set gate.least-psnr=10")
        .exits(3)
        .says("there are no clean images");
    // Codes are made of noisy images too, and a model with a code learns from them.
    let dense = text.replace("unet = { channels = [8, 12] }", "dense = { code = 8 }").replace("patch = 32\n", "");
    sandbox.write("dense.toml", dense.as_bytes());
    sandbox.limpid("run dense.toml --set name=dense").succeeds().says("report: done");
}

#[test]
fn noisy_pictures_of_different_sizes_teach_too() {
    let pipeline = r#"
name = "small"
[source]
folder = { path = "noisy", labels = "none", test-fraction = 0.3 }
[model]
unet = { channels = [4, 4] }
loss = "mse"
[training]
target = "blind-spot"
patch = 16
epochs = 1
batch-size = 8
"#;
    let sandbox = Sandbox::with(pipeline);
    for index in 0..10_u32 {
        // Of these, the deviation is 0.1 of the range.
        let mix = |number: u32| (number ^ number >> 16).wrapping_mul(0x045d_9f3b);
        let random = |x: u32, y: u32| mix(mix(mix(x << 16 | y << 8 | index))) >> 24;
        let grey = |x: u32, y: u32| image::Luma([84 + (random(x, y) * 88 / 255) as u8]);
        let picture = image::GrayImage::from_fn(40 + index, 36, grey);
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).expect("memory");
        sandbox.write(&format!("noisy/{index}.png"), &bytes.into_inner());
    }
    sandbox.limpid("run small.toml").succeeds().says("report: done");
    let metrics = json(&sandbox, "runs/small/evaluate/metrics.json");
    let levels = &metrics["noise-levels"];
    assert!((number(&levels["noisy"]) / 0.1 - 1.0).abs() < 0.5, "{levels}");
}
