//! Reads an `etc` directory, or properties given one by one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::{CONNECTOR_NAME, CONNECTORS, CatalogConfig, Setting};
use crate::check::{Checker, Environment};
use crate::cross_check::cross_check;
use crate::files::{DiskFiles, Files, MemoryFiles};
use crate::jvm;
use crate::kind::Value;
use crate::logging::LogConfig;
use crate::problem::{ConfigErrors, Position, ProblemKind, WarningKind};
use crate::properties_file::{Entry, escape, parse};
use crate::server::{Place, ServerConfig};
use crate::suggest::nearest;
use crate::table::Scope;
use crate::values::Values;

/// The file that a property is meant to be written in, for configurations without files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `node.properties`.
    Node,
    /// `config.properties`.
    Config,
    /// `exchange-manager.properties`.
    ExchangeManager,
    /// The catalog of that name.
    Catalog(String),
}

impl Source {
    /// The file, within the `etc` directory.
    pub fn path(&self) -> PathBuf {
        match self {
            Source::Node => PathBuf::from("node.properties"),
            Source::Config => PathBuf::from("config.properties"),
            Source::ExchangeManager => PathBuf::from("exchange-manager.properties"),
            Source::Catalog(name) => Path::new("catalog").join(format!("{name}.properties")),
        }
    }
}

/// Files of Trino's that say something we do not listen to.
const FILES_NOT_READ: [&str; 8] = [
    "access-control.properties",
    "event-listener.properties",
    "group-provider.properties",
    "header-authenticator.properties",
    "password-authenticator.properties",
    "resource-groups.properties",
    "session-property-config.properties",
    "spooling-manager.properties",
];

impl ServerConfig {
    /// Reads an `etc` directory as Trino has it. Variables come from the environment of the process.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(etc_dir: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with(&DiskFiles, etc_dir, &|name| std::env::var(name).ok())
    }

    /// Reads an `etc` directory from other files and with another environment.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load_with(
        files: &dyn Files,
        etc_dir: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        Loader { files, etc_dir, checker: Checker::new(environment) }.load(environment)
    }

    /// A configuration of properties given one by one, for embedded clusters and tests.
    ///
    /// Later ones override earlier ones. Paths that are relative are so to the working directory.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_properties<N: AsRef<str>, V: AsRef<str>>(
        properties: impl IntoIterator<Item = (Source, N, V)>,
    ) -> Result<Self, ConfigErrors> {
        let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
        texts.insert(Source::Config.path(), String::new());
        for (source, name, value) in properties {
            let text = texts.entry(source.path()).or_default();
            text.push_str(&format!("{}={}\n", name.as_ref(), escape(value.as_ref())));
        }
        Self::load_with(&MemoryFiles(texts), Path::new(""), &|_| None)
    }
}

struct Loader<'a> {
    files: &'a dyn Files,
    etc_dir: &'a Path,
    checker: Checker<'a>,
}

impl Loader<'_> {
    fn load(mut self, environment: Environment<'_>) -> Result<ServerConfig, ConfigErrors> {
        let mut values = Values::default();
        let config_path = self.etc_dir.join("config.properties");
        let node_path = self.etc_dir.join("node.properties");
        match self.read(&config_path) {
            Some(entries) => self.checker.scope(Scope::Server, entries, &mut values.set),
            None => self.checker.problem(
                Some(position(&config_path)),
                ProblemKind::Unreadable { reason: "there is no such file".to_owned() },
            ),
        }
        let node_entries = self.read(&node_path).unwrap_or_default();
        self.checker.scope(Scope::Server, node_entries, &mut values.set);
        values.task_retries = values.get("retry-policy") == Some(Value::Choice("TASK"));

        let exchange_path = self.exchange_manager_path(&values);
        let exchange_entries = self.read(&exchange_path);
        let has_exchange = exchange_entries.is_some();
        self.checker.scope(Scope::ExchangeManager, exchange_entries.unwrap_or_default(), &mut values.set);

        let catalogs = self.catalogs(&values);
        let log = self.log();
        let jvm_limit = self.jvm_limit();
        self.warn_of_files_not_read();

        let exchange_file = has_exchange.then(|| position(&exchange_path));
        let mut checker = self.checker;
        if checker.problems.is_empty() {
            cross_check(&mut checker, &values, &position(&node_path), exchange_file.as_ref(), jvm_limit);
        }
        let Checker { mut problems, mut warnings, .. } = checker;
        in_order(&mut problems, |problem| problem.position.as_ref());
        in_order(&mut warnings, |warning| warning.position.as_ref());
        if !problems.is_empty() {
            return Err(ConfigErrors { problems, warnings });
        }
        let beside_etc = self.etc_dir.parent().unwrap_or(Path::new(""));
        let place = Place {
            data_dir: beside_etc.join("data"),
            host_name: environment("HOSTNAME").or_else(host_name),
            jvm_limit,
            has_exchange,
        };
        Ok(ServerConfig::build(values, place, catalogs, log, warnings))
    }

    /// Reads and parses a file, noting what is wrong. None: it does not exist.
    fn read(&mut self, path: &Path) -> Option<Vec<Entry>> {
        let text = self.read_text(path)?;
        let (entries, problems) = parse(&path.to_string_lossy(), &text);
        self.checker.problems.extend(problems);
        Some(entries)
    }

    fn read_text(&mut self, path: &Path) -> Option<String> {
        match self.files.read(path) {
            Ok(text) => text,
            Err(error) => {
                self.unreadable(path, &error);
                // Not None: it is there, and what is wrong with it is already noted.
                Some(String::new())
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let reason = error.to_string();
        self.checker.problem(Some(position(path)), ProblemKind::Unreadable { reason });
    }

    /// Trino starts in a directory that has `etc` in it, wherever that really is.
    fn resolve(&self, path: &str) -> PathBuf {
        match Path::new(path).strip_prefix("etc") {
            Ok(inside) => self.etc_dir.join(inside),
            Err(_) => self.etc_dir.parent().unwrap_or(Path::new("")).join(path),
        }
    }

    fn exchange_manager_path(&mut self, values: &Values) -> PathBuf {
        const PROPERTY: &str = "exchange-manager.config-file";
        let Some(path) = values.text(PROPERTY) else {
            return self.etc_dir.join("exchange-manager.properties");
        };
        let resolved = self.resolve(&path);
        if matches!(self.files.read(&resolved), Ok(None)) {
            let reason = format!("there is no file {}", resolved.display());
            let kind = ProblemKind::InvalidValue { name: PROPERTY.to_owned(), value: path, reason };
            self.checker.problem(values.position(PROPERTY), kind);
        }
        resolved
    }

    fn catalogs(&mut self, values: &Values) -> Vec<CatalogConfig> {
        let directory = match values.text("catalog.config-dir") {
            Some(path) => self.resolve(&path),
            None => self.etc_dir.join("catalog"),
        };
        let paths = self.files.properties_files(&directory).unwrap_or_else(|error| {
            self.unreadable(&directory, &error);
            Vec::new()
        });
        let disabled = values.list("catalog.disabled-catalogs");
        let mut catalogs: Vec<CatalogConfig> = Vec::new();
        for path in paths {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
            if disabled.iter().any(|disabled| disabled.to_lowercase() == name) {
                continue;
            }
            if name == "system" || catalogs.iter().any(|catalog| catalog.name == name) {
                self.checker.inconsistent(Some(position(&path)), format!("Catalog '{name}' already exists"));
                continue;
            }
            let entries = self.read(&path).unwrap_or_default();
            catalogs.extend(self.catalog(name, &path, entries));
        }
        catalogs
    }

    fn catalog(&mut self, name: String, path: &Path, mut entries: Vec<Entry>) -> Option<CatalogConfig> {
        let Some(at) = entries.iter().rposition(|entry| entry.name == CONNECTOR_NAME) else {
            let reason = "a catalog needs a connector".to_owned();
            let kind = ProblemKind::Missing { name: CONNECTOR_NAME.to_owned(), reason };
            self.checker.problem(Some(position(path)), kind);
            return None;
        };
        let named = vec![entries.remove(at)];
        let named = self.checker.prepare(named).pop()?;
        entries.retain(|entry| entry.name != CONNECTOR_NAME);
        let connector = self.connector_name(&named)?;
        let available = CONNECTORS.iter().find(|known| known.name == connector && known.available);
        let Some(available) = available else {
            let kind = WarningKind::CatalogLeftOut { catalog: name, connector };
            self.checker.warn(Some(named.position), kind);
            return None;
        };
        let mut set = BTreeMap::new();
        self.checker.scope(Scope::Catalog(available.name), entries, &mut set);
        let catalog = CatalogConfig {
            name,
            connector_name: connector,
            properties: set
                .into_iter()
                .map(|(name, set)| Setting { name: name.to_owned(), value: set.text, position: set.position })
                .collect(),
        };
        self.check_catalog(&catalog, named.position);
        Some(catalog)
    }

    /// The connector, under the name it has today.
    fn connector_name(&mut self, named: &Entry) -> Option<String> {
        let value = &named.value;
        let known = |name: &str| CONNECTORS.iter().any(|connector| connector.name == name);
        let renamed = value.replace('-', "_");
        if known(value) {
            return Some(value.clone());
        }
        let position = Some(named.position.clone());
        if known(&renamed) {
            let kind = WarningKind::ConnectorRenamed { alias: value.clone(), name: renamed.clone() };
            self.checker.warn(position, kind);
            return Some(renamed);
        }
        let suggestion = nearest(value, CONNECTORS.iter().map(|connector| connector.name));
        let hint = suggestion.map(|name| format!(". Did you mean '{name}'?")).unwrap_or_default();
        let kind = ProblemKind::InvalidValue {
            name: CONNECTOR_NAME.to_owned(),
            value: value.clone(),
            reason: format!("there is no such connector{hint}"),
        };
        self.checker.problem(position, kind);
        None
    }

    fn check_catalog(&mut self, catalog: &CatalogConfig, connector: Position) {
        if catalog.connector_name != "hive" {
            return;
        }
        let set = |name| catalog.properties.iter().find(|setting| setting.name == name);
        let metastore = set("hive.metastore").and_then(|setting| setting.position.clone());
        if catalog.choice("hive.metastore") != Some("FILE") {
            let reason = "Only hive.metastore=file is available yet";
            self.checker.inconsistent(Some(metastore.unwrap_or(connector)), reason);
        } else if set("hive.metastore.catalog.dir").is_none() {
            let name = "hive.metastore.catalog.dir".to_owned();
            let kind = ProblemKind::Missing { name, reason: "hive.metastore is file".to_owned() };
            self.checker.problem(metastore, kind);
        }
    }

    fn log(&mut self) -> LogConfig {
        let path = self.etc_dir.join("log.properties");
        let entries = self.read(&path).unwrap_or_default();
        let entries = self.checker.prepare(entries);
        LogConfig::read(&entries, &mut self.checker.problems)
    }

    fn jvm_limit(&mut self) -> Option<base::DataSize> {
        let path = self.etc_dir.join("jvm.config");
        let text = self.read_text(&path)?;
        jvm::memory_limit(&path.to_string_lossy(), &text).unwrap_or_else(|problem| {
            self.checker.problems.push(problem);
            None
        })
    }

    fn warn_of_files_not_read(&mut self) {
        for name in FILES_NOT_READ {
            let path = self.etc_dir.join(name);
            if !matches!(self.files.read(&path), Ok(None)) {
                self.checker.warn(Some(position(&path)), WarningKind::FileNotRead);
            }
        }
    }
}

/// Puts what was found into the order of lines within each file, files as they come.
fn in_order<T>(found: &mut [T], position: impl Fn(&T) -> Option<&Position>) {
    let mut files: Vec<Arc<str>> = Vec::new();
    for file in found.iter().filter_map(|one| position(one).map(|position| &position.file)) {
        if !files.contains(file) {
            files.push(Arc::clone(file));
        }
    }
    found.sort_by_key(|one| {
        position(one).map(|position| {
            let file = files.iter().position(|file| *file == position.file);
            (file, position.line)
        })
    });
}

fn position(path: &Path) -> Position {
    Position::of_file(path.to_string_lossy())
}

/// The name of this machine, as Linux tells it.
fn host_name() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned())
}
