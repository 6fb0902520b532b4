//! `etc` directories as Trino's image and chart write them load as they are.

use std::path::{Path, PathBuf};

use base::{DataSize, Duration};
use config::{
    CompressionCodec, Level, MemoryFiles, MemoryShare, RetryPolicy, ServerConfig, Source, WarningKind,
};

fn load(etc: &str, files: &[(&str, &str)]) -> ServerConfig {
    let files = files.iter().map(|(path, text)| (Path::new(etc).join(path), (*text).to_owned()));
    let environment = |name: &str| match name {
        "CATALOG_MANAGEMENT" => Some("static".to_owned()),
        "SECRET" => Some("s3cr=t".to_owned()),
        "HOSTNAME" => Some("trino-worker-7d.example".to_owned()),
        _ => None,
    };
    match ServerConfig::load_with(&MemoryFiles(files.collect()), Path::new(etc), &environment) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn warnings(config: &ServerConfig) -> Vec<String> {
    config.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_image_of_trino_loads() {
    let config = load(
        "/etc/trino",
        &[
            (
                "config.properties",
                "#single node install config\ncoordinator=true\nnode-scheduler.include-coordinator=true\n\
                 http-server.http.port=8080\ndiscovery.uri=http://localhost:8080\n\
                 catalog.management=${ENV:CATALOG_MANAGEMENT}\n",
            ),
            ("node.properties", "node.environment=docker\nnode.data-dir=/data/trino\n"),
            ("log.properties", "# Enable verbose logging from Trino\n#io.trino=DEBUG\n"),
            (
                "jvm.config",
                "-server\n-agentpath:/usr/lib/trino/bin/libjvmkill.so\n-XX:InitialRAMPercentage=80\n\
                 -XX:MaxRAMPercentage=80\n-XX:G1HeapRegionSize=32M\n# Allow loading dynamic agent used by JOL\n\
                 -XX:+EnableDynamicAgentLoading\n",
            ),
            ("catalog/jmx.properties", "connector.name=jmx\n"),
            ("catalog/memory.properties", "connector.name=memory\n"),
            ("catalog/tpcds.properties", "connector.name=tpcds\ntpcds.splits-per-node=4\n"),
            ("catalog/tpch.properties", "connector.name=tpch\ntpch.splits-per-node=4\n"),
        ],
    );
    assert_eq!(
        warnings(&config),
        [
            "/etc/trino/config.properties:6: Configuration property 'catalog.management' is accepted but has no effect",
            "/etc/trino/catalog/jmx.properties:1: Catalog 'jmx' is left out: there is no connector 'jmx' yet",
            "/etc/trino/catalog/memory.properties:1: Catalog 'memory' is left out: there is no connector 'memory' yet",
            "/etc/trino/catalog/tpcds.properties:1: Catalog 'tpcds' is left out: there is no connector 'tpcds' yet",
        ]
    );
    assert_eq!(config.node.environment, "docker");
    assert_eq!(config.node.id, "trino-worker-7d-example-8080");
    assert_eq!(config.node.data_dir, PathBuf::from("/data/trino"));
    assert!(config.node.coordinator && config.node.include_coordinator);
    assert_eq!(config.memory.limit_per_node, None);
    assert_eq!(config.exchange_manager, None);
    assert_eq!(config.catalogs.len(), 1);
    assert_eq!(config.catalogs[0].integer("tpch.splits-per-node"), Some(4));
    assert_eq!(config.catalogs[0].choice("tpch.column-naming"), Some("SIMPLIFIED"));
    assert_eq!(config.catalogs[0].get("connector.name"), None);
}

/// What the chart writes for both roles, with everything switched on.
const CHART_NODE: &str =
    "node.environment=production\nnode.data-dir=/data/trino\nplugin.dir=/usr/lib/trino/plugin\n";
const CHART_JVM: &str = "-server\n-agentpath:/usr/lib/trino/bin/libjvmkill.so\n-Xmx8G\n-XX:+UseG1GC\n-XX:G1HeapRegionSize=32M\n\
    -XX:+ExitOnOutOfMemoryError\n# https://bugs.openjdk.org/browse/JDK-8329528\n-XX:+UnlockDiagnosticVMOptions\n\
    -Dcom.sun.management.jmxremote.rmi.port=9081\n";
const CHART_EXCHANGE: &str = "exchange-manager.name=filesystem\nexchange.base-directories=s3://one/x,s3://two/x\n\
    exchange.s3.region=eu-central-1\nexchange.sink-buffers-per-partition=2\n";
const CHART_ADDITIONS: &str = "retry-policy=TASK\nquery.max-memory=8GB\ninternal-communication.shared-secret=${ENV:SECRET}\n\
    task-retry-attempts-per-task=6\nfault-tolerant-execution-task-memory=2GB\nfault-tolerant-execution-partition-count=20\n\
    task.concurrency=8\nexchange.http-client.idle-timeout=20s\njmx.rmiregistry.port=9080\njmx.rmiserver.port=9081\n\
    shutdown.grace-period=120s\n";

#[test]
fn a_worker_of_the_chart_loads() {
    let config = format!(
        "coordinator=false\nhttp-server.http.port=8080\nquery.max-memory=4GB\nquery.max-memory-per-node=1GB\n\
         discovery.uri=http://trino:8080\n{CHART_ADDITIONS}"
    );
    let config = load(
        "etc",
        &[
            ("config.properties", &config),
            ("node.properties", CHART_NODE),
            ("jvm.config", CHART_JVM),
            ("exchange-manager.properties", CHART_EXCHANGE),
            ("log.properties", "io.trino=DEBUG\n"),
            ("access-control.properties", "access-control.name=file\nsecurity.config-file=/x.json\n"),
            ("catalog/tpch.properties", "connector.name=tpch\ntpch.splits-per-node=4\n"),
        ],
    );
    let has_no_effect = |name: &str| format!("Configuration property '{name}' is accepted but has no effect");
    assert_eq!(
        warnings(&config),
        [
            "etc/config.properties:7: Configuration property 'query.max-memory' is set more than once; this line counts"
                .to_owned(),
            "etc/config.properties:11: Configuration property 'fault-tolerant-execution-partition-count' has been \
             replaced. Use 'fault-tolerant-execution-max-partition-count' instead."
                .to_owned(),
            format!("etc/config.properties:12: {}", has_no_effect("task.concurrency")),
            format!("etc/config.properties:13: {}", has_no_effect("exchange.http-client.idle-timeout")),
            format!("etc/config.properties:14: {}", has_no_effect("jmx.rmiregistry.port")),
            format!("etc/config.properties:15: {}", has_no_effect("jmx.rmiserver.port")),
            format!("etc/node.properties:3: {}", has_no_effect("plugin.dir")),
            format!("etc/exchange-manager.properties:3: {}", has_no_effect("exchange.s3.region")),
            format!("etc/exchange-manager.properties:4: {}", has_no_effect("exchange.sink-buffers-per-partition")),
            "etc/access-control.properties: This file is not read".to_owned(),
        ]
    );
    assert!(!config.node.coordinator && !config.node.include_coordinator);
    assert_eq!(config.node.discovery_uri.as_deref(), Some("http://trino:8080"));
    assert_eq!(config.node.shared_secret.as_ref().map(config::Secret::expose), Some("s3cr=t"));
    assert_eq!(config.node.shutdown_grace_period, Duration::seconds(120));
    assert_eq!(config.retry.policy, RetryPolicy::Task);
    assert_eq!(config.retry.task_retry_attempts_per_task, 6);
    assert_eq!(config.retry.initial_delay, Duration::seconds(10));
    assert_eq!(config.query.exchange_compression_codec, CompressionCodec::Lz4);
    assert_eq!(config.memory.limit_per_node, Some(DataSize::gigabytes(8)));
    assert_eq!(config.memory.query_max_memory, DataSize::gigabytes(8));
    assert_eq!(config.memory.query_max_total_memory, DataSize::gigabytes(16));
    assert_eq!(config.memory.query_max_memory_per_node, MemoryShare::Size(DataSize::gigabytes(1)));
    assert_eq!(config.fault_tolerance.task_memory, Some(DataSize::gigabytes(2)));
    assert_eq!(config.fault_tolerance.max_partition_count, 20);
    let exchange = config.require_exchange_manager().unwrap();
    assert_eq!(exchange.base_directories, ["s3://one/x", "s3://two/x"]);
    assert_eq!((exchange.sink_memory_max, exchange.fsync), (DataSize::megabytes(64), false));
    assert_eq!(config.log.levels[0].level, Level::Debug);
    assert_eq!(config.log.directives(), "debug");
}

#[test]
fn a_coordinator_of_the_chart_loads() {
    let config = format!(
        "coordinator=true\nnode-scheduler.include-coordinator=false\nhttp-server.http.port=8080\nquery.max-memory=4GB\n\
         query.max-memory-per-node=1GB\nmemory.heap-headroom-per-node=2GB\ndiscovery.uri=http://localhost:8080\n\
         http-server.authentication.type=PASSWORD\n{CHART_ADDITIONS}exchange-manager.config-file=etc/other.properties\n\
         catalog.disabled-catalogs=tpch\n"
    );
    let config = load(
        "/etc/trino",
        &[
            ("config.properties", &config),
            ("node.properties", CHART_NODE),
            ("jvm.config", CHART_JVM),
            ("other.properties", CHART_EXCHANGE),
            ("password-authenticator.properties", "password-authenticator.name=file\n"),
            ("catalog/tpch.properties", "connector.name=tpch\n"),
            ("catalog/delta.properties", "connector.name=delta-lake\ndelta.metadata.cache-ttl=1m\n"),
            (
                "catalog/Lake.properties",
                "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=file:///data/metastore\n\
                 hive.metastore.user=hive\nfs.hadoop.enabled=true\nhive.storage-format=PARQUET\n",
            ),
        ],
    );
    let alarm =
        config.warnings.iter().find(|warning| matches!(warning.kind, WarningKind::NoProtection { .. }));
    assert_eq!(
        alarm.unwrap().to_string(),
        "/etc/trino/config.properties:8: Configuration property 'http-server.authentication.type' is accepted but has \
         no effect: this server lets everybody in"
    );
    let renamed = |kind: &WarningKind| matches!(kind, WarningKind::ConnectorRenamed { name, .. } if name == "delta_lake");
    assert!(config.warnings.iter().any(|warning| renamed(&warning.kind)));
    assert!(config.node.coordinator && !config.node.include_coordinator);
    assert!(config.exchange_manager.is_some());
    let names: Vec<_> = config.catalogs.iter().map(|catalog| catalog.name.as_str()).collect();
    assert_eq!(names, ["lake"]);
    assert_eq!(config.catalogs[0].get("hive.metastore.catalog.dir"), Some("file:///data/metastore"));
    assert_eq!(config.catalogs[0].properties[0].position.as_ref().unwrap().line, Some(2));
    assert_eq!(config.memory.pool(DataSize::gigabytes(8)), DataSize::gigabytes(6));
}

#[test]
fn defaults_are_those_of_trino() {
    let config = ServerConfig::from_properties([(Source::Node, "node.environment", "test")]).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.retry.policy, RetryPolicy::None);
    assert_eq!(config.retry.allowed, [RetryPolicy::None, RetryPolicy::Query, RetryPolicy::Task]);
    assert_eq!((config.retry.max_failed_tasks, config.retry.query_retry_attempts), (None, 4));
    assert_eq!(config.query.exchange_compression_codec, CompressionCodec::None);
    assert_eq!(config.direct_exchange.compression_codec, CompressionCodec::None);
    assert_eq!(config.query.client_timeout, Duration::minutes(5));
    assert_eq!((config.query.max_history, config.query.max_length), (100, 1_000_000));
    assert_eq!((config.query.max_stage_count, config.query.schedule_split_batch_size), (150, 1000));
    assert_eq!(config.query.min_expire_age, Duration::minutes(15));
    assert_eq!(config.query.allowed_no_matching_node_period, Duration::minutes(2));
    assert_eq!(config.fault_tolerance.max_task_split_count, 2048);
    assert_eq!(config.fault_tolerance.arbitrary_task_target_size_max, DataSize::gigabytes(50));
    assert_eq!(config.fault_tolerance.task_memory, None);
    assert_eq!(config.node.heartbeat_timeout, Duration::seconds(5));
    assert_eq!(config.task.no_progress_timeout, Duration::minutes(5));
    assert!(config.task.max_worker_threads >= 1);
    assert_eq!(config.task.spill_paths, [PathBuf::from("data/spill")]);
    let error = config.require_exchange_manager().unwrap_err();
    assert_eq!(error.code(), base::ErrorCode::EXCHANGE_MANAGER_NOT_CONFIGURED);
}

#[test]
fn failures_can_be_injected() {
    let config = ServerConfig::from_properties([
        (Source::Node, "node.environment", "test"),
        (Source::Config, "failure-injection.tasks", "stage=1,partition=0,attempts=0-1,class=INTERNAL"),
    ])
    .unwrap();
    assert!(config.task.failure_injections[0].matches(1, 0, 1));
}
