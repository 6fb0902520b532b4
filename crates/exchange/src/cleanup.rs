//! Finding and deleting what queries left.
//!
//! What to delete is found by listing, never from memory: a restarted coordinator, or another one, cleans up
//! as well as the first.

use std::collections::BTreeSet;

use base::{QueryId, Result};

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
        let prefix = query_prefix(query);
        let mut stages = BTreeSet::new();
        for object in self.store().list(&prefix).await? {
            let stage = object.key.strip_prefix(&prefix).and_then(|rest| rest.split_once('/'));
            stages.extend(stage.and_then(|(stage, _)| stage.parse::<u32>().ok()));
        }
        for stage in stages {
            self.store().remove_prefix(&format!("{prefix}{stage}/")).await?;
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
