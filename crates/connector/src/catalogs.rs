//! The catalogs of a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Error, ErrorCode, Result};

use crate::Connector;

/// The catalogs of a node, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogs(BTreeMap<String, Arc<dyn Connector>>);

impl Catalogs {
    /// Adds a catalog, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, connector: Arc<dyn Connector>) {
        self.0.insert(name.into(), connector);
    }

    /// The catalog of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Connector>> {
        self.0.get(name)
    }

    /// The catalog of that name, or the error of a worker that does not have it.
    pub fn require(&self, name: &str) -> Result<&Arc<dyn Connector>> {
        self.get(name).ok_or_else(|| {
            Error::new(
                ErrorCode::CATALOG_NOT_AVAILABLE,
                format!("Catalog '{name}' is not available on this node"),
            )
        })
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
