//! Where the files of a configuration come from.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A source of files: the disk, or memory for tests and embedded clusters.
pub trait Files {
    /// The text of a file; None if it does not exist.
    ///
    /// # Errors
    /// Whatever keeps an existing file from being read.
    fn read(&self, path: &Path) -> io::Result<Option<String>>;

    /// The files of a directory whose name ends in `.properties`, sorted; none if it does not exist.
    ///
    /// # Errors
    /// Whatever keeps an existing directory from being read.
    fn properties_files(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The files on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        match std::fs::read(path) {
            // Java reads these files as Latin-1; whoever writes UTF-8 today means UTF-8.
            Ok(bytes) => Ok(Some(
                String::from_utf8(bytes)
                    .unwrap_or_else(|error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect()),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn properties_files(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if is_properties_file(&path) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, String>);

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        Ok(self.0.get(path).cloned())
    }

    fn properties_files(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory) && is_properties_file(path);
        Ok(self.0.keys().filter(inside).cloned().collect())
    }
}

/// Kubernetes and editors leave hidden files beside the real ones.
fn is_properties_file(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "properties")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_files_are_utf_8_or_else_latin_1() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.properties");
        std::fs::write(&path, "a=grün").unwrap();
        assert_eq!(DiskFiles.read(&path).unwrap().as_deref(), Some("a=grün"));
        std::fs::write(&path, b"a=gr\xfcn").unwrap();
        assert_eq!(DiskFiles.read(&path).unwrap().as_deref(), Some("a=grün"));
        assert_eq!(DiskFiles.read(&directory.path().join("none")).unwrap(), None);
    }

    #[test]
    fn only_visible_properties_files_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.properties", "a.properties", ".x.properties", "a.json", "properties"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let listed = DiskFiles.properties_files(directory.path()).unwrap();
        assert_eq!(listed, [directory.path().join("a.properties"), directory.path().join("b.properties")]);
    }
}
