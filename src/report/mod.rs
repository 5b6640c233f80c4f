//! The report of a run: one HTML file that needs no network.
//!
//! A page is a function of the files of earlier stages, so that the same run gives the same bytes. Its text is a
//! template with named placeholders; one without a value is an error, so that template and code cannot drift apart. Its script
//! only adds the image of a point under the pointer; everything else is there without it. Widths are those of the column that a
//! run is shown in, so that two runs side by side look like one on a phone.

mod charts;
pub mod pictures;
mod sections;

use anyhow::{Context, Result};

use crate::error;
use crate::quality::gate::Requirement;
use crate::quality::metrics::Metrics;
use crate::training::history::EpochRecord;
use pictures::{Image, Picture};
use sections::{escape, pairs};

const TEMPLATE: &str = include_str!("template.html");
const ARTICLE: &str = include_str!("article.html");

/// Everything that the report shows of a run.
pub struct Report {
    /// Name of the run.
    pub name: String,
    /// The task of the run, as a heading.
    pub title: String,
    /// Name of the training loss.
    pub loss_name: String,
    /// The first images of the test split.
    pub first: Figure,
    /// The images with the lowest error, in the order of the metrics.
    pub best: Figure,
    /// The images with the highest error.
    pub worst: Figure,
    /// The losses of every epoch.
    pub history: Vec<EpochRecord>,
    /// The least loss that any model can reach, if it is known.
    pub loss_floor: Option<f64>,
    /// The scores.
    pub metrics: Metrics,
    /// The requirements of the gate.
    pub gate: Vec<Requirement>,
    /// Codes in two dimensions, if there are codes.
    pub map: Vec<MapPoint>,
    /// Clean images of the points.
    pub map_images: Vec<Picture>,
    /// Dotted keys and values.
    pub settings: Vec<(String, String)>,
    /// Names and values; digests of files.
    pub provenance: Vec<(String, String)>,
}

/// Some images of the test split.
#[derive(Debug, Default)]
pub struct Figure {
    /// The clean images; empty if there are none.
    pub clean: Vec<Image>,
    /// The noisy images; empty without noise.
    pub noisy: Vec<Image>,
    /// The model's images.
    pub made: Vec<Image>,
}

/// A code on a map, on which codes that are near each other lie near each other.
#[derive(Debug, Clone, Copy)]
pub struct MapPoint {
    /// The image's `id`.
    pub id: i64,
    /// Its label, if it has one.
    pub label: Option<i64>,
    /// To the right, in any unit.
    pub x: f32,
    /// Up, in the same unit.
    pub y: f32,
}

/// The page of one run as HTML.
///
/// # Errors
/// A picture that cannot be encoded, or a placeholder of the template without a value.
pub fn render(report: &Report) -> Result<String> {
    let title = escape(&report.name);
    fill(TEMPLATE, &[("title", title), ("class", "one".to_owned()), ("body", article(report)?)])
}

/// Two runs side by side, under a table of `differences` with a row for each: its name, and both values.
///
/// # Errors
/// As [`render`].
pub fn render_pair(left: &Report, right: &Report, differences: &[(String, [String; 2])]) -> Result<String> {
    let title = format!("{} and {}", escape(&left.name), escape(&right.name));
    let body = format!(
        "<header class=\"top\"><h1>{title}</h1>{}</header><div class=\"pair\">{}{}</div>",
        sections::differences(differences),
        article(left)?,
        article(right)?
    );
    fill(TEMPLATE, &[("title", title), ("class", "two".to_owned()), ("body", body)])
}

/// The article about one run.
fn article(report: &Report) -> Result<String> {
    let metrics = &report.metrics;
    fill(
        ARTICLE,
        &[
            ("name", escape(&report.name)),
            ("title", escape(&report.title)),
            ("summary", escape(&sections::summary(metrics, &report.gate))),
            ("tiles", sections::tiles(metrics, &report.gate)),
            ("gate", sections::gate(&report.gate)),
            ("figures", sections::figures(report)?),
            ("curve", sections::curve(report)),
            ("scores", sections::scores(metrics)),
            ("classes", sections::classes(metrics) + &sections::columns(metrics)),
            ("features", sections::features(report)?),
            ("definitions", sections::definitions(metrics)),
            ("settings", pairs(&report.settings)),
            ("provenance", pairs(&report.provenance)),
        ],
    )
}

/// Replaces the placeholders `{{name}}` of a template by values.
fn fill(template: &str, values: &[(&str, String)]) -> Result<String> {
    let mut page = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a place of the template has no end")?;
        let value = values.iter().find(|(known, _)| *known == name);
        let (_, value) = value.ok_or_else(|| error::bug(format!("the template wants {name}, which has no value")))?;
        page.push_str(before);
        page.push_str(value);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

#[cfg(test)]
mod tests;
