//! From the scheduler's small descriptor of an attempt to what a worker needs to run it.

use base::{Error, Result};
use exchange::SourceHandle;
use protocol::node::wire;
use protocol::node::wire::assignment::Output;
use scheduler::{AttemptSpec, Edge, InputShape, TaskInput};

use super::execution::{Execution, ExecutionStage};

/// The descriptor of an attempt: its splits, and what it reads of committed outputs. None if some of those are being
/// recomputed: then the worker was told of the attempt before, on this stream or another. None too if the attempt is of
/// a region that others have taken the place of. `node_bytes`: the memory of the worker.
pub fn assignment(
    execution: &Execution,
    spec: &AttemptSpec,
    node_bytes: u64,
) -> Result<Option<wire::Assignment>> {
    let stage = execution
        .stage(spec.attempt.task.stage)
        .ok_or_else(|| Error::internal(format!("attempt {} is of no stage", spec.attempt)))?;
    if execution.pipeline.as_ref().is_some_and(|pipeline| !pipeline.region().contains(&spec.attempt)) {
        return Ok(None);
    }
    let inputs = stage.inputs.iter().enumerate();
    let inputs: Option<Vec<wire::ExchangeInput>> = inputs
        .map(|(number, input)| exchange_input(execution, number, input, &spec.input))
        .collect::<Result<_>>()?;
    let Some(inputs) = inputs else {
        return Ok(None);
    };
    Ok(Some(wire::Assignment {
        attempt: Some(spec.attempt.into()),
        memory_bytes: spec.memory_bytes,
        scans: scan_splits(stage, &spec.input)?,
        inputs,
        output: Some(output(execution, spec)),
        query_memory_bytes: match &execution.pipeline {
            Some(pipeline) => pipeline.query_memory_bytes(node_bytes),
            None => 0,
        },
    }))
}

/// The bytes of the outputs and their descriptions that travel in an assignment.
pub fn source_bytes(assignment: &wire::Assignment) -> usize {
    let handles = assignment.inputs.iter().flat_map(|input| &input.source_handles);
    handles.map(|handle| handle.len()).sum()
}

/// Where the output of an attempt goes.
fn output(execution: &Execution, spec: &AttemptSpec) -> Output {
    match &execution.pipeline {
        Some(pipeline) => pipeline.output_of(spec.attempt, execution.inputs()),
        None => Output::CommittedOutput(wire::CommittedOutput { inline_bytes_max: 0 }),
    }
}

fn scan_splits(stage: &ExecutionStage, input: &TaskInput) -> Result<Vec<wire::ScanSplits>> {
    stage
        .scans
        .iter()
        .enumerate()
        .map(|(number, scan)| {
            let wanted = input.splits.get(number).map_or(&[][..], Vec::as_slice);
            let splits = wanted
                .iter()
                .map(|split| {
                    let split = scan
                        .splits
                        .get(split)
                        .ok_or_else(|| Error::internal(format!("split {split} of a scan is not known")))?;
                    Ok(wire::Split { payload: split.payload.clone(), size_bytes: split.size_bytes })
                })
                .collect::<Result<_>>()?;
            Ok(wire::ScanSplits { splits })
        })
        .collect()
}

fn exchange_input(
    execution: &Execution,
    number: usize,
    input: &InputShape,
    task: &TaskInput,
) -> Result<Option<wire::ExchangeInput>> {
    if let Some(pipeline) = &execution.pipeline {
        let direct_sources = pipeline.region().sources(number, input, task)?;
        return Ok(Some(wire::ExchangeInput { source_handles: Vec::new(), direct_sources }));
    }
    let mut source_handles = Vec::new();
    for (at, producer) in input.producers.iter().enumerate() {
        let producer = execution
            .stage(*producer)
            .ok_or_else(|| Error::internal(format!("stage {producer} is no stage of the query")))?;
        let partitions = match input.edge {
            Edge::Hash => task.partitions.clone(),
            Edge::Single | Edge::Broadcast | Edge::Arbitrary => 0..1,
        };
        let sources = match input.edge {
            Edge::Arbitrary => task.sources.get(number).and_then(|of_input| of_input.get(at)).cloned(),
            Edge::Hash | Edge::Single | Edge::Broadcast => producer.tasks.map(|tasks| 0..tasks),
        };
        let Some(sources) = sources else {
            return Ok(None);
        };
        let count = sources.len();
        if producer.outputs.range(sources.clone()).count() != count {
            return Ok(None);
        }
        for record in producer.outputs.range(sources).map(|(_, record)| record) {
            // What is in memory is not in the store, or takes longer to get from there.
            let handle = match execution.inline.holds(&record.attempt()) {
                true => SourceHandle::embedded(record, partitions.clone()),
                false => SourceHandle::of(record, partitions.clone()),
            };
            source_handles.extend(handle.map(|handle| handle.encode().into()));
        }
    }
    Ok(Some(wire::ExchangeInput { source_handles, direct_sources: Vec::new() }))
}
