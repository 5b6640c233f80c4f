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

/// Whether the part of a URL before its first slash holds a password: a colon that is not before a port, or not of an address.
pub fn has_password(authority: &str) -> bool {
    let host = authority.rfind(']').map_or(authority, |end| &authority[end..]);
    // In a text, a sentence may go on after the port.
    let port = host.split_once(':').map(|(_, port)| port.trim_end_matches([':', ',', ';', '.', ')', '}']));
    port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A text with the users, passwords and signatures of URLs in it replaced by `…`.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut parts = text.split("://");
    let mut before = parts.next().unwrap_or_default();
    let mut shown = Cow::Borrowed(before);
    for part in parts {
        let (url, after) = part.split_at(part.find(ENDS).unwrap_or(part.len()));
        // A password may hold slashes.
        let slash = url.find('/').unwrap_or(url.len());
        let end = if has_password(&url[..slash]) { url.rfind('@').unwrap_or(slash).max(slash) } else { slash };
        let end = url[end..].find('/').map_or(url.len(), |slash| end + slash);
        let (authority, key) = url.split_at(end);
        let shown = shown.to_mut();
        shown.push_str("://");
        // The container of Azure's `abfs://container@account` is no user.
        let is_container = before.ends_with("abfs") || before.ends_with("abfss");
        match authority.rsplit_once('@') {
            Some((user, host)) if has_password(user) || !is_container => shown.extend(["…@", host]),
            None if has_password(authority) => shown.push('…'),
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
            ("s3://me:a/b@c/x: no", "s3://…@c/x: no"),
            ("s3://me:secret: no", "s3://… no"),
            ("\"https://token@h/x\" az://c/y?sig=z", "\"https://…@h/x\" az://c/y?…"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
        for text in [
            "abfs://c@account.dfs.core.windows.net/x",
            "http://[::1]:80/x",
            "(http://h:80: no)",
            "at http://h:80, or",
            "s3://b/x-?.parquet\nno",
            "nothing",
            "a://",
        ] {
            assert!(matches!(without_secrets(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
