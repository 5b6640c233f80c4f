//! The page about a run: one HTML file that needs no network and no script.
//!
//! The page is a function of what earlier stages wrote, so that it too is the same bytes for the same run. Its text is a
//! template with named places; a place without a value is an error, so that the two cannot drift apart.

mod figures;

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::error;
use crate::table::ImageShape;

const TEMPLATE: &str = include_str!("template.html");

/// Everything that the page shows.
pub struct Report<'a> {
    /// Name of the run.
    pub name: &'a str,
    /// What was done, as a heading.
    pub title: &'a str,
    /// What training minimised.
    pub loss_name: &'a str,
    /// Size of the images.
    pub image: ImageShape,
    /// The figure, row by row.
    pub rows: Vec<FigureRow>,
    /// The losses of every epoch.
    pub history: &'a [EpochPoint],
    /// The least loss that any model can reach, if it is known.
    pub loss_floor: Option<f64>,
    /// The content of `metrics.json`.
    pub metrics: &'a Value,
    /// Dotted keys and values.
    pub settings: Vec<(String, String)>,
    /// Names and values; digests of files.
    pub provenance: Vec<(String, String)>,
}

/// A row of images.
pub struct FigureRow {
    /// What they are.
    pub label: String,
    /// The bytes of each, row-major, channels last.
    pub images: Vec<Vec<u8>>,
}

/// Losses of an epoch, mean over pixels.
#[derive(Debug, Clone, Copy)]
pub struct EpochPoint {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean over the epoch.
    pub train_loss: f64,
    /// At its end.
    pub test_loss: f64,
}

/// The columns of the table of scores: key, head, decimals, and whether more is better.
const COLUMNS: [(&str, &str, usize, bool); 6] = [
    ("mse", "MSE", 5, false),
    ("psnr-pooled", "PSNR, pooled (dB)", 2, true),
    ("psnr-mean", "PSNR, mean (dB)", 2, true),
    ("ssim", "SSIM", 4, true),
    ("cross-entropy", "cross-entropy (nats)", 5, false),
    ("cross-entropy-over-floor", "over its floor (nats)", 5, false),
];

/// The page as HTML.
///
/// # Errors
/// A picture that cannot be encoded, or a place of the template without a value.
pub fn render(report: &Report<'_>) -> Result<String> {
    let mut figure = String::new();
    if report.rows.iter().any(|row| !row.images.is_empty()) {
        figure.push_str("<section aria-labelledby=\"images\"><h2 id=\"images\">Images of the test split</h2>");
        figure.push_str("<figure class=\"strip\">");
        for FigureRow { label, images } in report.rows.iter().filter(|row| !row.images.is_empty()) {
            let (label, source) = (escape(label), figures::strip(images, report.image)?);
            let count = images.len();
            _ = write!(figure, "<span>{label}</span><img src=\"{source}\" alt=\"{count} images: {label}\">");
        }
        figure.push_str("</figure></section>");
    }
    let curve = figures::curve(report.history, report.loss_floor, report.loss_name).map_or(String::new(), |svg| {
        let name = escape(report.loss_name);
        let note = if report.loss_floor.is_some() {
            "<p>Pixels are not binary, so that even perfect images have a loss: the floor.</p>"
        } else {
            ""
        };
        format!("<section aria-labelledby=\"loss\"><h2 id=\"loss\">Loss: {name}</h2>{svg}{note}</section>")
    });
    let definitions = report.metrics["definitions"].as_object().into_iter().flatten().fold(
        String::new(),
        |mut list, (name, meaning)| {
            _ = write!(list, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(meaning.as_str().unwrap_or_default()));
            list
        },
    );
    fill(
        TEMPLATE,
        &[
            ("name", escape(report.name)),
            ("title", escape(report.title)),
            ("summary", escape(&summary(report.metrics))),
            ("figure", figure),
            ("curve", curve),
            ("scores", scores(report.metrics)),
            ("definitions", definitions),
            ("settings", pairs(&report.settings)),
            ("provenance", pairs(&report.provenance)),
        ],
    )
}

/// The result in one sentence.
fn summary(metrics: &Value) -> String {
    let images = metrics["images"].as_u64().unwrap_or(0);
    let decibels = |scores: &Value| {
        let what = scores["what"].as_str().unwrap_or("?").to_owned();
        Some((what, scores["psnr-pooled"].as_f64()?))
    };
    let all: Vec<_> = metrics["scores"].as_array().into_iter().flatten().filter_map(decibels).collect();
    let Some(((what, psnr), baselines)) = all.split_first() else {
        return format!("{images} images of the test split.");
    };
    let baselines: Vec<_> = baselines.iter().map(|(what, psnr)| format!("{what}: {psnr:.2} dB")).collect();
    let beside = if baselines.is_empty() { String::new() } else { format!(" ({})", baselines.join(", ")) };
    format!("On {images} test images: {what} at {psnr:.2} dB pooled PSNR against the clean images{beside}.")
}

/// The table of scores, the best of each column emphasised.
fn scores(metrics: &Value) -> String {
    let rows: Vec<&Value> = metrics["scores"].as_array().into_iter().flatten().collect();
    let mut table = "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">images</th>".to_owned();
    for (_, head, ..) in COLUMNS {
        _ = write!(table, "<th scope=\"col\" class=\"number\">{head}</th>");
    }
    table.push_str("</tr></thead><tbody>");
    for row in &rows {
        _ = write!(table, "<tr><th scope=\"row\">{}</th>", escape(row["what"].as_str().unwrap_or("?")));
        for (key, _, decimals, more_is_better) in COLUMNS {
            let Some(value) = row[key].as_f64() else {
                table.push_str("<td class=\"number\">–</td>");
                continue;
            };
            let better = |other: f64| if more_is_better { other > value } else { other < value };
            let best = !rows.iter().filter_map(|row| row[key].as_f64()).any(better);
            let class = if best { "number best" } else { "number" };
            _ = write!(table, "<td class=\"{class}\">{value:.decimals$}</td>");
        }
        table.push_str("</tr>");
    }
    table.push_str("</tbody></table></div>");
    table
}

fn pairs(pairs: &[(String, String)]) -> String {
    pairs.iter().fold(String::new(), |mut rows, (name, value)| {
        let (name, value) = (escape(name), escape(value));
        _ = write!(rows, "<tr><th scope=\"row\">{name}</th><td class=\"mono\">{value}</td></tr>");
        rows
    })
}

/// Text that HTML shows as it is, in content and in quoted attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Puts values in the places `{{name}}` of a template.
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
mod tests {
    use super::*;
    use serde_json::json;

    fn report(metrics: &Value) -> Report<'_> {
        Report {
            name: "a<b>&\"c\"",
            title: "T",
            loss_name: "cross-entropy",
            image: ImageShape { height: 1, width: 1, channels: 1 },
            rows: Vec::new(),
            history: &[],
            loss_floor: None,
            metrics,
            settings: vec![("key".to_owned(), "<value>".to_owned())],
            provenance: Vec::new(),
        }
    }

    #[test]
    fn text_is_escaped_and_nothing_is_loaded_from_elsewhere() {
        let metrics = json!({ "images": 3, "scores": [{ "what": "<i>", "mse": 0.5, "psnr-pooled": 3.0 }] });
        let page = render(&report(&metrics)).expect("renders");
        assert!(page.contains("a&lt;b&gt;&amp;&quot;c&quot;") && page.contains("&lt;value&gt;"));
        assert!(!page.contains("<i>") && !page.contains("http") && !page.contains("<script"));
        assert_eq!(page, render(&report(&metrics)).expect("renders"));
    }

    #[test]
    fn what_is_not_known_is_a_dash_or_left_out() {
        let metrics = json!({ "images": 3, "scores": [{ "what": "x", "mse": 0.5, "ssim": null }] });
        let page = render(&report(&metrics)).expect("renders");
        assert_eq!(page.matches("<td class=\"number\">–</td>").count(), 5);
        assert!(page.contains("<td class=\"number best\">0.50000</td>"));
        assert!(!page.contains("<svg") && !page.contains("<figure"));
    }

    #[test]
    fn a_place_without_a_value_is_an_error() {
        assert!(fill("a {{b}} c", &[("b", "B".to_owned())]).is_ok_and(|page| page == "a B c"));
        assert!(fill("a {{b}} c", &[]).is_err());
    }
}
