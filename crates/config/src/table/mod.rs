//! The table of all properties.

mod accepted;
mod accepted_hive;
mod catalogs;
mod cluster;
mod defunct;
mod direct;
mod exchange;
mod execution;
mod ignored;
mod ignored_fault_tolerance;
mod joins;
mod kinds;
mod lookup;
mod session_only;

pub(crate) use lookup::{Lookup, Scope, lookup, nearest_name};

use crate::property::{Property, PropertyFile};

/// All properties that have a value: those that do something here, and those that sessions know.
pub fn properties() -> impl Iterator<Item = &'static Property> {
    let tables = [
        cluster::PROPERTIES,
        execution::PROPERTIES,
        joins::PROPERTIES,
        exchange::PROPERTIES,
        direct::PROPERTIES,
        catalogs::PROPERTIES,
        session_only::PROPERTIES,
        ignored::PROPERTIES,
        ignored_fault_tolerance::PROPERTIES,
    ];
    tables.into_iter().flatten()
}

/// The property of that name.
pub fn property(name: &str) -> Option<&'static Property> {
    properties().find(|property| property.name == name)
}

/// Names of further properties of Trino's that a file may have and that do nothing here. A `*` at the end stands for
/// any rest.
pub fn accepted_without_effect(file: PropertyFile) -> &'static [&'static str] {
    match file {
        PropertyFile::Config => accepted::SERVER,
        PropertyFile::ExchangeManager => accepted::EXCHANGE_MANAGER,
        PropertyFile::Catalog("hive") => accepted_hive::HIVE,
        PropertyFile::Node | PropertyFile::Catalog(_) | PropertyFile::Session => &[],
    }
}

#[cfg(test)]
mod tests;
