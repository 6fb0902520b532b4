//! A Bloom filter of hashes.

use crate::key_hash::below;

/// Bits for each key. With four bits set for each, one of some hundred keys that are not there seems to be.
const BITS_PER_KEY: usize = 16;

/// A Bloom filter in which all bits of a key are in one word, so that a look takes one access to memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    /// The filter of these hashes.
    pub(super) fn of(hashes: &[u64]) -> Self {
        let mut words = vec![0; (hashes.len() * BITS_PER_KEY).div_ceil(u64::BITS as usize).max(1)];
        let count = words.len() as u64;
        for hash in hashes {
            let (word, bits) = place(*hash, count);
            words[word] |= bits;
        }
        Bloom { words }
    }

    /// Whether a hash may be one of those. If not, it is none.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let (word, bits) = place(hash, self.words.len() as u64);
        self.words[word] & bits == bits
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// None if the bytes are no filter.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks();
        let is_filter = !words.is_empty() && rest.is_empty();
        is_filter.then(|| Bloom { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() })
    }
}

/// The word of a hash, and its bits there.
fn place(hash: u64, words: u64) -> (usize, u64) {
    // The hashes of a partition have their upper bits in common, so these are mixed with the lower ones.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let bit = |shift: u32| 1 << ((mixed >> shift) & 63);
    (below(mixed, words) as usize, bit(0) | bit(6) | bit(12) | bit(18))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without order, as hashes are.
    fn hashes(range: std::ops::Range<u64>) -> Vec<u64> {
        range.map(|n| n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)).collect()
    }

    #[test]
    fn no_key_is_missed_and_few_others_are_taken_for_one() {
        for count in [0, 1, 10, 100_000] {
            let bloom = Bloom::of(&hashes(0..count));
            let bloom = Bloom::from_bytes(&bloom.to_bytes()).unwrap();
            assert!(hashes(0..count).into_iter().all(|hash| bloom.may_contain(hash)));
            let others =
                hashes(1_000_000..1_100_000).into_iter().filter(|hash| bloom.may_contain(*hash)).count();
            assert!(others < 2_000, "{count} keys: {others} of 100000");
        }
    }

    #[test]
    fn upper_bits_in_common_do_no_harm() {
        let narrow = |range| hashes(range).into_iter().map(|hash| hash >> 6).collect::<Vec<_>>();
        let bloom = Bloom::of(&narrow(0..50_000));
        let others = narrow(1_000_000..1_100_000).into_iter().filter(|hash| bloom.may_contain(*hash)).count();
        assert!(others < 2_000, "{others} of 100000");
    }

    #[test]
    fn bytes_that_are_no_filter_are_refused() {
        assert!(Bloom::from_bytes(&[]).is_none());
        assert!(Bloom::from_bytes(&[0; 12]).is_none());
    }
}
