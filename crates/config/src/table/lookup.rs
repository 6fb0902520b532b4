//! Finds what a name in a file stands for.

use crate::property::{Property, PropertyFile};
use crate::suggest::nearest;

use super::{accepted_without_effect, defunct, properties};

/// The files that share their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `node.properties` and `config.properties`: Trino hands the first to the server as if it stood in the second.
    Server,
    /// `exchange-manager.properties`.
    ExchangeManager,
    /// Catalogs of that connector.
    Catalog(&'static str),
}

/// What a name stands for.
pub(crate) enum Lookup {
    /// A property.
    Property(&'static Property),
    /// A property, by a former name.
    Alias(&'static Property),
    /// Nothing that we know more of than that Trino has it.
    Accepted,
    /// A property that Trino removed.
    Defunct,
    /// Nothing.
    Unknown,
}

impl Scope {
    pub(crate) fn has(self, file: PropertyFile) -> bool {
        match (self, file) {
            (Scope::Server, PropertyFile::Node | PropertyFile::Config) => true,
            (Scope::ExchangeManager, PropertyFile::ExchangeManager) => true,
            (Scope::Catalog(connector), PropertyFile::Catalog(other)) => connector == other,
            _ => false,
        }
    }

    fn accepted(self) -> &'static [&'static str] {
        accepted_without_effect(match self {
            Scope::Server => PropertyFile::Config,
            Scope::ExchangeManager => PropertyFile::ExchangeManager,
            Scope::Catalog(connector) => PropertyFile::Catalog(connector),
        })
    }
}

/// Finds what a name stands for.
pub(crate) fn lookup(scope: Scope, name: &str) -> Lookup {
    let here = || properties().filter(|property| scope.has(property.file));
    if let Some(property) = here().find(|property| property.name == name) {
        return Lookup::Property(property);
    }
    if let Some(property) = here().find(|property| property.aliases.contains(&name)) {
        return Lookup::Alias(property);
    }
    let accepts = |known: &&str| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => *known == name,
    };
    if scope.accepted().iter().any(accepts) {
        return Lookup::Accepted;
    }
    if scope == Scope::Server && defunct::DEFUNCT.contains(&name) {
        return Lookup::Defunct;
    }
    Lookup::Unknown
}

/// The name that was probably meant.
pub(crate) fn nearest_name(scope: Scope, name: &str) -> Option<String> {
    let known = properties().filter(|property| scope.has(property.file)).map(|property| property.name);
    let accepted = scope.accepted().iter().copied().filter(|known| !known.ends_with('*'));
    nearest(name, known.chain(accepted)).map(str::to_owned)
}
