//! Files that are wrong, and what is said about them.

/// Most properties.
pub const CONFIG: &str = "config.properties";
/// Who the node is.
pub const NODE: &str = "node.properties";
/// The exchange.
pub const EXCHANGE: &str = "exchange-manager.properties";
/// A catalog that good directories have.
pub const TPCH: &str = "catalog/tpch.properties";
/// A catalog that they do not have.
pub const HIVE: &str = "catalog/hive.properties";
/// In a text: the directory of the test.
pub const ROOT: &str = "{root}";

/// A file that is added or put in the place of a good one, its text, the line that is wrong (0: the whole file), and
/// what is said.
pub const BAD: &[(&str, &str, u32, &str)] = &[
    // Names.
    (
        CONFIG,
        "coordinator=true\n\nretry-polcy=TASK",
        3,
        "'retry-polcy' was not used. Did you mean to use 'retry-policy'?",
    ),
    (
        CONFIG,
        "query.max-memroy=1GB",
        1,
        "'query.max-memroy' was not used. Did you mean to use 'query.max-memory'?",
    ),
    (CONFIG, "# ports\n\nhttp-server.http.prot=0", 3, "Did you mean to use 'http-server.http.port'?"),
    (CONFIG, "completely-different=1", 1, "'completely-different' was not used"),
    (CONFIG, "Coordinator=true", 1, "Did you mean to use 'coordinator'?"),
    (CONFIG, "exchange-manager.name=filesystem", 1, "'exchange-manager.name' was not used"),
    (CONFIG, "max-failed-task=3", 1, "Did you mean to use 'max-failed-tasks'?"),
    (CONFIG, "retry-attempts=4", 1, "Defunct property 'retry-attempts'"),
    (CONFIG, "query.low-memory-killer.delay=0s", 1, "Defunct property 'query.low-memory-killer.delay'"),
    (NODE, "node.environment=test\nnode.ids=a", 2, "Did you mean to use 'node.id'?"),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directories=/x\nexchange.fsink=true",
        3,
        "'exchange.fsync'",
    ),
    (TPCH, "connector.name=tpch\ntpch.split-per-node=4", 2, "Did you mean to use 'tpch.splits-per-node'?"),
    (
        HIVE,
        "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=/m\ntpch.splits-per-node=4",
        4,
        "was not used",
    ),
    // Values.
    (CONFIG, "coordinator=yes", 1, "Invalid value 'yes' for property 'coordinator': expected true or false"),
    (CONFIG, "coordinator", 1, "'coordinator'"),
    (CONFIG, "http-server.http.port=65536", 1, "must be between 0 and 65535"),
    (CONFIG, "http-server.http.port=http", 1, "'http-server.http.port': expected a whole number"),
    (CONFIG, "query.max-memory=abc", 1, "'query.max-memory': expected a size such as 64MB"),
    (CONFIG, "query.max-memory=20gb", 1, "'query.max-memory': expected a size such as 64MB"),
    (CONFIG, "query.max-memory=-1GB", 1, "'query.max-memory': expected a size such as 64MB"),
    (CONFIG, "query.client.timeout=5", 1, "'query.client.timeout': expected a duration such as 10s"),
    (CONFIG, "query.client.timeout=10ms", 1, "'query.client.timeout': must be at least 1s"),
    (CONFIG, "retry-max-delay=1 minute", 1, "'retry-max-delay': expected a duration such as 10s"),
    (CONFIG, "retry-policy=ALWAYS", 1, "'retry-policy': expected one of NONE, QUERY, TASK"),
    (CONFIG, "exchange.compression-codec=GZIP", 1, "expected one of NONE, LZ4, ZSTD"),
    (CONFIG, "query.max-history=many", 1, "'query.max-history': expected a whole number"),
    (CONFIG, "query.max-stage-count=0", 1, "'query.max-stage-count': must be at least 1"),
    (CONFIG, "task-retry-attempts-per-task=200", 1, "must be between 0 and 126"),
    (CONFIG, "retry-delay-scale-factor=two", 1, "'retry-delay-scale-factor': expected a number"),
    (CONFIG, "retry-delay-scale-factor=0.5", 1, "must be at least 1"),
    (CONFIG, "discovery.uri=coordinator:8080", 1, "expected an address such as http://host:8080"),
    (CONFIG, "task.max-worker-threads=0.5C", 1, "'task.max-worker-threads': expected a number such as 8"),
    (CONFIG, "memory.heap-headroom-per-node=130%", 1, "must be between 0% and 100%"),
    (CONFIG, "fault-tolerant-execution-max-partition-count=5000", 1, "must be between 1 and 1000"),
    (CONFIG, "failure-injection.tasks=stage=1", 1, "expected a class at 'stage=1'"),
    (NODE, "node.environment=Prod", 1, "'node.environment': should match"),
    (NODE, "node.environment=test\nnode.id=a.b", 2, "'node.id': should match"),
    ("log.properties", "# levels\nio.trino=LOUD", 2, "expected one of OFF, ERROR, WARN, INFO, DEBUG, TRACE"),
    ("jvm.config", "-server\n-Xmx8GB", 2, "Invalid value '8GB' for property '-Xmx'"),
    // Syntax and variables.
    (CONFIG, "coordinator=true\n=true", 2, "A property needs a name before its value"),
    (CONFIG, "coordinator=tru\\u00e", 1, "Malformed \\uxxxx encoding"),
    (
        CONFIG,
        "query.max-memory=${ENV:STEADFAST_UNSET}",
        1,
        "uses environment variable STEADFAST_UNSET, which is not set",
    ),
    (
        CONFIG,
        "query.max-memory=${ENV:STEADFAST_SET}",
        1,
        "Invalid value 'value' for property 'query.max-memory'",
    ),
    (CONFIG, "discovery.uri=http://${vault:host}", 1, "secret provider 'vault'; only ENV is available"),
    // What does not go together, or is missing.
    (CONFIG, "coordinator=false", 1, "Property 'discovery.uri' must be set"),
    (CONFIG, "retry-policy=TASK\nretry-policy.allowed=NONE", 2, "retry-policy is TASK"),
    (CONFIG, "retry-initial-delay=2m", 1, "must not be greater than retry-max-delay"),
    (
        CONFIG,
        "query.max-memory=2GB\nquery.max-total-memory=1GB",
        2,
        "must not be greater than query.max-total-memory",
    ),
    (CONFIG, "exchange-manager.config-file={root}/nowhere", 1, "there is no file"),
    (NODE, "", 0, "Property 'node.environment' must be set"),
    (EXCHANGE, "exchange-manager.name=filesystem", 0, "Property 'exchange.base-directories' must be set"),
    (
        EXCHANGE,
        "exchange-manager.name=tape\nexchange.base-directories=/x",
        1,
        "expected one of filesystem, hdfs",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directories=ftp://x/y",
        2,
        "there is no file system for 'ftp'",
    ),
    (TPCH, "tpch.splits-per-node=4", 0, "Property 'connector.name' must be set"),
    (TPCH, "connector.name=tcph", 1, "there is no such connector. Did you mean 'tpch'?"),
    (HIVE, "connector.name=hive\nhive.metastore=glue", 2, "Only hive.metastore=file is available yet"),
    (
        HIVE,
        "connector.name=hive\nhive.metastore=file",
        2,
        "Property 'hive.metastore.catalog.dir' must be set",
    ),
    ("catalog/TPCH.properties", "connector.name=tpch", 0, "already exists"),
    ("catalog/system.properties", "connector.name=tpch", 0, "Catalog 'system' already exists"),
];
