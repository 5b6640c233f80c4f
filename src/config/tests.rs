//! Tests of settings: which are refused, with which messages, and that the shipped pipelines resolve.

use std::path::Path;

use super::*;
use crate::model::predict::Predict;
use crate::model::settings::Loss;
use crate::source::{IdxSettings, SourceSettings, StrokesSettings};
use crate::training::settings::InputImages;

const MINIMAL: &str = "[source]\nstrokes = {}\n[model]\ndense = {}\n";

fn parsed(text: &str, overrides: &[&str]) -> Result<Pipeline> {
    let overrides: Vec<_> = overrides.iter().map(|&text| text.to_owned()).collect();
    parse("p.toml", text, &overrides, "p", Path::new("folder"))
}

fn message(text: &str, overrides: &[&str]) -> String {
    let error = parsed(text, overrides).expect_err("is wrong");
    assert_eq!(error::kind(&error), error::Kind::Settings);
    error.to_string()
}

#[test]
fn defaults_fill_in_what_is_missing() {
    let pipeline = parsed(MINIMAL, &[]).expect("resolves");
    assert_eq!((pipeline.name.as_str(), pipeline.seed, pipeline.corruption), ("p", 1, None));
    assert_eq!(
        pipeline.source,
        SourceSettings::Strokes(StrokesSettings { train: 6000, test: 1000, validation: 0, colour: false })
    );
    assert_eq!((pipeline.training.epochs, pipeline.training.batch_size), (20, 200));
    assert_eq!(pipeline.model.loss, Loss::CrossEntropy);
}

#[test]
fn every_default_is_a_known_setting() {
    let defaults = Document::parse("default.toml", DEFAULTS).expect("parses");
    assert_eq!(check::check(&schema(), &defaults.root), []);
}

#[test]
fn every_shipped_pipeline_resolves() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("pipelines")
        .map(|entry| {
            let path = entry.expect("readable").path();
            let pipeline = load(&path, &[]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(Some(pipeline.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
            pipeline.name
        })
        .collect();
    names.sort();
    let shipped = [
        "colourise",
        "documents",
        "mnist-conv",
        "mnist-conv-chapter",
        "mnist-denoise",
        "mnist-denoise-chapter",
        "mnist-denoise-unet",
        "mnist-dense",
        "mnist-dense-chapter",
        "mnist-features",
        "noise2noise",
        "photo-denoise",
        "quickstart",
        "single-noisy",
    ];
    assert_eq!(names, shipped);
}

#[test]
fn five_mistakes_are_reported_at_once_each_with_its_place() {
    let text = "\
seed = -1
[source]
strokes = { trian = 10 }
[model]
dense = { code = \"32\" }
loss = \"mae\"
[training]
epochs = 0
";
    let message = message(text, &[]);
    for expected in [
        "the settings have 5 problems",
        "p.toml:1:1: seed: must be at least 0, found -1",
        "p.toml:3:13: source.strokes.trian: unknown key `trian`; did you mean `train`?",
        "p.toml:5:11: model.dense.code: expected a whole number, found \"32\"",
        "p.toml:6:1: model.loss: expected \"cross-entropy\" or \"mse\", found \"mae\"",
        "p.toml:8:1: training.epochs: must lie between 1 and 1000000, found 0",
    ] {
        assert!(message.contains(expected), "{expected:?} is not in\n{message}");
    }
}

#[test]
fn settings_without_a_file_are_called_the_pipeline() {
    let settings = |text: &str| Document::parse("p.toml", text).expect("is TOML").root;
    let pipeline = of_document(settings(MINIMAL), &["seed=3".to_owned()]).expect("is right");
    assert_eq!((pipeline.name.as_str(), pipeline.seed), ("pipeline", 3));
    let wrong = of_document(settings("sead = 1\n[source]\nstrokes = {}\n[model]\ndense = {}\n"), &[]);
    assert!(wrong.expect_err("is wrong").to_string().contains("\n  the pipeline: sead: unknown key `sead`"));
}

#[test]
fn a_key_in_the_wrong_section_is_told_where_it_belongs() {
    let text = format!("epochs = 3\n{MINIMAL}");
    assert!(message(&text, &[]).contains("unknown key `epochs`; it belongs to [training]"));
    let text = format!("{MINIMAL}[training]\nbatch_size = 3\n");
    assert!(message(&text, &[]).contains("did you mean `batch-size`?"));
}

#[test]
fn choices_must_be_made_once() {
    assert!(message("[model]\ndense = {}\n", &[]).contains("[source] needs one of `mnist = {}`"));
    let both = "[source]\nstrokes = {}\nmnist = {}\n[model]\ndense = {}\n";
    assert!(message(both, &[]).contains("[source] names mnist and strokes at once; keep one"));
    // Also beside a mistake in either of them.
    for wrong in ["source.mnist.folders=1", "source.strokes.train=-1", "source.strokes.trian=1"] {
        let found = message(both, &[wrong]);
        assert!(
            found.contains("the settings have 2 problems")
                && found.contains("[source] names mnist and strokes at once"),
            "{found}"
        );
    }
    let more = "[corruption]\ngaussian = { std = -1 }\nmasking = {}\n";
    let message_of_both = message(&format!("{MINIMAL}{more}"), &[]);
    assert!(message_of_both.contains("corruption.masking: [corruption] names gaussian and masking at once; keep one"));
    assert!(message_of_both.contains("corruption.gaussian.std"), "{message_of_both}");
    let uneven = "[source]\nstrokes = {}\n[model]\nconv = { channels = [4, 4], decoder-channels = [4] }\n";
    assert!(message(uneven, &[]).contains("has 1 entries, but the encoder has 2"));
}

#[test]
fn noisy_input_needs_noise() {
    let text = format!("{MINIMAL}[training]\ninput = \"noisy\"\n[encode]\ninput = \"noisy\"\n");
    let message = message(&text, &[]);
    assert!(message.contains("training.input: \"noisy\" needs noise") && message.contains("encode.input"), "{message}");
}

#[test]
fn blind_spots_take_the_noisy_images_that_there_are() {
    let blind = "training.target=blind-spot";
    let of_source = parsed(MINIMAL, &[blind]).expect("resolves");
    assert!(of_source.training.input == InputImages::Clean && !of_source.has_clean_images());
    let corrupted = parsed(MINIMAL, &[blind, "corruption.gaussian={}"]).expect("resolves");
    assert!(corrupted.training.input == InputImages::Noisy && corrupted.has_clean_images());
    let spots = corrupted.training.blind_spot.expect("has blind spots");
    assert_eq!((spots.fraction, spots.radius, spots.constant_noise), (0.06, 2, false));
    // A part of the section leaves the rest at its defaults; settings of other trainings do not change with it.
    let wide = parsed(MINIMAL, &[blind, "training.blind-spot.radius=5"]).expect("resolves");
    assert_eq!(wide.training.blind_spot.map(|spots| (spots.fraction, spots.radius)), Some((0.06, 5)));
    let usual = parsed(MINIMAL, &["training.blind-spot.radius=5"]).expect("resolves");
    assert_eq!(usual, parsed(MINIMAL, &[]).expect("resolves"));
    assert!(message(MINIMAL, &[blind, "training.blind-spot.fraction=0"]).contains("training.blind-spot.fraction"));
    assert!(message(MINIMAL, &[blind, "training.blind-spot.share=1"]).contains("unknown key `share`"));
    let fixed = &[blind, "corruption.blur={}"];
    assert!(message(MINIMAL, fixed).contains("\"blind-spot\" needs noise that is drawn"));
    let unclipped = &[blind, "corruption.gaussian.clip=false", "output.pixels=f32"];
    assert!(message(MINIMAL, unclipped).contains("\"cross-entropy\" needs targets in [0, 1]"));
    let network = "[source]\nstrokes = {}\n[model]\nunet = {}\nloss = \"mse\"\npredict = \"noise\"\n";
    let message = message(network, &[blind, "corruption.gaussian={}"]);
    assert!(
        message.contains("model.predict: \"noise\" does not work with training.target = \"blind-spot\""),
        "{message}"
    );
}

#[test]
fn noisy_targets_need_noise_that_is_drawn() {
    let text = "[source]\nstrokes = { colour = true }\n[model]\ndense = {}\n[training]\ntarget = \"noisy\"\n";
    assert!(message(text, &[]).contains("training.target: \"noisy\" needs training.input = \"noisy\""));
    let fixed = &["training.input=noisy", "corruption.grayscale={}"];
    assert!(message(text, fixed).contains("makes the same of an image each time"));
    assert!(parsed(text, &["training.input=noisy", "corruption.gaussian={}"]).is_ok());
    let grey = "[source]\nstrokes = {}\n[model]\ndense = {}\n[corruption]\ngrayscale = {}\n";
    assert!(message(grey, &[]).contains("corruption.grayscale takes images of 3 channels, not 28×28"));
}

#[test]
fn noise_is_predicted_from_noisy_input_by_convolutions_with_the_squared_error() {
    let text = |model: &str| {
        format!(
            "[source]\nstrokes = {{}}\n[corruption]\ngaussian = {{}}\n[training]\ninput = \"noisy\"\n[model]\n{model}\n\
             loss = \"mse\"\npredict = \"noise\"\n"
        )
    };
    for model in ["unet = {}", "conv = {}"] {
        assert_eq!(parsed(&text(model), &[]).expect("resolves").model.predict, Predict::Noise);
        assert!(
            message(&text(model), &["model.loss=cross-entropy"])
                .contains("p.toml:10:1: model.predict: \"noise\" needs")
        );
        assert!(message(&text(model), &["training.input=clean"]).contains("needs training.input = \"noisy\""));
    }
    for model in ["dense = {}", "conv = { code = 8 }"] {
        assert!(message(&text(model), &[]).contains("noise is not made of a code of few numbers; use model.unet"));
    }
    // Where it is off, settings are written as they were before it was there.
    let settings = serde_json::json!(parsed(MINIMAL, &[]).expect("resolves"));
    assert!(settings["model"].get("predict").is_none());
}

#[test]
fn sources_say_what_they_lack() {
    let source = |source: &str| format!("[source]\n{source}\n[model]\ndense = {{}}\n");
    assert!(message(&source("folder = {}"), &[]).contains("`source.folder.path` is missing"));
    assert!(message(&source("parquet = { train = \"a\" }"), &[]).contains("needs either `path`"));
    let seen = "source.npy.test: names the training images";
    assert!(message(&source("npy = { train = \"a.npy\", test = \"./a.npy\" }"), &[]).contains(seen));
    assert!(
        message(&source("npz = { path = \"a\", train = \"x\", test = \"x\" }"), &[]).contains("source.npz.test: names")
    );
    let twice = source("folder = { path = \"x\", crop = [8, 8], resize = [8, 8] }");
    assert!(message(&twice, &[]).contains("source.folder.crop: both it and `resize` say the size; keep one"));
    assert!(message(&source("folder = { path = \"x\", crop = [8] }"), &[]).contains("needs at least 2 entries"));
    let large = source("parquet = { path = \"x\", resize = [1024, 1025] }");
    assert!(message(&large, &[]).contains("source.parquet.resize: 1024×1025 is too large"));
}

#[test]
fn overrides_replace_values_and_choices() {
    let pipeline = parsed(MINIMAL, &["training.epochs=5", "model.conv={channels=[4,2]}", "name=x"]).expect("resolves");
    assert_eq!((pipeline.training.epochs, pipeline.name.as_str()), (5, "x"));
    assert!(
        matches!(&pipeline.model.architecture, crate::model::Architecture::Conv(conv) if conv.decoder_channels == [2, 4])
    );
    let pipeline = parsed(MINIMAL, &["source.strokes.train=7"]).expect("resolves");
    assert_eq!(
        pipeline.source,
        SourceSettings::Strokes(StrokesSettings { train: 7, test: 1000, validation: 0, colour: false })
    );
    assert!(message(MINIMAL, &["epochs"]).contains("expected KEY=VALUE"));
    assert!(message(MINIMAL, &["training.epoch=5"]).contains("--set training.epoch=5: training.epoch: unknown key"));
    assert!(message(MINIMAL, &["training..x=5"]).contains("has an empty part"));
    assert!(message(MINIMAL, &["seed.x=5"]).contains("--set seed.x=5"));
}

#[test]
fn values_that_are_no_settings_are_refused() {
    assert!(message("seed = ", &[]).contains("p.toml:1:"));
    assert!(message(&format!("name = \"../x\"\n{MINIMAL}"), &[]).contains("cannot name a run directory"));
    let text = format!("{MINIMAL}[corruption]\ngaussian = {{ std = inf }}\n");
    assert!(message(&text, &[]).contains("expected a number, found \"inf\""));
    let text = format!("seed = 99999999999999999999\n{MINIMAL}");
    assert!(message(&text, &[]).contains("seed"));
    assert!(message("source = 5\n[model]\ndense={}", &[]).contains("source: expected a table, found 5"));
}

#[test]
fn keys_with_dots_and_brackets_are_unknown_keys() {
    for (text, path) in [
        ("\"training.epochs\" = 3\n", "p.toml:1:1: \"training.epochs\": unknown key `training.epochs`"),
        ("\"x[0]\" = 1\n", "p.toml:1:1: \"x[0]\": unknown key `x[0]`"),
        ("training = { \"a.b\" = 1 }\n", "p.toml:1:14: training.\"a.b\": unknown key `a.b`"),
    ] {
        let message = message(&format!("{text}{MINIMAL}"), &[]);
        assert!(message.contains(path), "{message}");
    }
    let message = message(MINIMAL, &["model.dense.hidden[0]=5"]);
    assert!(message.contains("model.dense.\"hidden[0]\": unknown key `hidden[0]`"), "{message}");
}

#[test]
fn a_wrong_entry_of_a_list_is_told_with_its_index() {
    let message = message("[source]\nstrokes = {}\n[model]\ndense = { hidden = [1,\n 0] }\n", &[]);
    assert!(message.contains("p.toml:5:2: model.dense.hidden[1]: must lie between 1 and 65536, found 0"), "{message}");
}

#[test]
fn a_model_is_checked_where_the_size_of_the_images_is_known() {
    let deep = "[source]\nmnist = {}\n[model]\nconv = { channels = [2, 2, 2, 2, 2, 2] }\n";
    assert!(message(deep, &[]).contains("model.conv.channels has 6 entries, but images of 28×28"));
    let files = deep.replace("mnist = {}", "idx = { train = \"a\", test = \"b\" }");
    assert!(parsed(&files, &[]).is_ok());
}

#[test]
fn numbers_stay_as_they_were_written() {
    let pipeline = parsed(MINIMAL, &["corruption.gaussian.std=0.2"]).expect("resolves");
    assert_eq!(serde_json::json!(pipeline)["corruption"]["gaussian"]["std"].to_string(), "0.2");
}

#[test]
fn a_strength_is_a_number_or_a_range() {
    let pipeline = parsed(MINIMAL, &["corruption.gaussian.std=[0, 0.2]"]).expect("resolves");
    assert_eq!(serde_json::json!(pipeline.corruption).to_string(), r#"{"gaussian":{"std":[0.0,0.2]}}"#);
    let poisson = parsed(MINIMAL, &["corruption.poisson={}"]).expect("resolves");
    assert_eq!(serde_json::json!(poisson.corruption).to_string(), r#"{"poisson":{"peak":30.0}}"#);
    for (std, problem) in [
        ("[0.3, 0.2]", "corruption.gaussian.std: is a range from 0.3 down to 0.2: write the lower number first"),
        ("[0.1]", "corruption.gaussian.std: needs at least 2 entries"),
        ("[0.1, -1]", "corruption.gaussian.std[1]: must lie between 0 and 100, found -1"),
        ("true", "corruption.gaussian.std: expected a number, found true"),
    ] {
        let message = message(MINIMAL, &[&format!("corruption.gaussian.std={std}")]);
        assert!(message.contains(problem), "{message}");
    }
    let message = message(MINIMAL, &["corruption.poisson.peak=0"]);
    assert!(message.contains("must lie between 0.01 and 1000000, found 0"), "{message}");
}

#[test]
fn the_quality_of_jpeg_is_a_whole_number_or_a_range() {
    let pipeline = parsed(MINIMAL, &["corruption.jpeg.quality=[10, 80]"]).expect("resolves");
    assert_eq!(serde_json::json!(pipeline.corruption).to_string(), r#"{"jpeg":{"quality":[10,80]}}"#);
    assert!(message(MINIMAL, &["corruption.jpeg.quality=30.5"]).contains("expected a whole number, found 30.5"));
    assert!(message(MINIMAL, &["corruption.jpeg.quality=0"]).contains("must lie between 1 and 100, found 0"));
    assert!(message(MINIMAL, &["corruption.jpeg.quality=[80, 10]"]).contains("is a range from 80 down to 10"));
}

#[test]
fn several_corruptions_are_a_list_of_tables() {
    let written = |pipeline: Pipeline| serde_json::json!(pipeline.corruption).to_string();
    let several = r#"{"several":[{"speckle":{"std":0.2}},{"gaussian":{"std":[0.1,0.2]}}]}"#;
    let text =
        format!("{MINIMAL}[[corruption.several]]\nspeckle = {{}}\n[[corruption.several]]\ngaussian.std = [0.1, 0.2]\n");
    assert_eq!(written(parsed(&text, &[]).expect("resolves")), several);
    // On the command line too, where a list replaces another choice and the reverse.
    let list = "corruption.several=[{ speckle = {} }, { gaussian.std = [0.1, 0.2] }]";
    let masking = format!("{MINIMAL}[corruption]\nmasking = {{}}\n");
    assert_eq!(written(parsed(&masking, &[list]).expect("resolves")), several);
    let replaced = parsed(&text, &["corruption.masking.fraction=0.5"]).expect("resolves");
    assert_eq!(written(replaced), r#"{"masking":{"fraction":0.5}}"#);
}

#[test]
fn problems_of_several_corruptions_are_told_where_they_are() {
    let text = "\
[source]
strokes = {}
[model]
dense = {}
[training]
input = \"noisy\"
[corruption]
several = [
    { gaussian = { std = -1 } },
    { speckle = {}, masking = {} },
    { gausian = {} },
    {},
    { grayscale = {} },
    { several = [{ poisson = { clip = false } }] },
]
";
    let message = message(text, &[]);
    for expected in [
        "the settings have 4 problems",
        "p.toml:9:20: corruption.several[0].gaussian.std: must lie between 0 and 100, found -1",
        "p.toml:10:7: corruption.several[1].speckle: [corruption.several[1]] names masking and speckle at once; keep one",
        "p.toml:11:7: corruption.several[2].gausian: unknown key `gausian`; did you mean `gaussian`?",
        "p.toml:12:5: corruption.several[3]: names no corruption: for example { gaussian = { std = 0.1 } }",
    ] {
        assert!(message.contains(expected), "{expected:?} is not in\n{message}");
    }
}

#[test]
fn each_of_several_corruptions_is_checked() {
    let grey = "corruption.several=[{ gaussian = {} }, { grayscale = {} }]";
    let refused = message(MINIMAL, &[grey]);
    assert!(refused.contains("corruption.several[1]: corruption.grayscale takes images of 3 channels"), "{refused}");
    let kept = "corruption.several=[{ gaussian = {} }, { several = [{ poisson = { clip = false } }] }]";
    let refused = message(MINIMAL, &[kept]);
    assert!(refused.contains("corruption.several[1].several[0].poisson.clip: false needs floats"), "{refused}");
    assert!(message(MINIMAL, &["corruption.several=[]"]).contains("corruption.several: needs at least 1 entries"));
    // Noisy targets need one that draws.
    let targets = ["training.input=noisy", "training.target=noisy", "source.strokes.colour=true"];
    let with = |list| [&[list][..], &targets[..]].concat();
    assert!(message(MINIMAL, &with("corruption.several=[{ grayscale = {} }]")).contains("noise that is drawn"));
    assert!(parsed(MINIMAL, &with("corruption.several=[{ grayscale = {} }, { gaussian = {} }]")).is_ok());
}

#[test]
fn noise_that_is_not_clipped_needs_floats() {
    let kept = "corruption.speckle.clip=false";
    let refused = message(MINIMAL, &[kept]);
    assert!(refused.contains("corruption.speckle.clip: false needs floats"), "{refused}");
    let floats = "output.pixels=f32";
    let pipeline = parsed(MINIMAL, &[kept, floats]).expect("resolves");
    assert_eq!(serde_json::json!(pipeline.corruption).to_string(), r#"{"speckle":{"clip":false,"std":0.2}}"#);
    let targets = ["training.input=noisy", "training.target=noisy"];
    let refused = message(MINIMAL, &[kept, floats, targets[0], targets[1]]);
    assert!(refused.contains("\"cross-entropy\" needs targets in [0, 1]"), "{refused}");
    assert!(parsed(MINIMAL, &[kept, floats, targets[0], targets[1], "model.loss=mse"]).is_ok());
}

#[test]
fn relative_paths_start_at_the_pipeline_file() {
    let text = "[source]\nidx = { train = \"a\", test = \"/b\" }\n[model]\ndense = {}\n";
    let SourceSettings::Idx(IdxSettings(files)) = parsed(text, &[]).expect("resolves").source else {
        panic!("another source");
    };
    assert_eq!((files.train, files.test), (Path::new("folder/a").to_owned(), Some(Path::new("/b").to_owned())));
}
