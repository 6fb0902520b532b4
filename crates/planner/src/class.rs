//! What each operator requires of the rows it sees: the white-list of operators that may be cut apart.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use operators::{AtMostOneRowExec, SplitScanExec};

/// What an operator requires of the rows that one task of it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A scan whose splits tasks may share.
    SplitScan,
    /// A leaf that must run in one task only.
    OneTaskLeaf,
    /// Nothing: any part of the rows will do.
    RowLocal,
    /// All rows with the same key.
    NeedsKey,
    /// All rows.
    NeedsAll,
    /// All rows of the first input, any part of the second.
    CollectsLeft,
    /// All rows with the same key, of both inputs.
    NeedsKeyOfBoth,
    /// All rows of both inputs.
    NeedsAllOfBoth,
    /// Not an operator of its own: it says where rows go.
    Structural(Structure),
    /// Known, and cannot run on workers.
    Impossible,
    /// Not known: runs in one task.
    Unknown,
}

/// The operators that say where rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Structure {
    Repartition,
    Gather,
    OrderedGather,
    Union,
    ScalarSubquery,
    /// It has no meaning for us.
    PassThrough,
}

/// Whether each task that has all of the build side and a part of the probe side gives a part of the join.
///
/// The others tell of build rows that found no partner, or that found one: only who saw all probe rows knows.
pub(crate) fn is_decided_by_probe_row(join_type: JoinType) -> bool {
    match join_type {
        JoinType::Inner
        | JoinType::Right
        | JoinType::RightSemi
        | JoinType::RightAnti
        | JoinType::RightMark => true,
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            false
        }
    }
}

/// The class of an operator. Whatever is not listed here is [`Class::Unknown`].
pub(crate) fn class_of(node: &Arc<dyn ExecutionPlan>) -> Class {
    if let Some(scan) = node.downcast_ref::<SplitScanExec>() {
        return if scan.is_parallel() { Class::SplitScan } else { Class::OneTaskLeaf };
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return match aggregate.mode() {
            AggregateMode::Partial | AggregateMode::PartialReduce => Class::RowLocal,
            AggregateMode::FinalPartitioned | AggregateMode::SinglePartitioned => Class::NeedsKey,
            AggregateMode::Final | AggregateMode::Single => Class::NeedsAll,
        };
    }
    if let Some(window) = node.downcast_ref::<WindowAggExec>() {
        return keyed(window.partition_keys().is_empty());
    }
    if let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() {
        return keyed(window.partition_keys().is_empty());
    }
    if let Some(sort) = node.downcast_ref::<SortExec>() {
        return if sort.preserve_partitioning() { Class::RowLocal } else { Class::NeedsAll };
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return match join.partition_mode() {
            // Whether a NULL was seen anywhere decides about every row.
            _ if join.null_aware => Class::NeedsAllOfBoth,
            PartitionMode::Partitioned => Class::NeedsKeyOfBoth,
            _ if is_decided_by_probe_row(*join.join_type()) => Class::CollectsLeft,
            _ => Class::NeedsAllOfBoth,
        };
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let decided = is_decided_by_probe_row(*join.join_type());
        return if decided { Class::CollectsLeft } else { Class::NeedsAllOfBoth };
    }
    if let Some(leaf) = node.downcast_ref::<DataSourceExec>() {
        let is_values = leaf.data_source().downcast_ref::<MemorySourceConfig>().is_some();
        let is_one = node.output_partitioning().partition_count() == 1;
        return if is_values && is_one { Class::OneTaskLeaf } else { Class::Impossible };
    }
    if node.is::<CrossJoinExec>() {
        Class::CollectsLeft
    } else if node.is::<SortMergeJoinExec>() {
        Class::NeedsKeyOfBoth
    } else if node.is::<FilterExec>()
        || node.is::<ProjectionExec>()
        || node.is::<UnnestExec>()
        || node.is::<LocalLimitExec>()
    {
        Class::RowLocal
    } else if node.is::<GlobalLimitExec>() || node.is::<AtMostOneRowExec>() {
        Class::NeedsAll
    } else if node.is::<EmptyExec>() || node.is::<PlaceholderRowExec>() || node.is::<LazyMemoryExec>() {
        Class::OneTaskLeaf
    } else if node.is::<RepartitionExec>() {
        Class::Structural(Structure::Repartition)
    } else if node.is::<CoalescePartitionsExec>() {
        Class::Structural(Structure::Gather)
    } else if node.is::<SortPreservingMergeExec>() {
        Class::Structural(Structure::OrderedGather)
    } else if node.is::<UnionExec>() {
        Class::Structural(Structure::Union)
    } else if node.is::<ScalarSubqueryExec>() {
        Class::Structural(Structure::ScalarSubquery)
    } else if node.is::<CooperativeExec>() {
        Class::Structural(Structure::PassThrough)
    } else if node.is::<RecursiveQueryExec>() || node.is::<WorkTableExec>() {
        Class::Impossible
    } else {
        Class::Unknown
    }
}

fn keyed(has_no_keys: bool) -> Class {
    if has_no_keys { Class::NeedsAll } else { Class::NeedsKey }
}
