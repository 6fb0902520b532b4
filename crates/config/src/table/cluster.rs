//! Properties of nodes, and of queries as a whole.

use base::Duration;

use crate::kind::Kind;
use crate::property::{Property, PropertyFile, Topic};

use super::kinds::{BOOLEAN, COUNT, DURATION, POSITIVE, duration_from, integer_between};

const PORT: Kind = integer_between(0, u16::MAX as i64);

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    Property::unset(
        Topic::Node,
        "node.environment",
        Kind::Environment,
        "The name of the cluster. All nodes of a cluster have the same. Required.",
    )
    .in_file(PropertyFile::Node),
    Property::unset(Topic::Node, "node.id", Kind::Identifier, "The name of this node. No two nodes share one.")
        .computed("host name and port")
        .in_file(PropertyFile::Node),
    Property::unset(Topic::Node, "node.data-dir", Kind::Path, "The directory for what the node writes on local disk.")
        .computed("`data` beside the `etc` directory")
        .in_file(PropertyFile::Node),
    Property::unset(
        Topic::Node,
        "node.internal-address",
        Kind::Text,
        "The host name or IP address at which other nodes reach this one.",
    )
    .computed("the address that the machine has towards the coordinator")
    .aliases(&["node.ip"])
    .in_file(PropertyFile::Node),
    Property::unset(
        Topic::Node,
        "node.external-address",
        Kind::Text,
        "The host name or IP address at which clients reach this node.",
    )
    .computed("`node.internal-address`")
    .in_file(PropertyFile::Node),
    Property::unset(Topic::Node, "node.bind-ip", Kind::Text, "The IP address to listen on.")
        .computed("all addresses")
        .in_file(PropertyFile::Node),
    Property::new(Topic::Node, "coordinator", BOOLEAN, "true", "Whether this node is the coordinator."),
    Property::new(
        Topic::Node,
        "node-scheduler.include-coordinator",
        BOOLEAN,
        "true",
        "Whether the coordinator runs tasks, too.",
    )
    .coordinator_only(),
    Property::unset(
        Topic::Node,
        "coordinator.state-directory",
        Kind::Text,
        "The directory in which coordinators keep what must outlive them: which one leads, and the queries. All \
         coordinators of a cluster see the same, and those of another cluster another one.",
    )
    .computed("the first of `exchange.base-directories`, else `state` in `node.data-dir`")
    .coordinator_only()
    .extension(),
    Property::new(
        Topic::Node,
        "coordinator.standby",
        BOOLEAN,
        "false",
        "Whether this coordinator waits until the one that leads is gone, and then takes its place. If not, it takes \
         its place at once.",
    )
    .coordinator_only()
    .extension(),
    Property::new(
        Topic::Node,
        "coordinator.lease-duration",
        duration_from(Duration::millis(100)),
        "5s",
        "How long the coordinator that leads may give no sign of itself before one that stands by takes its place.",
    )
    .coordinator_only()
    .extension(),
    Property::new(Topic::Node, "http-server.http.port", PORT, "8080", "The port to listen on. 0: any free port."),
    Property::unset(
        Topic::Node,
        "http-server.max-connections",
        POSITIVE,
        "How many connections may be open to the port. When there are as many, a new one takes the place of the one \
         that has had no request for the longest time; if all have one, it is refused.",
    )
    .computed("half of the files that the process may have open")
    .extension(),
    Property::new(
        Topic::Node,
        "http-server.process-forwarded",
        BOOLEAN,
        "false",
        "Whether `X-Forwarded-…` headers say under which address a client reached the server. Set it behind a proxy.",
    )
    .coordinator_only(),
    Property::unset(
        Topic::Node,
        "discovery.uri",
        Kind::Uri,
        "The address of the coordinator, such as `http://coordinator:8080`. Required on workers.",
    ),
    Property::unset(
        Topic::Node,
        "internal-communication.shared-secret",
        Kind::Secret,
        "What nodes prove to each other to know. All nodes of a cluster have the same.",
    ),
    Property::new(
        Topic::Node,
        "failure-detector.heartbeat-timeout",
        duration_from(Duration::millis(100)),
        "5s",
        "How long a worker may be silent before it is taken for lost. A broken connection is noticed at once.",
    )
    .extension(),
    Property::new(
        Topic::Node,
        "shutdown.grace-period",
        DURATION,
        "2m",
        "How long a worker that drains or shuts down lets attempts run on. What has not ended by then runs elsewhere. A \
         worker that holds nothing any more does not wait.",
    )
    .worker_only(),
    Property::unset(
        Topic::Catalog,
        "catalog.config-dir",
        Kind::Path,
        "The directory of the catalog files. `etc/` at its start stands for the `etc` directory.",
    )
    .computed("`etc/catalog`")
    .aliases(&["plugin.config-dir"]),
    Property::new(Topic::Catalog, "catalog.disabled-catalogs", Kind::List, "", "Catalogs to leave out."),
    Property::unset(
        Topic::Exchange,
        "exchange-manager.config-file",
        Kind::Path,
        "The file that configures the exchange manager. `etc/` at its start stands for the `etc` directory.",
    )
    .computed("`etc/exchange-manager.properties`"),
    Property::new(
        Topic::Query,
        "query.client.timeout",
        duration_from(Duration::seconds(1)),
        "5m",
        "How long a query goes on while its client does not ask for it.",
    )
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "query.first-answer-wait",
        Kind::Duration { min: Duration(0), max: Duration::seconds(10) },
        "100ms",
        "How long a client waits for the first answer to its statement, if the statement takes as long. A query that \
         ends within this time leaves no records; one that takes longer is recorded before its client is answered. `0s`: \
         all are recorded.",
    )
    .coordinator_only()
    .extension(),
    Property::new(
        Topic::Query,
        "query.max-execution-time",
        DURATION,
        "100d",
        "How long a query may execute: planning and queueing not counted.",
    )
    .session("query_max_execution_time")
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "query.max-run-time",
        DURATION,
        "100d",
        "How long a query may take in all: planning and queueing counted.",
    )
    .session("query_max_run_time")
    .coordinator_only(),
    Property::new(Topic::Query, "query.max-planning-time", DURATION, "10m", "How long a query may be planned.")
        .session("query_max_planning_time")
        .coordinator_only(),
    Property::new(
        Topic::Query,
        "query.max-history",
        COUNT,
        "100",
        "How many finished queries are remembered. Beyond it, the oldest are forgotten.",
    )
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "query.min-expire-age",
        DURATION,
        "15m",
        "How long a finished query is remembered at least, whatever `query.max-history` says.",
    )
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "query.max-length",
        integer_between(0, 1_000_000_000),
        "1000000",
        "How many characters a statement may have.",
    )
    .coordinator_only(),
    Property::new(Topic::Query, "query.max-stage-count", POSITIVE, "150", "How many stages a query may have.")
        .session("query_max_stage_count")
        .coordinator_only(),
    Property::new(
        Topic::Query,
        "query.max-concurrent-queries",
        POSITIVE,
        "1000",
        "How many queries run at a time. The others wait.",
    )
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "query.max-queued-queries",
        POSITIVE,
        "5000",
        "How many queries wait. The others are refused.",
    )
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "query.schedule-split-batch-size",
        POSITIVE,
        "1000",
        "How many splits of a table are listed at a time.",
    )
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "query-manager.required-workers",
        POSITIVE,
        "1",
        "How many workers must be there before a query starts.",
    )
    .session("required_workers_count")
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "query-manager.required-workers-max-wait",
        DURATION,
        "5m",
        "How long a query waits for them.",
    )
    .session("required_workers_max_wait_time")
    .coordinator_only(),
    Property::new(
        Topic::Query,
        "node-scheduler.allowed-no-matching-node-period",
        DURATION,
        "2m",
        "How long a query that runs waits while there is no worker at all, before it fails.",
    )
    .coordinator_only(),
    Property::unset(Topic::Query, "sql.default-catalog", Kind::Text, "The catalog of sessions that name none.")
        .coordinator_only(),
    Property::unset(Topic::Query, "sql.default-schema", Kind::Text, "The schema of sessions that name none.")
        .coordinator_only(),
    Property::unset(
        Topic::Query,
        "sql.forced-session-time-zone",
        Kind::Text,
        "The time zone of every session, whatever its client says.",
    )
    .coordinator_only(),
];
