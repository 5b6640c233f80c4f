//! Checks of sections against each other.

use crate::corruption::Corruption;
use crate::engine::codes::Codes;
use crate::image::{ImageShape, Pixels};
use crate::model::Model;
use crate::model::predict::Predict;
use crate::model::settings::Loss;
use crate::quality::Baseline;
use crate::quality::gate::Gate;
use crate::setting::{KeyPath, Problems};
use crate::training::settings::{InputImages, TargetImages, Training};

/// Checks that no setting needs the code of a model without one, or one code of each image where each patch has one.
pub fn check_code(model: Option<&Model>, codes: Codes, gate: Option<&Gate>, problems: &mut Problems) {
    let Some(model) = model else { return };
    let family = model.architecture.family();
    let lacks = if !family.has_code() {
        format!("a code, which {} does not have", family.name())
    } else if !codes.is_one_each() {
        "a code of each image, and with encode.codes = \"patches\" each patch has one".to_owned()
    } else {
        return;
    };
    if model.sparsity > 0.0 && !family.has_code() {
        problems.add("model.sparsity", format!("needs {lacks}"));
    }
    if codes != Codes::default() && !family.has_code() {
        problems.add("encode.codes", format!("needs {lacks}"));
    }
    let Some(gate) = gate else { return };
    let asked = [("baselines", gate.baselines.contains(&Baseline::Pca)), ("probe-margin", gate.probe_margin.is_some())];
    for (key, _) in asked.into_iter().filter(|(_, asked)| *asked) {
        problems.add(&format!("gate.{key}"), format!("asks for what needs {lacks}"));
    }
}

/// Checks that there is noise for a model that predicts it.
pub fn check_noise(model: Option<&Model>, training: Option<&Training>, problems: &mut Problems) {
    if model.is_none_or(|model| model.predict != Predict::Noise) {
        return;
    }
    let Some(training) = training else { return };
    if training.target == TargetImages::BlindSpot {
        let reason = "the image would be the input plus the output, but the input does not show the hidden pixels";
        let message = format!("\"noise\" does not work with training.target = \"blind-spot\": {reason}; use \"image\"");
        problems.add("model.predict", message);
    } else if training.input == InputImages::Clean {
        let message = "\"noise\" needs training.input = \"noisy\": there is no noise in clean input to be predicted";
        problems.add("model.predict", message);
    }
}

/// Checks that patches can be cut out of images of this shape, if it is known, and that the model can be applied to both.
pub fn check_patches(
    model: Option<&Model>,
    training: Option<&Training>,
    image: Option<ImageShape>,
    problems: &mut Problems,
) {
    let (Some(model), Some(Training { patches, .. })) = (model, training) else { return };
    if patches.patch.is_none() && patches.patches_per_image.is_some() {
        problems.add("training.patches-per-image", "says how many, but not of which size: set training.patch too");
    }
    if let Some(image) = image
        && !problems.any_within("model")
        && let Err(cause) = patches.model_image(&model.architecture, image.into())
    {
        let key = if patches.patch.is_some() { "patch" } else { "augment" };
        problems.add(&format!("training.{key}"), cause.to_string());
    }
}

/// Checks that images of this shape, if it is known, can be corrupted, and that no setting needs noise that the corruption does
/// not provide.
pub fn check_corruption(
    corruption: Option<&Corruption>,
    image: Option<ImageShape>,
    training: Option<&Training>,
    encode_input: Option<InputImages>,
    problems: &mut Problems,
) {
    if let (Some(corruption), Some(image)) = (corruption, image) {
        check_fits(corruption, image, "corruption".into(), problems);
    }
    if let Some(Training { input, target: TargetImages::Noisy, .. }) = training {
        if *input == InputImages::Clean {
            problems.add(
                "training.target",
                "\"noisy\" needs training.input = \"noisy\": one image with noise as input, one as target",
            );
        } else if corruption.is_some_and(|corruption| corruption.kind().is_fixed()) {
            problems.add(
                "training.target",
                "\"noisy\" needs noise that is drawn: this corruption makes the same of an image each time",
            );
        }
    }
    if training.is_some_and(|training| training.target == TargetImages::BlindSpot)
        && corruption.is_some_and(|corruption| corruption.kind().is_fixed())
    {
        let reason = "this corruption makes the same of an image each time, which no model can tell from the image";
        problems.add("training.target", format!("\"blind-spot\" needs noise that is drawn: {reason}"));
    }
    // One with a problem would be noise if it had none.
    if corruption.is_none() && !problems.any_within("corruption") {
        let advice = "needs noise: add a [corruption] table, for example gaussian = { std = 0.5 }";
        if training.is_some_and(|training| training.input == InputImages::Noisy) {
            problems.add("training.input", format!("\"noisy\" {advice}"));
        }
        if encode_input == Some(InputImages::Noisy) {
            problems.add("encode.input", format!("\"noisy\" {advice}"));
        }
    }
}

/// Checks that images of this shape can be corrupted, by each of several corruptions; `path` is where it is written.
fn check_fits(corruption: &Corruption, image: ImageShape, path: KeyPath, problems: &mut Problems) {
    let members = corruption.kind().members();
    for (position, member) in members.iter().enumerate() {
        check_fits(member, image, path.name(corruption.key()).index(position), problems);
    }
    if members.is_empty()
        && let Err(cause) = corruption.kind().check(image)
    {
        problems.add_at(path, cause.to_string());
    }
}

/// Checks that what noise makes that is not clipped, here or in one of several corruptions, can be stored and learnt.
pub fn check_clipping(
    corruption: &Corruption,
    stored: Option<Pixels>,
    loss: Option<Loss>,
    training: Option<&Training>,
    path: KeyPath,
    problems: &mut Problems,
) {
    let (path, members) = (path.name(corruption.key()), corruption.kind().members());
    for (position, member) in members.iter().enumerate() {
        check_clipping(member, stored, loss, training, path.index(position), problems);
    }
    if corruption.kind().keeps_range() || !members.is_empty() {
        return;
    }
    let path = path.name("clip");
    if stored.is_some_and(|stored| stored != Pixels::F32) {
        let advice = "set output.pixels = \"f32\", or leave `clip` out";
        problems
            .add_at(path.clone(), format!("false needs floats, since bytes are clipped as they are stored: {advice}"));
    }
    let noisy_target = training.is_some_and(|training| training.target != TargetImages::Clean);
    if noisy_target && loss == Some(Loss::CrossEntropy) {
        let advice = "needs targets in [0, 1]: take model.loss = \"mse\" for noisy targets";
        problems.add_at(path, format!("false leaves [0, 1], but \"cross-entropy\" {advice}"));
    }
}
