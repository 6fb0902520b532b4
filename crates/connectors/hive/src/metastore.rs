//! The file metastore: a directory per schema and per table, each with a file that says what it is.
//!
//! A schema or table exists if its file does. Files are written under another name, then linked to their own: they
//! are never seen half written, and of two processes that create the same one, one wins. One process at a time may
//! drop schemas of a metastore: a table created by another meanwhile would be lost from sight.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base::{Error, ErrorCode, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The file that makes a directory of the metastore a schema.
const SCHEMA_FILE: &str = ".steadfastSchema";

/// The file that makes a directory of a schema a table.
const TABLE_FILE: &str = ".steadfastTable";

/// The layout of the files. A file of a newer one is not understood.
const FORMAT_VERSION: u32 = 1;

/// The longest name of a schema or table, in bytes. File systems allow 255.
const NAME_MAX_BYTES: usize = 255;

/// What a schema's file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SchemaRecord {
    /// Where managed tables would lie, as the user wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// The statement that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) creator: Option<String>,
}

/// What a table's file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableRecord {
    /// The columns in order.
    pub(crate) columns: Vec<ColumnRecord>,
    /// The name of the storage format.
    pub(crate) format: String,
    /// Where the data lies, as the user wrote it.
    pub(crate) external_location: String,
    /// A comment for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
    /// The statement that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) creator: Option<String>,
}

/// A column of a [`TableRecord`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnRecord {
    /// The name, in lower case.
    pub(crate) name: String,
    /// The Trino type as text.
    #[serde(rename = "type")]
    pub(crate) column_type: String,
    /// A comment for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
}

/// A record with the version of its layout.
#[derive(Serialize, Deserialize)]
struct Versioned<R> {
    version: u32,
    #[serde(flatten)]
    record: R,
}

/// A metastore in a local directory. Its calls block.
#[derive(Debug)]
pub(crate) struct FileMetastore {
    directory: PathBuf,
    /// Held while something is created or dropped.
    writing: Mutex<()>,
}

/// What became of a schema that was to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DroppedSchema {
    /// It is gone.
    Dropped,
    /// There is no such schema.
    NotThere,
    /// It has tables.
    NotEmpty,
}

/// Numbers the temporary files of this process.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

impl FileMetastore {
    /// The metastore in a directory, which need not exist yet.
    pub(crate) fn new(directory: PathBuf) -> Self {
        FileMetastore { directory, writing: Mutex::new(()) }
    }

    /// The names of the schemas, in order.
    pub(crate) fn schemas(&self) -> Result<Vec<String>> {
        entries(&self.directory, SCHEMA_FILE)
    }

    /// A schema, if it exists.
    pub(crate) fn schema(&self, schema: &str) -> Result<Option<SchemaRecord>> {
        match self.schema_directory(schema) {
            Some(directory) => read(&directory.join(SCHEMA_FILE)),
            None => Ok(None),
        }
    }

    /// The names of the tables of a schema, in order. None if there is no such schema.
    pub(crate) fn tables(&self, schema: &str) -> Result<Option<Vec<String>>> {
        match (self.schema(schema)?, self.schema_directory(schema)) {
            (Some(_), Some(directory)) => Ok(Some(entries(&directory, TABLE_FILE)?)),
            _ => Ok(None),
        }
    }

    /// A table, if it exists.
    pub(crate) fn table(&self, schema: &str, table: &str) -> Result<Option<TableRecord>> {
        match self.table_directory(schema, table) {
            Some(directory) if self.schema(schema)?.is_some() => read(&directory.join(TABLE_FILE)),
            _ => Ok(None),
        }
    }

    /// Creates a schema. False if it exists and was not created by the same statement.
    pub(crate) fn create_schema(&self, schema: &str, record: &SchemaRecord) -> Result<bool> {
        let directory = self.schema_directory(schema).ok_or_else(|| invalid_name("schema", schema))?;
        let _writing = self.lock();
        let is_ours = |found: &SchemaRecord| found.creator.is_some() && found.creator == record.creator;
        Ok(self.write_new(&directory, SCHEMA_FILE, record)?
            || read(&directory.join(SCHEMA_FILE))?.as_ref().is_some_and(is_ours))
    }

    /// Drops a schema, if it was created by that statement; whoever created it, if none is named.
    pub(crate) fn drop_schema(&self, schema: &str, creator: Option<&str>) -> Result<DroppedSchema> {
        let Some(directory) = self.schema_directory(schema) else {
            return Ok(DroppedSchema::NotThere);
        };
        let _writing = self.lock();
        let found: Option<SchemaRecord> = read(&directory.join(SCHEMA_FILE))?;
        if !found.is_some_and(|found| creator.is_none() || found.creator.as_deref() == creator) {
            return Ok(DroppedSchema::NotThere);
        }
        if !entries(&directory, TABLE_FILE)?.is_empty() {
            return Ok(DroppedSchema::NotEmpty);
        }
        Ok(match remove(&directory, SCHEMA_FILE)? {
            true => DroppedSchema::Dropped,
            false => DroppedSchema::NotThere,
        })
    }

    /// Creates a table in a schema that exists. False if the table exists and was not created by the same statement.
    pub(crate) fn create_table(&self, schema: &str, table: &str, record: &TableRecord) -> Result<bool> {
        let directory = self.table_directory(schema, table).ok_or_else(|| invalid_name("table", table))?;
        let _writing = self.lock();
        let is_ours = |found: &TableRecord| found.creator.is_some() && found.creator == record.creator;
        Ok(self.write_new(&directory, TABLE_FILE, record)?
            || read(&directory.join(TABLE_FILE))?.as_ref().is_some_and(is_ours))
    }

    /// Drops a table, not its data, if it was created by that statement; whoever created it, if none is named. False
    /// if there is no such table.
    pub(crate) fn drop_table(&self, schema: &str, table: &str, creator: Option<&str>) -> Result<bool> {
        let Some(directory) = self.table_directory(schema, table) else {
            return Ok(false);
        };
        let _writing = self.lock();
        if creator.is_some() {
            let found: Option<TableRecord> = read(&directory.join(TABLE_FILE))?;
            if found.is_none_or(|found| found.creator.as_deref() != creator) {
                return Ok(false);
            }
        }
        remove(&directory, TABLE_FILE)
    }

    fn schema_directory(&self, schema: &str) -> Option<PathBuf> {
        is_valid_name(schema).then(|| self.directory.join(schema))
    }

    fn table_directory(&self, schema: &str, table: &str) -> Option<PathBuf> {
        is_valid_name(table).then(|| self.schema_directory(schema))?.map(|schema| schema.join(table))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Writes a record under a name that must be new. False if it is not.
    fn write_new<R: Serialize>(&self, directory: &Path, name: &str, record: &R) -> Result<bool> {
        let record = Versioned { version: FORMAT_VERSION, record };
        let bytes = serde_json::to_vec_pretty(&record)
            .map_err(|error| Error::internal("a metastore record cannot be written").caused_by(error))?;
        let temporary = self.directory.join(temporary_name());
        let target = directory.join(name);
        let write = || {
            fs::create_dir_all(directory)?;
            let mut file = fs::File::create_new(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write().map_err(|error| metastore_error("write", &temporary, error))?;
        let linked = fs::hard_link(&temporary, &target);
        // If this fails, a file that nothing reads stays behind.
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(metastore_error("write", &target, error)),
        }
    }
}

/// A name that no other process has for a temporary file, even on another machine.
fn temporary_name() -> String {
    let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(".tmp-{}-{}-{number}", since_epoch.as_nanos(), std::process::id())
}

/// Removes a record, and its directory if nothing else is in it. False if there is no record.
fn remove(directory: &Path, name: &str) -> Result<bool> {
    let path = directory.join(name);
    match fs::remove_file(&path) {
        Ok(()) => {
            // A directory with other things in it stays, and is no schema or table without its record.
            let _ = fs::remove_dir(directory);
            Ok(true)
        }
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(metastore_error("remove", &path, error)),
    }
}

/// Reads a record, if it is there.
fn read<R: DeserializeOwned>(path: &Path) -> Result<Option<R>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(metastore_error("read", path, error)),
    };
    let record: Versioned<R> =
        serde_json::from_slice(&bytes).map_err(|error| metastore_error("read", path, error))?;
    if record.version != FORMAT_VERSION {
        let text = format!("its version is {}, not {FORMAT_VERSION}", record.version);
        return Err(metastore_error("read", path, text));
    }
    Ok(Some(record.record))
}

/// The directories in a directory that hold a record, by name. Empty if there is no such directory.
fn entries(directory: &Path, record: &str) -> Result<Vec<String>> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // Names that are not Unicode cannot be written in a statement.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if is_valid_name(&name) && entry.path().join(record).try_exists()? {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    };
    match list() {
        Err(error) if is_absence(&error) => Ok(Vec::new()),
        listed => listed.map_err(|error| metastore_error("list", directory, error)),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Whether a name can be that of a directory which is not hidden.
fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX_BYTES && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn invalid_name(what: &str, name: &str) -> Error {
    let text = format!(
        "Invalid {what} name '{name}': it must have 1 to {NAME_MAX_BYTES} bytes, not start with '.', and not contain '/'"
    );
    Error::new(ErrorCode::GENERIC_USER_ERROR, text)
}

fn metastore_error(action: &str, path: &Path, cause: impl std::fmt::Display) -> Error {
    let text = format!("Could not {action} {} of the metastore: {cause}", path.display());
    Error::new(ErrorCode::HIVE_METASTORE_ERROR, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metastore() -> (tempfile::TempDir, FileMetastore) {
        let directory = tempfile::tempdir().unwrap();
        let metastore = FileMetastore::new(directory.path().join("metastore"));
        (directory, metastore)
    }

    fn record() -> TableRecord {
        let column = ColumnRecord {
            name: "id".to_string(),
            column_type: "bigint".to_string(),
            comment: Some("the key".to_string()),
        };
        TableRecord {
            columns: vec![column],
            format: "PARQUET".to_string(),
            external_location: "/data/t".to_string(),
            comment: None,
            creator: None,
        }
    }

    const NOWHERE: SchemaRecord = SchemaRecord { location: None, creator: None };

    #[test]
    fn what_is_created_is_there_for_every_process_until_dropped() {
        let (_directory, metastore) = metastore();
        assert!(metastore.schemas().unwrap().is_empty());
        assert_eq!(metastore.tables("s").unwrap(), None);
        assert!(metastore.create_schema("s", &NOWHERE).unwrap());
        assert!(metastore.create_table("s", "t", &record()).unwrap());

        let other = FileMetastore::new(metastore.directory.clone());
        assert_eq!(other.schemas().unwrap(), ["s"]);
        assert_eq!(other.tables("s").unwrap().unwrap(), ["t"]);
        assert_eq!(other.table("s", "t").unwrap(), Some(record()));
        assert_eq!(other.table("s", "u").unwrap(), None);

        assert_eq!(other.drop_schema("s", None).unwrap(), DroppedSchema::NotEmpty);
        assert!(other.drop_table("s", "t", None).unwrap());
        assert!(!other.drop_table("s", "t", None).unwrap());
        assert_eq!(other.drop_schema("s", None).unwrap(), DroppedSchema::Dropped);
        assert_eq!(other.drop_schema("s", None).unwrap(), DroppedSchema::NotThere);
        assert!(metastore.schemas().unwrap().is_empty());
        assert_eq!(fs::read_dir(&metastore.directory).unwrap().count(), 0, "no file is left behind");
    }

    #[test]
    fn a_statement_that_creates_again_finds_its_own() {
        let (_directory, metastore) = metastore();
        let by = |creator: &str| SchemaRecord { creator: Some(creator.into()), ..NOWHERE };
        let table_by = |creator: &str| TableRecord { creator: Some(creator.into()), ..record() };
        for _ in 0..2 {
            assert!(metastore.create_schema("s", &by("first")).unwrap());
            assert!(metastore.create_table("s", "t", &table_by("first")).unwrap());
        }
        assert!(!metastore.create_schema("s", &by("second")).unwrap());
        assert!(!metastore.create_table("s", "t", &table_by("second")).unwrap());
        assert!(!metastore.create_schema("s", &NOWHERE).unwrap());
        assert!(!metastore.create_table("s", "t", &record()).unwrap());
    }

    #[test]
    fn a_statement_that_drops_again_spares_what_came_after() {
        let (_directory, metastore) = metastore();
        let by = |creator: &str| SchemaRecord { creator: Some(creator.into()), ..NOWHERE };
        let table_by = |creator: &str| TableRecord { creator: Some(creator.into()), ..record() };
        metastore.create_schema("s", &by("second")).unwrap();
        metastore.create_table("s", "t", &table_by("second")).unwrap();
        assert!(!metastore.drop_table("s", "t", Some("first")).unwrap());
        assert!(metastore.drop_table("s", "t", Some("second")).unwrap());
        assert_eq!(metastore.drop_schema("s", Some("first")).unwrap(), DroppedSchema::NotThere);
        assert_eq!(metastore.drop_schema("s", Some("second")).unwrap(), DroppedSchema::Dropped);
    }

    #[test]
    fn of_many_creators_one_wins() {
        let (_directory, metastore) = metastore();
        let wins: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let other = FileMetastore::new(metastore.directory.clone());
                    scope.spawn(move || usize::from(other.create_schema("s", &NOWHERE).unwrap()))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn names_that_are_paths_do_not_exist_and_cannot_be_created() {
        let (_directory, metastore) = metastore();
        metastore.create_schema("s", &NOWHERE).unwrap();
        for name in ["", ".", "..", "../s", "s/t", ".hidden", "nul\0"] {
            assert_eq!(metastore.schema(name).unwrap(), None, "{name:?}");
            assert_eq!(metastore.table("s", name).unwrap(), None, "{name:?}");
            let error = metastore.create_schema(name, &NOWHERE).unwrap_err();
            assert_eq!(error.code(), ErrorCode::GENERIC_USER_ERROR);
            assert!(metastore.create_table("s", name, &record()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn broken_and_newer_records_are_reported_with_their_file() {
        let (_directory, metastore) = metastore();
        metastore.create_schema("s", &NOWHERE).unwrap();
        let file = metastore.directory.join("s").join(SCHEMA_FILE);
        for content in ["", "{", "{\"version\": 2}", "[]"] {
            fs::write(&file, content).unwrap();
            let error = metastore.schema("s").unwrap_err();
            assert_eq!(error.code(), ErrorCode::HIVE_METASTORE_ERROR);
            assert!(error.message().contains(SCHEMA_FILE), "{error}");
        }
    }

    #[test]
    fn directories_without_a_record_are_not_schemas() {
        let (_directory, metastore) = metastore();
        fs::create_dir_all(metastore.directory.join("lost+found")).unwrap();
        fs::write(metastore.directory.join("file"), "").unwrap();
        assert!(metastore.schemas().unwrap().is_empty());
        assert_eq!(metastore.schema("file").unwrap(), None);
    }
}
