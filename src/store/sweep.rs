//! What `limpid clean` removes, in any store: results that no receipt names, and shards that nobody is making any more.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// Characters of a fingerprint that name the folder of a result, or of its shards.
pub const KEY: usize = 16;

/// What was removed from a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Swept {
    /// Counts a file of so many bytes.
    pub fn count(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// The start of a fingerprint, which names folders.
pub fn key(fingerprint: &str) -> &str {
    fingerprint.get(..KEY).unwrap_or(fingerprint)
}

/// The fingerprint in a receipt.
pub fn fingerprint(receipt: &[u8]) -> Option<String> {
    let receipt: Value = serde_json::from_slice(receipt).ok()?;
    let fingerprint = receipt["fingerprint"].as_str()?;
    let is_digest = fingerprint.len() >= KEY && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| fingerprint.to_owned())
}

/// Whether a time, in nanoseconds since 1970, was at least so long ago; false for one in the future, as clocks of machines differ.
pub fn is_older(time: u64, age: Duration) -> bool {
    let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(time);
    SystemTime::now().duration_since(then).is_ok_and(|ago| ago >= age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_now_or_of_the_future_is_young() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("is later").as_nanos() as u64;
        let minute = 60_000_000_000;
        let (half, two) = (Duration::from_secs(30), Duration::from_secs(120));
        assert!(is_older(now - minute, half) && !is_older(now - minute, two));
        assert!(is_older(now, Duration::ZERO) && !is_older(now + minute, Duration::ZERO));
    }
}
