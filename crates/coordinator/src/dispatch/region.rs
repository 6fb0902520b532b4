//! Attempts that run at the same time and stream rows to each other: where each runs, and who reads from whom.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use base::{AttemptId, Error, Incarnation, Result, StageId};
use protocol::node::wire;
use scheduler::{Edge, InputShape, TaskInput};

/// An attempt whose output is read while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The attempt.
    pub attempt: AttemptId,
    /// The life of the worker that runs it.
    pub incarnation: Incarnation,
    /// Where that serves outputs.
    pub uri: Arc<str>,
}

/// The attempts of a region that run now.
#[derive(Clone, Debug, Default)]
pub struct Region {
    /// By stage and partition.
    producers: BTreeMap<StageId, BTreeMap<u32, Producer>>,
}

impl Region {
    /// A region of these attempts.
    pub fn new(producers: impl IntoIterator<Item = Producer>) -> Self {
        let mut region = Region::default();
        for producer in producers {
            let task = producer.attempt.task;
            region.producers.entry(task.stage).or_default().insert(task.partition, producer);
        }
        region
    }

    /// The attempts of a stage, in the order of their partitions.
    pub fn of_stage(&self, stage: StageId) -> impl Iterator<Item = &Producer> {
        self.producers.get(&stage).into_iter().flat_map(BTreeMap::values)
    }

    /// How many tasks a stage has.
    pub fn task_count(&self, stage: StageId) -> u32 {
        let count = self.producers.get(&stage).map_or(0, BTreeMap::len);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether an attempt is one of them.
    pub fn contains(&self, attempt: &AttemptId) -> bool {
        let known = self.producers.get(&attempt.task.stage).and_then(|it| it.get(&attempt.task.partition));
        known.is_some_and(|producer| producer.attempt == *attempt)
    }

    /// What a task reads over an input.
    ///
    /// # Errors
    /// If the task reads of an attempt that is none of them.
    pub fn sources(
        &self,
        number: usize,
        input: &InputShape,
        task: &TaskInput,
    ) -> Result<Vec<wire::DirectSource>> {
        let partitions = match input.edge {
            Edge::Hash => task.partitions.clone(),
            Edge::Single | Edge::Broadcast | Edge::Arbitrary => 0..1,
        };
        let mut sources = Vec::new();
        for (at, stage) in input.producers.iter().enumerate() {
            let all = 0..self.task_count(*stage);
            let wanted = match input.edge {
                Edge::Arbitrary => {
                    let of_input = task.sources.get(number);
                    of_input.and_then(|of_input| of_input.get(at)).cloned().unwrap_or(0..0)
                }
                Edge::Hash | Edge::Single | Edge::Broadcast => all,
            };
            for partition in wanted {
                let producer = self.producers.get(stage).and_then(|of_stage| of_stage.get(&partition));
                let producer = producer.ok_or_else(|| {
                    Error::internal(format!("task {partition} of stage {stage} is read and does not run"))
                })?;
                sources.push(direct_source(producer, &partitions));
            }
        }
        Ok(sources)
    }

    /// How many tasks read all that the tasks of a stage write. 0 if each partition is read by one task. `inputs` are
    /// those of each stage.
    pub fn broadcast_consumers<'a>(
        &self,
        producer: StageId,
        inputs: impl IntoIterator<Item = (StageId, &'a [InputShape])>,
    ) -> u32 {
        let reads_all =
            |input: &InputShape| input.edge == Edge::Broadcast && input.producers.contains(&producer);
        let reading = inputs.into_iter().filter(|(_, inputs)| inputs.iter().any(reads_all));
        reading.map(|(consumer, _)| self.task_count(consumer)).sum()
    }
}

fn direct_source(producer: &Producer, partitions: &Range<u32>) -> wire::DirectSource {
    wire::DirectSource {
        producer: Some(producer.attempt.into()),
        incarnation: producer.incarnation.0,
        uri: producer.uri.to_string(),
        partition_start: partitions.start,
        partition_end: partitions.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Epoch, TaskId};

    fn producer(stage: u32, partition: u32) -> Producer {
        let query = "20261120_061411_00001_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(stage), partition };
        Producer {
            attempt: AttemptId { task, generation: 2, epoch: Epoch(1), number: 0 },
            incarnation: Incarnation(u64::from(partition) + 7),
            uri: format!("http://n{partition}:1").into(),
        }
    }

    /// Stage 0 has one task, stage 1 three, stage 2 two.
    fn region() -> Region {
        let places = [(2, 1), (0, 0), (1, 2), (1, 0), (1, 1), (2, 0)];
        Region::new(places.map(|(stage, partition)| producer(stage, partition)))
    }

    fn input(edge: Edge, producers: &[u32]) -> InputShape {
        InputShape { producers: producers.iter().copied().map(StageId).collect(), edge }
    }

    /// Stage, partition, and the partitions that are read of each source.
    fn read(number: usize, input: &InputShape, task: &TaskInput) -> Vec<(u32, u32, Range<u32>)> {
        let sources = region().sources(number, input, task).unwrap();
        let read = |source: &wire::DirectSource| {
            let id = AttemptId::try_from(source.producer.as_ref().unwrap()).unwrap();
            assert_eq!(source.incarnation, u64::from(id.task.partition) + 7);
            assert_eq!(source.uri, format!("http://n{}:1", id.task.partition));
            (id.task.stage.0, id.task.partition, source.partition_start..source.partition_end)
        };
        sources.iter().map(read).collect()
    }

    #[test]
    fn tasks_read_what_their_edges_say() {
        let task = TaskInput { partitions: 3..5, ..TaskInput::default() };
        let of_both = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)];
        let all = |partitions: Range<u32>| of_both.map(|(stage, task)| (stage, task, partitions.clone()));
        assert_eq!(read(0, &input(Edge::Hash, &[1, 2]), &task), all(3..5));
        assert_eq!(read(0, &input(Edge::Single, &[1, 2]), &task), all(0..1));
        assert_eq!(read(1, &input(Edge::Broadcast, &[1, 2]), &task), all(0..1));
        let task = TaskInput { sources: vec![vec![], vec![1..3, 0..0]], ..TaskInput::default() };
        assert_eq!(read(1, &input(Edge::Arbitrary, &[1, 2]), &task), [(1, 1, 0..1), (1, 2, 0..1)]);
    }

    #[test]
    fn a_task_that_does_not_run_cannot_be_read() {
        let task = TaskInput { sources: vec![vec![2..4]], ..TaskInput::default() };
        assert!(region().sources(0, &input(Edge::Arbitrary, &[1]), &task).is_err());
    }

    #[test]
    fn consumers_of_a_broadcast_are_counted_wherever_they_are() {
        let (root, middle) =
            ([input(Edge::Broadcast, &[2]), input(Edge::Single, &[1])], [input(Edge::Broadcast, &[2])]);
        let inputs = || [(StageId(0), &root[..]), (StageId(1), &middle[..]), (StageId(2), &[][..])];
        assert_eq!(region().broadcast_consumers(StageId(2), inputs()), 1 + 3);
        assert_eq!(region().broadcast_consumers(StageId(1), inputs()), 0);
        assert!(region().contains(&producer(1, 2).attempt));
        let earlier = AttemptId { generation: 1, ..producer(1, 2).attempt };
        assert!(!region().contains(&earlier));
    }
}
