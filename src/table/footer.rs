//! A digest of a table's footer, inside the footer.
//!
//! Checksums of pages do not cover the footer, where a wrong bit renames a column, moves a row group or changes class names.
//! limpid therefore writes a digest of the footer into its metadata, computed with zeros in its place. It is checked
//! only if `created_by` says that limpid wrote the file: a program that rewrites a table may copy the metadata.

use std::io::Read;

use anyhow::Result;
use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::file::reader::Length;

use super::bytes::TableBytes;
use crate::error;

/// The value of `created_by` in the footer.
pub const CREATED_BY: &str = concat!("limpid version ", env!("CARGO_PKG_VERSION"));
/// Its prefix in any version.
const CREATOR: &str = "limpid version ";
/// The digest's key in the metadata.
pub const DIGEST: &str = "limpid.footer-digest";
/// Its value before the digest is known, of the same length.
const PLACEHOLDER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Size of the end of a file: the footer's length and `PAR1`.
const TAIL: usize = 8;

/// The entry of the metadata that [`seal`] puts the digest into.
pub fn entry() -> KeyValue {
    KeyValue::new(DIGEST.to_owned(), PLACEHOLDER.to_owned())
}

/// Puts the digest into the footer at the end of `bytes`, which are the end of a file.
///
/// # Errors
/// The footer has no entry for it.
pub fn seal(bytes: &mut [u8]) -> Result<()> {
    let none = || error::bug("a footer without a place for its digest");
    let (rest, tail) = bytes.split_last_chunk::<TAIL>().ok_or_else(none)?;
    let start = rest.len().checked_sub(footer_len(tail)).ok_or_else(none)?;
    let footer = &mut bytes[start..];
    let digest = blake3::hash(footer).to_hex();
    let at = find(footer, PLACEHOLDER).ok_or_else(none)?;
    footer[at..][..PLACEHOLDER.len()].copy_from_slice(digest.as_bytes());
    Ok(())
}

/// Whether limpid wrote a file, so that its pages have checksums and its footer a digest.
pub fn is_guarded(metadata: &FileMetaData) -> bool {
    metadata.created_by().is_some_and(|creator| creator.starts_with(CREATOR))
}

/// Compares the footer of a file, read as `metadata`, with its digest, if limpid wrote it.
///
/// # Errors
/// Damage, as text.
pub fn check(bytes: &TableBytes, metadata: &FileMetaData) -> Result<(), String> {
    if !is_guarded(metadata) {
        return Ok(());
    }
    let damaged = || "its footer is damaged".to_owned();
    let entries = metadata.key_value_metadata().map_or(&[][..], Vec::as_slice);
    let entry = entries.iter().find(|entry| entry.key == DIGEST).and_then(|entry| entry.value.as_deref());
    let expected = entry.filter(|value| value.len() == PLACEHOLDER.len()).ok_or_else(damaged)?;
    let end = bytes.len().checked_sub(TAIL as u64).ok_or_else(damaged)?;
    let mut tail = [0; TAIL];
    bytes.at(end).read_exact(&mut tail).map_err(|cause| cause.to_string())?;
    let start = end.checked_sub(footer_len(&tail) as u64).ok_or_else(damaged)?;
    let mut footer = Vec::new();
    bytes.at(start).read_to_end(&mut footer).map_err(|cause| cause.to_string())?;
    let at = find(&footer, expected).ok_or_else(damaged)?;
    footer[at..][..PLACEHOLDER.len()].copy_from_slice(PLACEHOLDER.as_bytes());
    if blake3::hash(&footer).to_hex().as_str() == expected { Ok(()) } else { Err(damaged()) }
}

fn footer_len(tail: &[u8; TAIL]) -> usize {
    u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}
