//! The properties of a hive catalog.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base::Result;
use connector::{Properties, PropertyDefinition};

use crate::format::StorageFormat;
use crate::location::Location;

const METASTORE: &str = "hive.metastore";
const CATALOG_DIR: &str = "hive.metastore.catalog.dir";
const METASTORE_USER: &str = "hive.metastore.user";
const DISABLE_LOCATION_CHECKS: &str = "hive.metastore.disable-location-checks";
const STORAGE_FORMAT: &str = "hive.storage-format";
const RECURSIVE_DIRECTORIES: &str = "hive.recursive-directories";
const TABLE_STATISTICS_ENABLED: &str = "hive.table-statistics-enabled";
const NON_MANAGED_TABLE_CREATES_ENABLED: &str = "hive.non-managed-table-creates-enabled";
const NON_MANAGED_TABLE_WRITES_ENABLED: &str = "hive.non-managed-table-writes-enabled";
const COMPRESSION_CODEC: &str = "hive.compression-codec";
const SECURITY: &str = "hive.security";
const LOCAL_ENABLED: &str = "fs.local.enabled";
const HADOOP_ENABLED: &str = "fs.hadoop.enabled";

/// Every property of a hive catalog.
pub const PROPERTIES: &[PropertyDefinition] = &[
    PropertyDefinition {
        name: METASTORE,
        value_type: "file",
        default: Some("file"),
        description: "Where schemas and tables are recorded.",
    },
    PropertyDefinition {
        name: CATALOG_DIR,
        value_type: "location",
        default: None,
        description: "The directory of the file metastore: an absolute path or a `file:` location. Required.",
    },
    PropertyDefinition {
        name: METASTORE_USER,
        value_type: "string",
        default: None,
        description: "Accepted for compatibility; files belong to the user of the process.",
    },
    PropertyDefinition {
        name: DISABLE_LOCATION_CHECKS,
        value_type: "boolean",
        default: Some("false"),
        description: "Create tables without looking whether their location is a directory.",
    },
    PropertyDefinition {
        name: STORAGE_FORMAT,
        value_type: "storage format",
        default: Some("ORC"),
        description: "The format of tables that are created without `format`. Only `PARQUET` can be read so far.",
    },
    PropertyDefinition {
        name: RECURSIVE_DIRECTORIES,
        value_type: "boolean",
        default: Some("false"),
        description: "Read files in directories below a table's location too.",
    },
    PropertyDefinition {
        name: TABLE_STATISTICS_ENABLED,
        value_type: "boolean",
        default: Some("true"),
        description: "Give the optimizer statistics of tables, from the footers of their files.",
    },
    PropertyDefinition {
        name: NON_MANAGED_TABLE_CREATES_ENABLED,
        value_type: "boolean",
        default: Some("true"),
        description: "Allow creating tables over data that exists.",
    },
    PropertyDefinition {
        name: NON_MANAGED_TABLE_WRITES_ENABLED,
        value_type: "boolean",
        default: None,
        description: "Accepted for compatibility; tables cannot be written yet.",
    },
    PropertyDefinition {
        name: COMPRESSION_CODEC,
        value_type: "string",
        default: None,
        description: "Accepted for compatibility; tables cannot be written yet.",
    },
    PropertyDefinition {
        name: SECURITY,
        value_type: "ALLOW_ALL or ALLOW-ALL",
        default: Some("ALLOW-ALL"),
        description: "Who may do what with tables. Everybody may do everything.",
    },
    PropertyDefinition {
        name: LOCAL_ENABLED,
        value_type: "boolean",
        default: None,
        description: "Accepted for compatibility; the local file system is always there.",
    },
    PropertyDefinition {
        name: HADOOP_ENABLED,
        value_type: "boolean",
        default: None,
        description: "Accepted for compatibility; `file:` locations need no Hadoop.",
    },
];

/// The properties of a hive catalog, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HiveConfig {
    /// `hive.metastore.catalog.dir`
    pub(crate) catalog_dir: PathBuf,
    /// `hive.metastore.disable-location-checks`, the other way round.
    pub(crate) location_checks: bool,
    /// `hive.storage-format`
    pub(crate) storage_format: StorageFormat,
    /// `hive.recursive-directories`
    pub(crate) recursive_directories: bool,
    /// `hive.table-statistics-enabled`
    pub(crate) table_statistics: bool,
    /// `hive.non-managed-table-creates-enabled`
    pub(crate) external_tables: bool,
}

impl HiveConfig {
    /// Reads the properties of a catalog.
    pub(crate) fn read(catalog: &str, values: &BTreeMap<String, String>) -> Result<Self> {
        let properties = Properties::check(catalog, values, PROPERTIES)?;
        properties.choose(METASTORE, &[("file", ())])?;
        properties.choose(SECURITY, &[("ALLOW-ALL", ()), ("ALLOW_ALL", ())])?;
        for name in [NON_MANAGED_TABLE_WRITES_ENABLED, LOCAL_ENABLED, HADOOP_ENABLED] {
            properties.parse::<bool>(name)?;
        }
        let catalog_dir = Location::parse(properties.require(CATALOG_DIR)?)
            .map_err(|error| properties.invalid(CATALOG_DIR, error.message()))?;
        let storage_format = properties.choose(STORAGE_FORMAT, StorageFormat::NAMES)?;
        let flag = |name| Ok(properties.parse::<bool>(name)?.unwrap_or_default());
        Ok(HiveConfig {
            catalog_dir: catalog_dir.to_path_buf(),
            location_checks: !flag(DISABLE_LOCATION_CHECKS)?,
            storage_format: storage_format.unwrap_or(StorageFormat::Orc),
            recursive_directories: flag(RECURSIVE_DIRECTORIES)?,
            table_statistics: flag(TABLE_STATISTICS_ENABLED)?,
            external_tables: flag(NON_MANAGED_TABLE_CREATES_ENABLED)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use base::ErrorCode;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<HiveConfig> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        HiveConfig::read("hive", &pairs.collect())
    }

    #[test]
    fn a_catalog_dir_is_all_that_is_needed() {
        for dir in ["/data/metastore", "file:///data/metastore", "file:/data/metastore/"] {
            let config = read(&[("connector.name", "hive"), (CATALOG_DIR, dir)]).unwrap();
            let expected = HiveConfig {
                catalog_dir: PathBuf::from("/data/metastore"),
                location_checks: true,
                storage_format: StorageFormat::Orc,
                recursive_directories: false,
                table_statistics: true,
                external_tables: true,
            };
            assert_eq!(config, expected);
        }
    }

    #[test]
    fn wrong_properties_stop_the_start_by_name() {
        let good = (CATALOG_DIR, "/data");
        for (given, named) in [
            (vec![], CATALOG_DIR),
            (vec![(CATALOG_DIR, "data")], CATALOG_DIR),
            (vec![(CATALOG_DIR, "s3://bucket/data")], CATALOG_DIR),
            (vec![good, (METASTORE, "thrift")], METASTORE),
            (vec![good, (STORAGE_FORMAT, "PAPER")], STORAGE_FORMAT),
            (vec![good, (RECURSIVE_DIRECTORIES, "yes")], RECURSIVE_DIRECTORIES),
            (vec![good, ("hive.metastore.catalog.dirs", "/data")], CATALOG_DIR),
        ] {
            let error = read(&given).unwrap_err();
            assert_eq!(error.code(), ErrorCode::CONFIGURATION_INVALID, "{error}");
            assert!(error.message().contains(&format!("'{named}'")), "{error}");
        }
    }
}
