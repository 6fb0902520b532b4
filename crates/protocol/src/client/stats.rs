//! How far a query is, as clients show it.

use serde::{Deserialize, Serialize};

/// A share in percent is left out while it is not known, and never told as something that is no number.
fn is_unknown(percentage: &Option<f64>) -> bool {
    !percentage.is_some_and(f64::is_finite)
}

/// How far a query is. Splits here are what Trino counts: units of work of all stages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are those of the protocol and carry their units")]
pub struct StatementStats {
    /// `QUEUED`, `WAITING_FOR_RESOURCES`, `DISPATCHING`, `PLANNING`, `STARTING`, `RUNNING`, `FINISHING`,
    /// `FINISHED` or `FAILED`.
    pub state: String,
    pub queued: bool,
    /// Whether all stages are scheduled.
    pub scheduled: bool,
    #[serde(skip_serializing_if = "is_unknown")]
    pub progress_percentage: Option<f64>,
    #[serde(skip_serializing_if = "is_unknown")]
    pub running_percentage: Option<f64>,
    /// How many nodes work on it.
    pub nodes: u64,
    pub total_splits: u64,
    pub queued_splits: u64,
    /// Running and blocked ones.
    pub running_splits: u64,
    pub completed_splits: u64,
    pub planning_time_millis: u64,
    pub analysis_time_millis: u64,
    pub cpu_time_millis: u64,
    pub wall_time_millis: u64,
    pub queued_time_millis: u64,
    pub elapsed_time_millis: u64,
    pub finishing_time_millis: u64,
    pub physical_input_time_millis: u64,
    pub processed_rows: u64,
    pub processed_bytes: u64,
    pub physical_input_bytes: u64,
    pub physical_written_bytes: u64,
    pub internal_network_input_bytes: u64,
    pub peak_memory_bytes: u64,
    pub spilled_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_stage: Option<StageStats>,
}

/// How far a stage is, and those below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are those of the protocol and carry their units")]
pub struct StageStats {
    pub stage_id: String,
    /// `PLANNED`, `SCHEDULING`, `RUNNING`, `PENDING`, `FINISHED`, `ABORTED` or `FAILED`.
    pub state: String,
    pub done: bool,
    pub nodes: u64,
    pub total_splits: u64,
    pub queued_splits: u64,
    pub running_splits: u64,
    pub completed_splits: u64,
    pub cpu_time_millis: u64,
    pub wall_time_millis: u64,
    pub processed_rows: u64,
    pub processed_bytes: u64,
    pub physical_input_bytes: u64,
    pub failed_tasks: u64,
    pub coordinator_only: bool,
    pub sub_stages: Vec<StageStats>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_integers_and_unknown_shares_are_omitted() {
        let stats = StatementStats {
            progress_percentage: Some(f64::NAN),
            root_stage: Some(StageStats { sub_stages: vec![StageStats::default()], ..Default::default() }),
            ..Default::default()
        };
        let document = serde_json::to_value(&stats).unwrap();
        let members = document.as_object().unwrap();
        assert!(!members.contains_key("progressPercentage") && !members.contains_key("runningPercentage"));
        assert!(members.values().all(|value| !value.is_f64()));
        assert_eq!(document["rootStage"]["subStages"][0]["failedTasks"], 0);
        let known = StatementStats { progress_percentage: Some(12.5), ..stats };
        let text = serde_json::to_string(&known).unwrap();
        assert!(text.contains(r#""progressPercentage":12.5"#));
        assert_eq!(serde_json::from_str::<StatementStats>(&text).unwrap(), known);
    }
}
