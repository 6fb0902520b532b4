//! Damaged, truncated and missing objects are lost outputs: never wrong rows, never a panic.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use base::{Error, Failure, FailureClass, StageId};
use exchange::handle::EMBEDDED_BYTES_MAX;
use exchange::{CommitRecord, ExchangeCompression, ObjectKey};

use crate::support::{Exchange, attempt, words};

fn assert_lost(error: Error, what: &str) {
    assert_eq!(Failure::of(error).class, FailureClass::InputLost(attempt(0, 0).output()), "{what}");
}

struct Written {
    exchange: Exchange,
    record: CommitRecord,
    path: PathBuf,
    content: Vec<u8>,
}

/// An output whose frames are in the record or in an object, and the file that holds them.
async fn written(inline: bool, compression: ExchangeCompression) -> Written {
    let exchange = Exchange::with(|options| {
        options.inline_bytes_max = if inline { 1 << 20 } else { 0 };
        options.compression = compression;
    });
    let schema = words(0..1).schema();
    let pushes = [(0, words(0..40)), (1, words(40..200))];
    let record = exchange.write(attempt(0, 0), &schema, 2, &pushes).await.record;
    let key = match inline {
        true => ObjectKey::Commit(attempt(0, 0).output()),
        false => ObjectKey::Data(attempt(0, 0)),
    };
    let path = exchange.directory.path().join(key.to_string());
    let content = std::fs::read(&path).unwrap();
    Written { exchange, record, path, content }
}

impl Written {
    /// Reads as a coordinator that was restarted and a worker would, with the content of the file replaced.
    async fn read(&self, content: &[u8]) -> base::Result<usize> {
        std::fs::write(&self.path, content).unwrap();
        let schema = words(0..1).schema();
        let record = self.exchange.manager.committed(attempt(0, 0).output()).await?.unwrap();
        // By range, not from what the record carries.
        let rows = self.exchange.read(&record, &schema, 0..2).await?;
        assert_eq!(rows, words(0..200), "rows that come back are right");
        Ok(rows.num_rows())
    }
}

#[tokio::test]
async fn flipped_bytes_never_give_wrong_rows() {
    for inline in [true, false] {
        for compression in [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd] {
            let written = written(inline, compression).await;
            let frames_end = written.content.len() - if inline { 0 } else { 12 };
            let mut found = 0;
            for at in (0..written.content.len()).step_by(13) {
                let mut flipped = written.content.clone();
                flipped[at] ^= 1 << (at % 8);
                match written.read(&flipped).await {
                    Err(error) => {
                        found += 1;
                        assert_lost(error, &format!("byte {at}"));
                    }
                    // Only the footer of an object is not read: the record has the index too.
                    Ok(_) => assert!(!inline && at > frames_end - 60, "byte {at} of {frames_end}"),
                }
            }
            assert!(found * 13 + 100 > written.content.len());
            assert_eq!(written.read(&written.content).await.unwrap(), 200);
        }
    }
}

#[tokio::test]
async fn truncated_and_missing_objects_are_lost() {
    for inline in [true, false] {
        // Not compressed, it is too much to travel in a handle.
        let written = written(inline, ExchangeCompression::None).await;
        let frames: u64 = written.record.index().iter().map(|entry| entry.length).sum();
        assert!(frames > EMBEDDED_BYTES_MAX);
        let must_find = if inline { written.content.len() } else { frames as usize };
        for length in (0..must_find).step_by(137).chain([must_find - 1]) {
            let error = written.read(&written.content[..length]).await.unwrap_err();
            assert_lost(error, &format!("length {length}"));
        }
        let schema = words(0..1).schema();
        let error = written.exchange.read(&written.record, &schema, 0..2).await.unwrap_err();
        assert_lost(error, "truncated when it is read");
        std::fs::remove_file(&written.path).unwrap();
        let error = written.exchange.read(&written.record, &schema, 0..2).await.unwrap_err();
        assert_lost(error, "missing");
        assert_eq!(
            written.exchange.manager.committed(attempt(0, 0).output()).await.unwrap().is_some(),
            !inline
        );
    }
}

#[tokio::test]
async fn the_object_of_another_output_is_not_taken_for_ours() {
    let written = written(false, ExchangeCompression::Lz4).await;
    let mut other = attempt(0, 0);
    other.task.stage = StageId(9);
    let pushes = [(1, words(0..200))];
    written.exchange.write(other, &words(0..1).schema(), 2, &pushes).await;
    let path = written.exchange.directory.path().join(ObjectKey::Data(other).to_string());
    let content = std::fs::read(path).unwrap();
    assert_lost(written.read(&content).await.unwrap_err(), "another object");
}

#[tokio::test]
async fn a_reader_ends_after_the_first_error() {
    let written = written(false, ExchangeCompression::Lz4).await;
    let mut content = written.content.clone();
    content[50] ^= 1;
    std::fs::write(&written.path, content).unwrap();
    let manager = &written.exchange.manager;
    let schema = words(0..1).schema();
    let mut reader = manager.open_output(&written.record, schema, &manager.options().read());
    assert_lost(reader.next_batch().await.unwrap_err(), "the first frame");
    assert_eq!(reader.next_batch().await.unwrap(), None);
}

#[tokio::test]
async fn a_store_that_refuses_is_not_a_lost_output() {
    let written = written(false, ExchangeCompression::Lz4).await;
    // A directory where the object was: not "not found".
    std::fs::remove_file(&written.path).unwrap();
    std::fs::create_dir(&written.path).unwrap();
    let error = written.exchange.read(&written.record, &words(0..1).schema(), 0..2).await.unwrap_err();
    assert_eq!((error.code(), error.lost_output()), (base::ErrorCode::EXCHANGE_STORE_ERROR, None));
}

/// Replaces the object of an output by one of equal lengths, and reads the first partition.
async fn read_replaced(ours: (u32, RecordBatch), other: (u32, RecordBatch)) -> base::Result<RecordBatch> {
    let exchange = Exchange::with(|options| {
        options.inline_bytes_max = 0;
        options.compression = ExchangeCompression::None;
    });
    let schema = ours.1.schema();
    let record = exchange.write(attempt(0, 0), &schema, 2, &[ours]).await.record;
    exchange.write(attempt(1, 0), &schema, 2, &[other]).await;
    let path = |at| exchange.directory.path().join(ObjectKey::Data(attempt(at, 0)).to_string());
    std::fs::copy(path(1), path(0)).unwrap();
    exchange.read(&record, &schema, 0..1).await
}

#[tokio::test]
async fn sound_frames_in_the_wrong_place_are_found() {
    let error = read_replaced((0, words(0..200)), (1, words(0..200))).await.unwrap_err();
    assert_lost(error, "of another partition");
    let counted = |rows| {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap()
    };
    let error = read_replaced((0, counted(100)), (0, counted(300))).await.unwrap_err();
    assert_lost(error, "with other rows");
    assert_eq!(read_replaced((0, words(0..9)), (0, words(0..9))).await.unwrap(), words(0..9));
}
