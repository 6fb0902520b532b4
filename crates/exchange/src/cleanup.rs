//! Finding and deleting what queries left.
//!
//! What to delete is found by listing, never from memory: a restarted coordinator, or another one, cleans up
//! as well as the first.

use std::collections::BTreeSet;

use base::{QueryId, Result, StageId};

use crate::layout::{ObjectKey, query_prefix};
use crate::manager::ExchangeManager;

impl ExchangeManager {
    /// Removes everything that belongs to a query, the temporary files of dead processes too. Safe to repeat.
    ///
    /// An attempt that still runs may write after that; such leftovers are found by
    /// [`ExchangeManager::queries`].
    pub async fn remove_query(&self, query: QueryId) -> Result<()> {
        Ok(self.store().remove_prefix(&query_prefix(query)).await?)
    }

    /// Removes the output of all stages of a query, and leaves its records.
    ///
    /// Unfinished uploads of stages that have nothing else stay until [`ExchangeManager::remove_query`].
    pub async fn remove_output(&self, query: QueryId) -> Result<()> {
        let stages: BTreeSet<StageId> = self
            .objects(query)
            .await?
            .iter()
            .filter_map(|key| match key {
                ObjectKey::Commit(output) => Some(output.task.stage),
                ObjectKey::Data(attempt) => Some(attempt.task.stage),
                _ => None,
            })
            .collect();
        for stage in stages {
            self.store().remove_prefix(&format!("{}{stage}/", query_prefix(query))).await?;
        }
        Ok(())
    }

    /// All queries that have anything in the exchange, in ascending order.
    pub async fn queries(&self) -> Result<Vec<QueryId>> {
        let groups = self.store().list_groups().await?;
        Ok(groups.iter().filter_map(|group| group.parse().ok()).collect())
    }

    /// All objects of a query, in ascending order. What is not of our layout is left out.
    pub async fn objects(&self, query: QueryId) -> Result<Vec<ObjectKey>> {
        let objects = self.store().list(&query_prefix(query)).await?;
        let mut keys: Vec<ObjectKey> = objects.iter().filter_map(|object| object.key.parse().ok()).collect();
        keys.sort();
        Ok(keys)
    }
}
