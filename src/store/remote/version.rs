//! What shows that an object was written again: its ETag, as a number in the place of a time.

use object_store::ObjectMeta;

use crate::store::Stat;

/// Size and time of an object, with 64 bits of its version for a time where it has one: any write gives it another.
pub fn stat_of(meta: &ObjectMeta) -> Stat {
    let time = meta.last_modified.timestamp_nanos_opt().map_or(0, |time| time.max(0) as u64);
    Stat { bytes: meta.size, modified: meta.e_tag.as_deref().map_or(time, mark), changed: time }
}

/// 64 bits of an ETag, which some answers quote and others do not.
pub fn mark(e_tag: &str) -> u64 {
    let bare = e_tag.trim_start_matches("W/").trim_matches('"');
    u64::from_le_bytes(blake3::hash(bare.as_bytes()).as_bytes()[..8].try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_make_no_other_version() {
        assert_eq!(mark("\"abc\""), mark("abc"));
        assert_ne!(mark("abc"), mark("abd"));
    }
}
