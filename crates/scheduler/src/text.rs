//! Amounts as Trino writes them in its error messages: `1.50GB`, `5.00m`.

use alloc::format;
use alloc::string::String;

use base::Millis;

const DATA_UNITS: [(&str, u64); 6] =
    [("PB", 1 << 50), ("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A size in its largest whole unit, with two decimals where it is not a whole number of them.
pub(crate) fn succinct_bytes(bytes: u64) -> String {
    let (unit, size) = largest_unit(bytes, &DATA_UNITS);
    if bytes.is_multiple_of(size) {
        format!("{}{unit}", bytes / size)
    } else {
        format!("{:.2}{unit}", bytes as f64 / size as f64)
    }
}

/// A length of time in its largest whole unit, with two decimals.
pub(crate) fn succinct_millis(length: Millis) -> String {
    let (unit, size) = largest_unit(length.0, &TIME_UNITS);
    format!("{:.2}{unit}", length.0 as f64 / size as f64)
}

fn largest_unit(amount: u64, units: &[(&'static str, u64)]) -> (&'static str, u64) {
    let smallest = units.last().copied().unwrap_or(("", 1));
    units.iter().copied().find(|(_, size)| amount >= *size).unwrap_or(smallest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_in_trino() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1536, "1.50kB"), (64 << 30, "64GB"), (3 << 29, "1.50GB")]
        {
            assert_eq!(succinct_bytes(bytes), text);
        }
        for (millis, text) in [(0, "0.00ms"), (300_000, "5.00m"), (1_500, "1.50s"), (90_000, "1.50m")] {
            assert_eq!(succinct_millis(Millis(millis)), text);
        }
    }
}
