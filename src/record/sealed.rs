//! JSON objects that detect damage: the last key is a digest of the text without it.
//!
//! A wrong bit in a number gives valid JSON, and nothing else would detect it.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::error;

/// The end of an object as `serde_json` pretty-prints it.
const END: &str = "\n}\n";
/// The text before and after the digest.
const KEY: &str = ",\n  \"digest\": \"";
const END_OF_DIGEST: &str = "\"\n}\n";
/// Characters of a digest.
const DIGEST: usize = 2 * blake3::OUT_LEN;

/// A value as the bytes of a file: an object with its digest.
///
/// # Errors
/// It does not become an object with a key.
pub fn sealed(value: &impl Serialize) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(value).context("cannot serialise a record of the run")?;
    Ok(seal(&format!("{text}\n"))?.into_bytes())
}

/// The text of an object with its digest.
///
/// # Errors
/// It is not an object with a key.
fn seal(text: &str) -> Result<String> {
    let body = text.strip_suffix(END).filter(|body| !body.ends_with('{'));
    let body = body.ok_or_else(|| error::bug("only an object can be sealed"))?;
    Ok(format!("{body}{KEY}{}{END_OF_DIGEST}", blake3::hash(text.as_bytes()).to_hex()))
}

/// The text that was sealed; none if a bit has changed.
pub fn unseal(bytes: &[u8]) -> Option<String> {
    let rest = std::str::from_utf8(bytes).ok()?.strip_suffix(END_OF_DIGEST)?;
    let (body, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST)?)?;
    let text = format!("{}{END}", body.strip_suffix(KEY)?);
    (blake3::hash(text.as_bytes()).to_hex().as_str() == digest).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let text = "{\n  \"a\": 1\n}\n";
        let sealed = seal(text).expect("is an object");
        assert!(serde_json::from_str::<serde_json::Value>(&sealed).is_ok_and(|value| value["digest"].is_string()));
        assert_eq!(unseal(sealed.as_bytes()).as_deref(), Some(text));
        for bit in 0..8 * sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&bytes), None, "bit {bit}");
        }
        assert_eq!(unseal(text.as_bytes()), None);
        assert!(seal("{\n}\n").is_err() && seal("[]").is_err());
    }
}
