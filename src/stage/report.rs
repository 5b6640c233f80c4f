//! report: writes the HTML page about the run.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::evaluate::Evaluate;
use super::{Outputs, Stage, StageContext, denoise, encode, evaluate, ingest, noisy_images, train};
use crate::config::Pipeline;
use crate::image::{ImageShape, Split, to_bytes};
use crate::model::ModelDescription;
use crate::model::settings::Loss;
use crate::quality::gate::judge;
use crate::quality::map::map as coordinates;
use crate::quality::metrics::{Metrics, RECONSTRUCTION};
use crate::record::workspace::Workspace;
use crate::record::{StageName, TableSet};
use crate::report::pictures::{Image, Picture, SHEET_SIDE};
use crate::report::{Figure, MapPoint, Report as Page, render};
use crate::table::{Images, Table, ids, labels, lists, pixels};
use crate::training::history;
use crate::training::settings::TargetImages;
use crate::{error, interrupt};

/// Its name.
pub const NAME: StageName = StageName::new("report");

/// The stage.
pub struct Report;

/// Images in each row of the figure, as in the chapter.
const FIGURE_IMAGES: u64 = 10;
/// Most points of the map of codes.
const MAP_POINTS: usize = 1000;
/// Most bytes of the codes of these points.
const MAP_BYTES: usize = 64 << 20;

impl Stage for Report {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        6
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName> {
        // The inputs of evaluate, and its output.
        [Evaluate.inputs(pipeline), vec![Evaluate.name()]].concat()
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        json!({ "name": pipeline.name, "gate": pipeline.gate })
    }

    fn tells_settings(&self) -> bool {
        true
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let page = gather(context.workspace, context.pipeline, context.decisive, context.inputs)?;
        let html = render(&page).context("cannot make the page")?;
        Ok(vec![context.write("report.html", html.as_bytes())?].into())
    }
}

/// The content of the report on the results in `workspace`, which were made with these settings from inputs with these digests.
///
/// # Errors
/// Results that are missing, damaged, or not of one run; interruption.
pub fn gather(
    workspace: &Workspace,
    pipeline: &Pipeline,
    settings: &BTreeMap<String, Value>,
    inputs: &BTreeMap<String, String>,
) -> Result<Page> {
    let mut provenance = vec![("limpid".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    provenance.extend(workspace.receipt(train::NAME)?.map(|train| ("trained on".to_owned(), train.device)));
    provenance.extend(inputs.clone());
    let table = |tables: TableSet| tables.table(workspace, inputs, Split::Test);
    let metrics = Metrics::read(&workspace.stage(evaluate::NAME))?;
    let metrics = metrics.ok_or_else(|| error::io("evaluate's metrics.json has gone"))?;
    let model = ModelDescription::read(&workspace.stage(train::NAME))?;
    let (clean, made) = (table(ingest::NAME.into())?, table(denoise::NAME.into())?);
    let noisy = noisy_images(pipeline).map(table).transpose()?;
    // Rows of numbers are not drawn.
    let vectors = clean.extent()?.fixed().is_some_and(ImageShape::is_vector);
    let figure = |wanted: &[i64]| -> Result<Figure> {
        if vectors {
            return Ok(Figure::default());
        }
        let noisy = noisy.as_ref().map(|table| images(table, wanted)).transpose()?.unwrap_or_default();
        let (clean, made) = (images(&clean, wanted)?, images(&made, wanted)?);
        // The images of the source are the noisy ones if there are no clean ones.
        let (clean, noisy) = if metrics.has_clean_images() { (clean, noisy) } else { (Vec::new(), clean) };
        Ok(Figure { clean, noisy, made })
    };
    let mut first = Vec::new();
    clean.first(FIGURE_IMAGES, |batch| {
        first.extend_from_slice(ids(batch)?.values());
        Ok(())
    })?;
    let extremes =
        |images: &[crate::quality::metrics::ImageError]| images.iter().map(|image| image.id).collect::<Vec<_>>();
    let map = if pipeline.has_codes_of_images() { map(&table(encode::NAME.into())?)? } else { Vec::new() };
    let task = if metrics.task == RECONSTRUCTION { "Reconstruction" } else { "Denoising" };
    Ok(Page {
        name: pipeline.name.clone(),
        title: format!("{task} with {}", model.architecture.family().name()),
        loss_name: model.loss.name().to_owned(),
        first: figure(&first)?,
        best: figure(&extremes(&metrics.best))?,
        worst: figure(&extremes(&metrics.worst))?,
        history: history::read(&workspace.stage(train::NAME))?,
        loss_floor: (model.loss == Loss::CrossEntropy && pipeline.training.target == TargetImages::Clean)
            .then_some(metrics.cross_entropy_floor)
            .flatten(),
        gate: judge(&pipeline.gate, &metrics),
        metrics,
        map_images: if vectors { Vec::new() } else { pictures(&clean, &map)? },
        map,
        settings: settings
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().map_or(value.to_string(), str::to_owned)))
            .collect(),
        provenance,
    })
}

/// The codes of the first test images in two dimensions.
fn map(codes: &Table) -> Result<Vec<MapPoint>> {
    let (mut keys, mut classes, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let most = MAP_POINTS.min(MAP_BYTES / size_of::<f32>() / codes.code_size()?).max(2);
    codes.first(most as u64, |batch| {
        interrupt::check()?;
        keys.extend_from_slice(ids(batch)?.values());
        classes.extend(labels(batch)?);
        values.extend(pixels::values(lists(batch, "code")?));
        Ok(())
    })?;
    let points = keys.into_iter().zip(classes).zip(coordinates(&values, codes.code_size()?)?);
    Ok(points.map(|((id, label), [x, y])| MapPoint { id, label, x, y }).collect())
}

/// Small pictures of the points of a map, in their order.
fn pictures(clean: &Table, map: &[MapPoint]) -> Result<Vec<Picture>> {
    let wanted: Vec<_> = map.iter().map(|point| point.id).collect();
    each_image(clean, &wanted, |image| Picture::of(&image).shrunk(SHEET_SIDE))
}

/// The images with these ids, in this order.
fn images(table: &Table, wanted: &[i64]) -> Result<Vec<Image>> {
    each_image(table, wanted, |image| image)
}

/// Applies `make` to the images with these ids, which are distinct, in this order.
fn each_image<T>(table: &Table, wanted: &[i64], make: impl Fn(Image) -> T) -> Result<Vec<T>> {
    let (mut found, extent) = (BTreeMap::new(), table.extent()?);
    for batch in table.all() {
        interrupt::check()?;
        let batch = batch?;
        for (row, id) in ids(&batch)?.values().iter().enumerate().filter(|(_, id)| wanted.contains(id)) {
            let image = Images::of(&batch.slice(row, 1), extent)?;
            let bytes = to_bytes(&image.numbers());
            found.extend(image.shapes().iter().next().map(|shape| (*id, make(Image { shape, bytes }))));
        }
        if wanted.iter().all(|id| found.contains_key(id)) {
            break;
        }
    }
    let missing = |id: &i64| error::data(format!("{} has no image {id}", table.path().display()));
    wanted.iter().map(|id| found.remove(id).ok_or_else(|| missing(id))).collect()
}
