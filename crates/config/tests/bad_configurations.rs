//! What is wrong with a configuration is said with file, line and what was meant.

use std::path::Path;

use config::{ConfigErrors, MemoryFiles, ServerConfig};

/// An environment with one variable.
fn environment(name: &str) -> Option<String> {
    (name == "SET").then(|| "value".to_owned())
}

/// Loads a directory of good files, with those given added or put in their place.
fn load(changed: &[(&str, &str)]) -> Result<ServerConfig, ConfigErrors> {
    let good = [
        ("etc/node.properties", "node.environment=test\n"),
        ("etc/config.properties", "coordinator=true\n"),
        ("etc/catalog/tpch.properties", "connector.name=tpch\n"),
    ];
    let files = good.iter().chain(changed).map(|(path, text)| ((*path).into(), (*text).to_owned()));
    ServerConfig::load_with(&MemoryFiles(files.collect()), Path::new("etc"), &environment)
}

const CONFIG: &str = "etc/config.properties";
const NODE: &str = "etc/node.properties";
const EXCHANGE: &str = "etc/exchange-manager.properties";
const HIVE: &str = "etc/catalog/hive.properties";
const SIZES: &str = "expected a size such as 64MB (units: B, kB, MB, GB, TB, PB)";
const DURATIONS: &str = "expected a duration such as 10s (units: ns, us, ms, s, m, h, d)";

/// A file, its text, and what is said about it.
const BAD: &[(&str, &str, &str)] = &[
    // Names.
    (
        CONFIG,
        "coordinator=true\n\nretry-polcy=TASK",
        "3: Configuration property 'retry-polcy' was not used. Did you mean to use 'retry-policy'?",
    ),
    (
        CONFIG,
        "query.max-memroy=1GB",
        "1: Configuration property 'query.max-memroy' was not used. Did you mean to use 'query.max-memory'?",
    ),
    (CONFIG, "completely-different=1", "1: Configuration property 'completely-different' was not used"),
    (
        CONFIG,
        "Coordinator=true",
        "1: Configuration property 'Coordinator' was not used. Did you mean to use 'coordinator'?",
    ),
    (
        CONFIG,
        "exchange-manager.name=filesystem",
        "1: Configuration property 'exchange-manager.name' was not used",
    ),
    (
        CONFIG,
        "http-server.https.keystore.paht=x",
        "1: Configuration property 'http-server.https.keystore.paht' was not used. Did you mean to use 'http-server.https.keystore.path'?",
    ),
    (
        CONFIG,
        "max-failed-task=3",
        "1: Configuration property 'max-failed-task' was not used. Did you mean to use 'max-failed-tasks'?",
    ),
    (CONFIG, "retry-attempts=4", "1: Defunct property 'retry-attempts' cannot be configured"),
    (
        CONFIG,
        "query.low-memory-killer.delay=0s",
        "1: Defunct property 'query.low-memory-killer.delay' cannot be configured",
    ),
    (
        NODE,
        "node.environment=test\nnode.ids=a",
        "2: Configuration property 'node.ids' was not used. Did you mean to use 'node.id'?",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directory=/x\nexchange.fsink=true",
        "3: Configuration property 'exchange.fsink' was not used. Did you mean to use 'exchange.fsync'?",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directories=/x\nretry-policy=TASK",
        "3: Configuration property 'retry-policy' was not used",
    ),
    (
        "etc/catalog/tpch.properties",
        "connector.name=tpch\ntpch.split-per-node=4",
        "2: Configuration property 'tpch.split-per-node' was not used. Did you mean to use 'tpch.splits-per-node'?",
    ),
    (
        HIVE,
        "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=/m\ntpch.splits-per-node=4",
        "4: Configuration property 'tpch.splits-per-node' was not used",
    ),
    // Values that cannot be read.
    (CONFIG, "coordinator=yes", "1: Invalid value 'yes' for property 'coordinator': expected true or false"),
    (CONFIG, "coordinator=", "1: Invalid value '' for property 'coordinator': expected true or false"),
    (CONFIG, "query.max-memory=abc", "1: Invalid value 'abc' for property 'query.max-memory': {sizes}"),
    (CONFIG, "query.max-memory=20gb", "1: Invalid value '20gb' for property 'query.max-memory': {sizes}"),
    (CONFIG, "query.max-memory=-1GB", "1: Invalid value '-1GB' for property 'query.max-memory': {sizes}"),
    (
        CONFIG,
        "query.max-memory-per-node=much",
        "1: Invalid value 'much' for property 'query.max-memory-per-node': expected a size such as 2GB, or a percentage such as 30%",
    ),
    (
        CONFIG,
        "query.client.timeout=5",
        "1: Invalid value '5' for property 'query.client.timeout': {durations}",
    ),
    (
        CONFIG,
        "retry-max-delay=1 minute",
        "1: Invalid value '1 minute' for property 'retry-max-delay': {durations}",
    ),
    (
        CONFIG,
        "retry-policy=ALWAYS",
        "1: Invalid value 'ALWAYS' for property 'retry-policy': expected one of NONE, QUERY, TASK",
    ),
    (
        CONFIG,
        "retry-policy.allowed=TASK,SOME",
        "1: Invalid value 'TASK,SOME' for property 'retry-policy.allowed': expected one of NONE, QUERY, TASK",
    ),
    (
        CONFIG,
        "exchange.compression-codec=GZIP",
        "1: Invalid value 'GZIP' for property 'exchange.compression-codec': expected one of NONE, LZ4, ZSTD",
    ),
    (
        CONFIG,
        "query.max-history=many",
        "1: Invalid value 'many' for property 'query.max-history': expected a whole number",
    ),
    (
        CONFIG,
        "query.max-history=1.5",
        "1: Invalid value '1.5' for property 'query.max-history': expected a whole number",
    ),
    (
        CONFIG,
        "retry-delay-scale-factor=two",
        "1: Invalid value 'two' for property 'retry-delay-scale-factor': expected a number",
    ),
    (
        CONFIG,
        "discovery.uri=coordinator:8080",
        "1: Invalid value 'coordinator:8080' for property 'discovery.uri': expected an address such as http://host:8080",
    ),
    (
        CONFIG,
        "task.max-worker-threads=0.5C",
        "1: Invalid value '0.5C' for property 'task.max-worker-threads': expected a number such as 8, or 2C for twice the cores",
    ),
    (
        CONFIG,
        "failure-injection.tasks=stage=1",
        "1: Invalid value 'stage=1' for property 'failure-injection.tasks': expected a class at 'stage=1'",
    ),
    (
        NODE,
        "node.environment=Prod",
        "1: Invalid value 'Prod' for property 'node.environment': should match [a-z0-9][_a-z0-9]*",
    ),
    (
        NODE,
        "node.environment=test\nnode.id=a.b",
        "2: Invalid value 'a.b' for property 'node.id': should match [A-Za-z0-9][_A-Za-z0-9-]*",
    ),
    (
        "etc/log.properties",
        "# levels\nio.trino=LOUD",
        "2: Invalid value 'LOUD' for property 'io.trino': expected one of OFF, ERROR, WARN, INFO, DEBUG, TRACE",
    ),
    (
        "etc/jvm.config",
        "-server\n-Xmx8GB",
        "2: Invalid value '8GB' for property '-Xmx': expected a size such as 8G",
    ),
    // Values out of range.
    (
        CONFIG,
        "task-retry-attempts-per-task=200",
        "1: Invalid value '200' for property 'task-retry-attempts-per-task': must be between 0 and 126",
    ),
    (
        CONFIG,
        "query.max-stage-count=0",
        "1: Invalid value '0' for property 'query.max-stage-count': must be at least 1",
    ),
    (
        CONFIG,
        "http-server.http.port=65536",
        "1: Invalid value '65536' for property 'http-server.http.port': must be between 0 and 65535",
    ),
    (
        CONFIG,
        "query.client.timeout=10ms",
        "1: Invalid value '10ms' for property 'query.client.timeout': must be at least 1s",
    ),
    (
        CONFIG,
        "fault-tolerant-execution-standard-split-size=1kB",
        "1: Invalid value '1kB' for property 'fault-tolerant-execution-standard-split-size': must be at least 1MB",
    ),
    (
        CONFIG,
        "fault-tolerant-execution-max-partition-count=5000",
        "1: Invalid value '5000' for property 'fault-tolerant-execution-max-partition-count': must be between 1 and 1000",
    ),
    (
        CONFIG,
        "retry-delay-scale-factor=0.5",
        "1: Invalid value '0.5' for property 'retry-delay-scale-factor': must be at least 1",
    ),
    (
        CONFIG,
        "memory.heap-headroom-per-node=130%",
        "1: Invalid value '130%' for property 'memory.heap-headroom-per-node': must be between 0% and 100%",
    ),
    // Syntax and variables.
    (CONFIG, "coordinator=true\n=true", "2: A property needs a name before its value"),
    (CONFIG, "coordinator=tru\\u00e", "1: Malformed \\uxxxx encoding"),
    (
        CONFIG,
        "query.max-memory=\\\n  ${ENV:UNSET}GB",
        "1: Property 'query.max-memory' uses environment variable UNSET, which is not set",
    ),
    (
        CONFIG,
        "discovery.uri=http://${vault:host}",
        "1: Property 'discovery.uri' uses secret provider 'vault'; only ENV is available",
    ),
    (
        CONFIG,
        "query.max-memory=${ENV:SET}",
        "1: Invalid value 'value' for property 'query.max-memory': {sizes}",
    ),
    (
        HIVE,
        "connector.name=${ENV:NONE}",
        "1: Property 'connector.name' uses environment variable NONE, which is not set",
    ),
    // What does not go together.
    (
        CONFIG,
        "coordinator=false",
        "1: Property 'discovery.uri' must be set: a worker needs the address of the coordinator",
    ),
    (NODE, "", " Property 'node.environment' must be set: it is the name of the cluster"),
    (
        CONFIG,
        "fault-tolerant-execution-partition-count=9\nfault-tolerant-execution-max-partition-count=8",
        "1: Configuration property 'fault-tolerant-execution-partition-count' conflicts with property 'fault-tolerant-execution-max-partition-count'",
    ),
    (
        CONFIG,
        "retry-policy=TASK\nretry-policy.allowed=NONE,QUERY",
        "2: retry-policy is TASK, which retry-policy.allowed does not allow",
    ),
    (
        CONFIG,
        "retry-initial-delay=2m",
        "1: retry-initial-delay (2m) must not be greater than retry-max-delay (1m)",
    ),
    (
        CONFIG,
        "fault-tolerant-execution-min-partition-count=60",
        "1: fault-tolerant-execution-min-partition-count (60) must not be greater than fault-tolerant-execution-max-partition-count (50)",
    ),
    (
        CONFIG,
        "query.max-memory=2GB\nquery.max-total-memory=1GB",
        "2: query.max-memory (2GB) must not be greater than query.max-total-memory (1GB)",
    ),
    (
        CONFIG,
        "memory.limit-per-node=10GB\nquery.max-memory-per-node=8GB",
        "2: query.max-memory-per-node (8GB) and memory.heap-headroom-per-node (3GB) must not be greater together than the memory of the node (10GB)",
    ),
    (
        CONFIG,
        "exchange-manager.config-file=etc/exchange.properties",
        "1: Invalid value 'etc/exchange.properties' for property 'exchange-manager.config-file': there is no file etc/exchange.properties",
    ),
    (EXCHANGE, "", " Property 'exchange-manager.name' must be set: there is an exchange manager"),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem",
        " Property 'exchange.base-directories' must be set: there is an exchange manager",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=s3\nexchange.base-directories=/x",
        "1: Invalid value 's3' for property 'exchange-manager.name': expected one of filesystem, hdfs",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directories=,",
        "2: Invalid value '' for property 'exchange.base-directories': expected at least one directory",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directories=ftp://x/y",
        "2: Invalid value 'ftp://x/y' for property 'exchange.base-directories': there is no file system for 'ftp'",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directories=/a,s3://b",
        "2: Invalid value '/a,s3://b' for property 'exchange.base-directories': all directories must have the same scheme",
    ),
    // Catalogs.
    (HIVE, "hive.metastore=file", " Property 'connector.name' must be set: a catalog needs a connector"),
    (
        HIVE,
        "connector.name=hiv",
        "1: Invalid value 'hiv' for property 'connector.name': there is no such connector. Did you mean 'hive'?",
    ),
    (
        HIVE,
        "connector.name=hive\nhive.metastore.catalog.dir=/m",
        "1: Only hive.metastore=file is available yet",
    ),
    (HIVE, "connector.name=hive\nhive.metastore=glue", "2: Only hive.metastore=file is available yet"),
    (
        HIVE,
        "connector.name=hive\nhive.metastore=file",
        "2: Property 'hive.metastore.catalog.dir' must be set: hive.metastore is file",
    ),
    ("etc/catalog/TPCH.properties", "connector.name=tpch", " Catalog 'tpch' already exists"),
    ("etc/catalog/system.properties", "connector.name=tpch", " Catalog 'system' already exists"),
];

#[test]
fn each_bad_configuration_is_explained() {
    assert!(BAD.len() >= 50);
    for (file, text, message) in BAD {
        let errors = load(&[(file, text)]).expect_err(text);
        let said: Vec<String> = errors.problems.iter().map(ToString::to_string).collect();
        let message = message.replace("{sizes}", SIZES).replace("{durations}", DURATIONS);
        // Where two catalogs have one name, the later file is at fault.
        let file = if *file == "etc/catalog/TPCH.properties" { "etc/catalog/tpch.properties" } else { file };
        if file == EXCHANGE && text.is_empty() {
            let second = format!(
                "{EXCHANGE}: Property 'exchange.base-directories' must be set: there is an exchange manager"
            );
            assert_eq!(said, [format!("{file}:{message}"), second]);
        } else {
            assert_eq!(said, [format!("{file}:{message}")], "{text}");
        }
    }
}

#[test]
fn all_problems_are_reported_at_once_and_in_order() {
    let errors = load(&[
        (CONFIG, "coordinatr=true\nquery.max-history=-1\nquery.max-length=${ENV:NONE}\nretry-policy=x"),
        (HIVE, "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=/m\nhive.colour=red"),
    ])
    .unwrap_err();
    let positions: Vec<_> =
        errors.problems.iter().map(|problem| problem.position.clone().unwrap().to_string()).collect();
    assert_eq!(
        positions,
        [
            "etc/config.properties:1",
            "etc/config.properties:2",
            "etc/config.properties:3",
            "etc/config.properties:4",
            "etc/catalog/hive.properties:4",
        ]
    );
    let text = errors.to_string();
    assert!(
        text.starts_with("The configuration has 5 errors:\n\n1) etc/config.properties:1: Config"),
        "{text}"
    );
    assert_eq!(base::Error::from(errors).code(), base::ErrorCode::CONFIGURATION_INVALID);
}

#[test]
fn a_directory_without_configuration_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let errors = ServerConfig::load(directory.path()).unwrap_err();
    let file = directory.path().join("config.properties");
    assert_eq!(
        errors.problems[0].to_string(),
        format!("{}: Cannot read file: there is no such file", file.display())
    );
}

#[test]
fn files_on_disk_are_named_with_their_lines() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.properties");
    std::fs::write(&file, "# a comment\ncoordinator=maybe\n").unwrap();
    std::fs::write(directory.path().join("node.properties"), "node.environment=test\n").unwrap();
    let errors = ServerConfig::load(directory.path()).unwrap_err();
    let expected = format!(
        "The configuration has 1 error:\n\n1) {}:2: Invalid value 'maybe' for property 'coordinator': expected true or false",
        file.display()
    );
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn secrets_are_never_shown() {
    let config = load(&[(CONFIG, "internal-communication.shared-secret=hunter2\n")]).unwrap();
    assert_eq!(config.node.shared_secret.as_ref().map(config::Secret::expose), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}
