//! The parts of a URL. It never carries a password: one with user information, or with a query where that is a signature, is refused,
//! and messages hide it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::store::url::{Scheme, split};
use crate::text::{has_password, is_signature};

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The kind of the store.
    pub scheme: Scheme,
    /// The bucket or container; for [`Scheme::Http`] the scheme and the host, as `https://host`.
    pub bucket: String,
    /// The account of [`Scheme::Azure`], where the URL names it.
    pub account: Option<String>,
    /// The key of the object, without a slash at its start or end; empty for the bucket itself.
    pub key: String,
}

/// The parts of a URL.
///
/// # Errors
/// User information or a signature in it, an empty part, `http://` of another machine; always `InvalidInput`.
pub fn location(path: &Path) -> io::Result<Location> {
    let bad = |what: &str| io::Error::new(ErrorKind::InvalidInput, what.to_owned());
    let (scheme, name, rest) = split(path).ok_or_else(|| bad("it is no URL of an object store"))?;
    let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
    let (query, is_http) = (key.split_once('?').map(|(_, query)| query), scheme == Scheme::Http);
    if query.is_some_and(|query| is_http || is_signature(query)) {
        return Err(bad("a URL with a query is not read: credentials come from the environment, never from a URL"));
    }
    if has_password(authority) {
        return Err(bad("a URL with a user or password is not read: credentials come from the environment"));
    }
    let (mut bucket, mut account) = (authority, None);
    if let Some((before, host)) = authority.rsplit_once('@') {
        if scheme != Scheme::Azure {
            return Err(bad("a URL with a user or password is not read: credentials come from the environment"));
        }
        (bucket, account) = (before, host.split('.').next().map(str::to_owned));
    }
    if bucket.is_empty() {
        return Err(bad(&format!("it names no {}", if is_http { "host" } else { "bucket" })));
    }
    if name == "http" && !is_loopback(authority) {
        return Err(bad(
            "http:// is read from this machine alone, since anyone on the way could change it: use https://",
        ));
    }
    let key = key.trim_end_matches('/');
    if key.split('/').any(|part| matches!(part, "." | "..")) || (key.split('/').any(str::is_empty) && !key.is_empty()) {
        return Err(bad("a part of its key is empty, `.` or `..`"));
    }
    let bucket = if is_http { format!("{name}://{bucket}") } else { bucket.to_owned() };
    Ok(Location { scheme, bucket, account, key: key.to_owned() })
}

/// Whether the host of an authority is this machine.
pub fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let host = host.map_or(authority, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::S3 => "s3://",
            Scheme::Google => "gs://",
            Scheme::Azure => "az://",
            Scheme::Http => "",
        };
        write!(f, "{scheme}{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_parts() {
        let of = |text: &str| location(Path::new(text)).map(|url| (url.scheme, url.bucket, url.account, url.key));
        let own = |scheme, bucket: &str, account: Option<&str>, key: &str| {
            (scheme, bucket.to_owned(), account.map(str::to_owned), key.to_owned())
        };
        assert_eq!(of("s3://b/a/c.parquet").expect("is one"), own(Scheme::S3, "b", None, "a/c.parquet"));
        assert_eq!(of("gs://b").expect("is one"), own(Scheme::Google, "b", None, ""));
        let abfs = of("abfss://c@store.dfs.core.windows.net/x/").expect("is one");
        assert_eq!(abfs, own(Scheme::Azure, "c", Some("store"), "x"));
        assert_eq!(of("http://[::1]:80/x").expect("is one"), own(Scheme::Http, "http://[::1]:80", None, "x"));
        assert_eq!(of("s3://b/x-?.parquet").expect("is a pattern").3, "x-?.parquet");
        for bad in [
            "s3:///x",
            "s3://u:p@b/x",
            "s3://u:p/q@b/x",
            "https://u@h/x",
            "az://c/x?sv=1&sig=abc",
            "https://h/x?y=1",
            "http://10.0.0.1/x",
            "s3://b/a//c",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
