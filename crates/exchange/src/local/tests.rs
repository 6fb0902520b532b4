use std::fs;
use std::path::Path;

use super::*;

async fn upload(store: &LocalStore, key: &str, parts: &[&'static [u8]]) {
    let mut upload = store.upload(key).await.unwrap();
    for part in parts {
        upload.write(Bytes::from_static(part)).await.unwrap();
    }
    upload.finish().await.unwrap();
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).map(|mut entries| entries.next().is_none()).unwrap_or(true)
}

#[tokio::test]
async fn only_the_first_create_of_a_name_wins() {
    for fsync in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::new(directory.path(), fsync);
        let outcomes =
            futures::future::join_all((0..20u8).map(|author| store.create("q/0/a", vec![author; 9].into())));
        let outcomes: Vec<_> = outcomes.await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> =
            (0..20u8).filter(|at| outcomes[*at as usize] == CreateOutcome::Created).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(store.read_all("q/0/a", 100).await.unwrap(), vec![winners[0]; 9]);
        let names: Vec<_> = fs::read_dir(directory.path().join("q/0")).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays");
    }
}

#[tokio::test]
async fn reads_ranges_lists_and_removes() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::new(directory.path().join("deep/base"), false);
    assert_eq!(store.list("").await.unwrap(), []);
    upload(&store, "q/1/b", &[b"0123", b"", b"456789"]).await;
    upload(&store, "q/0/a", &[]).await;
    assert_eq!(store.read("q/1/b", 2..6).await.unwrap(), "2345");
    assert_eq!(store.read("q/1/b", 8..600).await.unwrap(), "89");
    assert_eq!(store.read("q/1/b", 80..600).await.unwrap(), "");
    assert_eq!(store.read_all("q/1/b", 9).await.unwrap_err().kind, StoreErrorKind::TooLarge);
    assert_eq!(store.read("q/1/c", 0..1).await.unwrap_err().kind, StoreErrorKind::NotFound);
    let keys: Vec<_> =
        store.list("").await.unwrap().into_iter().map(|object| (object.key, object.size)).collect();
    assert_eq!(keys, [("q/0/a".to_string(), 0), ("q/1/b".to_string(), 10)]);
    assert_eq!(store.list("q/1/").await.unwrap().len(), 1);
    assert_eq!(store.list("other/").await.unwrap(), []);
    store.remove("q/1/b").await.unwrap();
    store.remove("q/1/b").await.unwrap();
    assert!(!directory.path().join("deep/base/q/1").exists());
    store.remove_prefix("q/").await.unwrap();
    store.remove_prefix("q/").await.unwrap();
    assert!(is_empty(&directory.path().join("deep/base")));
}

#[tokio::test]
async fn an_upload_that_is_dropped_or_aborted_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::new(directory.path(), false);
    for abort in [false, true] {
        let mut upload = store.upload("q/0/a").await.unwrap();
        upload.write(Bytes::from(vec![7; 3 << 20])).await.unwrap();
        assert_eq!(store.list("").await.unwrap(), [], "an unfinished object is not listed");
        assert_eq!(store.list_groups().await.unwrap(), ["q"], "but its query is");
        if abort {
            upload.abort().await.unwrap();
        } else {
            drop(upload);
        }
        assert!(is_empty(directory.path()));
    }
}

#[tokio::test]
async fn the_temporary_file_of_a_dead_process_is_removed_with_its_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::new(directory.path(), false);
    fs::create_dir_all(directory.path().join("q/3")).unwrap();
    fs::write(directory.path().join("q/3/1.0.0.0.data.0123456789abcdef.0.tmp"), b"half").unwrap();
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.list_groups().await.unwrap(), ["q"]);
    store.remove_prefix("q/").await.unwrap();
    assert!(is_empty(directory.path()));
}

#[tokio::test]
async fn keys_cannot_leave_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::new(directory.path(), false);
    for key in ["", "/etc/passwd", "../a", "q/../../a", "q//a", "q/a.tmp", "."] {
        let error = store.create(key, Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::InvalidKey, "{key}");
    }
    for prefix in ["", "/", "../", "q"] {
        assert_eq!(
            store.remove_prefix(prefix).await.unwrap_err().kind,
            StoreErrorKind::InvalidKey,
            "{prefix}"
        );
    }
}

#[tokio::test]
async fn writers_and_removers_of_one_directory_do_not_disturb_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(directory.path(), false));
    let tasks = (0..8).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0..50 {
                let key = format!("q/0/{task}.{round}");
                assert_eq!(
                    store.create(&key, Bytes::from_static(b"x")).await.unwrap(),
                    CreateOutcome::Created
                );
                store.remove(&key).await.unwrap();
            }
        })
    });
    for result in futures::future::join_all(tasks).await {
        result.unwrap();
    }
    assert!(is_empty(directory.path()));
}
