//! Writes `docs/configuration.md`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::catalog::CONNECTORS;
use crate::property::{DefaultValue, Property, PropertyFile, Status, Topic};
use crate::table::{accepted_without_effect, properties};

const INTRODUCTION: &str = "\
<!-- Written from the code: `UPDATE_DOCS=1 cargo test -p steadfast-config --test documentation` -->

# Configuration

A server reads the files of Trino's `etc` directory, with Trino's names, units and defaults:

| File | What it says |
|---|---|
| `node.properties` | who this node is |
| `config.properties` | everything else about the server |
| `exchange-manager.properties` | where exchange data goes; needed for `retry-policy=TASK` |
| `catalog/<name>.properties` | the catalog `<name>` |
| `log.properties` | levels of loggers, such as `io.trino=DEBUG` |
| `jvm.config` | only `-Xmx` is read: the memory of the node |

- **Sizes** have a unit: `B`, `kB`, `MB`, `GB`, `TB`, `PB`, each 1024 times the one before. **Durations** too: `ns`, `us`, `ms`, `s`, \
`m`, `h`, `d`. **Booleans** are `true` or `false`. Lists are separated by commas.
- `${ENV:NAME}` in a value stands for the environment variable `NAME`. A variable that is not set stops the start.
- A property that does not exist, or a value that is none, stops the start. All problems are reported at once, each with its file \
and line.
- If a file sets a property twice, the last line counts, and a warning says so.
- A property with a **session** name can be set for one session: `SET SESSION retry_max_delay = '20s'`. `SHOW SESSION` lists them.
- **Extensions** are properties that Trino does not have. They are marked with ★.
- Properties that Trino has and that do nothing here are listed [at the end](#properties-without-effect). They are accepted with a \
warning, so that an `etc` directory of Trino's starts as it is.
";

/// The text of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (file, heading) in [
        (PropertyFile::Node, "`node.properties`"),
        (PropertyFile::Config, "`config.properties`"),
        (PropertyFile::ExchangeManager, "`exchange-manager.properties`"),
    ] {
        write_file(&mut text, file, heading);
    }
    text.push_str(
        "\n## `catalog/<name>.properties`\n\nThe name of the file, in lower case, is the name of the catalog. \
         `connector.name` says which connector it uses. Catalogs of connectors of Trino's that are not available yet \
         are left out with a warning.\n",
    );
    for connector in CONNECTORS.iter().filter(|connector| connector.available) {
        let name = connector.name;
        write_file(&mut text, PropertyFile::Catalog(name), &format!("Connector `{name}`"));
    }
    write_sessions(&mut text);
    write_without_effect(&mut text);
    text
}

fn write_file(text: &mut String, file: PropertyFile, heading: &str) {
    let mut topics: BTreeMap<Topic, Vec<&Property>> = BTreeMap::new();
    for property in
        properties().filter(|property| property.file == file && property.status != Status::NoEffect)
    {
        topics.entry(property.topic).or_default().push(property);
    }
    let is_catalog = matches!(file, PropertyFile::Catalog(_));
    let _ = write!(text, "\n{} {heading}\n", if is_catalog { "###" } else { "##" });
    for (topic, properties) in &topics {
        if topics.len() > 1 {
            let _ = write!(text, "\n### {}\n", topic.title());
        }
        text.push_str("\n| Property | Kind | Default | What it does |\n|---|---|---|---|\n");
        for property in properties {
            write_property(text, property);
        }
    }
}

fn write_property(text: &mut String, property: &Property) {
    let star = if property.status == Status::Extension { " ★" } else { "" };
    let default = match property.default {
        DefaultValue::Text("") => String::new(),
        DefaultValue::Text(default) => format!("`{default}`"),
        DefaultValue::Computed(how) => how.to_owned(),
        DefaultValue::Unset => String::new(),
    };
    let task_default = property
        .task_default
        .map(|default| format!("; `{default}` if `retry-policy` is `TASK`"))
        .unwrap_or_default();
    let mut doc = property.doc.to_owned();
    if let Some(session) = property.session {
        let _ = write!(doc, "<br>Session: `{session}`.");
    }
    if !property.aliases.is_empty() {
        let _ = write!(doc, "<br>Formerly `{}`.", property.aliases.join("`, `"));
    }
    match (property.coordinator, property.worker) {
        (true, false) => doc.push_str("<br>Used by the coordinator."),
        (false, true) => doc.push_str("<br>Used by workers."),
        _ => {}
    }
    let kind = property.kind.describe();
    let _ = writeln!(text, "| `{}`{star} | {kind} | {default}{task_default} | {doc} |", property.name);
}

fn write_sessions(text: &mut String) {
    text.push_str("\n## Session properties without a property\n\n| Session property | Kind | What it does |\n|---|---|---|\n");
    let only_sessions =
        |property: &&Property| property.file == PropertyFile::Session && property.status != Status::NoEffect;
    for property in properties().filter(only_sessions) {
        let _ = writeln!(text, "| `{}` | {} | {} |", property.name, property.kind.describe(), property.doc);
    }
}

fn write_without_effect(text: &mut String) {
    text.push_str(
        "\n## Properties without effect\n\nTrino has them; here they are accepted with a warning and do nothing. \
         Beware of those that keep people out, such as `http-server.authentication.type`: the warning says so.\n",
    );
    let connectors = CONNECTORS.iter().filter(|connector| connector.available);
    let catalogs = connectors
        .map(|connector| (PropertyFile::Catalog(connector.name), format!("Connector `{}`", connector.name)));
    let files = [
        (PropertyFile::Config, "`config.properties`".to_owned()),
        (PropertyFile::ExchangeManager, "`exchange-manager.properties`".to_owned()),
    ];
    let sessions = [(PropertyFile::Session, "Session properties".to_owned())];
    for (file, heading) in files.into_iter().chain(catalogs).chain(sessions) {
        let of_table = properties()
            .filter(|property| property.file == file && property.status == Status::NoEffect)
            .flat_map(|property| [property.name].into_iter().chain(property.aliases.iter().copied()));
        let mut names: Vec<&str> = of_table.chain(accepted_without_effect(file).iter().copied()).collect();
        names.sort_unstable();
        if names.is_empty() {
            continue;
        }
        let list = names.join("`, `");
        let count = names.len();
        let _ = write!(
            text,
            "\n<details>\n<summary>{heading}: {count} names</summary>\n\n`{list}`\n\n</details>\n"
        );
    }
}
