//! Chance that follows from a seed.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The seed of a part: other parts of the same run have others.
pub fn seed_of(seed: u64, part: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, part).hash(&mut hasher);
    hasher.finish()
}
