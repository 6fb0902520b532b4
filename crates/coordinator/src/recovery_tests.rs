//! What a client sees of a coordinator's death, statement by statement.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use connector::Catalogs;
use protocol::client::ClientContext;
use serde_json::{Value, json};

use super::*;
use crate::test_support::{Answer, TestLife, TestState, rows, until};

fn state() -> TestState {
    TestState::new(Catalogs::default())
}

/// Statements that the coordinator answers by itself.
const STATEMENTS: [&str; 9] = [
    "SHOW CATALOGS",
    "SHOW SESSION LIKE 'retry%'",
    "SHOW FUNCTIONS",
    "EXPLAIN (TYPE VALIDATE) SELECT 1",
    "DESCRIBE INPUT mine",
    "USE system.runtime",
    "SET SESSION retry_policy = 'TASK'",
    "PREPARE other FROM SELECT ? + 1",
    "START TRANSACTION",
];

const STARTED_TRANSACTION: &str = "x-trino-started-transaction-id";

const HEADERS: [(&str, &str); 2] =
    [("X-Trino-Prepared-Statement", "mine=SELECT+%3F"), ("X-Trino-Transaction-Id", "NONE")];

/// What a client sees in answers: the rows of all, and of the last one alone the columns, what kind of statement it was,
/// and what changes in its session: it may have seen no other one.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    rows: Vec<Value>,
    columns: Value,
    update_type: Value,
    session: Vec<String>,
}

fn seen(answers: &[Answer]) -> Seen {
    let last = answers.last().unwrap();
    let headers = last.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-trino-"));
    Seen {
        rows: rows(answers),
        columns: last.document["columns"].clone(),
        update_type: last.document["updateType"].clone(),
        session: headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect(),
    }
}

/// Follows a statement to its end; before the answer of that number gets to the client, the coordinator dies.
async fn follow_over_a_death(state: &TestState, text: &str, dies_at: usize) -> Option<Vec<Answer>> {
    let mut life = state.begin().await;
    let mut answers = vec![life.post_with(text, &HEADERS).await];
    while let Some(next) = answers.last().and_then(Answer::next) {
        let mut answer = life.get(&next).await;
        if answers.len() == dies_at {
            drop(life);
            life = state.begin().await;
            answer = life.get(&next).await;
        }
        assert_eq!(answer.status, StatusCode::OK, "{text}: {answer:?}");
        answers.push(answer);
    }
    (answers.len() > dies_at).then_some(answers)
}

#[tokio::test]
async fn a_statement_gives_the_same_over_every_death() {
    for (text, is_recorded) in STATEMENTS.iter().flat_map(|text| [(*text, false), (*text, true)]) {
        let state = || if is_recorded { state().recording() } else { state() };
        let undisturbed = follow_over_a_death(&state(), text, 0).await.unwrap();
        let expected = seen(&undisturbed);
        assert_eq!(undisturbed.last().unwrap().error(), None, "{text}");
        assert_eq!(expected.rows.is_empty(), expected.update_type.is_string(), "{text}: {expected:?}");
        let mut deaths = 0;
        for dies_at in 1.. {
            let Some(answers) = follow_over_a_death(&state(), text, dies_at).await else { break };
            let mut found = seen(&answers);
            if text == "START TRANSACTION" {
                // The name of a transaction is random, and one all the same.
                let told = answers.iter().filter_map(|answer| answer.headers.get(STARTED_TRANSACTION));
                assert_eq!(told.collect::<BTreeSet<_>>().len(), 1);
                found.session.clone_from(&expected.session);
            }
            assert_eq!(found, expected, "{text}, answer {dies_at} got lost");
            deaths += 1;
        }
        let has_rows = !expected.rows.is_empty();
        assert_eq!(
            deaths,
            1 + usize::from(is_recorded && has_rows),
            "{text} has {deaths} answers after the first"
        );
    }
}

#[tokio::test]
async fn rows_that_changed_between_two_coordinators_are_neither_mixed_nor_an_error() {
    let mut catalogs = Catalogs::default();
    let state = state().recording();
    let first = state.begin().await;
    let mut answers = vec![first.post("SHOW CATALOGS").await];
    while rows(&answers).is_empty() {
        let next = answers.last().unwrap().next().unwrap();
        answers.push(first.get(&next).await);
    }
    drop(first);
    let none = Arc::new(connector::snapshot::SnapshotConnector::reader());
    catalogs.insert("another", Arc::clone(&none) as _);
    catalogs.insert("one_more", none);
    let second = state.with_catalogs(catalogs).begin().await;
    let rest = second.follow(second.get(&answers.last().unwrap().next().unwrap()).await).await;
    assert_eq!(rest.last().unwrap().error(), None);
    assert_eq!((rows(&answers), rows(&rest)), (vec![json!(["system"])], Vec::new()));
}

#[tokio::test]
async fn a_query_that_was_only_recorded_runs_when_its_client_asks_whoever_leads() {
    let state = state();
    let client = ClientContext { user: "anna".into(), ..ClientContext::default() };
    let (id, next) = state.accepted(state.begin().await, "SELECT 1", client).await;
    let second = state.begin().await;
    assert_eq!(second.describe(id.as_str()).await["state"], "QUEUED");
    second.get(&next).await;
    assert_ne!(second.describe(id.as_str()).await["state"], "QUEUED");
}

#[tokio::test]
async fn a_short_query_leaves_nothing_in_the_store_and_is_run_again_by_the_next_coordinator() {
    let state = state();
    let first = state.begin().await;
    let posted = first.post("SHOW CATALOGS").await;
    let next = posted.next().unwrap();
    assert!(next.contains("?capsule="), "{next}");
    assert_eq!(posted.document["data"], Value::Null);
    assert!(state.store().list_groups().await.unwrap().iter().all(|group| group == "coordinator"));
    drop(first);
    let second = state.begin().await;
    // Whoever asks, and however often, it is one query.
    let (one, other) = tokio::join!(second.get(&next), second.get(&next));
    assert_eq!((one.next(), one.document["data"].clone()), (None, json!([["system"]])));
    assert_eq!(one.document["data"], other.document["data"]);
    assert_eq!(one.document["id"], posted.document["id"]);
    assert_eq!(second.get(&next).await.document["data"], one.document["data"]);
    assert_eq!(second.get("/v1/query").await.document.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_capsule_is_of_no_use_to_the_coordinator_that_sealed_it_nor_for_ever() {
    let state = state();
    let first = state.begin().await;
    let next = first.post("SHOW CATALOGS").await.next().unwrap();
    let answer = first.get(&next).await;
    assert_eq!(answer.next(), None);
    let id = answer.document["id"].as_str().unwrap().to_owned();
    let (path, capsule) = next.split_once("?capsule=").unwrap();
    // Another query's address does not become that of this one.
    let other = first.post("SHOW CATALOGS").await.next().unwrap();
    let (other_path, _) = other.split_once("?capsule=").unwrap();
    drop(first);
    let second = state.begin().await;
    for forged in [
        format!("{other_path}?capsule={capsule}"),
        format!("{}1?capsule={capsule}", path.strip_suffix('0').unwrap()),
    ] {
        assert_eq!(second.get(&forged).await.status, StatusCode::NOT_FOUND, "{forged}");
    }
    let slug = path.split('/').rev().nth(1).unwrap();
    let forged = next.replacen(slug, &format!("y{:040x}", 7), 1);
    assert_eq!(second.get(&forged).await.status, StatusCode::NOT_FOUND, "{forged}");
    // None of that has made the query known.
    assert_eq!(second.get(&format!("/v1/query/{id}")).await.status, StatusCode::GONE);
    drop(second);
    let patient = state.begin().await;
    assert_eq!(patient.get(&next).await.status, StatusCode::OK);
    drop(patient);
    let impatient = state.with_client_timeout("1s").begin().await;
    until("the capsule is too old", async || {
        // This does not make the query known.
        impatient.head(&next).await == StatusCode::NOT_FOUND
    })
    .await;
}

#[tokio::test]
async fn what_a_client_cancels_is_cancelled_whoever_leads() {
    for is_begun in [false, true] {
        let state = state().recording();
        let first = state.begin().await;
        let mut next = first.post("SHOW FUNCTIONS").await.next().unwrap();
        if is_begun {
            next = first.get(&next).await.next().unwrap();
        }
        drop(first);
        let second = state.begin().await;
        assert_eq!(second.delete(&next).await.status, StatusCode::NO_CONTENT);
        let told = second.follow(second.get(&next).await).await;
        assert_eq!(told.last().unwrap().error(), Some("USER_CANCELED"));
        // And so it stays.
        drop(second);
        let third = state.begin().await;
        assert_eq!(third.get(&next).await.error(), Some("USER_CANCELED"));
        assert_eq!(third.delete(&next).await.status, StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn a_short_query_that_a_client_cancels_is_not_run_again() {
    let state = state();
    let next = state.begin().await.post("SHOW FUNCTIONS").await.next().unwrap();
    let second = state.begin().await;
    assert_eq!(second.delete(&next).await.status, StatusCode::NO_CONTENT);
    assert_eq!(second.get(&next).await.error(), Some("USER_CANCELED"));
}

#[tokio::test]
async fn a_failure_that_nobody_was_told_is_told_by_the_next_coordinator() {
    for state in [state(), state().recording()] {
        let first = state.begin().await;
        let posted = first.post("SHOW TABLES FROM nowhere.x").await;
        assert_eq!(posted.error(), None, "not all clients look for an error here");
        drop(first);
        let second = state.begin().await;
        let last = second.get(&posted.next().unwrap()).await;
        assert_eq!((last.error(), last.next()), (Some("CATALOG_NOT_FOUND"), None));
    }
}

#[tokio::test]
async fn a_query_that_was_accepted_too_late_to_be_found_is_found() {
    let state = state().recording();
    let first = state.begin().await;
    let second = state.begin().await;
    // The first one does not know yet that its place is taken.
    let posted = first.post("SHOW CATALOGS").await;
    assert_eq!(posted.status, StatusCode::OK);
    let answers = second.follow(second.get(&posted.next().unwrap()).await).await;
    assert_eq!(rows(&answers), [json!(["system"])]);
    drop(first);
}

#[tokio::test]
async fn nobody_gets_at_what_does_not_exist() {
    let state = state().recording();
    let first = state.begin().await;
    let answer = first.post("SHOW CATALOGS").await;
    let (id, posted) = (answer.document["id"].as_str().unwrap().to_owned(), answer.next().unwrap());
    drop(first);
    let second = state.begin().await;
    let former = format!("20200101_000000_00000{}", &id[21..]);
    for (from, to) in [(id.as_str(), former.as_str()), ("/y", "/y0"), ("/executing/", "/queued/")] {
        let forged = posted.replacen(from, to, 1);
        assert_ne!(forged, posted);
        assert_eq!(second.get(&forged).await.status, StatusCode::NOT_FOUND, "{forged}");
        assert_eq!(second.delete(&forged).await.status, StatusCode::NOT_FOUND, "{forged}");
    }
    assert_eq!(second.get(&posted).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_query_whose_record_is_damaged_is_told_to_be_and_then_removed() {
    for is_too_large in [false, true] {
        let state = state().recording();
        let first = state.begin().await;
        let posted = first.post("SHOW CATALOGS").await;
        let other = first.post("SHOW CATALOGS").await;
        let id: QueryId = posted.document["id"].as_str().unwrap().parse().unwrap();
        drop(first);
        match is_too_large {
            true => state.enlarge(&ObjectKey::Query(id).to_string()),
            false => state.put(ObjectKey::Query(id), "rotten").await,
        }
        let second: TestLife = state.begin().await;
        assert_eq!(second.describe(id.as_str()).await["errorCode"]["name"], "EXCHANGE_DATA_LOST");
        assert!(state.has(ObjectKey::Query(id)).await, "it is removed before anybody was told");
        let answer = second.get(&posted.next().unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(answer.text.contains("unreadable"), "{}", answer.text);
        until("it is removed", async || !state.has(ObjectKey::Query(id)).await).await;
        // The others go on.
        assert_eq!(
            second.follow(second.get(&other.next().unwrap()).await).await.last().unwrap().error(),
            None
        );
    }
}

/// The record of a plan with one stage whose tasks are recorded.
fn plan() -> PlanRecord {
    let stage = scheduler::StageShape {
        distribution: Distribution::Source,
        inputs: Vec::new(),
        scans: 1,
        output_partitions: 1,
        determinate: true,
    };
    PlanRecord {
        fragments: vec![bytes::Bytes::new()],
        shape: QueryShape { stages: vec![stage] },
        split_options: connector::SplitOptions { target_size_bytes: 1, node_count: 1, slot_count: 1 },
        columns: Vec::new(),
        schema: Arc::new(arrow::datatypes::Schema::empty()),
        outline: None,
        epoch: base::Epoch(1),
    }
}

fn tasks(number: u32) -> Record {
    let tasks = vec![Arc::new(scheduler::TaskInput::default())];
    Record::Tasks { stage: StageId(0), number, tasks, sealed: false }
}

/// What is done to the records of a query whose result is there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    PlanRotten,
    TasksRotten,
    TasksGone,
}

#[tokio::test]
async fn a_result_that_cannot_be_given_is_an_error_and_not_empty() {
    for damage in [Damage::PlanRotten, Damage::TasksRotten, Damage::TasksGone] {
        let state = state();
        let client = ClientContext { user: "anna".into(), ..ClientContext::default() };
        let (id, next) = state.accepted(state.begin().await, "SELECT 1", client).await;
        let content = |record: &Record| protocol::state::record_to_content(record, Vec::new());
        state.put(ObjectKey::Plan(id), plan().encode().unwrap()).await;
        let key = |number| ObjectKey::Tasks { query: id, stage: StageId(0), number };
        for number in 0..2 {
            state.put(key(number), content(&tasks(number))).await;
        }
        state.put(ObjectKey::Done(id), content(&Record::Done { outcome: Ok(()) })).await;
        match damage {
            Damage::PlanRotten => state.put(ObjectKey::Plan(id), "rotten").await,
            Damage::TasksRotten => state.put(key(1), "rotten").await,
            Damage::TasksGone => state.store().remove(&key(0).to_string()).await.unwrap(),
        }
        for life in 0..3 {
            // Each dies when it has told, and before its answer got to the client.
            let told = state.begin().await.get(&next).await;
            assert_eq!(told.error(), Some("EXCHANGE_DATA_LOST"), "{damage:?} in life {life}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_query_whose_plan_is_gone_is_not_run_from_the_start() {
    let state = state();
    let client = ClientContext { user: "anna".into(), ..ClientContext::default() };
    let (id, next) = state.accepted(state.begin().await, "SELECT 1", client).await;
    let key = ObjectKey::Tasks { query: id, stage: StageId(0), number: 0 };
    state.put(key, protocol::state::record_to_content(&tasks(0), Vec::new())).await;
    let told = state.begin().await.get(&next).await;
    assert_eq!(told.error(), Some("EXCHANGE_DATA_LOST"), "{told:?}");
}

#[test]
fn records_of_which_one_is_missing_are_noticed() {
    let id: QueryId = "20261120_061411_00001_abcde".parse().unwrap();
    let rollback = |number| Record::Rollback { number, outputs: Vec::new() };
    let check = |records| {
        let remains = Remains { records, splits: Vec::new(), commits: Vec::new() };
        remains.check_whole(id, &plan().shape).map_err(|error| error.message().to_owned())
    };
    assert_eq!(check(vec![tasks(0), tasks(1), rollback(0), rollback(1)]), Ok(()));
    let tasks_lost = format!("The record {id}/tasks/0/0 is lost");
    assert_eq!(check(vec![tasks(1)]), Err(tasks_lost));
    assert_eq!(check(vec![tasks(0), rollback(1)]), Err(format!("The record {id}/rollback/0 is lost")));
}

#[tokio::test]
async fn queries_of_a_life_whose_name_cannot_be_read_are_gone_on_with() {
    for damage in ["empty", "too large"] {
        let state = state().recording();
        let first = state.begin().await;
        let posted = first.post("SHOW CATALOGS").await;
        drop(first);
        let key = exchange::CoordinatorKey::Epoch(base::Epoch(1)).to_string();
        match damage {
            "empty" => state.empty(&key),
            _ => state.enlarge(&key),
        }
        // Another cluster leaves its output in the same directory.
        let other: QueryId = "20261120_061411_00001_other".parse().unwrap();
        let task = TaskId { query: other, stage: StageId(0), partition: 0 };
        let output = ObjectKey::Commit(base::OutputId { task, generation: 0 });
        state.put(output, "output").await;
        let second = state.begin().await;
        let answers = second.follow(second.get(&posted.next().unwrap()).await).await;
        assert_eq!(rows(&answers), [json!(["system"])], "{damage}");
        let id: QueryId = posted.document["id"].as_str().unwrap().parse().unwrap();
        until("it is removed", async || !state.has(ObjectKey::Query(id)).await).await;
        assert!(state.has(output).await, "the output of another cluster is removed");
    }
}

#[tokio::test]
async fn one_that_stood_still_denies_no_query_before_it_has_looked_who_leads() {
    let state = state().recording();
    let old = state.begin().await;
    let new = state.begin().await;
    let next = new.post("SHOW CATALOGS").await.next().unwrap();
    old.lapse();
    for _ in 0..2 {
        assert_eq!(old.get(&next).await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(old.delete(&next).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let posted = old.post("SHOW CATALOGS").await;
    assert_eq!(posted.status, StatusCode::SERVICE_UNAVAILABLE, "it accepts statements");
    // Whoever leads knows it.
    assert_eq!(rows(&new.follow(new.get(&next).await).await), [json!(["system"])]);
    // One that still leads looks, and goes on.
    new.lapse();
    assert_eq!(new.run("SHOW CATALOGS").await.0, [json!(["system"])]);
}
