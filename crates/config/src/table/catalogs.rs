//! Properties of catalogs.

use crate::kind::Kind;
use crate::property::{Property, PropertyFile, Topic};

use super::kinds::{BOOLEAN, POSITIVE};

const TPCH: PropertyFile = PropertyFile::Catalog("tpch");
const HIVE: PropertyFile = PropertyFile::Catalog("hive");

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    Property::unset(
        Topic::Catalog,
        "tpch.splits-per-node",
        POSITIVE,
        "How many splits a table has for each worker.",
    )
    .computed("as many as a worker runs tasks")
    .in_file(TPCH),
    Property::new(
        Topic::Catalog,
        "tpch.column-naming",
        Kind::Choice(&["SIMPLIFIED", "STANDARD"]),
        "SIMPLIFIED",
        "Whether columns are named `orderkey` or, as in the specification, `o_orderkey`.",
    )
    .in_file(TPCH),
    Property::new(
        Topic::Catalog,
        "tpch.double-type-mapping",
        Kind::Choice(&["DOUBLE", "DECIMAL"]),
        "DOUBLE",
        "The type of prices and quantities.",
    )
    .in_file(TPCH),
    Property::new(
        Topic::Catalog,
        "tpch.partitioning-enabled",
        BOOLEAN,
        "true",
        "Whether tables tell how they are partitioned.",
    )
    .in_file(TPCH)
    .without_effect(),
    Property::new(
        Topic::Catalog,
        "tpch.predicate-pushdown-enabled",
        BOOLEAN,
        "true",
        "Whether predicates are evaluated while rows are made.",
    )
    .in_file(TPCH)
    .without_effect(),
    Property::new(
        Topic::Catalog,
        "tpch.max-rows-per-page",
        POSITIVE,
        "1000000",
        "How many rows are made at a time.",
    )
    .in_file(TPCH)
    .without_effect(),
    Property::unset(
        Topic::Catalog,
        "tpch.table-scan-redirection-catalog",
        Kind::Text,
        "Another catalog to read.",
    )
    .in_file(TPCH)
    .without_effect(),
    Property::unset(
        Topic::Catalog,
        "tpch.table-scan-redirection-schema",
        Kind::Text,
        "Another schema to read.",
    )
    .in_file(TPCH)
    .without_effect(),
    Property::new(
        Topic::Catalog,
        "hive.metastore",
        Kind::Choice(&["THRIFT", "FILE", "GLUE"]),
        "THRIFT",
        "Where table definitions are kept. Only `FILE` is available yet: files in a directory.",
    )
    .in_file(HIVE),
    Property::unset(
        Topic::Catalog,
        "hive.metastore.catalog.dir",
        Kind::Path,
        "The directory of a file metastore: a path, or a URI such as `file:///data/metastore`.",
    )
    .in_file(HIVE),
    Property::new(
        Topic::Catalog,
        "hive.metastore.user",
        Kind::Text,
        "presto",
        "The user that owns what a file metastore creates.",
    )
    .in_file(HIVE),
];
