//! The dataset card of an export: a README.md whose YAML header lists the files for Hugging Face `datasets`, and whose text is
//! for people.

use super::Source;
use crate::table::FileRecord;

/// The card of these tables of the run called `name`, which were written as `files`.
///
/// Hugging Face `datasets` caches what it has read under a key made of the card's header alone. The header therefore has digests
/// of the files; otherwise another export, or a new one of the same run, would be read from the cache of the first.
pub fn card(name: &str, tables: &[Source], files: &[FileRecord]) -> String {
    let mut stages: Vec<_> = tables.iter().map(|source| source.set.name()).collect();
    stages.dedup();
    // The configuration of readers that name none.
    let default = if stages.contains(&"denoise") { "denoise" } else { stages.last().copied().unwrap_or_default() };
    let mut text = format!("---\npretty_name: \"{name}\"\nconfigs:\n");
    for stage in &stages {
        text += &format!("- config_name: {stage}\n");
        if *stage == default {
            text += "  default: true\n";
        }
        let inside = format!("{stage}/");
        let mut hasher = blake3::Hasher::new();
        files
            .iter()
            .filter(|file| file.name.starts_with(&inside))
            .for_each(|file| _ = hasher.update(file.digest.as_bytes()));
        let digest = hasher.finalize().to_hex();
        text += &format!("  description: \"{stage} of {name}, {}\"\n", &digest[..16]);
        text += "  data_files:\n";
        for Source { split, .. } in tables.iter().filter(|source| source.set.name() == *stage) {
            text += &format!("  - split: {0}\n    path: {stage}/{0}-*.parquet\n", split.name());
        }
    }
    text += &format!("---\n\n# {name}\n\n");
    text += "Written by limpid. `id` and `split` identify an image in every configuration.\n\n";
    text += "| configuration | what it holds | rows | columns |\n|---|---|---|---|\n";
    for stage in &stages {
        let mut rows = Vec::new();
        let mut columns = Vec::new();
        for Source { split, table, .. } in tables.iter().filter(|source| source.set.name() == *stage) {
            rows.push(format!("{} {}", split.name(), table.rows()));
            let schema = table.schema();
            columns = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
        }
        let (rows, columns) = (rows.join(", "), columns.join(", "));
        text += &format!("| `{stage}` | {} | {rows} | {columns} |\n", meaning(stage));
    }
    let other = stages.iter().find(|stage| **stage != default).unwrap_or(&default);
    text += &format!(
        "\n```python\nfrom datasets import load_dataset\n\n\
         {default} = load_dataset(\"path/of/this/folder\", split=\"test\")\n\
         {default}[0]  # a row as a dictionary; {default}.features has the names of the labels, where they have names\n\
         {other} = load_dataset(\"path/of/this/folder\", \"{other}\", split=\"test\")\n```\n"
    );
    text
}

/// The description of a stage's tables.
fn meaning(stage: &str) -> &'static str {
    match stage {
        "ingest" => "the images as they came",
        "corrupt" => "the images with noise",
        "noisy" => "the noisy images as they came",
        "encode" => "their features, `code`, and the `error` of the reconstruction from them",
        _ => "the images as the model gives them back, and the `error` that is left",
    }
}
