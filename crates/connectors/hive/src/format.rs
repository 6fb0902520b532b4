//! The storage formats of Hive tables.

/// A storage format that `format = '…'` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StorageFormat {
    Orc,
    Parquet,
    Avro,
    RcBinary,
    RcText,
    SequenceFile,
    Json,
    OpenxJson,
    TextFile,
    Csv,
    Regex,
    SequenceFileProtobuf,
    Esri,
}

impl StorageFormat {
    /// Every format by its name.
    pub(crate) const NAMES: &[(&str, StorageFormat)] = &[
        ("ORC", StorageFormat::Orc),
        ("PARQUET", StorageFormat::Parquet),
        ("AVRO", StorageFormat::Avro),
        ("RCBINARY", StorageFormat::RcBinary),
        ("RCTEXT", StorageFormat::RcText),
        ("SEQUENCEFILE", StorageFormat::SequenceFile),
        ("SEQUENCEFILE_PROTOBUF", StorageFormat::SequenceFileProtobuf),
        ("JSON", StorageFormat::Json),
        ("OPENX_JSON", StorageFormat::OpenxJson),
        ("TEXTFILE", StorageFormat::TextFile),
        ("CSV", StorageFormat::Csv),
        ("REGEX", StorageFormat::Regex),
        ("ESRI", StorageFormat::Esri),
    ];

    /// The format of that name, in upper or lower case.
    pub(crate) fn from_name(name: &str) -> Option<StorageFormat> {
        let known = StorageFormat::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, format)| *format)
    }

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        let known = StorageFormat::NAMES.iter().find(|(_, format)| *format == self);
        known.map_or("", |(name, _)| name)
    }
}
