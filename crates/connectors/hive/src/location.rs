//! Where data lies: so far, directories of the local file system.

use std::fmt;
use std::path::{Path, PathBuf};

use base::{Error, ErrorCode, Result};
use object_store::path::Path as StorePath;

/// A location as a user wrote it, known to be an absolute path of the local file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    text: String,
    path: PathBuf,
}

impl Location {
    /// Reads `/a/b`, `file:/a/b` or `file:///a/b`. Else INVALID_TABLE_PROPERTY, with Trino's text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid =
            |reason: &str| Error::new(ErrorCode::INVALID_TABLE_PROPERTY, format!("{reason}: {text}"));
        let after_scheme = text.strip_prefix("file:").unwrap_or(text);
        let path = after_scheme.strip_prefix("//").unwrap_or(after_scheme);
        let has_dots = path.split('/').any(|part| part == "." || part == "..");
        if !path.starts_with('/') || has_dots {
            return Err(invalid("External location is not a valid file system URI"));
        }
        if path.contains("//") {
            return Err(invalid("Unsupported location that cannot be internally represented"));
        }
        let trimmed = path.trim_end_matches('/');
        let path = PathBuf::from(if trimmed.is_empty() { "/" } else { trimmed });
        Ok(Location { text: text.to_string(), path })
    }

    /// The local path.
    pub(crate) fn as_path(&self) -> &Path {
        &self.path
    }

    /// The local path, owned.
    pub(crate) fn to_path_buf(&self) -> PathBuf {
        self.path.clone()
    }

    /// The path as object stores name it.
    pub(crate) fn store_path(&self) -> Result<StorePath> {
        StorePath::from_absolute_path(&self.path).map_err(|error| {
            let text = format!("External location is not a valid file system URI: {self}");
            Error::new(ErrorCode::INVALID_TABLE_PROPERTY, text).caused_by(error)
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_paths_are_understood() {
        for (text, path) in [
            ("/data/t", "/data/t"),
            ("/data/t/", "/data/t"),
            ("file:///data/t", "/data/t"),
            ("file:/data/t", "/data/t"),
            ("/data/a b%20c", "/data/a b%20c"),
            ("/", "/"),
        ] {
            assert_eq!(Location::parse(text).unwrap().as_path(), Path::new(path), "{text}");
        }
    }

    #[test]
    fn other_locations_are_refused() {
        for text in
            ["", "data", "./data", "file:", "file://host/data", "s3://bucket/x", "/a//b", "/a/../b", "/a/."]
        {
            let error = Location::parse(text).unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_TABLE_PROPERTY, "{text}");
            assert!(error.message().ends_with(&format!(": {text}")), "{error}");
        }
    }
}
