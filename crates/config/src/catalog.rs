//! Catalogs and their connectors.

use base::{DataSize, Duration};

use crate::kind::Value;
use crate::problem::Position;
use crate::property::{Property, PropertyFile};
use crate::table;

/// The property of a catalog file that names the connector.
pub const CONNECTOR_NAME: &str = "connector.name";

/// A connector of Trino's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connector {
    /// Its name in `connector.name`.
    pub name: &'static str,
    /// Whether we have it. Catalogs of the others are left out, with a warning.
    pub available: bool,
}

const fn available(name: &'static str) -> Connector {
    Connector { name, available: true }
}

const fn later(name: &'static str) -> Connector {
    Connector { name, available: false }
}

/// The connectors of Trino.
pub const CONNECTORS: &[Connector] = &[
    later("ai"),
    later("bigquery"),
    later("blackhole"),
    later("cassandra"),
    later("clickhouse"),
    later("delta_lake"),
    later("druid"),
    later("duckdb"),
    later("elasticsearch"),
    later("example_http"),
    later("exasol"),
    later("faker"),
    later("gsheets"),
    available("hive"),
    later("hudi"),
    later("iceberg"),
    later("ignite"),
    later("jmx"),
    later("kafka"),
    later("lakehouse"),
    later("loki"),
    later("mariadb"),
    later("memory"),
    later("mongodb"),
    later("mysql"),
    later("opensearch"),
    later("oracle"),
    later("pinot"),
    later("postgresql"),
    later("prometheus"),
    later("redis"),
    later("redshift"),
    later("singlestore"),
    later("snowflake"),
    later("sqlserver"),
    later("thrift"),
    later("tpcds"),
    available("tpch"),
    later("vertica"),
];

/// A property of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it stands.
    pub position: Option<Position>,
}

/// A catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogConfig {
    /// Its name: the name of its file, in lower case.
    pub name: String,
    /// Its connector.
    pub connector_name: String,
    /// What its file sets, except `connector.name`, checked. In the order of their names.
    pub properties: Vec<Setting>,
}

impl CatalogConfig {
    /// The text of a property, as set or by default.
    pub fn get(&self, name: &str) -> Option<&str> {
        let set = self.properties.iter().find(|setting| setting.name == name);
        let property = || self.property(name).and_then(|property| property.default_text(false));
        set.map(|setting| setting.value.as_str()).or_else(property)
    }

    /// The value of a property, as set or by default. None: it has none, or the connector does not know it.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.property(name)?.kind.parse(self.get(name)?).ok()
    }

    /// The value of a boolean property.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Boolean(value) => Some(value),
            _ => None,
        }
    }

    /// The value of an integer property.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a property that is one of several words, as the documentation writes the word.
    pub fn choice(&self, name: &str) -> Option<&'static str> {
        match self.value(name)? {
            Value::Choice(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a data size property.
    pub fn data_size(&self, name: &str) -> Option<DataSize> {
        match self.value(name)? {
            Value::DataSize(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a duration property.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name)? {
            Value::Duration(value) => Some(value),
            _ => None,
        }
    }

    fn property(&self, name: &str) -> Option<&'static Property> {
        let of_connector =
            |file| matches!(file, PropertyFile::Catalog(connector) if connector == self.connector_name);
        table::properties().find(|property| of_connector(property.file) && property.name == name)
    }
}
