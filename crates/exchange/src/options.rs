//! Options, as the properties of `etc/exchange-manager.properties` set them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Error, ErrorCode, Result};

use crate::codec::ExchangeCompression;
use crate::memory::MemoryCharge;

/// The property that says where the exchange is.
pub const BASE_DIRECTORIES_PROPERTY: &str = "exchange.base-directories";

/// The options of the exchange of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeOptions {
    /// `exchange.base-directories`: where the objects are. One absolute path or `file:///` URI.
    pub base_directories: Vec<String>,
    /// `exchange.compression-codec`: how frames are compressed.
    pub compression: ExchangeCompression,
    /// `exchange.fsync`: whether what is committed survives a power cut, at the cost of an fsync of each
    /// object.
    pub fsync: bool,
    /// How many bytes of values are collected into one frame.
    pub frame_bytes_target: u64,
    /// `exchange.max-page-storage-size`: how many bytes one row, and so one frame, may have.
    pub frame_bytes_max: u64,
    /// How large an output may be to travel inside its commit record, in bytes as stored.
    pub inline_bytes_max: u64,
    /// How much memory one sink may use, in bytes. What does not fit goes to the spill directory.
    pub sink_memory_bytes_max: u64,
    /// `exchange.max-output-partition-count`: how many partitions an output may have.
    pub output_partition_count_max: u32,
    /// `exchange.source-concurrent-readers`: how many reads of one source run at a time.
    pub concurrent_reads: usize,
    /// How many bytes one source reads ahead.
    pub prefetch_bytes_max: u64,
}

impl Default for ExchangeOptions {
    fn default() -> Self {
        ExchangeOptions {
            base_directories: Vec::new(),
            compression: ExchangeCompression::default(),
            fsync: false,
            frame_bytes_target: 1 << 20,
            frame_bytes_max: 16 << 20,
            inline_bytes_max: 128 << 10,
            sink_memory_bytes_max: 64 << 20,
            output_partition_count_max: 1000,
            concurrent_reads: 4,
            prefetch_bytes_max: 16 << 20,
        }
    }
}

impl ExchangeOptions {
    /// The directory of the exchange, if the base directories name one that is supported.
    pub(crate) fn base_directory(&self) -> Result<PathBuf> {
        let invalid = |text: String| Error::new(ErrorCode::CONFIGURATION_INVALID, text);
        let name = BASE_DIRECTORIES_PROPERTY;
        let uri = match &self.base_directories[..] {
            [] => return Err(invalid(format!("{name} is not set"))),
            [uri] => uri.trim(),
            several => {
                let count = several.len();
                return Err(invalid(format!("{name} lists {count} directories; only one is supported yet")));
            }
        };
        let path = match uri.split_once("://") {
            Some(("file", path)) => path,
            Some((scheme, _)) => {
                return Err(invalid(format!(
                    "{name}: the scheme '{scheme}' of '{uri}' is not supported yet"
                )));
            }
            None => uri,
        };
        if Path::new(path).is_absolute() {
            Ok(PathBuf::from(path))
        } else {
            Err(invalid(format!("{name}: '{uri}' is neither an absolute path nor a file:/// URI")))
        }
    }

    /// What a sink of this node uses, where the attempt may spill into that directory.
    pub fn sink(&self, spill_directory: impl Into<PathBuf>) -> SinkOptions {
        SinkOptions {
            compression: self.compression,
            frame_bytes_target: self.frame_bytes_target,
            frame_bytes_max: self.frame_bytes_max,
            inline_bytes_max: self.inline_bytes_max,
            unstored_bytes_max: 0,
            sink_memory_bytes_max: self.sink_memory_bytes_max,
            spill_directory: spill_directory.into(),
            memory: None,
        }
    }

    /// What a source of this node uses.
    pub fn read(&self) -> ReadOptions {
        ReadOptions { prefetch_bytes_max: self.prefetch_bytes_max, concurrent_reads: self.concurrent_reads }
    }
}

/// The options of one sink.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// How frames are compressed.
    pub compression: ExchangeCompression,
    /// How many bytes of values are collected into one frame.
    pub frame_bytes_target: u64,
    /// How many bytes one row, and so one frame, may have.
    pub frame_bytes_max: u64,
    /// How large an output may be to travel inside its commit record, in bytes as stored.
    pub inline_bytes_max: u64,
    /// How large a commit record that carries its output may be to stay out of the store, in bytes. 0: all records
    /// are created.
    pub unstored_bytes_max: u64,
    /// How much memory the sink may use, in bytes.
    pub sink_memory_bytes_max: u64,
    /// Where the sink spills. Created when needed, and removed at the end if it is empty then.
    pub spill_directory: PathBuf,
    /// Whom the memory is charged to. When it refuses, the sink spills and asks again.
    pub memory: Option<Arc<dyn MemoryCharge>>,
}

impl SinkOptions {
    /// How large an output may be to be carried by its record, wherever that goes.
    pub(crate) fn in_record_bytes_max(&self) -> u64 {
        self.inline_bytes_max.max(self.unstored_bytes_max)
    }
}

/// The options of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// How many bytes are read ahead.
    pub prefetch_bytes_max: u64,
    /// How many reads run at a time.
    pub concurrent_reads: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(names: &[&str]) -> Result<PathBuf> {
        let base_directories = names.iter().map(|name| name.to_string()).collect();
        ExchangeOptions { base_directories, ..ExchangeOptions::default() }.base_directory()
    }

    #[test]
    fn a_path_and_a_file_uri_name_a_directory() {
        assert_eq!(directory(&["/var/exchange"]).unwrap(), Path::new("/var/exchange"));
        assert_eq!(directory(&[" file:///var/exchange "]).unwrap(), Path::new("/var/exchange"));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_the_name_of_the_property() {
        for names in [&[][..], &["s3://bucket"], &["relative/path"], &["file://host/x"], &["/a", "/b"], &[""]]
        {
            let error = directory(names).unwrap_err();
            assert_eq!(error.code(), ErrorCode::CONFIGURATION_INVALID);
            assert!(error.message().starts_with(BASE_DIRECTORIES_PROPERTY), "{error}");
        }
    }
}
