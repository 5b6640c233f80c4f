//! Training on patches of images, and on images that are turned and mirrored.

use serde_json::Value;

use crate::harness::Sandbox;
use crate::own_arrays::npy;

/// Rows and columns of the images, which differ and are odd.
const SIDES: [usize; 2] = [37, 29];

/// A denoiser of whole images that is trained on patches.
const PIPELINE: &str = r#"
name = "small"
[source]
npy = { train = "train.npy", test = "test.npy" }
[corruption]
gaussian = { std = 0.1 }
[model]
unet = { channels = [4, 6] }
loss = "mse"
predict = "noise"
[training]
input = "noisy"
patch = 16
augment = ["rotate", "flip"]
epochs = 2
batch-size = 20
"#;

/// Waves with a direction and a length of their own.
fn waves(count: usize) -> Vec<u8> {
    let [rows, columns] = SIDES;
    let mut pixels = Vec::with_capacity(count * rows * columns);
    for image in 0..count {
        let (across, down) = ((image % 7) as f32 / 15.0, (image % 5) as f32 / 10.0 + 0.05);
        for at in 0..rows * columns {
            let (y, x) = ((at / columns) as f32, (at % columns) as f32);
            pixels.push((127.5 + 100.0 * (across * x + down * y).sin()) as u8);
        }
    }
    npy("|u1", &format!("({count}, {rows}, {columns})"), &pixels)
}

fn sandbox(pipeline: &str, train: usize) -> Sandbox {
    let sandbox = Sandbox::with(pipeline);
    sandbox.write("train.npy", &waves(train));
    sandbox.write("test.npy", &waves(15));
    sandbox
}

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_slice(&sandbox.read(path)).expect("is JSON")
}

#[test]
fn a_model_of_patches_denoises_whole_images() {
    let sandbox = sandbox(PIPELINE, 60);
    sandbox.limpid("run small.toml --set training.epochs=8").succeeds().says("evaluate: done").says("report: done");
    let model = json(&sandbox, "runs/small/train/model.json");
    assert_eq!((&model["image"]["height"], &model["image"]["width"]), (&16.into(), &16.into()));
    let metrics = json(&sandbox, "runs/small/evaluate/metrics.json");
    let psnr = |index: usize| metrics["scores"][index]["psnr-pooled"].as_f64().expect("is a number");
    assert_eq!(metrics["scores"][1]["what"], "noisy input");
    assert!(psnr(0) > psnr(1) + 2.0, "{} dB from {} dB", psnr(0), psnr(1));
    sandbox.limpid("plan small.toml --set training.epochs=8 --check").succeeds();
    // Each of these is another training.
    for other in ["patch=12", "augment=[\"flip\"]", "patches-per-image=3"] {
        let plan = format!("plan small.toml --set training.epochs=8 --check --set training.{other}");
        sandbox.limpid(&plan).exits(10).prints("that decides its every step");
    }
}

#[test]
fn the_bytes_of_a_training_on_patches_do_not_depend_on_threads() {
    let sandbox = sandbox(PIPELINE, 60);
    for threads in [1, 2, 3] {
        sandbox.limpid(&format!("run small.toml --runs runs{threads} --threads {threads} --to train")).succeeds();
        assert!(sandbox.files("runs1/small/train") == sandbox.files(&format!("runs{threads}/small/train")));
    }
}

#[test]
fn a_model_with_a_code_keeps_it_where_it_takes_any_size() {
    let model = "unet = { channels = [4, 6] }";
    let sandbox = sandbox(&PIPELINE.replace(model, "conv = { channels = [4, 6] }"), 60);
    sandbox.limpid("run small.toml --to evaluate").succeeds();
    sandbox.limpid("inspect runs/small/encode/test-00000-of-00001.parquet").succeeds().prints("code");
}

#[test]
fn what_cannot_be_cut_or_applied_is_refused() {
    let sandbox = sandbox(PIPELINE, 60);
    let refused = |settings: &str, message: &str| {
        sandbox.limpid(&format!("run small.toml {settings}")).exits(2).says(message);
    };
    refused("--set training.patch=30", "no patch of 30×30 fits into images of 37×29");
    refused("--set training.patch=7", "training.patch: must lie between 8 and 1024");
    refused("--set training.augment=[\"turn\"]", "training.augment[0]: expected \"flip\" or \"rotate\"");
    let whole = PIPELINE.replace("patch = 16\n", "");
    sandbox.write("whole.toml", whole.as_bytes());
    sandbox.limpid("run whole.toml").exits(2).says("images of 37×29 cannot be turned");
    sandbox
        .limpid("run whole.toml --set training.augment=[] --set training.patches-per-image=2")
        .exits(2)
        .says("set training.patch too");
    for model in ["dense = {}", "conv = { channels = [4], code = 3 }"] {
        let text = PIPELINE.replace("unet = { channels = [4, 6] }", model).replace("predict = \"noise\"\n", "");
        sandbox.write("bound.toml", text.as_bytes());
        sandbox.limpid("run bound.toml").exits(2).says("with a dense code cannot be applied to 37×29");
        // Where the size is known, the settings are refused before anything is read.
        let known = text.replace("npy = { train = \"train.npy\", test = \"test.npy\" }", "strokes = {}");
        sandbox.write("known.toml", known.as_bytes());
        sandbox.limpid("plan known.toml").exits(2).says("training.patch: trained on patches of 16×16");
    }
    // Ingested images are checked against a patch that is set later.
    sandbox.limpid("run small.toml --to ingest").succeeds();
    refused("--set training.patch=30", "no patch of 30×30 fits");
}

#[test]
fn whole_images_are_mirrored_and_turned_too() {
    let text = PIPELINE.replace("patch = 16\n", "").replace("[\"rotate\", \"flip\"]", "[]");
    let sandbox = sandbox(&text, 60);
    let train = |settings: &str| {
        let runs = format!("runs{}", settings.len());
        sandbox.limpid(&format!("run small.toml --to train --runs {runs} {settings}")).succeeds();
        sandbox.read(&format!("{runs}/small/train/last.safetensors"))
    };
    assert_ne!(train(""), train("--set training.augment=[\"flip\"]"));
}

#[test]
fn averages_of_the_weights_are_published_and_the_weights_are_kept() {
    let sandbox = sandbox(PIPELINE, 60);
    let tensors = |runs: &str, name: &str, prefix: &str| -> Vec<(String, Vec<u8>)> {
        let bytes = sandbox.read(&format!("{runs}/small/train/{name}.safetensors"));
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("is whole");
        let own =
            file.iter().filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_owned(), view.data().to_vec())));
        let mut own: Vec<_> = own.collect();
        own.sort();
        own
    };
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox.limpid("run small.toml --runs averaged --set training.average=0.9 --to denoise").succeeds();
    // The steps are the same.
    assert!(tensors("averaged", "optimizer", "model.") == tensors("runs", "last", ""));
    assert!(tensors("averaged", "last", "") != tensors("runs", "last", ""));
    assert_eq!(tensors("averaged", "last", "").len(), tensors("runs", "last", "").len());
    assert!(tensors("runs", "optimizer", "model.").is_empty());
}

/// Kills a training after each of some checkpoints, which are written after every step, and expects the bytes of one that was not.
fn resumes(train: usize, settings: &str) {
    let sandbox = sandbox(&PIPELINE.replace("epochs = 2", "epochs = 2\ncheckpoint-seconds = 0"), train);
    sandbox.limpid(&format!("run small.toml --runs whole --to train {settings}")).succeeds();
    for saved in [2, 9, 20] {
        _ = std::fs::remove_dir_all(sandbox.path("runs"));
        let run = format!("run small.toml --to train {settings}");
        let fault = format!("rename runs/small/.checkpoint/train.new:{saved}:kill");
        sandbox.limpid(&run).env("LIMPID_FAILPOINT", fault).ends();
        assert!(sandbox.path("runs/small/.checkpoint/train").exists(), "{settings}");
        sandbox.limpid(&run).succeeds().says("train: resuming after");
        assert!(sandbox.files("runs/small/train") == sandbox.files("whole/small/train"), "{settings}: {saved}");
    }
    // From the result of fewer epochs.
    _ = std::fs::remove_dir_all(sandbox.path("runs"));
    sandbox.limpid(&format!("run small.toml --to train {settings} --set training.epochs=1")).succeeds();
    sandbox.limpid(&format!("run small.toml --to train {settings}")).succeeds().says("train: resuming after 1 epochs");
    assert!(sandbox.files("runs/small/train") == sandbox.files("whole/small/train"), "{settings}: from the result");
}

#[test]
fn a_training_on_patches_resumes_with_the_same_bytes() {
    resumes(60, "");
    resumes(60, "--set training.noise=\"fixed\"");
    resumes(60, "--set training.average=0.9 --set training.weights=\"best\"");
    resumes(60, "--set training.target=\"noisy\"");
    resumes(60, "--set training.patches-per-image=7 --set seed=2");
}

#[test]
fn a_training_on_patches_that_do_not_fit_the_memory_resumes_with_the_same_bytes() {
    // 644 kB of images and 824 kB of patches, of which half a mebibyte each is held.
    resumes(600, "--set training.memory-mib=1 --set training.batch-size=100");
}
