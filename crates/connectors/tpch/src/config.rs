//! The properties of a tpch catalog.

use std::collections::BTreeMap;

use base::Result;
use connector::{Properties, PropertyDefinition};

use crate::table::Column;

const COLUMN_NAMING: &str = "tpch.column-naming";
const DOUBLE_TYPE_MAPPING: &str = "tpch.double-type-mapping";
const SPLITS_PER_NODE: &str = "tpch.splits-per-node";
const MAX_ROWS_PER_PAGE: &str = "tpch.max-rows-per-page";
const PARTITIONING_ENABLED: &str = "tpch.partitioning-enabled";
const PREDICATE_PUSHDOWN_ENABLED: &str = "tpch.predicate-pushdown-enabled";

/// Every property of a tpch catalog.
pub const PROPERTIES: &[PropertyDefinition] = &[
    PropertyDefinition {
        name: COLUMN_NAMING,
        value_type: "SIMPLIFIED or STANDARD",
        default: Some("SIMPLIFIED"),
        description: "Names of columns: `orderkey`, or `l_orderkey` as the TPC-H specification has them.",
    },
    PropertyDefinition {
        name: DOUBLE_TYPE_MAPPING,
        value_type: "DOUBLE or DECIMAL",
        default: Some("DOUBLE"),
        description: "Type of columns that hold amounts: `double` or `decimal(12,2)`.",
    },
    PropertyDefinition {
        name: SPLITS_PER_NODE,
        value_type: "integer",
        default: None,
        description: "Splits of a table per worker. Without it: the number of processor cores, and more for a \
                      table that is larger than so many splits of the standard size.",
    },
    PropertyDefinition {
        name: MAX_ROWS_PER_PAGE,
        value_type: "integer",
        default: None,
        description: "Accepted for compatibility; the size of a batch is the engine's.",
    },
    PropertyDefinition {
        name: PARTITIONING_ENABLED,
        value_type: "boolean",
        default: None,
        description: "Accepted for compatibility; splits are not bound to nodes.",
    },
    PropertyDefinition {
        name: PREDICATE_PUSHDOWN_ENABLED,
        value_type: "boolean",
        default: None,
        description: "Accepted for compatibility; predicates are evaluated by the engine.",
    },
];

/// What columns are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnNaming {
    /// `orderkey`
    Simplified,
    /// `l_orderkey`
    Standard,
}

impl ColumnNaming {
    /// The name of a column.
    pub(crate) fn name(self, column: &Column) -> &'static str {
        match self {
            ColumnNaming::Standard => column.name,
            ColumnNaming::Simplified => column.name.split_once('_').map_or(column.name, |(_, name)| name),
        }
    }
}

/// What type amounts have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoneyType {
    /// `double`
    Double,
    /// `decimal(12,2)`
    Decimal,
}

/// The properties of a tpch catalog, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TpchConfig {
    /// `tpch.column-naming`
    pub(crate) naming: ColumnNaming,
    /// `tpch.double-type-mapping`
    pub(crate) money: MoneyType,
    /// `tpch.splits-per-node`
    pub(crate) splits_per_node: Option<u32>,
}

impl TpchConfig {
    /// Reads the properties of a catalog.
    pub(crate) fn read(catalog: &str, values: &BTreeMap<String, String>) -> Result<Self> {
        let properties = Properties::check(catalog, values, PROPERTIES)?;
        let namings = [("SIMPLIFIED", ColumnNaming::Simplified), ("STANDARD", ColumnNaming::Standard)];
        let naming = properties.choose(COLUMN_NAMING, &namings)?.unwrap_or(ColumnNaming::Simplified);
        let mappings = [("DOUBLE", MoneyType::Double), ("DECIMAL", MoneyType::Decimal)];
        let money = properties.choose(DOUBLE_TYPE_MAPPING, &mappings)?.unwrap_or(MoneyType::Double);
        let splits_per_node = properties.parse(SPLITS_PER_NODE)?;
        if splits_per_node == Some(0) {
            return Err(properties.invalid(SPLITS_PER_NODE, "must be at least 1"));
        }
        properties.parse::<u32>(MAX_ROWS_PER_PAGE)?;
        for name in [PARTITIONING_ENABLED, PREDICATE_PUSHDOWN_ENABLED] {
            properties.parse::<bool>(name)?;
        }
        Ok(TpchConfig { naming, money, splits_per_node })
    }
}

#[cfg(test)]
mod tests {
    use base::ErrorCode;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<TpchConfig> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        TpchConfig::read("tpch", &pairs.collect())
    }

    #[test]
    fn defaults_are_trinos() {
        let config = read(&[("connector.name", "tpch")]).unwrap();
        let expected =
            TpchConfig { naming: ColumnNaming::Simplified, money: MoneyType::Double, splits_per_node: None };
        assert_eq!(config, expected);
    }

    #[test]
    fn values_are_read() {
        let given = [
            ("tpch.column-naming", "standard"),
            ("tpch.double-type-mapping", "DECIMAL"),
            ("tpch.splits-per-node", "4"),
        ];
        let expected = TpchConfig {
            naming: ColumnNaming::Standard,
            money: MoneyType::Decimal,
            splits_per_node: Some(4),
        };
        assert_eq!(read(&given).unwrap(), expected);
    }

    #[test]
    fn wrong_properties_stop_the_start() {
        for pair in [
            ("tpch.splits-per-node", "0"),
            ("tpch.splits-per-node", "-1"),
            ("tpch.column-naming", "SHORT"),
            ("tpch.partitioning-enabled", "maybe"),
            ("tpch.column-namings", "STANDARD"),
        ] {
            let error = read(&[pair]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::CONFIGURATION_INVALID, "{error}");
            assert!(
                error.message().contains("tpch.column-naming") || error.message().contains(pair.0),
                "{error}"
            );
        }
    }
}
