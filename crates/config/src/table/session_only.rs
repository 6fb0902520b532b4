//! Properties that exist in sessions only.

use crate::kind::Kind;
use crate::property::{Property, PropertyFile, Topic};

use super::kinds::{BOOLEAN, DURATION, POSITIVE, SIZE, integer};

const fn effective(name: &'static str, kind: Kind, doc: &'static str) -> Property {
    Property::unset(Topic::Query, name, kind, doc).session(name).in_file(PropertyFile::Session)
}

const fn ignored(name: &'static str, kind: Kind) -> Property {
    effective(name, kind, "Accepted for compatibility with Trino; has no effect.").without_effect()
}

const fn ignored_with_default(name: &'static str, kind: Kind, default: &'static str) -> Property {
    Property { default: crate::property::DefaultValue::Text(default), ..ignored(name, kind) }
}

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    effective("time_zone_id", Kind::Text, "The time zone of the session."),
    ignored_with_default("adaptive_filter_reordering_enabled", BOOLEAN, "true"),
    ignored_with_default("allow_pushdown_into_connectors", BOOLEAN, "true").hidden(),
    ignored_with_default("close_idle_writers_trigger_duration", DURATION, "5s").hidden(),
    ignored("cost_estimation_worker_count", POSITIVE).hidden(),
    ignored_with_default("debug_adaptive_planner", BOOLEAN, "false").hidden(),
    ignored_with_default("idle_writer_min_data_size_threshold", SIZE, "256MB").hidden(),
    ignored_with_default("legacy_varchar_to_char_coercion", BOOLEAN, "false"),
    ignored("mark_distinct_strategy", Kind::Choice(&["NONE", "ALWAYS", "AUTOMATIC"])),
    ignored_with_default("query_priority", integer(1), "1"),
    ignored_with_default("resource_overcommit", BOOLEAN, "false"),
    ignored_with_default("skewed_partition_min_data_processed_rebalance_threshold", SIZE, "200MB").hidden(),
    ignored("spatial_partitioning_table_name", Kind::Text),
    ignored_with_default("spooling_enabled", BOOLEAN, "true"),
    ignored_with_default("spooling_unsupported_warning", BOOLEAN, "false"),
    ignored_with_default("use_partial_distinct_limit", BOOLEAN, "true").hidden(),
    ignored_with_default("use_partial_topn", BOOLEAN, "true").hidden(),
];
