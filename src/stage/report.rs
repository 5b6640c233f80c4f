//! report: one page about the run.

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::evaluate::Metrics;
use super::{Outputs, Stage, StageContext};
use crate::config::{Loss, Pipeline};
use crate::error;
use crate::model::{Architecture, ModelDescription};
use crate::report::{EpochPoint, FigureRow, Report as Page, render};
use crate::table::{Split, TableFile, lists, pixels};

/// The stage.
pub struct Report;

/// Images in each row of the figure, as in the chapter.
const FIGURE_IMAGES: usize = 10;

impl Stage for Report {
    fn name(&self) -> &'static str {
        "report"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<&'static str> {
        match pipeline.corruption {
            Some(_) => vec!["ingest", "corrupt", "train", "denoise", "evaluate"],
            None => vec!["ingest", "train", "denoise", "evaluate"],
        }
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        json!({ "name": pipeline.name })
    }

    fn tells_settings(&self) -> bool {
        true
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let pipeline = context.pipeline;
        let clean = context.table("ingest", Split::Test)?;
        let image = clean.image_shape()?;
        let metrics = Metrics::read(&context.folder("evaluate"))?;
        let metrics = metrics.ok_or_else(|| error::io("evaluate's metrics.json has gone"))?;
        let model = ModelDescription::read(&context.folder("train"))?;
        let mut rows = vec![row("clean", &clean)?];
        if pipeline.corruption.is_some() {
            rows.push(row("noisy", &context.table("corrupt", Split::Test)?)?);
        }
        rows.push(row(&metrics.scores[0].what, &context.table("denoise", Split::Test)?)?);
        let history = history(context)?;
        let mut provenance = vec![
            ("limpid".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("device".to_owned(), context.device.to_string()),
        ];
        provenance.extend(context.inputs.clone());
        let family = match model.architecture {
            Architecture::Dense { .. } => "dense",
            Architecture::Conv { .. } => "convolutional",
        };
        let task = if metrics.task == "denoising" { "Denoising" } else { "Reconstruction" };
        let page = Page {
            name: &pipeline.name,
            title: &format!("{task} with a {family} autoencoder"),
            loss_name: model.loss.name(),
            image,
            rows,
            history: &history,
            loss_floor: (model.loss == Loss::CrossEntropy).then_some(metrics.cross_entropy_floor),
            metrics: &json!(metrics),
            settings: context
                .decisive
                .iter()
                .map(|(key, value)| (key.clone(), value.as_str().map_or(value.to_string(), str::to_owned)))
                .collect(),
            provenance,
        };
        let html = render(&page).context("cannot make the page")?;
        Ok(vec![context.write("report.html", html.as_bytes())?].into())
    }
}

fn row(label: &str, table: &TableFile) -> Result<FigureRow> {
    let len = table.image_shape()?.len();
    let Some(batch) = table.all().next().transpose()? else {
        return Err(error::data(format!("{} holds no images", table.path().display())));
    };
    let bytes: Vec<u8> = pixels::values(lists(&batch, "image")?).into_iter().map(pixels::to_byte).collect();
    let images = bytes.chunks_exact(len).take(FIGURE_IMAGES).map(<[u8]>::to_vec).collect();
    Ok(FigureRow { label: label.to_owned(), images })
}

/// The loss of every epoch, from the table that train wrote.
fn history(context: &StageContext<'_>) -> Result<Vec<EpochPoint>> {
    let path = context.folder("train").join("history.parquet");
    let file = std::fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let bad = |cause: String| error::data(format!("{} is not what train wrote: {cause}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let mut points = Vec::new();
    for batch in reader.map_err(|cause| bad(cause.to_string()))? {
        let batch = batch.map_err(|cause| bad(cause.to_string()))?;
        let column = |name: &str| {
            let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Float64Type>());
            column.ok_or_else(|| bad(format!("no column {name}")))
        };
        let epochs = batch.column_by_name("epoch").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let epochs = epochs.ok_or_else(|| bad("no column epoch".to_owned()))?;
        let (train, test) = (column("train_loss")?, column("test_loss")?);
        points.extend((0..batch.num_rows()).map(|row| EpochPoint {
            epoch: epochs.value(row) as u64,
            train_loss: train.value(row),
            test_loss: test.value(row),
        }));
    }
    Ok(points)
}
