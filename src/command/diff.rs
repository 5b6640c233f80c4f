//! `limpid diff`

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json;

use super::print;
use super::results::Results;
use crate::cli::DiffArgs;
use crate::pipeline::fingerprint::flatten;
use crate::pipeline::workspace::Workspace;

/// Prints the settings that differ and all scores, side by side.
pub fn diff(args: &DiffArgs) -> Result<()> {
    let sides = [Workspace::existing(&args.left)?, Workspace::existing(&args.right)?];
    let mut table = vec![(String::new(), sides.each_ref().map(|side| side.root().display().to_string()))];
    let sides = [Results::read(&sides[0])?, Results::read(&sides[1])?];
    let [left, right] = sides.each_ref().map(|side| &side.settings);
    for key in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
        if left.get(key) != right.get(key) {
            let value = |side: Option<&serde_json::Value>| side.map_or("–".to_owned(), ToString::to_string);
            table.push((key.clone(), [value(left.get(key)), value(right.get(key))]));
        }
    }
    if table.len() == 1 {
        table.push(("settings".to_owned(), ["the same".to_owned(), "the same".to_owned()]));
    }
    for stage in sides.iter().flat_map(|side| side.out_of_date.keys()).collect::<BTreeSet<_>>() {
        let state = |side: &Results| if side.out_of_date.contains_key(stage) { "out of date" } else { "–" }.to_owned();
        table.push(((*stage).to_owned(), sides.each_ref().map(state)));
    }
    let scores = sides.map(|side| side.metrics.map(|metrics| metrics.scores).unwrap_or_default());
    let names: BTreeSet<_> = scores.iter().flatten().map(|score| score.what.clone()).collect();
    for name in names {
        let rows = scores
            .each_ref()
            .map(|side| side.iter().find(|score| score.what == name).map(|score| flatten(&json!(score))));
        let keys: BTreeSet<_> = rows.iter().flatten().flat_map(|row| row.keys().cloned()).collect();
        for key in keys.into_iter().filter(|key| key != "what") {
            let value = |row: &Option<std::collections::BTreeMap<String, serde_json::Value>>| {
                let number = row.as_ref().and_then(|row| row.get(&key)).and_then(serde_json::Value::as_f64);
                number.map_or("–".to_owned(), |number| format!("{number:.5}"))
            };
            table.push((format!("{name}: {key}"), rows.each_ref().map(value)));
        }
    }
    let width =
        |cell: fn(&(String, [String; 2])) -> &str| table.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0);
    let (first, second) = (width(|row| &row.0), width(|row| &row.1[0]));
    for (name, [left, right]) in &table {
        print(format!("{name:first$}  {left:second$}  {right}"))?;
    }
    Ok(())
}
