//! Draws splits: takes a share of a single set of images for testing.
//!
//! The draw depends on the seed and on the key of an image, which comes from its name or, without one, is its position. An
//! image therefore stays in its split when other images are appended.

use anyhow::Result;

use crate::image::Split;
use crate::random::Stream;
use crate::{error, interrupt};

/// The key of an image in a draw, from its name, so that its split does not depend on other images.
pub fn key(name: &str) -> u64 {
    let digest = blake3::hash(name.as_bytes());
    digest.as_bytes()[..8].iter().fold(0, |key, &byte| key << 8 | u64::from(byte))
}

/// A draw of splits.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    stream: Stream,
    test_fraction: f64,
}

impl Draw {
    /// A draw that takes this share for testing.
    pub fn new(seed: u64, test_fraction: f64) -> Self {
        Self { stream: Stream::new(seed, "split", Split::Train), test_fraction }
    }

    /// The split of the image with this key.
    pub fn split(&self, key: u64) -> Split {
        let uniform = f64::from(self.stream.generator(key, 0).uniform());
        if uniform < self.test_fraction { Split::Test } else { Split::Train }
    }

    /// The error for a draw that leaves a split without any of `count` images.
    pub fn empty(&self, count: u64, split: Split) -> anyhow::Error {
        let (fraction, split) = (self.test_fraction, split.name());
        let message = format!("test-fraction = {fraction} of {count} images leaves none for the split {split}");
        error::data(format!("{message}; another `test-fraction` or another `seed` draws others"))
    }
}

/// The images of a set that belong to a split.
#[derive(Debug, Clone, Copy)]
pub enum Members {
    /// All images of the set.
    All,
    /// The images whose positions are drawn for the split, and their number.
    Drawn(Draw, Split, u64),
}

impl Members {
    /// The members of both splits of a set of `count` images.
    ///
    /// # Errors
    /// One of the splits would be empty, interruption.
    pub fn drawn(draw: Draw, count: u64) -> Result<[Self; 2]> {
        let mut counts = [0; 2];
        for position in 0..count {
            counts[draw.split(position) as usize] += 1;
            if position % (1 << 16) == 0 {
                interrupt::check()?;
            }
        }
        if let Some(split) = Split::ALL.into_iter().find(|split| counts[*split as usize] == 0) {
            return Err(draw.empty(count, split));
        }
        Ok(Split::ALL.map(|split| Self::Drawn(draw, split, counts[split as usize])))
    }

    /// Whether the image at this position is a member.
    pub fn has(&self, position: u64) -> bool {
        match self {
            Self::All => true,
            Self::Drawn(draw, split, _) => draw.split(position) == *split,
        }
    }

    /// The number of members in a set of `count` images.
    pub fn count(&self, count: u64) -> u64 {
        match self {
            Self::All => count,
            Self::Drawn(_, _, members) => *members,
        }
    }
}

/// The positions and the bytes of images.
pub type Picked = (Vec<u64>, Vec<u8>);

/// The images of `size` bytes that belong to a split, picked from all images of a set, which come in `chunks`: at most `rows`
/// at a time. A chunk has at most `rows` images.
pub fn pick(
    mut chunks: impl Iterator<Item = Result<Vec<u8>>> + Send,
    size: usize,
    rows: usize,
    members: Members,
) -> impl Iterator<Item = Result<Picked>> + Send {
    let (mut ids, mut bytes, mut position) = (Vec::new(), Vec::new(), 0);
    std::iter::from_fn(move || {
        loop {
            if let Err(cause) = interrupt::check() {
                return Some(Err(cause));
            }
            let chunk = match chunks.next() {
                Some(Ok(chunk)) => chunk,
                Some(Err(cause)) => return Some(Err(cause)),
                None if ids.is_empty() => return None,
                None => return Some(Ok((std::mem::take(&mut ids), std::mem::take(&mut bytes)))),
            };
            let first = position;
            position += (chunk.len() / size) as u64;
            if let Members::All = members {
                return Some(Ok(((first..position).collect(), chunk)));
            }
            for (position, image) in (first..).zip(chunk.chunks_exact(size)) {
                if members.has(position) {
                    ids.push(position);
                    bytes.extend_from_slice(image);
                }
            }
            if ids.len() >= rows {
                let rest = (ids.split_off(rows), bytes.split_off(rows * size));
                return Some(Ok((std::mem::replace(&mut ids, rest.0), std::mem::replace(&mut bytes, rest.1))));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_takes_each_image_for_one_split() {
        let draw = Draw::new(7, 0.25);
        let [train, test] = Members::drawn(draw, 1000).expect("has both");
        assert!((0..1000).all(|position| train.has(position) != test.has(position)));
        for members in [train, test] {
            assert_eq!(members.count(1000), (0..1000).filter(|position| members.has(*position)).count() as u64);
        }
        assert!((200..300).contains(&test.count(1000)), "{}", test.count(1000));
        let error = Members::drawn(Draw::new(7, 0.0001), 5).expect_err("is empty").to_string();
        assert!(error.starts_with("test-fraction = 0.0001 of 5 images leaves none for the split test; "), "{error}");
    }

    #[test]
    fn what_is_picked_does_not_depend_on_the_chunks() {
        let all: Vec<u8> = (0..100).flat_map(|position| [position, position]).collect();
        let [train, test] = Members::drawn(Draw::new(1, 0.4), 100).expect("has both");
        for members in [Members::All, train, test] {
            for rows in [1, 7, 100] {
                let chunks = all.chunks(2 * rows).map(|chunk| Ok(chunk.to_vec()));
                let groups: Vec<Picked> = pick(chunks, 2, rows, members).collect::<Result<_>>().expect("has no errors");
                assert!(groups.iter().all(|(ids, _)| !ids.is_empty() && ids.len() <= rows));
                assert!(groups[..groups.len() - 1].iter().all(|(ids, _)| ids.len() == rows));
                let ids: Vec<u64> = groups.iter().flat_map(|(ids, _)| ids.clone()).collect();
                let bytes: Vec<u8> = groups.into_iter().flat_map(|(_, bytes)| bytes).collect();
                assert_eq!(ids, (0..100).filter(|position| members.has(*position)).collect::<Vec<_>>());
                assert_eq!(bytes, ids.iter().flat_map(|id| [*id as u8; 2]).collect::<Vec<_>>());
            }
        }
    }
}
