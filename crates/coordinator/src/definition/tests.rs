//! Coordinators that die at every point of a change of a catalog.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::datatypes::Schema;
use async_trait::async_trait;
use base::{QueryId, Result};
use connector::{Scan, Split, SplitOptions, TableHandle, TableMetadata};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::stream::BoxStream;
use protocol::client::ClientContext;
use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::test_support::{TestLife, TestState, rows};

/// Where a catalog stops for good the first time it comes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// It is looked what there is; nothing is recorded.
    Look,
    /// A change is asked for, and not made.
    BeforeChange,
    /// A change is made, and nobody told.
    AfterChange,
}

/// A catalog in memory that knows who created what.
#[derive(Debug, Default)]
struct Ledger {
    /// What there is, by schema and table; schemas are under an empty table name.
    entries: Mutex<BTreeMap<(String, String), Option<QueryId>>>,
    /// What changed, in its order.
    changes: Mutex<Vec<String>>,
    stop: Mutex<Option<Point>>,
    stopped: Notify,
    /// Whether the next change waits until it is let go.
    is_held: AtomicBool,
    let_go: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Holds whoever comes to that point, until the coordinator is dead.
    async fn pass(&self, point: Point) {
        let stops = {
            let mut stop = lock(&self.stop);
            let stops = *stop == Some(point);
            if stops {
                *stop = None;
            }
            stops
        };
        if point == Point::BeforeChange && self.is_held.swap(false, Ordering::Relaxed) {
            self.stopped.notify_one();
            self.let_go.notified().await;
        }
        if stops {
            self.stopped.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn create(&self, schema: &str, table: &str, creator: Option<QueryId>) -> bool {
        self.pass(Point::BeforeChange).await;
        let key = (schema.to_owned(), table.to_owned());
        let found = lock(&self.entries).get(&key).copied();
        let created = match found {
            Some(found) => found.is_some() && found == creator,
            None => {
                lock(&self.entries).insert(key, creator);
                lock(&self.changes).push(format!("+{schema}.{table}"));
                true
            }
        };
        self.pass(Point::AfterChange).await;
        created
    }

    async fn drop_entry(&self, schema: &str, table: &str, identity: Option<&Identity>) -> bool {
        self.pass(Point::BeforeChange).await;
        let key = (schema.to_owned(), table.to_owned());
        let is_meant = |found: &Option<QueryId>| {
            identity.is_none_or(|identity| found.is_some_and(|found| found.as_str() == identity.0))
        };
        let is_there = lock(&self.entries).get(&key).is_some_and(is_meant);
        if is_there {
            lock(&self.entries).remove(&key);
            lock(&self.changes).push(format!("-{schema}.{table}"));
        }
        self.pass(Point::AfterChange).await;
        is_there
    }

    fn changes(&self) -> Vec<String> {
        lock(&self.changes).clone()
    }
}

fn not_found(code: ErrorCode, name: &str) -> Error {
    Error::new(code, format!("'{name}' is not as it should be"))
}

#[async_trait]
impl Connector for Ledger {
    async fn schemas(&self) -> Result<Vec<String>> {
        self.pass(Point::Look).await;
        let entries = lock(&self.entries);
        Ok(entries.keys().filter(|(_, table)| table.is_empty()).map(|(schema, _)| schema.clone()).collect())
    }

    async fn tables(&self, schema: &str) -> Result<Vec<String>> {
        let entries = lock(&self.entries);
        let of_schema = entries.keys().filter(|(its, table)| its == schema && !table.is_empty());
        Ok(of_schema.map(|(_, table)| table.clone()).collect())
    }

    async fn table(&self, schema: &str, table: &str) -> Result<Option<TableMetadata>> {
        self.pass(Point::Look).await;
        let is_there = lock(&self.entries).contains_key(&(schema.to_owned(), table.to_owned()));
        Ok(is_there.then(|| TableMetadata {
            handle: TableHandle(bytes::Bytes::new()),
            columns: Vec::new(),
            comment: None,
            properties: Vec::new(),
        }))
    }

    async fn splits(&self, _: &Scan, _: &SplitOptions) -> Result<BoxStream<'static, Result<Vec<Split>>>> {
        Err(Error::internal("nobody reads here"))
    }

    fn open(&self, scan: &Scan, _: &Split, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        assert_eq!(scan.schema, Arc::new(Schema::empty()));
        Err(Error::internal("nobody reads here"))
    }

    async fn create_schema(&self, schema: NewSchema) -> Result<()> {
        match self.create(&schema.name, "", schema.creator).await {
            true => Ok(()),
            false => Err(not_found(ErrorCode::SCHEMA_ALREADY_EXISTS, &schema.name)),
        }
    }

    async fn drop_schema(&self, schema: &str, identity: Option<&Identity>) -> Result<()> {
        match self.drop_entry(schema, "", identity).await {
            true => Ok(()),
            false => Err(not_found(ErrorCode::SCHEMA_NOT_FOUND, schema)),
        }
    }

    async fn create_table(&self, table: NewTable) -> Result<()> {
        match self.create(&table.schema, &table.name, table.creator).await || table.if_not_exists {
            true => Ok(()),
            false => Err(not_found(ErrorCode::TABLE_ALREADY_EXISTS, &table.name)),
        }
    }

    async fn drop_table(&self, schema: &str, table: &str, identity: Option<&Identity>) -> Result<()> {
        match self.drop_entry(schema, table, identity).await {
            true => Ok(()),
            false => Err(not_found(ErrorCode::TABLE_NOT_FOUND, table)),
        }
    }

    async fn identity(&self, schema: &str, table: Option<&str>) -> Result<Option<Identity>> {
        let key = (schema.to_owned(), table.unwrap_or_default().to_owned());
        let creator = lock(&self.entries).get(&key).copied().flatten();
        Ok(creator.map(|creator| Identity(creator.to_string())))
    }
}

/// Coordinators over one ledger.
fn state() -> (Arc<Ledger>, TestState) {
    let ledger = Arc::new(Ledger::default());
    let mut catalogs = Catalogs::default();
    catalogs.insert("ledger", Arc::clone(&ledger) as _);
    (ledger, TestState::new(catalogs).recording())
}

const SETUP: [&str; 4] = [
    "CREATE SCHEMA ledger.old",
    "CREATE TABLE ledger.old.one (id bigint)",
    "CREATE TABLE ledger.old.two (id bigint)",
    "CREATE TABLE ledger.old.three (id bigint)",
];

/// Statements, what they change, and their kind.
const STATEMENTS: [(&str, &[&str], &str); 6] = [
    ("CREATE SCHEMA ledger.new", &["+new."], "CREATE SCHEMA"),
    ("CREATE SCHEMA IF NOT EXISTS ledger.new", &["+new."], "CREATE SCHEMA"),
    ("CREATE TABLE ledger.old.new (id bigint)", &["+old.new"], "CREATE TABLE"),
    ("DROP TABLE ledger.old.one", &["-old.one"], "DROP TABLE"),
    ("DROP TABLE IF EXISTS ledger.old.one", &["-old.one"], "DROP TABLE"),
    ("DROP SCHEMA ledger.old CASCADE", &["-old.one", "-old.three", "-old.two", "-old."], "DROP SCHEMA"),
];

async fn set_up(life: &TestLife) {
    for text in SETUP {
        let (_, last) = life.run(text).await;
        assert_eq!(last.error(), None, "{text}");
    }
}

#[tokio::test]
async fn whenever_the_coordinator_dies_a_change_is_made_once_and_told() {
    for (text, changes, update_type) in STATEMENTS {
        for point in [Point::Look, Point::BeforeChange, Point::AfterChange] {
            let (ledger, state) = state();
            let first = state.begin().await;
            set_up(&first).await;
            lock(&ledger.changes).clear();
            *lock(&ledger.stop) = Some(point);
            let posted = first.post(text).await;
            let id: QueryId = posted.document["id"].as_str().unwrap().parse().unwrap();
            // The client asks, and the coordinator dies over the answer.
            let mut next = posted.next().unwrap();
            tokio::select! {
                () = async { loop { next = first.get(&next).await.next().unwrap(); } } => {}
                () = ledger.stopped.notified() => {}
            }
            assert_eq!(state.has(ObjectKey::Intent(id)).await, point != Point::Look, "{text} {point:?}");
            assert!(!state.has(ObjectKey::Done(id)).await);
            drop(first);

            let second = state.begin().await;
            let answers = second.follow(second.get(&next).await).await;
            let last = answers.last().unwrap();
            assert_eq!(last.error(), None, "{text} {point:?}: {}", last.document);
            assert_eq!(last.document["updateType"], update_type);
            assert_eq!(ledger.changes(), changes, "{text} {point:?}");
        }
    }
}

#[tokio::test]
async fn a_change_that_was_begun_is_made_before_others_are_let_in() {
    let (ledger, state) = state();
    let first = state.begin().await;
    set_up(&first).await;
    *lock(&ledger.stop) = Some(Point::BeforeChange);
    let posted = first.post("DROP TABLE ledger.old.one").await;
    first.get(&posted.next().unwrap()).await;
    ledger.stopped.notified().await;
    drop(first);
    ledger.is_held.store(true, Ordering::Relaxed);
    let mut beginning = std::pin::pin!(state.begin());
    let held = async {
        ledger.stopped.notified().await;
        // Whatever else there is to be done is done.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut beginning => panic!("others are let in before the change"),
        () = held => {}
    }
    ledger.let_go.notify_one();
    let second = beginning.await;
    assert_eq!(ledger.changes().last().map(String::as_str), Some("-old.one"));
    // Its client never asks. The table of the same name that comes after it stays.
    second.run("CREATE TABLE ledger.old.one (id bigint)").await;
    drop(second);
    let third = state.begin().await;
    let (rows, _) = third.run("SHOW TABLES FROM ledger.old LIKE 'one'").await;
    assert_eq!(rows, [json!(["one"])]);
}

#[tokio::test]
async fn what_was_told_is_told_again_by_the_next_coordinator() {
    let (ledger, state) = state();
    let first = state.begin().await;
    let posted = first.post("CREATE SCHEMA ledger.new").await;
    let mut answers = first.follow(posted).await;
    // The last answer got lost on its way.
    answers.pop();
    let again = answers.last().unwrap().next().unwrap();
    drop(first);
    let second = state.begin().await;
    let last = second.get(&again).await;
    assert_eq!((last.error(), last.next()), (None, None));
    assert_eq!(last.document["updateType"], "CREATE SCHEMA");
    assert_eq!(ledger.changes(), ["+new."]);
}

#[tokio::test]
async fn an_error_is_the_error_of_the_first_run() {
    let (ledger, state) = state();
    let first = state.begin().await;
    set_up(&first).await;
    let posted = first.post("CREATE SCHEMA ledger.old").await;
    let mut answers = first.follow(posted).await;
    assert_eq!(answers.pop().unwrap().error(), Some("SCHEMA_ALREADY_EXISTS"));
    let again = answers.last().unwrap().next().unwrap();
    drop(first);
    // Run now, it would succeed.
    lock(&ledger.entries).clear();
    let second = state.begin().await;
    assert_eq!(second.get(&again).await.error(), Some("SCHEMA_ALREADY_EXISTS"));
    assert!(lock(&ledger.entries).is_empty());
}

#[tokio::test]
async fn a_change_by_two_coordinators_at_once_is_one_change() {
    for (text, changes, _) in STATEMENTS {
        let (ledger, state) = state();
        let first = state.begin().await;
        set_up(&first).await;
        lock(&ledger.changes).clear();
        // The first coordinator stands still where it is about to act; a second one takes its place.
        *lock(&ledger.stop) = Some(Point::BeforeChange);
        let posted = first.post(text).await;
        let mut next = posted.next().unwrap();
        tokio::select! {
            () = async { loop { next = first.get(&next).await.next().unwrap(); } } => {}
            () = ledger.stopped.notified() => {}
        }
        let second = state.begin().await;
        let answers = second.follow(second.get(&next).await).await;
        assert_eq!(answers.last().unwrap().error(), None, "{text}");
        assert_eq!(rows(&answers).len(), 0);
        assert_eq!(ledger.changes(), changes, "{text}");
        // The first one wakes, and does what it had decided.
        let id: QueryId = posted.document["id"].as_str().unwrap().parse().unwrap();
        let stored = state.store().read_all(&ObjectKey::Intent(id).to_string(), u64::MAX).await;
        if let Ok(stored) = stored {
            let intent = Intent::decode(id, &stored).unwrap();
            let mut catalogs = Catalogs::default();
            catalogs.insert("ledger", Arc::clone(&ledger) as _);
            // Whatever it is told, it tells nobody.
            let _ = intent.change.apply(&catalogs, false).await;
        }
        assert_eq!(ledger.changes(), changes, "{text}");
        drop(first);
    }
}

#[tokio::test]
async fn what_another_coordinator_does_meanwhile_is_not_in_the_way() {
    for (text, changes, update_type) in STATEMENTS {
        let (ledger, state) = state();
        let first = state.begin().await;
        set_up(&first).await;
        let client = ClientContext { user: "anna".into(), ..ClientContext::default() };
        let (id, next) = state.accepted(first, text, client).await;
        let second = state.begin().await;
        lock(&ledger.changes).clear();
        // The second one has found nothing but the statement. Now the first one records and does what it had decided.
        let mut catalogs = Catalogs::default();
        catalogs.insert("ledger", Arc::clone(&ledger) as _);
        let by = |schema: &str, table: &str| {
            let key = (schema.to_owned(), table.to_owned());
            lock(&ledger.entries).get(&key).copied().flatten().map(|by| Identity(by.to_string()))
        };
        let (catalog, schema) = (String::from("ledger"), String::from("old"));
        let change = match update_type {
            "CREATE SCHEMA" => {
                let schema = NewSchema { name: "new".into(), properties: Vec::new(), creator: Some(id) };
                Change::CreateSchema { catalog, schema, if_not_exists: false }
            }
            "CREATE TABLE" => {
                let (columns, properties) = (Vec::new(), Vec::new());
                let (name, comment, creator) = ("new".into(), None, Some(id));
                let if_not_exists = false;
                let table = NewTable { schema, name, columns, comment, properties, if_not_exists, creator };
                Change::CreateTable { catalog, table }
            }
            "DROP TABLE" => {
                let identity = by("old", "one");
                Change::DropTable { catalog, schema, table: "one".into(), identity, if_exists: false }
            }
            _ => {
                let tables = ["one", "three", "two"].map(|table| (table.into(), by("old", table))).into();
                Change::DropSchema { catalog, schema, identity: by("old", ""), tables, if_exists: false }
            }
        };
        let intent = Intent { epoch: base::Epoch(1), change };
        state.store().create(&ObjectKey::Intent(id).to_string(), intent.encode()).await.unwrap();
        intent.change.apply(&catalogs, false).await.unwrap();
        assert_eq!(ledger.changes(), changes);
        let answers = second.follow(second.get(&next).await).await;
        assert_eq!(answers.last().unwrap().error(), None, "{text}");
        assert_eq!(answers.last().unwrap().document["updateType"], update_type);
        assert_eq!(ledger.changes(), changes, "{text}");
    }
}
