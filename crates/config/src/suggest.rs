//! Finds the name that was probably meant.

/// The nearest of some names, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Up to a third of the letters may differ: more is another word.
    let limit = (name.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|candidate| (distance(name, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// The number of letters to insert, remove, replace or swap with their neighbour to turn one text into the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for (at, letter) in one.chars().enumerate() {
        let mut next = vec![at + 1];
        for (to, target) in other.iter().enumerate() {
            let replaced = row[to] + usize::from(letter != *target);
            let mut best = replaced.min(row[to + 1] + 1).min(next[to] + 1);
            if to > 0 && last == Some(*target) && letter == other[to - 1] {
                best = best.min(before[to - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (one, other, edits) in
            [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("polcy", "policy", 1), ("ab", "ba", 1)]
        {
            assert_eq!(distance(one, other), edits, "{one} {other}");
            assert_eq!(distance(other, one), edits, "{other} {one}");
        }
    }

    #[test]
    fn far_names_are_not_suggested() {
        let known = ["retry-policy", "retry-max-delay"];
        assert_eq!(nearest("retry-polcy", known), Some("retry-policy"));
        assert_eq!(nearest("colour", known), None);
    }
}
