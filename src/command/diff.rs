//! `limpid diff`: prints the settings and scores of two runs side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::Execute;
use super::output_place::refuse_results;
use super::print::print;
use super::results::{Results, folders};
use super::scores;
use crate::error;
use crate::record::digest::short;
use crate::record::fingerprint::Parts;
use crate::record::workspace::{Workspace, steadily};
use crate::report::{Report, render_pair};
use crate::stage::report::gather;
use crate::stage::{STAGES, report};
use crate::store;
use crate::text::{on_one_line, width};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A run directory.
    left: PathBuf,
    /// Another one.
    right: PathBuf,
    /// Also write a page with the reports of both, side by side.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Execute for DiffArgs {
    /// Prints the settings and the data that differ and all scores, side by side; with `--html`, also the reports.
    fn execute(&self) -> Result<()> {
        self.html.iter().try_for_each(|file| refuse_results(file))?;
        let workspaces = [Workspace::existing(&self.left)?, Workspace::existing(&self.right)?];
        let mut table = vec![(String::new(), workspaces.each_ref().map(|side| side.root().display().to_string()))];
        let sides = [Results::read(&workspaces[0])?, Results::read(&workspaces[1])?];
        let pages = match self.html {
            Some(_) => Some([page(&workspaces[0])?, page(&workspaces[1])?]),
            None => None,
        };
        // Settings of a stage that only one side has run are not a difference.
        let pending: Vec<_> = sides.iter().flat_map(Results::pending).collect();
        table.extend(differing(sides.each_ref().map(|side| side.settings(&pending)), ToString::to_string));
        let digest = |digest: &String| format!("digest {}", short(digest));
        table.extend(differing(sides.each_ref().map(|side| side.sources(&pending)), digest));
        if table.len() == 1 {
            table.push(("settings".to_owned(), ["the same".to_owned(), "the same".to_owned()]));
        }
        for stage in STAGES.iter().map(|stage| stage.name()) {
            let state = |side: &Results| {
                if side.pending().any(|pending| pending == stage) {
                    "has not run"
                } else if side.out_of_date.contains_key(&stage) {
                    "out of date"
                } else {
                    "–"
                }
            };
            let states = sides.each_ref().map(state);
            if states != ["–"; 2] {
                table.push((stage.to_string(), states.map(ToOwned::to_owned)));
            }
        }
        let numbers = sides.map(|side| side.metrics.as_ref().map_or(Vec::new(), scores::numbers));
        // In the order of the left side, followed by those that only the right one has.
        let [left, right] = &numbers;
        let only_right = right.iter().filter(|(name, _)| !left.iter().any(|(known, _)| known == name));
        for (name, _) in left.iter().chain(only_right) {
            let value = |side: &Vec<(String, f64)>| {
                let number = side.iter().find(|(known, _)| known == name);
                number.map_or("–".to_owned(), |(_, number)| {
                    let count = ["code: size", "code: dead-units"].contains(&name.as_str());
                    if count { format!("{number}") } else { format!("{number:.5}") }
                })
            };
            table.push((name.clone(), numbers.each_ref().map(value)));
        }
        if let (Some(path), Some([left, right])) = (&self.html, &pages) {
            let html = render_pair(left, right, &table)?;
            store::of(path).replace_beside_others(path, html.as_bytes())?;
        }
        // Values are not shortened, since they may differ at the end.
        let rows: Vec<_> =
            table.iter().map(|(name, [left, right])| [name, left, right].map(|cell| on_one_line(cell))).collect();
        let [first, second] = [0, 1].map(|at| width(rows.iter().map(|row| &*row[at])));
        for [name, left, right] in &rows {
            print(format!("{name:first$}  {left:second$}  {right}"))?;
        }
        Ok(())
    }
}

/// The entries that differ between two sides, or that only one of them has.
fn differing<T: PartialEq>(
    [left, right]: [BTreeMap<String, T>; 2],
    tell: impl Fn(&T) -> String,
) -> Vec<(String, [String; 2])> {
    let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differing = keys.into_iter().filter(|key| left.get(*key) != right.get(*key));
    let value = |side: &BTreeMap<String, T>, key: &str| side.get(key).map_or("–".to_owned(), &tell);
    differing.map(|key| (key.clone(), [value(&left, key), value(&right, key)])).collect()
}

/// The report of a run, made from the results and settings that its published report was made from.
fn page(workspace: &Workspace) -> Result<Report> {
    steadily(&folders(workspace), || page_once(workspace))
}

fn page_once(workspace: &Workspace) -> Result<Report> {
    let Some(receipt) = workspace.receipt(report::NAME)? else {
        let root = workspace.root().display();
        return Err(error::settings(format!("{root} has no report to compare; run its pipeline to the end")));
    };
    let Parts { settings, inputs, .. } = &receipt.parts;
    gather(workspace, &workspace.settings()?, settings, inputs)
}
