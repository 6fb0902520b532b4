//! What there is to say about one property.

use crate::kind::Kind;

/// The file a property is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PropertyFile {
    /// `node.properties`.
    Node,
    /// `config.properties`.
    Config,
    /// `exchange-manager.properties`.
    ExchangeManager,
    /// A file in `catalog/`, for catalogs of that connector.
    Catalog(&'static str),
    /// No file: the property exists in sessions only.
    Session,
}

/// Whether a property does something here, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Trino has it, and it does here what it does there.
    Trino,
    /// It is ours; Trino does not know it.
    Extension,
    /// Trino has it; here it is accepted and does nothing.
    NoEffect,
}

/// The value of a property that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This text.
    Text(&'static str),
    /// Worked out at start, as described in words.
    Computed(&'static str),
    /// Nothing: the property stays unset.
    Unset,
}

/// The chapter of the documentation a property belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Who the node is and where it listens.
    Node,
    /// Life and limits of queries.
    Query,
    /// What is tried again, how often, and when.
    Retry,
    /// How tasks are sized.
    TaskSizing,
    /// How tasks run on a worker.
    Task,
    /// Memory of nodes, tasks and queries.
    Memory,
    /// How stages hand data to each other.
    Exchange,
    /// Catalogs.
    Catalog,
    /// For tests only.
    Testing,
    /// Anything else.
    Other,
}

impl Topic {
    /// The heading of the chapter.
    pub fn title(self) -> &'static str {
        match self {
            Topic::Node => "Node",
            Topic::Query => "Queries",
            Topic::Retry => "Retry",
            Topic::TaskSizing => "Task sizing",
            Topic::Task => "Tasks",
            Topic::Memory => "Memory",
            Topic::Exchange => "Exchange",
            Topic::Catalog => "Catalogs",
            Topic::Testing => "Testing",
            Topic::Other => "Other",
        }
    }
}

/// A configuration property.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Property {
    /// Its name in files; for a property of sessions only, its session name.
    pub name: &'static str,
    /// Names it had before, still understood.
    pub aliases: &'static [&'static str],
    /// Its name in sessions, if a session may set it.
    pub session: Option<&'static str>,
    /// Which values it takes.
    pub kind: Kind,
    /// Its value when it is not set.
    pub default: DefaultValue,
    /// Its value when it is not set and `retry-policy` is `TASK`, if that differs.
    pub task_default: Option<&'static str>,
    /// The file it is written in.
    pub file: PropertyFile,
    /// Whether a coordinator uses it.
    pub coordinator: bool,
    /// Whether a worker uses it.
    pub worker: bool,
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// Whether it does something, and whose it is.
    pub status: Status,
    /// Its chapter in the documentation.
    pub topic: Topic,
    /// Whether `SHOW SESSION` leaves it out.
    pub hidden: bool,
}

impl Property {
    /// A property of `config.properties` for both roles, whose default is that text.
    pub(crate) const fn new(
        topic: Topic,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Property {
            name,
            aliases: &[],
            session: None,
            kind,
            default: DefaultValue::Text(default),
            task_default: None,
            file: PropertyFile::Config,
            coordinator: true,
            worker: true,
            doc,
            status: Status::Trino,
            topic,
            hidden: false,
        }
    }

    /// The same as [`Property::new`], without a default.
    pub(crate) const fn unset(topic: Topic, name: &'static str, kind: Kind, doc: &'static str) -> Self {
        let property = Property::new(topic, name, kind, "", doc);
        Property { default: DefaultValue::Unset, ..property }
    }

    pub(crate) const fn computed(self, how: &'static str) -> Self {
        Property { default: DefaultValue::Computed(how), ..self }
    }

    pub(crate) const fn session(self, name: &'static str) -> Self {
        Property { session: Some(name), ..self }
    }

    pub(crate) const fn aliases(self, names: &'static [&'static str]) -> Self {
        Property { aliases: names, ..self }
    }

    pub(crate) const fn under_task(self, default: &'static str) -> Self {
        Property { task_default: Some(default), ..self }
    }

    pub(crate) const fn in_file(self, file: PropertyFile) -> Self {
        Property { file, ..self }
    }

    pub(crate) const fn coordinator_only(self) -> Self {
        Property { worker: false, ..self }
    }

    pub(crate) const fn worker_only(self) -> Self {
        Property { coordinator: false, ..self }
    }

    pub(crate) const fn extension(self) -> Self {
        Property { status: Status::Extension, ..self }
    }

    pub(crate) const fn without_effect(self) -> Self {
        Property { status: Status::NoEffect, ..self }
    }

    pub(crate) const fn hidden(self) -> Self {
        Property { hidden: true, ..self }
    }

    /// The text of the default, under `retry-policy=TASK` or not.
    pub fn default_text(&self, task_retries: bool) -> Option<&'static str> {
        match (self.task_default, self.default) {
            (Some(text), _) if task_retries => Some(text),
            (_, DefaultValue::Text(text)) => Some(text),
            (_, DefaultValue::Computed(_) | DefaultValue::Unset) => None,
        }
    }
}
