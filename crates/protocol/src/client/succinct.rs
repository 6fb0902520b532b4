//! Durations and sizes as Trino's documents have them: `1.23s`, `12.30MB`.

use base::{DataSize, Duration};

/// A length of time, in the largest unit that does not make it less than one.
pub fn succinct_duration(length: Duration) -> String {
    const UNITS: [(&str, f64); 7] =
        [("d", 86_400e9), ("h", 3_600e9), ("m", 60e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0)];
    let nanos = length.0 as f64;
    // What would be rounded up to a whole unit counts as one.
    let (unit, size) = UNITS.into_iter().find(|(_, size)| nanos / size > 0.9999).unwrap_or(("ns", 1.0));
    format!("{:.2}{unit}", nanos / size)
}

/// A size, in the largest unit that does not make it less than one. Whole numbers have no fraction.
pub fn succinct_data_size(size: DataSize) -> String {
    const UNITS: [(&str, u32); 5] = [("PB", 50), ("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10)];
    match UNITS.into_iter().find(|(_, shift)| size.0 >> shift > 0) {
        Some((unit, shift)) if size.0.trailing_zeros() >= shift => format!("{}{unit}", size.0 >> shift),
        Some((unit, shift)) => format!("{:.2}{unit}", size.0 as f64 / (1u64 << shift) as f64),
        None => format!("{}B", size.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_digits_and_the_largest_unit() {
        for (nanos, expected) in [
            (0, "0.00ns"),
            (999, "999.00ns"),
            (1_500, "1.50us"),
            (1_230_000_000, "1.23s"),
            (59_999_000_000, "1.00m"),
            (192_600_000_000, "3.21m"),
            (86_400_000_000_000, "1.00d"),
        ] {
            assert_eq!(succinct_duration(Duration(nanos)), expected);
        }
        for (bytes, expected) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1kB"),
            (1536, "1.50kB"),
            (12_897_484, "12.30MB"),
            (1 << 50, "1PB"),
        ] {
            assert_eq!(succinct_data_size(DataSize(bytes)), expected);
        }
    }
}
