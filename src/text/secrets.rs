//! Hides what grants access in the URLs of a text: passwords and signatures.
//!
//! limpid refuses such URLs, and the message that says so must not repeat them.

use std::borrow::Cow;

/// Keys of queries that are a signature or belong to one: of Azure's shared access signatures, and of presigned URLs.
const SIGNATURES: [&str; 5] = ["sig=", "x-amz-", "x-goog-", "awsaccesskeyid=", "signature="];

/// Where a URL ends in a text.
const ENDS: [char; 6] = [' ', '\n', '\t', '"', '\'', '`'];

/// Whether the query of a URL grants access by itself.
pub fn is_signature(query: &str) -> bool {
    let lower = query.to_ascii_lowercase();
    lower.split('&').any(|pair| SIGNATURES.iter().any(|key| pair.starts_with(key)))
}

/// A text with the users, passwords and signatures of URLs in it replaced by `…`.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut parts = text.split("://");
    let mut before = parts.next().unwrap_or_default();
    let mut shown = Cow::Borrowed(before);
    for part in parts {
        let (url, after) = part.split_at(part.find(ENDS).unwrap_or(part.len()));
        let (authority, key) = url.split_at(url.find('/').unwrap_or(url.len()));
        let shown = shown.to_mut();
        shown.push_str("://");
        match authority.rsplit_once('@') {
            // The container of Azure's `abfs://container@account` is no user.
            Some((user, host)) if user.contains(':') || !(before.ends_with("abfs") || before.ends_with("abfss")) => {
                shown.extend(["…@", host]);
            }
            _ => shown.push_str(authority),
        }
        match key.split_once('?') {
            Some((key, query)) if is_signature(query) => shown.extend([key, "?…"]),
            _ => shown.push_str(key),
        }
        shown.push_str(after);
        before = part;
    }
    if shown == text { Cow::Borrowed(text) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hide_what_grants_access() {
        for (text, shown) in [
            ("cannot read s3://me:secret@b/x: no", "cannot read s3://…@b/x: no"),
            ("a 'az://c/x?sv=1&sig=abc' b", "a 'az://c/x?…' b"),
            ("https://h/x?X-Amz-Signature=1 y", "https://h/x?… y"),
            ("\"https://token@h/x\" az://c/y?sig=z", "\"https://…@h/x\" az://c/y?…"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
        for text in ["abfs://c@account.dfs.core.windows.net/x", "s3://b/x-?.parquet\nno", "nothing", "a://"] {
            assert!(matches!(without_secrets(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
