//! The files of a table.

use std::sync::Arc;

use base::{Error, ErrorCode, Result};
use futures::TryStreamExt;
use object_store::path::Path as StorePath;
use object_store::{ObjectMeta, ObjectStore};

use crate::error;
use crate::location::Location;

/// The files below a location, by path. Hidden and empty ones are left out, and those in directories below it
/// unless `recursive`.
pub(crate) async fn files(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    recursive: bool,
) -> Result<Vec<ObjectMeta>> {
    let text = location.to_string();
    let exists = tokio::fs::try_exists(location.as_path()).await;
    if !exists.map_err(|cause| error::file_system(&text, cause))? {
        let text = format!("Partition location does not exist: {location}");
        return Err(Error::new(ErrorCode::HIVE_FILE_NOT_FOUND, text));
    }
    let root = location.store_path()?;
    let listed: Vec<ObjectMeta> = if recursive {
        store.list(Some(&root)).try_collect().await
    } else {
        store.list_with_delimiter(Some(&root)).await.map(|listed| listed.objects)
    }
    .map_err(|cause| error::file_system(&text, cause))?;
    let mut files: Vec<ObjectMeta> =
        listed.into_iter().filter(|file| file.size > 0 && !is_hidden(&root, &file.location)).collect();
    files.sort_by(|one, other| one.location.cmp(&other.location));
    Ok(files)
}

/// Whether a name between the root and the file, or the file's own, starts with `_` or `.`.
fn is_hidden(root: &StorePath, file: &StorePath) -> bool {
    let mut below = file.parts().skip(root.parts().count());
    below.any(|part| part.as_ref().starts_with(['_', '.']))
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;

    use super::*;

    async fn names(location: &Location, recursive: bool) -> Vec<String> {
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        let root = location.store_path().unwrap();
        let skip = root.parts().count();
        let files = files(&store, location, recursive).await.unwrap();
        let name = |file: &ObjectMeta| {
            file.location
                .parts()
                .skip(skip)
                .map(|part| part.as_ref().to_string())
                .collect::<Vec<_>>()
                .join("/")
        };
        files.iter().map(name).collect()
    }

    #[tokio::test]
    async fn hidden_empty_and_deeper_files_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("_odd.name");
        for (name, content) in [
            ("b.parquet", "x"),
            ("a", "x"),
            ("_SUCCESS", "x"),
            (".b.crc", "x"),
            ("empty", ""),
            ("part=1/c", "x"),
            ("_temporary/0/d", "x"),
            ("part=1/.staging/e", "x"),
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let location = Location::parse(root.to_str().unwrap()).unwrap();
        assert_eq!(names(&location, false).await, ["a", "b.parquet"]);
        assert_eq!(names(&location, true).await, ["a", "b.parquet", "part=1/c"]);
    }

    #[tokio::test]
    async fn a_location_that_vanished_is_reported() {
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        let location = Location::parse("/no/such/directory").unwrap();
        let error = files(&store, &location, false).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::HIVE_FILE_NOT_FOUND);
    }
}
