//! URLs of objects, which are kept as text in paths: `s3://bucket/key`, `gs://`, `az://`, `https://`.
//!
//! [`Path::join`], `parent` and `file_name` work on such text.

use std::io;
use std::path::{Path, PathBuf};

/// The kind of a store, by the scheme of its URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `s3://bucket/key`.
    S3,
    /// `gs://bucket/key`.
    Google,
    /// `az://container/key`, or `abfs://container@account.dfs.core.windows.net/key`.
    Azure,
    /// `https://host/path`, and `http://` of this machine.
    Http,
}

/// Whether a path is the URL of an object or of a prefix.
pub fn is_url(path: &Path) -> bool {
    split(path).is_some()
}

/// The path from the root, which processes in other folders understand; a URL is one as it is.
///
/// # Errors
/// An empty path; a current folder that is gone.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    if is_url(path) { Ok(path.to_owned()) } else { std::path::absolute(path) }
}

/// The scheme and what follows it, as written.
pub(super) fn split(path: &Path) -> Option<(Scheme, &str, &str)> {
    let (scheme, rest) = path.to_str()?.split_once("://")?;
    let kind = match scheme {
        "s3" | "s3a" => Scheme::S3,
        "gs" | "gcs" => Scheme::Google,
        "az" | "azure" | "abfs" | "abfss" => Scheme::Azure,
        "https" | "http" => Scheme::Http,
        _ => return None,
    };
    Some((kind, scheme, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_by_their_schemes() {
        for url in ["s3://b", "gs://b/x", "abfss://c@a.dfs.core.windows.net/x", "http://h"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for other in ["a/b", "ftp://b/x", "s3:/b/x", "C:\\x"] {
            assert!(!is_url(Path::new(other)), "{other}");
        }
    }
}
