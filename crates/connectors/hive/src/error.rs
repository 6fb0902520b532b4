//! What went wrong while reading a file, as Trino's codes.

use std::error::Error as StdError;

use arrow::error::ArrowError;
use base::{Error, ErrorCode};
use connector::error::into_datafusion;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;

/// The error of a file that is not what its name or the table says.
pub(crate) fn bad_data(file: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::HIVE_BAD_DATA, format!("Malformed Parquet file: {file}: {cause}"))
}

/// The error of a file system that does not do what it should.
pub(crate) fn file_system(path: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::HIVE_FILESYSTEM_ERROR, format!("Failed to list directory: {path}")).caused_by(cause)
}

/// The error of reading a file, with the code that says what it is. None: it has nothing to do with the file.
pub(crate) fn of_file(file: &str, error: &DataFusionError) -> Option<Error> {
    match error {
        DataFusionError::Context(_, inner) => of_file(file, inner),
        DataFusionError::Diagnostic(_, inner) => of_file(file, inner),
        DataFusionError::Shared(inner) => of_file(file, inner),
        DataFusionError::ObjectStore(inner) => Some(of_store(file, inner)),
        DataFusionError::ParquetError(inner) => of_parquet(file, inner),
        DataFusionError::ArrowError(inner, _) => of_arrow(file, inner),
        DataFusionError::External(inner) => of_source(file, &**inner),
        DataFusionError::IoError(inner) => Some(of_io(file, inner)),
        _ => None,
    }
}

fn of_parquet(file: &str, error: &ParquetError) -> Option<Error> {
    match error {
        ParquetError::External(inner) => of_source(file, &**inner),
        other => Some(bad_data(file, other)),
    }
}

fn of_arrow(file: &str, error: &ArrowError) -> Option<Error> {
    match error {
        ArrowError::ExternalError(inner) => of_source(file, &**inner),
        ArrowError::IoError(_, inner) => Some(of_io(file, inner)),
        ArrowError::MemoryError(_) => None,
        other => Some(bad_data(file, other)),
    }
}

fn of_source(file: &str, source: &(dyn StdError + Send + Sync + 'static)) -> Option<Error> {
    if let Some(error) = source.downcast_ref::<Error>() {
        return Some(error.clone());
    }
    if let Some(error) = source.downcast_ref::<object_store::Error>() {
        return Some(of_store(file, error));
    }
    if let Some(error) = source.downcast_ref::<DataFusionError>() {
        return of_file(file, error);
    }
    if let Some(error) = source.downcast_ref::<ParquetError>() {
        return of_parquet(file, error);
    }
    if let Some(error) = source.downcast_ref::<ArrowError>() {
        return of_arrow(file, error);
    }
    source.downcast_ref::<std::io::Error>().map(|error| of_io(file, error))
}

/// The error of an object store.
pub(crate) fn of_store(file: &str, error: &object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => not_found(file),
        other => cannot_open(file, other),
    }
}

fn of_io(file: &str, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => not_found(file),
        _ => cannot_open(file, error),
    }
}

fn not_found(file: &str) -> Error {
    Error::new(ErrorCode::HIVE_FILE_NOT_FOUND, format!("File does not exist: {file}"))
}

fn cannot_open(file: &str, cause: &dyn std::fmt::Display) -> Error {
    let text = format!("Error opening Hive split {file}: {cause}");
    Error::new(ErrorCode::HIVE_CANNOT_OPEN_SPLIT, text)
}

/// The same, for errors inside a stream. Errors that have nothing to do with the file stay as they are.
pub(crate) fn in_stream(file: &str, error: DataFusionError) -> DataFusionError {
    match of_file(file, &error) {
        Some(typed) => into_datafusion(typed),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_kind_of_error() {
        let missing = || object_store::Error::NotFound { path: "f".to_string(), source: "gone".into() };
        let denied = || object_store::Error::PermissionDenied { path: "f".to_string(), source: "no".into() };
        let broken = || ParquetError::EOF("too short".to_string());
        let cases: Vec<(DataFusionError, Option<ErrorCode>)> = vec![
            (missing().into(), Some(ErrorCode::HIVE_FILE_NOT_FOUND)),
            (ParquetError::External(Box::new(missing())).into(), Some(ErrorCode::HIVE_FILE_NOT_FOUND)),
            (DataFusionError::External(Box::new(missing())), Some(ErrorCode::HIVE_FILE_NOT_FOUND)),
            (DataFusionError::from(missing()).context("x"), Some(ErrorCode::HIVE_FILE_NOT_FOUND)),
            (denied().into(), Some(ErrorCode::HIVE_CANNOT_OPEN_SPLIT)),
            (broken().into(), Some(ErrorCode::HIVE_BAD_DATA)),
            (
                ParquetError::External(Box::new(Error::not_supported("no"))).into(),
                Some(ErrorCode::NOT_SUPPORTED),
            ),
            (ArrowError::ExternalError(Box::new(broken())).into(), Some(ErrorCode::HIVE_BAD_DATA)),
            (ArrowError::CastError("out of range".to_string()).into(), Some(ErrorCode::HIVE_BAD_DATA)),
            (DataFusionError::ResourcesExhausted("memory".to_string()), None),
            (DataFusionError::Execution("cancelled".to_string()), None),
        ];
        for (error, code) in cases {
            assert_eq!(of_file("f", &error).map(|error| error.code()), code, "{error}");
        }
    }

    #[test]
    fn errors_with_a_code_keep_it() {
        let known = Error::new(ErrorCode::NOT_SUPPORTED, "no");
        let wrapped = into_datafusion(known.clone()).context("opening");
        assert_eq!(of_file("f", &wrapped), Some(known));
    }
}
