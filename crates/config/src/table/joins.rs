//! Properties of how joins are planned, and of how many tasks share the work.

use crate::kind::{Choice, Kind};
use crate::property::{Property, Topic};

use super::kinds::{BIG_COUNT, SIZE};

const DISTRIBUTIONS: Choice = &["AUTOMATIC", "PARTITIONED", "BROADCAST"];
const STRATEGIES: Choice = &["NONE", "ELIMINATE_CROSS_JOINS", "AUTOMATIC"];

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    Property::new(
        Topic::Query,
        "join-distribution-type",
        Kind::Choice(DISTRIBUTIONS),
        "AUTOMATIC",
        "How the rows of joins come to the tasks: both sides spread by their keys, the build side sent to every task \
         wherever that gives right rows, or whichever costs less by statistics.",
    )
    .session("join_distribution_type")
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "join-max-broadcast-table-size",
        SIZE,
        "16MB",
        "A build side that is estimated to be larger is not sent to every task. In Trino it may be larger, because \
         all tasks of a worker share one copy.",
    )
    .session("join_max_broadcast_table_size")
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "optimizer.join-reordering-strategy",
        Kind::Choice(STRATEGIES),
        "AUTOMATIC",
        "What may be done to the order of joins: `AUTOMATIC` takes the one that costs least by statistics. The \
         product of all rows of two tables is avoided under the others too if there is an order without it.",
    )
    .session("join_reordering_strategy")
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "optimizer.single-task-max-row-count",
        BIG_COUNT,
        "32768",
        "A query whose tables have no more rows than these together, as far as statistics say, is run by one task: \
         it would take longer to hand rows from task to task. 0: never.",
    )
    .session("single_task_max_row_count")
    .coordinator_only()
    .extension(),
];
