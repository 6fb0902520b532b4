//! The bytes that travel between coordinator and worker: short text.

use std::str::FromStr;

use base::{Error, Result};
use bytes::Bytes;
use connector::TableHandle;

use crate::table::Table;

/// The smallest scale factor. Below it, suppliers are too few for the references between tables.
const MIN_SCALE: f64 = 0.001;

/// The largest scale factor.
const MAX_SCALE: f64 = 100_000.0;

/// The scale factor that a schema's name means, if it is the name of a schema.
pub(crate) fn schema_scale(schema: &str) -> Option<f64> {
    if schema == "tiny" {
        return Some(0.01);
    }
    let scale: f64 = schema.strip_prefix("sf")?.parse().ok()?;
    (MIN_SCALE..=MAX_SCALE).contains(&scale).then_some(scale)
}

/// A table at a scale factor. As bytes: `lineitem/0.01`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TpchHandle {
    /// Which table.
    pub(crate) table: Table,
    /// The scale factor.
    pub(crate) scale: f64,
}

impl TpchHandle {
    /// The bytes.
    pub(crate) fn encode(&self) -> TableHandle {
        TableHandle(Bytes::from(format!("{}/{}", self.table.name(), self.scale)))
    }

    /// What the bytes say.
    pub(crate) fn decode(handle: &TableHandle) -> Result<Self> {
        let (name, scale) = text_pair::<String, f64>(&handle.0)?;
        let table = Table::from_name(&name).filter(|_| (MIN_SCALE..=MAX_SCALE).contains(&scale));
        table.map(|table| TpchHandle { table, scale }).ok_or_else(|| unknown_bytes(&handle.0))
    }
}

/// A part of a table. As bytes: `3/8` for the third of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartHandle {
    /// Which part, counted from 1.
    pub(crate) number: u32,
    /// How many there are.
    pub(crate) count: u32,
}

impl PartHandle {
    /// The bytes.
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(format!("{}/{}", self.number, self.count))
    }

    /// What the bytes say.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self> {
        let (number, count) = text_pair(bytes)?;
        if number == 0 || number > count || count > i32::MAX as u32 {
            return Err(unknown_bytes(bytes));
        }
        Ok(PartHandle { number, count })
    }
}

fn text_pair<A: FromStr, B: FromStr>(bytes: &Bytes) -> Result<(A, B)> {
    let read = || {
        let (first, second) = std::str::from_utf8(bytes).ok()?.split_once('/')?;
        Some((first.parse().ok()?, second.parse().ok()?))
    };
    read().ok_or_else(|| unknown_bytes(bytes))
}

fn unknown_bytes(bytes: &Bytes) -> Error {
    Error::internal(format!("not a handle of the tpch connector: {}", bytes.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_scale_factors() {
        for (schema, scale) in [
            ("tiny", Some(0.01)),
            ("sf1", Some(1.0)),
            ("sf0.1", Some(0.1)),
            ("sf100000", Some(100_000.0)),
            ("sf", None),
            ("sf0", None),
            ("sf-1", None),
            ("sfinf", None),
            ("sfnan", None),
            ("1", None),
            ("default", None),
        ] {
            assert_eq!(schema_scale(schema), scale, "{schema}");
        }
    }

    #[test]
    fn handles_round_trip_and_refuse_other_bytes() {
        for scale in [0.001, 0.01, 0.3, 1.0, 100_000.0] {
            let handle = TpchHandle { table: Table::Partsupp, scale };
            assert_eq!(TpchHandle::decode(&handle.encode()).unwrap(), handle);
        }
        for bad in ["", "lineitem", "lineitem/", "lineitem/-1", "lineitem/nan", "lines/1", "lineitem/1/1"] {
            assert!(TpchHandle::decode(&TableHandle(Bytes::from(bad))).is_err(), "{bad}");
        }
        let part = PartHandle { number: 3, count: 8 };
        assert_eq!(PartHandle::decode(&part.encode()).unwrap(), part);
        for bad in [&b""[..], b"3", b"0/8", b"9/8", b"1/3000000000", b"\xff/1"] {
            assert!(PartHandle::decode(&Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }
}
