//! Properties of `exchange-manager.properties`.

use base::DataSize;

use crate::kind::Kind;
use crate::property::{Property, PropertyFile, Topic};

use super::kinds::{BOOLEAN, POSITIVE, SIZE, size_from};

const fn exchange(property: Property) -> Property {
    property.in_file(PropertyFile::ExchangeManager)
}

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    exchange(Property::unset(
        Topic::Exchange,
        "exchange-manager.name",
        Kind::Choice(&["filesystem", "hdfs"]),
        "The exchange manager. `filesystem` is any of: local path, S3, GCS, Azure.",
    )),
    exchange(Property::unset(
        Topic::Exchange,
        "exchange.base-directories",
        Kind::List,
        "The directories that hold exchange data: paths or URIs of one scheme. Every node needs to reach them.",
    ))
    .aliases(&["exchange.base-directory"]),
    exchange(Property::new(
        Topic::Exchange,
        "exchange.source-concurrent-readers",
        POSITIVE,
        "4",
        "How many exchange objects a task reads at a time.",
    ))
    .worker_only(),
    exchange(Property::new(
        Topic::Exchange,
        "exchange.sink-memory-max",
        size_from(DataSize::megabytes(1)),
        "64MB",
        "How much memory a task uses to sort its output by partition. Beyond it, output is spilled to local disk.",
    ))
    .worker_only()
    .extension(),
    exchange(Property::new(
        Topic::Exchange,
        "exchange.inline-output-max-size",
        SIZE,
        "128kB",
        "Up to which size the output of a task travels inside its commit record instead of in an object of its own.",
    ))
    .worker_only()
    .extension(),
    exchange(Property::new(
        Topic::Exchange,
        "exchange.fsync",
        BOOLEAN,
        "false",
        "Whether exchange data on a local directory is to survive a power cut. Costs an fsync for each task.",
    ))
    .worker_only()
    .extension(),
];
