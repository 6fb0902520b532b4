//! What the client waits for: the outputs of the root stage, and how the query ended.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};

use base::{Error, ErrorCode, OutputId};
use exchange::CommitRecord;
use tokio::sync::Notify;

use super::region::Producer;

/// The outputs of a query's root stage as they become known: committed ones, or where they are written.
///
/// The event loop writes it; the reader of the result waits on it.
#[derive(Debug, Default)]
pub struct RootOutput {
    progress: Mutex<Progress>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Progress {
    producers: Option<Arc<[Producer]>>,
    outputs: BTreeMap<u32, Arc<CommitRecord>>,
    tasks: Option<u32>,
    outcome: Option<Result<(), Error>>,
    /// How often outputs became void.
    rollbacks: u64,
}

/// What a reader of task outputs, in the order of the tasks, finds next.
#[derive(Debug)]
pub enum NextOutput {
    /// The output of the task.
    Output(Arc<CommitRecord>),
    /// There is no such task: all were read.
    End,
}

impl RootOutput {
    /// The output of a root task is decided.
    pub fn select(&self, output: OutputId, record: Arc<CommitRecord>) {
        self.lock().outputs.insert(output.task.partition, record);
        self.changed.notify_waiters();
    }

    /// The attempts of the root stage run, and what they write is the result: nothing of it is committed.
    pub fn stream(&self, producers: Vec<Producer>) {
        self.lock().producers = Some(producers.into());
        self.changed.notify_waiters();
    }

    /// Waits for the attempts whose outputs are the result. Fails when the query does.
    pub async fn producers(&self) -> Result<Arc<[Producer]>, Error> {
        self.wait(|progress| {
            if let Some(Err(error)) = &progress.outcome {
                return Some(Err(error.clone()));
            }
            progress.producers.clone().map(Ok)
        })
        .await
    }

    /// Waits until the query has failed. Never returns if it does not.
    pub async fn failed(&self) -> Error {
        self.wait(|progress| progress.outcome.clone()?.err()).await
    }

    /// Outputs of root tasks do not count any more.
    pub fn roll_back(&self, outputs: &[OutputId]) {
        let mut progress = self.lock();
        for output in outputs.iter().filter(|output| output.task.stage.0 == 0) {
            if let Entry::Occupied(entry) = progress.outputs.entry(output.task.partition)
                && entry.get().attempt().output() == *output
            {
                entry.remove();
            }
        }
        progress.rollbacks += 1;
        drop(progress);
        self.changed.notify_waiters();
    }

    /// How often outputs of the query became void so far. What was read before may not be what counts.
    pub fn rollbacks(&self) -> u64 {
        self.lock().rollbacks
    }

    /// The number of root tasks is final.
    pub fn seal(&self, tasks: u32) {
        self.lock().tasks = Some(tasks);
        self.changed.notify_waiters();
    }

    /// The query ended. Only the first word counts.
    pub fn finish(&self, outcome: Result<(), Error>) {
        self.lock().outcome.get_or_insert(outcome);
        self.changed.notify_waiters();
    }

    /// Nobody reads the outputs any more.
    pub fn forget_outputs(&self) {
        let mut progress = self.lock();
        progress.outputs.clear();
        progress.producers = None;
    }

    /// How the query ended, if it has.
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        self.lock().outcome.clone()
    }

    /// Waits until the query has ended.
    pub async fn finished(&self) -> Result<(), Error> {
        self.wait(|progress| progress.outcome.clone()).await
    }

    /// Waits for the output of a root task. Fails when the query does.
    pub async fn next(&self, partition: u32) -> Result<NextOutput, Error> {
        self.wait(|progress| {
            if let Some(Err(error)) = &progress.outcome {
                return Some(Err(error.clone()));
            }
            if let Some(record) = progress.outputs.get(&partition) {
                return Some(Ok(NextOutput::Output(Arc::clone(record))));
            }
            if progress.tasks.is_some_and(|tasks| partition >= tasks) {
                return Some(Ok(NextOutput::End));
            }
            // Somebody else has seen it. Nobody computes it here.
            let is_missed = matches!(progress.outcome, Some(Ok(())));
            is_missed.then(|| Err(missed(partition)))
        })
        .await
    }

    /// The version of a root task's output that counts, if it is decided.
    pub fn generation(&self, partition: u32) -> Option<u32> {
        self.lock().outputs.get(&partition).map(|record| record.attempt().generation)
    }

    /// Waits until an output of a root task does not count any more. Fails when the query does.
    pub async fn replaced(&self, output: OutputId) -> Result<(), Error> {
        self.wait(|progress| {
            if let Some(Err(error)) = &progress.outcome {
                return Some(Err(error.clone()));
            }
            let current = progress.outputs.get(&output.task.partition);
            current.is_none_or(|record| record.attempt().output() != output).then_some(Ok(()))
        })
        .await
    }

    async fn wait<T>(&self, look: impl Fn(&Progress) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registering before looking means that no change between the two is missed.
            changed.as_mut().enable();
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The error of a result of which a part is not here although the query has ended well.
fn missed(partition: u32) -> Error {
    let text = format!("The query has ended, and the output of task {partition} of its result is not known");
    Error::new(ErrorCode::EXCHANGE_DATA_LOST, text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How long anything may take that is waited for.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_waiting_reader_learns_of_the_end() {
        let root = Arc::new(RootOutput::default());
        let reader = tokio::spawn({
            let root = Arc::clone(&root);
            async move { root.next(0).await }
        });
        root.seal(0);
        assert!(matches!(reader.await.unwrap(), Ok(NextOutput::End)));
    }

    #[tokio::test]
    async fn the_first_outcome_counts() {
        let root = RootOutput::default();
        root.finish(Err(Error::new(ErrorCode::USER_CANCELED, "Query was canceled")));
        root.finish(Ok(()));
        assert_eq!(root.finished().await.unwrap_err().code(), ErrorCode::USER_CANCELED);
        assert!(root.next(0).await.is_err());
    }

    #[tokio::test]
    async fn a_query_that_ended_elsewhere_keeps_no_reader_waiting() {
        let root = RootOutput::default();
        root.finish(Ok(()));
        let missed = tokio::time::timeout(PATIENCE, root.next(0)).await.expect("it is told at once");
        assert_eq!(missed.unwrap_err().code(), ErrorCode::EXCHANGE_DATA_LOST);
        root.seal(0);
        assert!(matches!(root.next(0).await, Ok(NextOutput::End)));
    }
}
