//! Labels in the names of folders, as other programs write a partitioned table: `label=7/part-0.parquet`.

use std::collections::BTreeSet;
use std::path::Path;

use super::choice::LABEL_COLUMNS;
use super::kinds::Labels;
use crate::source::label_text::{self, Texts};

/// What Hive and Spark write for no value.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The labels of files by their folders, and the label of each; none if a file lies in no folder of a label. `named` is the name of
/// the label, or a usual one counts.
pub fn labels(named: Option<&str>, paths: &[&Path]) -> Option<(Labels, Vec<Option<i64>>)> {
    let is_label = |key: &str| named.map_or(LABEL_COLUMNS.contains(&key), |named| named == key);
    let value = |path: &&Path| -> Option<String> {
        let folders = path.parent()?.components().rev();
        let mut entries = folders.filter_map(|folder| folder.as_os_str().to_str()?.split_once('='));
        entries.find(|(key, _)| is_label(key)).map(|(_, value)| value.to_owned())
    };
    let values: Vec<String> = paths.iter().map(value).collect::<Option<_>>()?;
    let names: BTreeSet<&str> = values.iter().map(String::as_str).filter(|name| *name != NULL).collect();
    if Texts::of(&names) == Texts::Integers {
        let numbers = values.iter().map(|value| label_text::integer(value)).collect();
        return Some((Labels::Numbers(None), numbers));
    }
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let numbers = values.iter().map(|value| names.binary_search(value).ok().map(|at| at as i64)).collect();
    Some((Labels::Names(names), numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_the_names_of_folders() {
        let of = |named: Option<&str>, paths: &[&str]| labels(named, &paths.iter().map(Path::new).collect::<Vec<_>>());
        let found =
            of(None, &["a/label=3/0.parquet", "a/label=10/x=1/0.parquet", &format!("a/label={NULL}/0.parquet")]);
        assert_eq!(found, Some((Labels::Numbers(None), vec![Some(3), Some(10), None])));
        let found = of(Some("kind"), &["kind=cat/0.parquet", "kind=ant/0.parquet"]);
        assert_eq!(found, Some((Labels::Names(vec!["ant".into(), "cat".into()]), vec![Some(1), Some(0)])));
        assert_eq!(of(None, &["kind=cat/0.parquet"]), None);
        assert_eq!(of(None, &["label=1/0.parquet", "0.parquet"]), None);
    }
}
