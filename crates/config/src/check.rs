//! Checks what files set against the table.

use std::collections::BTreeMap;

use crate::problem::{Position, Problem, ProblemKind, Warning, WarningKind};
use crate::properties_file::Entry;
use crate::property::{Property, Status};
use crate::table::{Lookup, Scope, lookup, nearest_name};
use crate::values::SetValue;

/// Reads environment variables.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Properties of Trino's whose purpose is to keep people out: that they do nothing has to be said louder.
const PROTECTION: [&str; 4] = [
    "http-server.authentication.type",
    "internal-communication.https.required",
    "access-control.config-files",
    "http-server.https.enabled",
];

/// Collects all that is wrong, so that everything can be reported at once.
pub(crate) struct Checker<'a> {
    pub(crate) environment: Environment<'a>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Warning>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(environment: Environment<'a>) -> Self {
        Checker { environment, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn problem(&mut self, position: Option<Position>, kind: ProblemKind) {
        self.problems.push(Problem { position, kind });
    }

    pub(crate) fn warn(&mut self, position: Option<Position>, kind: WarningKind) {
        self.warnings.push(Warning { position, kind });
    }

    pub(crate) fn inconsistent(&mut self, position: Option<Position>, reason: impl Into<String>) {
        self.problem(position, ProblemKind::Inconsistent { reason: reason.into() });
    }

    /// Keeps the last of several entries of one name, as Java does, and replaces `${ENV:NAME}`.
    pub(crate) fn prepare(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let last: BTreeMap<String, usize> =
            entries.iter().enumerate().map(|(at, entry)| (entry.name.clone(), at)).collect();
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for entry in &entries {
            *count.entry(entry.name.clone()).or_default() += 1;
        }
        let mut kept = Vec::new();
        for (at, mut entry) in entries.into_iter().enumerate() {
            if last.get(&entry.name) != Some(&at) {
                continue;
            }
            if count.get(&entry.name).is_some_and(|count| *count > 1) {
                self.warn(Some(entry.position.clone()), WarningKind::SetAgain { name: entry.name.clone() });
            }
            match substitute(&entry.value, self.environment) {
                Ok(value) => {
                    entry.value = value;
                    kept.push(entry);
                }
                Err(unresolved) => {
                    let name = entry.name;
                    let kind = match unresolved {
                        Unresolved::Variable(variable) => ProblemKind::UnsetVariable { name, variable },
                        Unresolved::Provider(provider) => ProblemKind::UnknownProvider { name, provider },
                    };
                    self.problem(Some(entry.position), kind);
                }
            }
        }
        kept
    }

    /// Checks the entries of one file. Where an earlier file set a property, this one wins.
    pub(crate) fn scope(
        &mut self,
        scope: Scope,
        entries: Vec<Entry>,
        set: &mut BTreeMap<&'static str, SetValue>,
    ) {
        let mut by_alias: Vec<(String, &'static Property, Entry)> = Vec::new();
        for entry in self.prepare(entries) {
            let name = entry.name.clone();
            let position = Some(entry.position.clone());
            match lookup(scope, &name) {
                Lookup::Property(property) => self.set(property, entry, set),
                Lookup::Alias(property) => by_alias.push((name, property, entry)),
                Lookup::Accepted => self.no_effect(position, name),
                Lookup::Defunct => self.problem(position, ProblemKind::Defunct { name }),
                Lookup::Unknown => {
                    let suggestion = nearest_name(scope, &name);
                    self.problem(position, ProblemKind::NotUsed { name, suggestion });
                }
            }
        }
        for (alias, property, entry) in by_alias {
            let name = property.name.to_owned();
            let position = Some(entry.position.clone());
            match set.get(property.name) {
                Some(other) if other.text != entry.value => {
                    self.problem(position, ProblemKind::Conflict { alias, name });
                }
                _ => {
                    self.warn(position, WarningKind::Renamed { alias, name });
                    self.set(property, entry, set);
                }
            }
        }
    }

    fn set(&mut self, property: &'static Property, entry: Entry, set: &mut BTreeMap<&'static str, SetValue>) {
        let Entry { name, value: text, position } = entry;
        if property.status == Status::NoEffect {
            self.no_effect(Some(position.clone()), name.clone());
        }
        match property.kind.parse(&text) {
            Ok(value) => {
                set.insert(property.name, SetValue { value, text, position: Some(position) });
            }
            Err(reason) => {
                let value = if property.kind.is_secret() { "[REDACTED]".to_owned() } else { text };
                self.problem(Some(position), ProblemKind::InvalidValue { name, value, reason });
            }
        }
    }

    fn no_effect(&mut self, position: Option<Position>, name: String) {
        let protects = PROTECTION.contains(&name.as_str());
        let kind = if protects { WarningKind::NoProtection { name } } else { WarningKind::NoEffect { name } };
        self.warn(position, kind);
    }
}

/// Why `${provider:key}` could not be replaced.
enum Unresolved {
    Variable(String),
    Provider(String),
}

/// Replaces every `${ENV:NAME}`. What does not look like `${provider:key}` stays as it is.
fn substitute(value: &str, environment: Environment<'_>) -> Result<String, Unresolved> {
    let mut replaced = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        replaced.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let reference = inside.find('}').and_then(|end| {
            let (provider, key) = inside[..end].split_once(':')?;
            let is_name = provider.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && provider
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'));
            (is_name && !key.is_empty()).then_some((provider, key, end))
        });
        match reference {
            Some((provider, key, end)) if provider.eq_ignore_ascii_case("env") => {
                replaced.push_str(&environment(key).ok_or_else(|| Unresolved::Variable(key.to_owned()))?);
                rest = &inside[end + 1..];
            }
            Some((provider, ..)) => return Err(Unresolved::Provider(provider.to_owned())),
            None => {
                replaced.push_str("${");
                rest = inside;
            }
        }
    }
    replaced.push_str(rest);
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("x".to_owned()),
            "B_2" => Some("${ENV:A}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (value, expected) in [
            ("${ENV:A}", "x"),
            ("a${ENV:A}b${env:A}c", "axbxc"),
            ("${ENV:B_2}", "${ENV:A}"),
            ("${USER}", "${USER}"),
            ("${:x} ${ENV:} ${1a:b} ${", "${:x} ${ENV:} ${1a:b} ${"),
            ("100%", "100%"),
        ] {
            assert_eq!(substitute(value, &environment).ok().as_deref(), Some(expected), "{value}");
        }
        assert!(
            matches!(substitute("${ENV:C}", &environment), Err(Unresolved::Variable(name)) if name == "C")
        );
        assert!(
            matches!(substitute("${k8s:C}", &environment), Err(Unresolved::Provider(name)) if name == "k8s")
        );
    }
}
