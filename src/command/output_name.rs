//! The names of the tables that `encode` and `denoise` write.

use std::path::Path;

use anyhow::Result;

use crate::error;

/// Suffixes that denote a format: of tables, arrays and pictures, and of IDX files, those in common use and MNIST's.
const FORMAT_ENDS: [&str; 23] = [
    ".parquet",
    ".csv",
    ".tsv",
    ".npy",
    ".npz",
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".idx",
    ".idx1",
    ".idx2",
    ".idx3",
    ".idx4",
    "-idx1-ubyte",
    "-idx2-ubyte",
    "-idx3-ubyte",
    "-idx4-ubyte",
    ".ubyte",
];

/// The input's name with the suffix of its format replaced by `.parquet`.
pub fn output_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| error::settings(format!("{} has no usable file name", path.display())))?;
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let stem =
        FORMAT_ENDS.iter().find_map(|end| stem.strip_suffix(end)).filter(|stem| !stem.is_empty()).unwrap_or(stem);
    Ok(format!("{stem}.parquet"))
}

/// The name of a table about the pictures whose results are in the table called `name`.
pub fn name_beside(name: &str, table: &str) -> String {
    format!("{}.{table}", name.trim_end_matches(".parquet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_named_after_its_input_without_the_format() {
        for (input, expected) in [
            ("a/scans.idx3.gz", "scans.parquet"),
            ("scans.idx", "scans.parquet"),
            ("labels.idx1", "labels.parquet"),
            ("t10k-images-idx3-ubyte.gz", "t10k-images.parquet"),
            ("test-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
            ("scans.npy", "scans.parquet"),
            ("table.csv.gz", "table.parquet"),
            ("scans.npz", "scans.parquet"),
            ("scan.gif", "scan.parquet"),
            ("scans.v2", "scans.v2.parquet"),
            (".idx", ".idx.parquet"),
        ] {
            assert_eq!(output_name(Path::new(input)).expect("is a name"), expected, "{input}");
        }
        assert!(output_name(Path::new("..")).is_err());
    }
}
