//! What the coordinator sent of attempts and fragments, until it is of no use any more.
//!
//! The coordinator sends a descriptor once on each stream. It relies on the worker to keep the descriptors of what
//! it desires, and the fragments of every query of which it desires anything.

use std::collections::{BTreeMap, BTreeSet};

use base::{AttemptId, Error, Incarnation, QueryId, Result, StageId};
use bytes::Bytes;
use connector::Split;
use protocol::node::{InvalidMessage, wire};

use crate::attempt::{Descriptor, Input, MemoryGrant, OutputKind, Producer};

/// What the coordinator sent and may be needed.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    assignments: BTreeMap<AttemptId, Assignment>,
    fragments: BTreeMap<(QueryId, StageId), Bytes>,
}

#[derive(Debug)]
struct Assignment {
    memory: MemoryGrant,
    scans: Vec<Vec<Split>>,
    inputs: Vec<Input>,
    output: OutputKind,
}

/// An attempt that the coordinator desires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) attempt: AttemptId,
    /// The memory promised to it alone; 0 too if the message does not tell because it was told before.
    pub(crate) memory_bytes: u64,
    /// Whether it exchanges rows with attempts that run at the same time.
    pub(crate) is_pipelined: bool,
}

impl Descriptors {
    /// Takes over what is new in a message, and forgets what it does not desire. Returns what it desires.
    pub(crate) fn merge(&mut self, desired: wire::Desired) -> Result<Vec<Wanted>> {
        let attempts: BTreeSet<AttemptId> =
            desired.attempts.iter().map(AttemptId::try_from).collect::<Result<_, _>>()?;
        for assignment in desired.assignments {
            let (attempt, assignment) = decode_assignment(assignment)?;
            self.assignments.insert(attempt, assignment);
        }
        self.count_sharers();
        for fragment in desired.fragments {
            let query = query_id(&fragment.query)?;
            self.fragments.insert((query, StageId(fragment.stage)), fragment.encoded);
        }
        let queries: BTreeSet<QueryId> = attempts.iter().map(|attempt| attempt.task.query).collect();
        self.assignments.retain(|attempt, _| attempts.contains(attempt));
        self.fragments.retain(|(query, _), _| queries.contains(query));
        let wanted = |attempt: &AttemptId| {
            let memory = self.assignments.get(attempt).map(|assignment| assignment.memory);
            Wanted {
                attempt: *attempt,
                memory_bytes: memory.map_or(0, MemoryGrant::lease_bytes),
                is_pipelined: matches!(memory, Some(MemoryGrant::Query { .. })),
            }
        };
        Ok(attempts.iter().map(wanted).collect())
    }

    /// Tells those that share the memory of their query how many they are. All of a query come in one message.
    fn count_sharers(&mut self) {
        let mut counts: BTreeMap<QueryId, u64> = BTreeMap::new();
        for (attempt, assignment) in &self.assignments {
            if let MemoryGrant::Query { .. } = assignment.memory {
                *counts.entry(attempt.task.query).or_default() += 1;
            }
        }
        for (attempt, assignment) in &mut self.assignments {
            if let MemoryGrant::Query { attempts, .. } = &mut assignment.memory {
                *attempts = counts.get(&attempt.task.query).copied().unwrap_or(1);
            }
        }
    }

    /// What an attempt is to do. Each attempt starts once, so its part of it is given away.
    pub(crate) fn take(&mut self, attempt: &AttemptId) -> Result<Descriptor> {
        let fragment = self.fragments.get(&(attempt.task.query, attempt.task.stage)).cloned();
        let (Some(assignment), Some(fragment)) = (self.assignments.remove(attempt), fragment) else {
            return Err(Error::internal(format!("The worker was not told what attempt {attempt} is to do")));
        };
        Ok(Descriptor {
            attempt: *attempt,
            memory: assignment.memory,
            fragment,
            scans: assignment.scans,
            inputs: assignment.inputs,
            output: assignment.output,
        })
    }
}

fn query_id(text: &str) -> Result<QueryId> {
    text.parse()
        .map_err(|error| Error::internal("The coordinator sent a query id that is none").caused_by(error))
}

fn decode_assignment(assignment: wire::Assignment) -> Result<(AttemptId, Assignment)> {
    let attempt = assignment
        .attempt
        .as_ref()
        .ok_or_else(|| Error::internal("The coordinator sent an assignment without an attempt"))?;
    let scans = assignment
        .scans
        .into_iter()
        .map(|scan| {
            let splits = scan.splits.into_iter();
            splits.map(|split| Split { payload: split.payload, size_bytes: split.size_bytes }).collect()
        })
        .collect();
    let inputs = assignment.inputs.into_iter().map(decode_input).collect::<Result<_>>()?;
    let output = match assignment.output {
        Some(wire::assignment::Output::DirectOutput(direct)) => {
            OutputKind::Direct { broadcast_consumers: direct.broadcast_consumers }
        }
        Some(wire::assignment::Output::CommittedOutput(committed)) => {
            OutputKind::Committed { unstored_bytes_max: committed.inline_bytes_max }
        }
        None => OutputKind::Committed { unstored_bytes_max: 0 },
    };
    // Who exchanges rows with attempts that run at the same time has no lease, and nobody else is without one. That its
    // output is streamed does not tell: that of a root under `QUERY` is committed.
    let memory = match assignment.memory_bytes {
        0 => MemoryGrant::Query { bytes: assignment.query_memory_bytes, attempts: 1 },
        bytes => MemoryGrant::Lease(bytes),
    };
    Ok((attempt.try_into()?, Assignment { memory, scans, inputs, output }))
}

fn decode_input(input: wire::ExchangeInput) -> Result<Input> {
    if input.direct_sources.is_empty() {
        return Ok(Input::Committed(input.source_handles));
    }
    let producer = |source: wire::DirectSource| {
        let attempt = source.producer.as_ref().ok_or(InvalidMessage("an output of nobody"))?;
        Ok(Producer {
            attempt: attempt.try_into()?,
            incarnation: Incarnation(source.incarnation),
            uri: source.uri,
            partitions: source.partition_start..source.partition_end,
        })
    };
    input.direct_sources.into_iter().map(producer).collect::<Result<_>>().map(Input::Direct)
}

#[cfg(test)]
mod tests {
    use base::{Epoch, TaskId};

    use super::*;

    const QUERIES: [&str; 2] = ["20261120_061411_00001_abcde", "20261120_061411_00002_abcde"];

    fn attempt(query: usize, partition: u32) -> AttemptId {
        let task = TaskId { query: QUERIES[query].parse().unwrap(), stage: StageId(1), partition };
        AttemptId { task, generation: 0, epoch: Epoch(1), number: 0 }
    }

    fn assignment(attempt: AttemptId) -> wire::Assignment {
        let split = wire::Split { payload: Bytes::from_static(b"split"), size_bytes: 7 };
        wire::Assignment {
            attempt: Some(attempt.into()),
            memory_bytes: 100,
            scans: vec![wire::ScanSplits { splits: vec![split] }],
            inputs: vec![wire::ExchangeInput {
                source_handles: vec![Bytes::from_static(b"handle")],
                direct_sources: Vec::new(),
            }],
            output: None,
            query_memory_bytes: 0,
        }
    }

    fn desired(attempts: &[AttemptId], new: &[AttemptId], fragments: &[usize]) -> wire::Desired {
        wire::Desired {
            epoch: 1,
            sequence: 1,
            attempts: attempts.iter().map(|attempt| (*attempt).into()).collect(),
            assignments: new.iter().map(|attempt| assignment(*attempt)).collect(),
            fragments: fragments
                .iter()
                .map(|query| wire::Fragment {
                    query: QUERIES[*query].to_owned(),
                    stage: 1,
                    encoded: Bytes::from_static(b"plan"),
                })
                .collect(),
        }
    }

    #[test]
    fn an_attempt_starts_with_what_was_sent_of_it_once() {
        let mut descriptors = Descriptors::default();
        let wanted = descriptors.merge(desired(&[attempt(0, 0)], &[attempt(0, 0)], &[0])).unwrap();
        assert_eq!(wanted, [Wanted { attempt: attempt(0, 0), memory_bytes: 100, is_pipelined: false }]);
        let descriptor = descriptors.take(&attempt(0, 0)).unwrap();
        assert_eq!((descriptor.fragment.as_ref(), descriptor.scans[0][0].size_bytes), (&b"plan"[..], 7));
        assert!(matches!(&descriptor.inputs[..], [Input::Committed(handles)] if handles[0] == "handle"));
        assert_eq!(descriptor.output, OutputKind::Committed { unstored_bytes_max: 0 });
        assert_eq!(descriptor.memory, MemoryGrant::Lease(100));
        assert!(descriptors.take(&attempt(0, 0)).is_err());
    }

    #[test]
    fn who_has_no_lease_is_pipelined_wherever_its_output_goes() {
        let source = wire::DirectSource {
            producer: Some(attempt(0, 7).into()),
            incarnation: 3,
            uri: "http://there:1".to_owned(),
            partition_start: 4,
            partition_end: 6,
        };
        let outputs = [
            wire::assignment::Output::DirectOutput(wire::DirectOutput { broadcast_consumers: 5 }),
            wire::assignment::Output::CommittedOutput(wire::CommittedOutput { inline_bytes_max: 9 }),
        ];
        let expected =
            [OutputKind::Direct { broadcast_consumers: 5 }, OutputKind::Committed { unstored_bytes_max: 9 }];
        for (output, expected) in outputs.into_iter().zip(expected) {
            let mut descriptors = Descriptors::default();
            let both = [attempt(0, 0), attempt(0, 1)];
            let mut message = desired(&both, &both, &[0]);
            for assignment in &mut message.assignments {
                (assignment.memory_bytes, assignment.query_memory_bytes) = (0, 1_000);
                assignment.output = Some(output);
                assignment.inputs[0].direct_sources = vec![source.clone()];
            }
            let wanted = descriptors.merge(message).unwrap();
            assert_eq!(wanted[0], Wanted { attempt: attempt(0, 0), memory_bytes: 0, is_pipelined: true });
            let descriptor = descriptors.take(&attempt(0, 0)).unwrap();
            let memory = MemoryGrant::Query { bytes: 1_000, attempts: 2 };
            assert_eq!((descriptor.memory, descriptor.output), (memory, expected));
            let producer = Producer {
                attempt: attempt(0, 7),
                incarnation: Incarnation(3),
                uri: "http://there:1".to_owned(),
                partitions: 4..6,
            };
            assert!(matches!(&descriptor.inputs[..], [Input::Direct(producers)] if producers == &[producer]));
        }
    }

    #[test]
    fn a_fragment_is_kept_as_long_as_its_query_is_desired() {
        let mut descriptors = Descriptors::default();
        descriptors.merge(desired(&[attempt(0, 0)], &[attempt(0, 0)], &[0])).unwrap();
        descriptors.merge(desired(&[attempt(0, 1)], &[attempt(0, 1)], &[])).unwrap();
        assert!(descriptors.take(&attempt(0, 0)).is_err(), "it is not desired any more");
        assert!(descriptors.take(&attempt(0, 1)).is_ok());
        descriptors.merge(desired(&[attempt(1, 0)], &[attempt(1, 0)], &[1])).unwrap();
        descriptors.merge(desired(&[attempt(0, 2)], &[attempt(0, 2)], &[])).unwrap();
        let error = descriptors.take(&attempt(0, 2)).unwrap_err();
        assert!(error.message().contains("was not told"), "{error}");
        assert_eq!((descriptors.assignments.len(), descriptors.fragments.len()), (0, 0));
    }
}
