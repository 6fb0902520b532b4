//! Properties of the direct exchange: what stages that run at the same time stream to each other.

use base::{DataSize, Duration};

use crate::kind::Kind;
use crate::property::{Property, Topic};

use super::kinds::{POSITIVE, SIZE, duration_from, size_from};

/// Nothing smaller holds a frame with its header.
const BUFFER_MIN: DataSize = DataSize(1024);

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    Property::new(
        Topic::Exchange,
        "exchange.deduplication-buffer-size",
        SIZE,
        "32MB",
        "Under `QUERY`, how much of a result the coordinator keeps in memory until the query has finished. What is \
         larger goes through the exchange manager; without one, the query fails. Of a task, no more than 48MB are \
         kept in memory.",
    )
    .coordinator_only(),
    Property::new(
        Topic::Exchange,
        "exchange.max-buffer-size",
        size_from(BUFFER_MIN),
        "32MB",
        "Under `NONE` and `QUERY`, how much a task keeps of what it reads from others.",
    ),
    Property::new(
        Topic::Exchange,
        "exchange.max-response-size",
        size_from(BUFFER_MIN),
        "16MB",
        "Under `NONE` and `QUERY`, how much one answer to a task that reads from another may have.",
    ),
    Property::new(
        Topic::Exchange,
        "exchange.max-error-duration",
        duration_from(Duration::millis(1)),
        "1m",
        "Under `NONE` and `QUERY`, how long a task that others read from may be out of reach.",
    ),
    Property::new(
        Topic::Exchange,
        "exchange.data-integrity-verification",
        Kind::Choice(&["ABORT", "RETRY", "NONE"]),
        "ABORT",
        "Under `NONE` and `QUERY`, what happens when the checksum of data that tasks send each other does not match: \
         the query fails, the data is sent again, or checksums are not looked at.",
    ),
    Property::new(
        Topic::Exchange,
        "sink.max-buffer-size",
        size_from(BUFFER_MIN),
        "32MB",
        "Under `NONE` and `QUERY`, how much a task keeps of what it has written and others have not read.",
    )
    .worker_only(),
    Property::new(
        Topic::Exchange,
        "sink.max-broadcast-buffer-size",
        size_from(BUFFER_MIN),
        "200MB",
        "The same, of what every task of another stage reads.",
    )
    .worker_only(),
    Property::new(
        Topic::TaskSizing,
        "query.max-hash-partition-count",
        POSITIVE,
        "100",
        "Under `NONE` and `QUERY`, how many tasks a join or an aggregation is spread over at most.",
    )
    .session("max_hash_partition_count")
    .aliases(&["query.hash-partition-count"])
    .coordinator_only(),
];
