//! How far a client has read a result. It stands in the address of the next page, so that any coordinator can
//! serve that page.

use std::fmt;
use std::str::FromStr;

/// The end of the last row that was delivered.
///
/// Rows are counted in the committed output of a task of the root stage. Of rows that never were in the exchange,
/// task and generation are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The task that wrote the row.
    pub task: u32,
    /// The version of the task's output.
    pub generation: u32,
    /// The batch of the output that the row is in, counted from 0.
    pub batch: u64,
    /// How many rows of that batch were delivered; at least one.
    pub row: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { task, generation, batch, row } = self;
        write!(f, "{task}.{generation}.{batch}.{row}")
    }
}

/// The text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePositionError;

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(ParsePositionError);
        fn number<T: FromStr>(part: &str) -> Result<T, ParsePositionError> {
            part.parse().map_err(|_| ParsePositionError)
        }
        let position = Position {
            task: number(next()?)?,
            generation: number(next()?)?,
            batch: number(next()?)?,
            row: number(next()?)?,
        };
        // Only the canonical text is one: addresses are signed as text would be.
        if position.to_string() == text { Ok(position) } else { Err(ParsePositionError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_round_trip_and_other_text_is_refused() {
        let position = Position { task: 3, generation: 1, batch: 70, row: 8191 };
        assert_eq!(position.to_string(), "3.1.70.8191");
        assert_eq!("3.1.70.8191".parse(), Ok(position));
        for bad in ["", "3.1.70", "3.1.70.1.5", "3.+1.70.1", "3.01.70.1", "a.b.c.d", "-1.0.0.0"] {
            assert_eq!(bad.parse::<Position>(), Err(ParsePositionError), "{bad}");
        }
    }
}
