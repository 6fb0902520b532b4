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
    analyzed(&outline(plan), &|_| Vec::new())
}

/// A line of a plan as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineLine {
    /// How far it is indented, in steps.
    pub depth: usize,
    /// What it says.
    pub text: String,
    /// What it is about, if something about that can happen when the plan runs.
    pub part: Option<PlanPart>,
}

/// A part of a plan that does something when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanPart {
    /// The fragment.
    pub stage: StageId,
    /// An operator of it. None: the fragment as a whole. Operators are numbered from 0 in the order in which they are
    /// shown: an operator before its inputs, the first input first.
    pub operator: Option<usize>,
}

/// The lines of `EXPLAIN (TYPE DISTRIBUTED)`. With them, what happened can be told when the plan is gone.
pub fn outline(plan: &FragmentedPlan) -> Vec<OutlineLine> {
    let mut lines = Vec::new();
    for fragment in &plan.fragments {
        if fragment.id.0 > 0 {
            lines.push(OutlineLine { depth: 0, text: String::new(), part: None });
        }
        outline_fragment(&mut lines, fragment);
    }
    lines
}

/// `EXPLAIN ANALYZE`: the lines of a plan, with those about what happened when it ran.
pub fn analyzed(outline: &[OutlineLine], happened: &dyn Fn(PlanPart) -> Vec<String>) -> String {
    let mut text = String::new();
    for OutlineLine { depth, text: content, part } in outline {
        write_line(&mut text, *depth, content);
        let Some(part) = part else { continue };
        let deeper = if part.operator.is_some() { 2 } else { 1 };
        for extra in happened(*part) {
            write_line(&mut text, depth + deeper, &extra);
        }
    }
    text
}

fn outline_fragment(lines: &mut Vec<OutlineLine>, fragment: &PlannedFragment) {
    let indeterminate = if fragment.determinate { "" } else { " indeterminate" };
    let tasks = distribution(fragment.distribution);
    let columns: Vec<String> = fragment
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{}:{}", field.name(), types::Type::from_arrow(field.data_type())))
        .collect();
    lines.push(OutlineLine {
        depth: 0,
        text: format!("Fragment {} [{tasks}]{indeterminate}", fragment.id),
        part: Some(PlanPart { stage: fragment.id, operator: None }),
    });
    for text in [
        format!("Output layout: [{}]", columns.join(", ")),
        format!("Output partitioning: {}", partitioning(&fragment.fragment.sink)),
    ] {
        lines.push(OutlineLine { depth: 1, text, part: None });
    }
    outline_operator(lines, fragment, &fragment.fragment.plan, 1, &mut 0);
}

fn outline_operator(
    lines: &mut Vec<OutlineLine>,
    fragment: &PlannedFragment,
    node: &Arc<dyn ExecutionPlan>,
    depth: usize,
    next: &mut usize,
) {
    let shown = match node.downcast_ref::<ExchangeSourceExec>() {
        Some(source) => remote_source(fragment, source),
        None => displayable(node.as_ref()).one_line().to_string(),
    };
    let part = PlanPart { stage: fragment.id, operator: Some(*next) };
    lines.push(OutlineLine { depth, text: shown.trim_end().to_owned(), part: Some(part) });
    *next += 1;
    for child in node.children() {
        outline_operator(lines, fragment, child, depth + 1, next);
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

fn write_line(text: &mut String, depth: usize, content: &str) {
    for _ in 0..depth {
        text.push_str("    ");
    }
    writeln!(text, "{content}").expect("writing to a string does not fail");
}
