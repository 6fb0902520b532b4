//! Checks what no property can check for itself.

use base::DataSize;

use crate::check::Checker;
use crate::kind::Value;
use crate::problem::{Position, ProblemKind, WarningKind};
use crate::server::{MemoryConfig, fte};
use crate::table::property;
use crate::values::Values;

/// Checks what no property can check for itself.
pub(crate) fn cross_check(
    checker: &mut Checker<'_>,
    values: &Values,
    node_file: &Position,
    exchange_file: Option<&Position>,
    jvm_limit: Option<DataSize>,
) {
    let missing =
        |name: &str, reason: &str| ProblemKind::Missing { name: name.to_owned(), reason: reason.to_owned() };
    if values.text("node.environment").is_none() {
        let kind = missing("node.environment", "it is the name of the cluster");
        checker.problem(Some(node_file.clone()), kind);
    }
    if !values.boolean("coordinator") {
        if values.text("discovery.uri").is_none() {
            let kind = missing("discovery.uri", "a worker needs the address of the coordinator");
            checker.problem(values.position("coordinator"), kind);
        }
        const INCLUDE: &str = "node-scheduler.include-coordinator";
        if values.set.contains_key(INCLUDE) && values.boolean(INCLUDE) {
            let kind = WarningKind::OtherRole { name: INCLUDE.to_owned(), role: "coordinator" };
            checker.warn(values.position(INCLUDE), kind);
        }
    }
    check_retry(checker, values);
    check_order(checker, values);
    check_memory(checker, values, jvm_limit);
    if let Some(file) = exchange_file {
        for name in ["exchange-manager.name", "exchange.base-directories"] {
            if !values.set.contains_key(name) {
                checker.problem(Some(file.clone()), missing(name, "there is an exchange manager"));
            }
        }
        check_directories(checker, values);
    }
}

fn check_retry(checker: &mut Checker<'_>, values: &Values) {
    let policy = values.choice("retry-policy");
    let allowed = values.list("retry-policy.allowed");
    if !allowed.iter().any(|allowed| allowed == policy) {
        let position = values.position("retry-policy.allowed");
        checker.inconsistent(
            position,
            format!("retry-policy is {policy}, which retry-policy.allowed does not allow"),
        );
    }
    let (first, last) = (values.duration("retry-initial-delay"), values.duration("retry-max-delay"));
    if first > last {
        let position = values.position("retry-initial-delay").or_else(|| values.position("retry-max-delay"));
        let reason =
            format!("retry-initial-delay ({first}) must not be greater than retry-max-delay ({last})");
        checker.inconsistent(position, reason);
    }
}

/// Checks that the least of something is not more than the most of it.
fn check_order(checker: &mut Checker<'_>, values: &Values) {
    for (least, most) in [
        (fte!("min-partition-count"), fte!("max-partition-count")),
        (
            fte!("arbitrary-distribution-compute-task-target-size-min"),
            fte!("arbitrary-distribution-compute-task-target-size-max"),
        ),
    ] {
        let number = |name| match values.get(name) {
            Some(Value::Integer(value)) => value as u64,
            Some(Value::DataSize(size)) => size.0,
            _ => 0,
        };
        if number(least) > number(most) {
            let text = |name| property(name).and_then(|property| values.text_of(property));
            let position = values.position(least).or_else(|| values.position(most));
            let (low, high) = (text(least).unwrap_or_default(), text(most).unwrap_or_default());
            checker
                .inconsistent(position, format!("{least} ({low}) must not be greater than {most} ({high})"));
        }
    }
}

fn check_memory(checker: &mut Checker<'_>, values: &Values, jvm_limit: Option<DataSize>) {
    let MemoryConfig {
        limit_per_node,
        heap_headroom_per_node,
        query_max_memory,
        query_max_total_memory,
        query_max_memory_per_node,
    } = MemoryConfig::of(values, jvm_limit);
    if query_max_memory > query_max_total_memory {
        let reason = format!(
            "query.max-memory ({query_max_memory}) must not be greater than query.max-total-memory \
             ({query_max_total_memory})"
        );
        checker.inconsistent(values.position("query.max-total-memory"), reason);
    }
    let Some(limit) = limit_per_node else { return };
    let (headroom, per_node) = (heap_headroom_per_node.of(limit), query_max_memory_per_node.of(limit));
    if headroom.0.saturating_add(per_node.0) > limit.0 {
        let position = values
            .position("query.max-memory-per-node")
            .or_else(|| values.position("memory.heap-headroom-per-node"))
            .or_else(|| values.position("memory.limit-per-node"));
        let reason = format!(
            "query.max-memory-per-node ({per_node}) and memory.heap-headroom-per-node ({headroom}) must not be \
             greater together than the memory of the node ({limit})"
        );
        checker.inconsistent(position, reason);
    }
}

fn check_directories(checker: &mut Checker<'_>, values: &Values) {
    const PROPERTY: &str = "exchange.base-directories";
    const SCHEMES: [&str; 11] =
        ["file", "s3", "s3a", "s3n", "gs", "abfs", "abfss", "wasb", "wasbs", "hdfs", "viewfs"];
    if !values.set.contains_key(PROPERTY) {
        return;
    }
    let directories = values.list(PROPERTY);
    let scheme =
        |directory: &str| directory.split_once("://").map_or("file", |(scheme, _)| scheme).to_owned();
    let schemes: Vec<String> = directories.iter().map(|directory| scheme(directory)).collect();
    let invalid = |value: &str, reason: String| ProblemKind::InvalidValue {
        name: PROPERTY.to_owned(),
        value: value.to_owned(),
        reason,
    };
    let position = values.position(PROPERTY);
    if directories.is_empty() {
        checker.problem(position, invalid("", "expected at least one directory".to_owned()));
    } else if let Some(at) = schemes.iter().position(|scheme| !SCHEMES.contains(&scheme.as_str())) {
        let reason = format!("there is no file system for '{}'", schemes[at]);
        checker.problem(position, invalid(&directories[at], reason));
    } else if schemes.iter().any(|scheme| *scheme != schemes[0]) {
        let reason = "all directories must have the same scheme".to_owned();
        checker.problem(position, invalid(&directories.join(","), reason));
    }
}
