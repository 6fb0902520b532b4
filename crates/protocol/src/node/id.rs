//! Ids on the wire.

use base::{AttemptId, Epoch, OutputId, QueryId, StageId, TaskId};

use super::{InvalidMessage, wire};

impl From<AttemptId> for wire::AttemptId {
    fn from(id: AttemptId) -> Self {
        wire::AttemptId {
            query: id.task.query.to_string(),
            stage: id.task.stage.0,
            partition: id.task.partition,
            generation: id.generation,
            epoch: id.epoch.0,
            number: id.number,
        }
    }
}

impl TryFrom<&wire::AttemptId> for AttemptId {
    type Error = InvalidMessage;

    fn try_from(id: &wire::AttemptId) -> Result<Self, InvalidMessage> {
        let query: QueryId = id.query.parse().map_err(|_| InvalidMessage("a query id that is none"))?;
        Ok(AttemptId {
            task: TaskId { query, stage: StageId(id.stage), partition: id.partition },
            generation: id.generation,
            epoch: Epoch(id.epoch),
            number: id.number,
        })
    }
}

/// An output is told as an attempt whose epoch and number are not meant.
pub(super) fn output_to_wire(id: OutputId) -> wire::AttemptId {
    AttemptId { task: id.task, generation: id.generation, epoch: Epoch(0), number: 0 }.into()
}

/// An id that must be there.
pub(crate) fn required_attempt(id: &Option<wire::AttemptId>) -> Result<AttemptId, InvalidMessage> {
    id.as_ref().ok_or(InvalidMessage("an attempt without id"))?.try_into()
}
