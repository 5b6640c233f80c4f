//! `limpid show`: prints the stages, settings and scores of a run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::Execute;
use super::print::{print, print_line};
use super::results::Results;
use super::scores;
use crate::record::digest::short;
use crate::record::workspace::Workspace;
use crate::stage::evaluate;

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The run directory, or its URL (s3://, gs://, az://).
    run: PathBuf,
    /// As JSON.
    #[arg(long, conflicts_with = "paths")]
    json: bool,
    /// Only the paths of the published tables, one a line, for other programs: in a store they lie below the name of their generation.
    #[arg(long)]
    paths: bool,
}

impl Execute for ShowArgs {
    /// Prints the stages, files, rows, settings and scores of a run.
    fn execute(&self) -> Result<()> {
        let workspace = Workspace::existing(&self.run)?;
        let results = Results::read(&workspace)?;
        if self.paths {
            for (name, receipt) in &results.stages {
                let tables = receipt.iter().flat_map(|receipt| &receipt.outputs).filter(|output| output.rows.is_some());
                let folder = workspace.stage(*name);
                tables.into_iter().try_for_each(|output| print(folder.join(&output.name).display()))?;
            }
            return Ok(());
        }
        let (settings, sources) = (results.settings(&[]), results.sources(&[]));
        if self.json {
            return print(serde_json::to_string_pretty(&as_json(&results))?);
        }
        let Results { stages, out_of_date, metrics, gate } = results;
        print(workspace.root().display())?;
        for (name, receipt) in &stages {
            let Some(receipt) = receipt else {
                print(format!("\n{name}  has not run"))?;
                continue;
            };
            let state = out_of_date.get(name).map_or(String::new(), |cause| format!(", out of date: {cause}"));
            print("")?;
            print_line(format!(
                "{name}  {} in {:.1} s on {}{state}",
                receipt.started_second(),
                receipt.seconds,
                receipt.device
            ))?;
            for output in &receipt.outputs {
                let rows = output.rows.map_or(String::new(), |rows| format!("{rows} rows"));
                let path = workspace.stage(*name).join(&output.name);
                print_line(format!("  {:>12}  {:>10}  {}", size(output.bytes), rows, path.display()))?;
            }
            if let Some(damage) = receipt.damage(&workspace.stage(*name), false)? {
                print_line(format!("  damaged: {damage}"))?;
            }
        }
        print("\nsettings")?;
        for (key, value) in &settings {
            print_line(format!("  {key} = {value}"))?;
        }
        for (key, digest) in &sources {
            print_line(format!("  {key}: digest {}", short(digest)))?;
        }
        if let Some(metrics) = metrics {
            let state = if out_of_date.contains_key(&evaluate::NAME) { ", out of date" } else { "" };
            print(format!("\n{} of {} {} images{state}", metrics.task, metrics.images, metrics.split.name()))?;
            for line in scores::lines(&metrics, &gate) {
                print(line)?;
            }
        }
        Ok(())
    }
}

/// The results as JSON.
pub fn as_json(results: &Results) -> Value {
    let (settings, sources) = (results.settings(&[]), results.sources(&[]));
    let Results { stages, out_of_date, metrics, gate } = results;
    let receipts: Vec<_> = stages.iter().filter_map(|(_, receipt)| receipt.as_ref()).collect();
    json!({
        "settings": settings, "sources": sources, "stages": receipts, "out-of-date": out_of_date, "metrics": metrics, "gate": gate,
    })
}

/// A size in B, kB or MB.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
