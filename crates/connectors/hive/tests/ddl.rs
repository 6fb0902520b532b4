//! Creating and dropping schemas and tables.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod common;

use base::ErrorCode;
use common::{Fixture, new_schema};
use connector::{Identity, NewSchema, NewTable};

fn with_property(mut table: NewTable, name: &str, value: Option<&str>) -> NewTable {
    table.properties.retain(|(known, _)| known != name);
    table.properties.extend(value.map(|value| (name.to_string(), value.to_string())));
    table
}

#[tokio::test]
async fn a_table_is_what_it_was_created_as() {
    let fixture = Fixture::new().await;
    let columns = [("id", "bigint"), ("name", "varchar(25)"), ("tags", "array(varchar)"), ("c", "char(3)")];
    let mut new = fixture.new_table("t", &columns);
    new.comment = Some("a comment".to_string());
    new.columns[1].comment = Some("the name".to_string());
    fixture.catalog.create_table(new.clone()).await.unwrap();

    assert_eq!(fixture.catalog.schemas().await.unwrap(), ["s"]);
    assert_eq!(fixture.catalog.tables("s").await.unwrap(), ["t"]);
    let table = fixture.catalog.table("s", "t").await.unwrap().unwrap();
    assert_eq!(table.columns, new.columns);
    assert_eq!(table.comment, new.comment);
    let location = format!("'{}'", fixture.data("t").display());
    let expected =
        [("external_location".to_string(), location), ("format".to_string(), "'PARQUET'".to_string())];
    assert_eq!(table.properties, expected);
}

#[tokio::test]
async fn a_dropped_table_is_gone_but_not_its_data() {
    let fixture = Fixture::new().await;
    fixture.table("t", &[("id", "bigint")]).await;
    let file = fixture.data("t").join("f");
    std::fs::write(&file, "data").unwrap();
    let error = fixture.catalog.drop_schema("s", None).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::SCHEMA_NOT_EMPTY);

    fixture.catalog.drop_table("s", "t", None).await.unwrap();
    assert!(fixture.catalog.table("s", "t").await.unwrap().is_none());
    assert!(file.exists());
    let error = fixture.catalog.drop_table("s", "t", None).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TABLE_NOT_FOUND);

    fixture.catalog.drop_schema("s", None).await.unwrap();
    assert!(!fixture.catalog.schema_exists("s").await.unwrap());
    let error = fixture.catalog.drop_schema("s", None).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (ErrorCode::SCHEMA_NOT_FOUND, "Schema 'hive.s' does not exist")
    );
}

#[tokio::test]
async fn what_exists_is_not_created_again() {
    let fixture = Fixture::new().await;
    let error = fixture.catalog.create_schema(new_schema("s", &[])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::SCHEMA_ALREADY_EXISTS);

    let new = fixture.new_table("t", &[("id", "bigint")]);
    fixture.catalog.create_table(new.clone()).await.unwrap();
    let error = fixture.catalog.create_table(new.clone()).await.unwrap_err();
    let expected = (ErrorCode::TABLE_ALREADY_EXISTS, "Table 'hive.s.t' already exists");
    assert_eq!((error.code(), error.message()), expected);
    let other = NewTable { if_not_exists: true, ..fixture.new_table("t", &[("other", "varchar")]) };
    fixture.catalog.create_table(other).await.unwrap();
    assert_eq!(fixture.catalog.table("s", "t").await.unwrap().unwrap().columns, new.columns);
}

#[tokio::test]
async fn a_statement_that_is_run_again_finds_what_it_did() {
    let fixture = Fixture::new().await;
    let by = |id: &str| id.parse().map(Some).unwrap();
    let first = NewTable {
        creator: by("20261120_061411_00007_abcde"),
        ..fixture.new_table("t", &[("id", "bigint")])
    };
    let second = NewTable { creator: by("20261120_061411_00008_abcde"), ..first.clone() };
    assert_eq!(fixture.catalog.identity("s", Some("t")).await.unwrap(), None);
    fixture.catalog.create_table(first.clone()).await.unwrap();
    let dropped = fixture.catalog.identity("s", Some("t")).await.unwrap();
    assert!(dropped.is_some());
    fixture.catalog.create_table(first).await.unwrap();
    let error = fixture.catalog.create_table(second.clone()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TABLE_ALREADY_EXISTS);

    fixture.catalog.drop_table("s", "t", dropped.as_ref()).await.unwrap();
    fixture.catalog.create_table(second).await.unwrap();
    let error = fixture.catalog.drop_table("s", "t", dropped.as_ref()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TABLE_NOT_FOUND);
    assert!(fixture.catalog.table("s", "t").await.unwrap().is_some(), "another table of that name is spared");

    let schema = NewSchema { creator: by("20261120_061411_00009_abcde"), ..new_schema("x", &[]) };
    fixture.catalog.create_schema(schema.clone()).await.unwrap();
    fixture.catalog.create_schema(schema).await.unwrap();
    let error = fixture.catalog.create_schema(new_schema("x", &[])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::SCHEMA_ALREADY_EXISTS);
    let other = Identity("20261120_061411_00010_abcde".into());
    let error = fixture.catalog.drop_schema("x", Some(&other)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::SCHEMA_NOT_FOUND);
    let identity = fixture.catalog.identity("x", None).await.unwrap();
    fixture.catalog.drop_schema("x", identity.as_ref()).await.unwrap();
}

#[tokio::test]
async fn properties_are_checked() {
    let fixture = Fixture::new().await;
    let new = fixture.new_table("t", &[("id", "bigint")]);
    let cases = [
        ("external_location", None, ErrorCode::NOT_SUPPORTED, "external_location must be given"),
        (
            "external_location",
            Some("/no/such"),
            ErrorCode::INVALID_TABLE_PROPERTY,
            "External location must be a directory: /no/such",
        ),
        (
            "external_location",
            Some("s3://bucket/t"),
            ErrorCode::INVALID_TABLE_PROPERTY,
            "External location is not a valid file system URI",
        ),
        ("format", None, ErrorCode::NOT_SUPPORTED, "Table format ORC is not supported"),
        ("format", Some("ORC"), ErrorCode::NOT_SUPPORTED, "Table format ORC is not supported"),
        ("format", Some("PAPER"), ErrorCode::INVALID_TABLE_PROPERTY, "'format' to ['PAPER']"),
        ("partitioned_by", Some("id"), ErrorCode::NOT_SUPPORTED, "'partitioned_by' is not supported"),
        (
            "colour",
            Some("red"),
            ErrorCode::INVALID_TABLE_PROPERTY,
            "Catalog 'hive' table property 'colour' does not exist",
        ),
    ];
    for (name, value, code, text) in cases {
        let error = fixture.catalog.create_table(with_property(new.clone(), name, value)).await.unwrap_err();
        assert_eq!(error.code(), code, "{name} {value:?}: {error}");
        assert!(error.message().contains(text), "{error}");
    }
    let error = fixture.catalog.create_schema(new_schema("x", &[("colour", "red")])).await.unwrap_err();
    let expected = "Catalog 'hive' schema property 'colour' does not exist";
    assert_eq!((error.code(), error.message()), (ErrorCode::INVALID_SCHEMA_PROPERTY, expected));
    fixture.catalog.create_schema(new_schema("x", &[("location", "file:///data/x")])).await.unwrap();

    let parquet = Fixture::with(&[("hive.storage-format", "parquet")]).await;
    let new = with_property(parquet.new_table("t", &[("id", "bigint")]), "format", None);
    parquet.catalog.create_table(new).await.unwrap();
    let closed = Fixture::with(&[("hive.non-managed-table-creates-enabled", "false")]).await;
    let error = closed.catalog.create_table(closed.new_table("t", &[("id", "bigint")])).await.unwrap_err();
    assert_eq!(error.message(), "Cannot create non-managed Hive table");
}

#[tokio::test]
async fn columns_are_checked() {
    let fixture = Fixture::new().await;
    for (columns, code) in [
        (&[][..], ErrorCode::TABLE_HAS_NO_COLUMNS),
        (&[("id", "bigint"), ("ID", "varchar")][..], ErrorCode::DUPLICATE_COLUMN_NAME),
        (&[("id", "uuid")][..], ErrorCode::NOT_SUPPORTED),
        (&[("id", "array(json)")][..], ErrorCode::NOT_SUPPORTED),
    ] {
        let error = fixture.catalog.create_table(fixture.new_table("t", columns)).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    let mut strict = fixture.new_table("t", &[("id", "bigint")]);
    strict.columns[0].nullable = false;
    let error = fixture.catalog.create_table(strict).await.unwrap_err();
    assert_eq!(error.message(), "Catalog 'hive' does not support non-null column for column name 'id'");
    let elsewhere = NewTable { schema: "nowhere".to_string(), ..fixture.new_table("t", &[("id", "bigint")]) };
    let error = fixture.catalog.create_table(elsewhere).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::SCHEMA_NOT_FOUND);
    assert!(fixture.catalog.tables("s").await.unwrap().is_empty());
}
