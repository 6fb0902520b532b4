use std::collections::BTreeSet;

use super::*;
use crate::property::{DefaultValue, Status};

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    let mut sessions = BTreeSet::new();
    for property in properties() {
        for name in [property.name].into_iter().chain(property.aliases.iter().copied()) {
            assert!(seen.insert((property.file, name)), "{name}");
        }
        if let Some(session) = property.session {
            assert!(sessions.insert(session), "{session}");
        }
    }
    for file in [PropertyFile::Config, PropertyFile::ExchangeManager, PropertyFile::Catalog("hive")] {
        for name in accepted_without_effect(file) {
            assert!(seen.insert((file, name)), "{name}");
        }
    }
    for name in defunct::DEFUNCT {
        assert!(seen.insert((PropertyFile::Config, name)), "{name}");
    }
    // The code finds properties that have a value by their names alone.
    let names: BTreeSet<_> = properties().map(|property| property.name).collect();
    assert_eq!(names.len(), properties().count());
}

#[test]
fn defaults_are_values_of_their_kind() {
    for property in properties() {
        let texts = [property.default_text(false), property.default_text(true)];
        for text in texts.into_iter().flatten() {
            assert!(property.kind.parse(text).is_ok(), "{}={text}", property.name);
        }
    }
}

#[test]
fn session_names_are_spelled_as_the_properties_that_have_effect() {
    const RENAMED: [(&str, &str); 9] = [
        ("fault-tolerant-execution-speculative-execution-enabled", "speculative_execution_enabled"),
        (
            "fault-tolerant-execution-speculative-execution-max-task-fraction",
            "speculative_execution_max_task_fraction",
        ),
        ("fault-tolerant-execution-speculative-execution-min-task-age", "speculative_execution_min_task_age"),
        ("fault-tolerant-execution-speculative-execution-min-slowness", "speculative_execution_min_slowness"),
        ("optimizer.join-reordering-strategy", "join_reordering_strategy"),
        ("optimizer.single-task-max-row-count", "single_task_max_row_count"),
        ("query.max-hash-partition-count", "max_hash_partition_count"),
        ("query-manager.required-workers", "required_workers_count"),
        ("query-manager.required-workers-max-wait", "required_workers_max_wait_time"),
    ];
    for property in properties().filter(|property| property.status != Status::NoEffect) {
        let Some(session) = property.session else { continue };
        let spelled = property.name.replace(['-', '.'], "_");
        assert!(session == spelled || RENAMED.contains(&(property.name, session)), "{session}");
    }
}

#[test]
fn everything_is_documented() {
    for property in properties() {
        assert!(property.doc.ends_with('.'), "{}", property.name);
        assert!(!property.doc.contains('|'), "{}", property.name);
        assert!(property.coordinator || property.worker, "{}", property.name);
        if let DefaultValue::Computed(how) = property.default {
            assert!(!how.is_empty(), "{}", property.name);
        }
    }
}
