use super::*;
use crate::load::Source;

fn table(properties: &[(&str, &str)]) -> SessionPropertyTable {
    let node = [("node.environment", "test")];
    let properties = node.iter().chain(properties).map(|(name, value)| (Source::Config, *name, *value));
    SessionPropertyTable::new(&ServerConfig::from_properties(properties).unwrap())
}

#[test]
fn defaults_are_shown_as_trino_shows_them() {
    let table = table(&[("query.max-run-time", "2h"), ("optimizer.max-reordered-joins", "5")]);
    for (name, type_name, default) in [
        ("query_max_run_time", "varchar", "2.00h"),
        ("query_max_execution_time", "varchar", "100.00d"),
        ("retry_initial_delay", "varchar", "10.00s"),
        ("retry_policy", "varchar", "NONE"),
        ("retry_delay_scale_factor", "double", "2.0"),
        ("task_retry_attempts_per_task", "integer", "4"),
        ("max_failed_tasks", "integer", ""),
        ("max_reordered_joins", "integer", "5"),
        ("min_input_rows_per_task", "bigint", "10000000"),
        ("join_max_broadcast_table_size", "varchar", "16MB"),
        ("enable_dynamic_filtering", "boolean", "true"),
        ("exchange_compression_codec", "varchar", "NONE"),
        ("time_zone_id", "varchar", ""),
        ("query_max_cpu_time", "varchar", "1000000000.00d"),
    ] {
        let property = table.get(name).unwrap();
        assert_eq!((property.type_name, property.default.as_str()), (type_name, default), "{name}");
    }
}

#[test]
fn task_retries_change_defaults() {
    let table = table(&[("retry-policy", "TASK")]);
    assert_eq!(table.get("exchange_compression_codec").unwrap().default, "LZ4");
}

#[test]
fn rows_show_what_is_set_and_leave_hidden_ones_out() {
    let table = table(&[]);
    let set = BTreeMap::from([("retry_policy".to_owned(), "TASK".to_owned())]);
    let rows = table.rows(&set);
    let retry = rows.iter().find(|row| row.name == "retry_policy").unwrap();
    assert_eq!((retry.value.as_str(), retry.default.as_str()), ("TASK", "NONE"));
    assert!(retry.description.ends_with("Possible values: [NONE, QUERY, TASK]"));
    assert!(rows.iter().all(|row| row.name != "debug_adaptive_planner"));
    assert!(rows.is_sorted_by(|one, other| one.name < other.name));
}

#[test]
fn values_are_checked() {
    let table = table(&[("retry-policy.allowed", "NONE,TASK")]);
    assert_eq!(table.validate("retry_policy", "task").unwrap(), "task");
    assert_eq!(table.validate("query_max_run_time", " 5m ").unwrap(), "5m");
    for (name, value, message) in [
        ("colour", "red", "Session property 'colour' does not exist"),
        ("retry-policy", "TASK", "Session property 'retry-policy' does not exist"),
        ("retry_policy", "QUERY", "Retry policy QUERY not allowed. Must be one of [NONE, TASK]"),
        (
            "retry_policy",
            "ALWAYS",
            "Session property 'retry_policy' is invalid: Invalid value [ALWAYS]. Valid values: [NONE, QUERY, TASK]",
        ),
        (
            "task_retry_attempts_per_task",
            "127",
            "Session property 'task_retry_attempts_per_task' is invalid: must be between 0 and 126: 127",
        ),
        (
            "query_max_run_time",
            "soon",
            "Session property 'query_max_run_time' is invalid: expected a duration such as 10s (units: ns, us, ms, s, \
             m, h, d): soon",
        ),
        (
            "enable_dynamic_filtering",
            "maybe",
            "Session property 'enable_dynamic_filtering' is invalid: expected true or false: maybe",
        ),
    ] {
        let error = table.validate(name, value).unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_SESSION_PROPERTY);
        assert_eq!(error.message(), message);
    }
}

#[test]
fn every_session_property_of_trino_is_known() {
    let shared = std::env::var("STEADFAST_SHARED_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").to_owned());
    let list = std::path::Path::new(&shared).join("reference/trino-session-properties.txt");
    let Ok(names) = std::fs::read_to_string(&list) else {
        eprintln!("SKIPPED: {} is not there", list.display());
        return;
    };
    let table = table(&[]);
    let unknown: Vec<_> = names.lines().filter(|name| table.get(name).is_none()).collect();
    assert_eq!(unknown, [""; 0]);
    let ours: Vec<_> =
        table.iter().map(|one| one.name).filter(|name| !names.lines().any(|one| one == *name)).collect();
    assert_eq!(
        ours,
        [
            "max_failed_tasks",
            "single_task_max_row_count",
            "speculative_execution_enabled",
            "speculative_execution_max_task_fraction",
            "speculative_execution_min_slowness",
            "speculative_execution_min_task_age",
        ]
    );
}
