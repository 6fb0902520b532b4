//! What the client waits for: the committed outputs of the root stage, and how the query ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base::{Error, OutputId};
use exchange::CommitRecord;
use tokio::sync::Notify;

/// The committed outputs of a query's root stage as they become known.
///
/// The event loop writes it; the reader of the result waits on it.
#[derive(Debug, Default)]
pub struct RootOutput {
    progress: Mutex<Progress>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Progress {
    outputs: BTreeMap<u32, Arc<CommitRecord>>,
    tasks: Option<u32>,
    outcome: Option<Result<(), Error>>,
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

    /// The output of a root task does not count any more.
    pub fn forget(&self, output: OutputId) {
        let outputs = &mut self.lock().outputs;
        let partition = output.task.partition;
        if outputs.get(&partition).is_some_and(|record| record.attempt().output() == output) {
            outputs.remove(&partition);
        }
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
            progress.tasks.is_some_and(|tasks| partition >= tasks).then_some(Ok(NextOutput::End))
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

#[cfg(test)]
mod tests {
    use super::*;
    use base::ErrorCode;

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
}
