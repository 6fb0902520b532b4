//! Plans as text.

use std::fmt::Write;
use std::sync::Arc;

use base::StageId;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use operators::{ExchangeSourceExec, Sink};
use scheduler::{Distribution, Edge};

use crate::{FragmentedPlan, PlannedFragment};

/// `EXPLAIN (TYPE LOGICAL)`.
pub fn logical(plan: &LogicalPlan) -> String {
    plan.display_indent().to_string()
}

/// `EXPLAIN (TYPE DISTRIBUTED)`: the fragments in Trino's manner. One whose tasks may write other rows when they are
/// run again is marked as indeterminate.
pub fn distributed(plan: &FragmentedPlan) -> String {
    analyzed(plan, &|_, _| Vec::new())
}

/// `EXPLAIN ANALYZE`: the fragments with lines about what happened when they ran.
///
/// `lines` gives those of a fragment (`None`) and those of each of its operators, which are numbered from 0 in the
/// order in which they are shown: an operator before its inputs, the first input first.
pub fn analyzed(plan: &FragmentedPlan, lines: &dyn Fn(StageId, Option<usize>) -> Vec<String>) -> String {
    let mut text = String::new();
    for fragment in &plan.fragments {
        if fragment.id.0 > 0 {
            text.push('\n');
        }
        write_fragment(&mut text, fragment, lines);
    }
    text
}

fn write_fragment(
    text: &mut String,
    fragment: &PlannedFragment,
    lines: &dyn Fn(StageId, Option<usize>) -> Vec<String>,
) {
    let indeterminate = if fragment.determinate { "" } else { " indeterminate" };
    let tasks = distribution(fragment.distribution);
    line(text, 0, &format!("Fragment {} [{tasks}]{indeterminate}", fragment.id));
    for extra in lines(fragment.id, None) {
        line(text, 1, &extra);
    }
    let columns: Vec<String> = fragment
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{}:{}", field.name(), types::Type::from_arrow(field.data_type())))
        .collect();
    line(text, 1, &format!("Output layout: [{}]", columns.join(", ")));
    line(text, 1, &format!("Output partitioning: {}", partitioning(&fragment.fragment.sink)));
    let mut next = 0;
    write_operator(text, fragment, &fragment.fragment.plan, 1, &mut next, lines);
}

fn write_operator(
    text: &mut String,
    fragment: &PlannedFragment,
    node: &Arc<dyn ExecutionPlan>,
    depth: usize,
    next: &mut usize,
    lines: &dyn Fn(StageId, Option<usize>) -> Vec<String>,
) {
    let shown = match node.downcast_ref::<ExchangeSourceExec>() {
        Some(source) => remote_source(fragment, source),
        None => displayable(node.as_ref()).one_line().to_string(),
    };
    line(text, depth, shown.trim_end());
    for extra in lines(fragment.id, Some(*next)) {
        line(text, depth + 2, &extra);
    }
    *next += 1;
    for child in node.children() {
        write_operator(text, fragment, child, depth + 1, next, lines);
    }
}

fn remote_source(fragment: &PlannedFragment, source: &ExchangeSourceExec) -> String {
    let Some(input) = fragment.inputs.get(source.input() as usize) else {
        return "RemoteSource[]".into();
    };
    let producers: Vec<String> = input.shape.producers.iter().map(ToString::to_string).collect();
    let (name, edge) = match (source.ordering(), input.shape.edge) {
        (Some(ordering), _) => ("RemoteMerge", format!("orderBy = [{ordering}]")),
        (None, Edge::Hash) => ("RemoteSource", "type = REPARTITION".to_owned()),
        (None, Edge::Single | Edge::Arbitrary) => ("RemoteSource", "type = GATHER".to_owned()),
        (None, Edge::Broadcast) => ("RemoteSource", "type = REPLICATE".to_owned()),
    };
    format!("{name}[sourceFragmentIds = [{}], {edge}]", producers.join(", "))
}

fn distribution(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Single => "SINGLE",
        Distribution::Source => "SOURCE",
        Distribution::Hash { .. } => "HASH",
        Distribution::Arbitrary => "ROUND_ROBIN",
    }
}

fn partitioning(sink: &Sink) -> String {
    match sink {
        Sink::Single => "SINGLE []".into(),
        Sink::Hash { keys, .. } => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            format!("HASH [{}]", keys.join(", "))
        }
    }
}

fn line(text: &mut String, depth: usize, content: &str) {
    for _ in 0..depth {
        text.push_str("    ");
    }
    writeln!(text, "{content}").expect("writing to a string does not fail");
}
