//! The commit of a task, and the rules of order that make it safe.
//!
//! 1. **The data object is complete before its record is created.** Who can read a record can read what it
//!    names.
//! 2. **A task is committed by the conditional create of one record**, whose key is that of the output. The
//!    first writer wins, and nobody ever changes or replaces a record.
//! 3. **Every doubt is settled by reading back.** An answer may be lost, and a store may say "already
//!    exists" for our own earlier try. The record names its author, so whoever reads it knows who won.
//! 4. **An attempt removes its own data object only when it has read a record that names another author.**
//!    In doubt the object stays: our record may be there, or come late.
//! 5. **Workers never delete what is committed.** Only cleanup of the whole query does, when nobody wants
//!    its data any more.

use base::{AttemptId, Error, OutputId, Result};

use crate::layout::ObjectKey;
use crate::record::{CommitRecord, OutputLocation, RECORD_BYTES_MAX};
use crate::store::{CreateOutcome, ExchangeStore, StoreError, StoreErrorKind};

/// How often the create is tried when the store leaves us in doubt and there is no record.
const CREATE_TRIES_MAX: usize = 3;

/// The outcome of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The attempt whose output counts: ours or a rival.
    pub winner: AttemptId,
    /// The record of the winner.
    pub record: CommitRecord,
    /// The record is not in the store: the output is in it and nowhere else. Whoever gets it commits it, by
    /// [`ExchangeManager::commit`](crate::ExchangeManager::commit), or lets it vanish with itself.
    pub is_inline: bool,
}

/// Commits the output of an attempt, or finds out who did before.
pub(crate) async fn commit(store: &dyn ExchangeStore, record: CommitRecord) -> Result<Committed> {
    let (key, content) = (record.key().to_string(), record.encode());
    let mut doubt = None;
    for _ in 0..CREATE_TRIES_MAX {
        let refused = match store.create(&key, content.clone()).await {
            Ok(CreateOutcome::Created) => {
                return Ok(Committed { winner: record.attempt(), record, is_inline: false });
            }
            Ok(CreateOutcome::AlreadyExists) => false,
            Err(error) => {
                let refused = error.kind != StoreErrorKind::Unavailable;
                doubt = Some(error);
                refused
            }
        };
        match read_record(store, record.attempt().output()).await {
            Ok(Some(found)) => return Ok(decided(store, record, found).await),
            Ok(None) if refused => break,
            Ok(None) => {}
            Err(error) if error.lost_output().is_some() => return Err(error),
            Err(error) if doubt.is_none() => return Err(error),
            Err(_) => {}
        }
    }
    let doubt = doubt.unwrap_or_else(|| {
        StoreError::new(StoreErrorKind::Unavailable, key, "it is said to exist, and cannot be found")
    });
    Err(doubt.into())
}

/// There is a record: it says who won.
async fn decided(store: &dyn ExchangeStore, ours: CommitRecord, found: CommitRecord) -> Committed {
    let winner = found.attempt();
    if winner == ours.attempt() {
        return Committed { winner, record: ours, is_inline: false };
    }
    if let OutputLocation::Object { .. } = ours.location() {
        let key = ObjectKey::Data(ours.attempt()).to_string();
        if let Err(error) = store.remove(&key).await {
            tracing::warn!(%error, "the data of a losing attempt stays until the query is cleaned up");
        }
    }
    Committed { winner, record: found, is_inline: false }
}

/// Reads the record of an output; `None` if there is none.
pub(crate) async fn read_record(store: &dyn ExchangeStore, output: OutputId) -> Result<Option<CommitRecord>> {
    let key = ObjectKey::Commit(output).to_string();
    match store.read_all(&key, RECORD_BYTES_MAX).await {
        Ok(content) => CommitRecord::decode(&content, output).map(Some),
        Err(error) => match error.kind {
            StoreErrorKind::NotFound => Ok(None),
            StoreErrorKind::TooLarge => Err(Error::lost(
                output,
                format!("Exchange commit record {key} is unreadable: it is too large"),
            )),
            _ => Err(error.into()),
        },
    }
}
