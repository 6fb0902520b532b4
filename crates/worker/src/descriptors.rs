//! What the coordinator sent of attempts and fragments, until it is of no use any more.
//!
//! The coordinator sends a descriptor once on each stream. It relies on the worker to keep the descriptors of what
//! it desires, and the fragments of every query of which it desires anything.

use std::collections::{BTreeMap, BTreeSet};

use base::{AttemptId, Error, QueryId, Result, StageId};
use bytes::Bytes;
use connector::Split;
use protocol::node::wire;

use crate::attempt::Descriptor;

/// What the coordinator sent and may be needed.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    assignments: BTreeMap<AttemptId, Assignment>,
    fragments: BTreeMap<(QueryId, StageId), Bytes>,
}

#[derive(Debug)]
struct Assignment {
    memory_bytes: u64,
    scans: Vec<Vec<Split>>,
    sources: Vec<Vec<Bytes>>,
}

impl Descriptors {
    /// Takes over what is new in a message, and forgets what it does not desire. Returns what it desires, with the
    /// memory promised to each (0 if the message does not tell because it was told before).
    pub(crate) fn merge(&mut self, desired: wire::Desired) -> Result<Vec<(AttemptId, u64)>> {
        let attempts: BTreeSet<AttemptId> =
            desired.attempts.iter().map(AttemptId::try_from).collect::<Result<_, _>>()?;
        for assignment in desired.assignments {
            let (attempt, assignment) = decode_assignment(assignment)?;
            self.assignments.insert(attempt, assignment);
        }
        for fragment in desired.fragments {
            let query = query_id(&fragment.query)?;
            self.fragments.insert((query, StageId(fragment.stage)), fragment.encoded);
        }
        let queries: BTreeSet<QueryId> = attempts.iter().map(|attempt| attempt.task.query).collect();
        self.assignments.retain(|attempt, _| attempts.contains(attempt));
        self.fragments.retain(|(query, _), _| queries.contains(query));
        let memory = |attempt| self.assignments.get(attempt).map_or(0, |assignment| assignment.memory_bytes);
        Ok(attempts.iter().map(|attempt| (*attempt, memory(attempt))).collect())
    }

    /// What an attempt is to do. Each attempt starts once, so its part of it is given away.
    pub(crate) fn take(&mut self, attempt: &AttemptId) -> Result<Descriptor> {
        let fragment = self.fragments.get(&(attempt.task.query, attempt.task.stage)).cloned();
        let (Some(assignment), Some(fragment)) = (self.assignments.remove(attempt), fragment) else {
            return Err(Error::internal(format!("The worker was not told what attempt {attempt} is to do")));
        };
        Ok(Descriptor {
            attempt: *attempt,
            memory_bytes: assignment.memory_bytes,
            fragment,
            scans: assignment.scans,
            sources: assignment.sources,
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
    let sources = assignment.inputs.into_iter().map(|input| input.source_handles).collect();
    Ok((attempt.try_into()?, Assignment { memory_bytes: assignment.memory_bytes, scans, sources }))
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
        assert_eq!(wanted, [(attempt(0, 0), 100)]);
        let descriptor = descriptors.take(&attempt(0, 0)).unwrap();
        assert_eq!(descriptor.fragment, "plan");
        assert_eq!((descriptor.scans[0][0].size_bytes, &descriptor.sources[0][0][..]), (7, &b"handle"[..]));
        assert!(descriptors.take(&attempt(0, 0)).is_err());
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
