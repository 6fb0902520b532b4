//! Errors across the border to DataFusion: ours survive the way through it, its own get Trino's codes.

use std::error::Error as StdError;
use std::sync::Arc;

use arrow::error::ArrowError;
use base::{Error, ErrorCode, ErrorLocation};
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// Wraps an error of ours so that [`from_datafusion`] finds it again, whatever DataFusion wraps around it.
pub fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The error below whatever DataFusion, Arrow and `Arc`s wrapped around it.
///
/// Only types are looked at, never texts.
pub fn from_datafusion(error: &DataFusionError) -> Error {
    let location = location_of(error);
    let mut found = classify(error);
    if let (Some(location), None) = (location, found.location()) {
        found = found.at(location);
    }
    found
}

fn location_of(error: &DataFusionError) -> Option<ErrorLocation> {
    let mut current = error;
    loop {
        match current {
            DataFusionError::Diagnostic(diagnostic, below) => {
                if let Some(span) = diagnostic.span {
                    let line = u32::try_from(span.start.line).ok()?;
                    let column = u32::try_from(span.start.column).ok()?;
                    return Some(ErrorLocation { line: line.max(1), column: column.max(1) });
                }
                current = below;
            }
            DataFusionError::Context(_, below) => current = below,
            DataFusionError::Shared(below) => current = below,
            DataFusionError::Collection(errors) => current = errors.first()?,
            _ => return None,
        }
    }
}

fn classify(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Diagnostic(_, below) | DataFusionError::Context(_, below) => classify(below),
        DataFusionError::Shared(below) => classify(below),
        DataFusionError::Collection(errors) => {
            errors.first().map_or_else(|| Error::internal("no error in a collection of errors"), classify)
        }
        DataFusionError::External(below) => classify_any(below.as_ref()),
        DataFusionError::ArrowError(below, _) => classify_arrow(below),
        DataFusionError::ParquetError(below) => match StdError::source(below.as_ref()) {
            Some(source) => classify_any(source),
            None => Error::new(ErrorCode::HIVE_BAD_DATA, below.to_string()),
        },
        DataFusionError::ObjectStore(below) => classify_store(below),
        DataFusionError::IoError(below) => classify_io(below),
        DataFusionError::SQL(below, _) => Error::new(ErrorCode::SYNTAX_ERROR, below.to_string()),
        DataFusionError::NotImplemented(text) => Error::not_supported(text.clone()),
        DataFusionError::Plan(text) => Error::new(ErrorCode::GENERIC_USER_ERROR, text.clone()),
        DataFusionError::Configuration(text) => Error::new(ErrorCode::GENERIC_USER_ERROR, text.clone()),
        DataFusionError::SchemaError(below, _) => classify_schema(below),
        DataFusionError::ResourcesExhausted(text) => {
            Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, text.clone())
        }
        other => Error::internal(other.strip_backtrace()),
    }
}

fn classify_any(error: &(dyn StdError + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    if let Some(below) = error.downcast_ref::<DataFusionError>() {
        return classify(below);
    }
    if let Some(below) = error.downcast_ref::<Arc<DataFusionError>>() {
        return classify(below);
    }
    if let Some(below) = error.downcast_ref::<ArrowError>() {
        return classify_arrow(below);
    }
    if let Some(below) = error.downcast_ref::<std::io::Error>() {
        return classify_io(below);
    }
    match error.source() {
        Some(source) => classify_any(source),
        None => Error::internal(error.to_string()),
    }
}

fn classify_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(below) => classify_any(below.as_ref()),
        ArrowError::DivideByZero => Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero"),
        ArrowError::ArithmeticOverflow(text) => {
            Error::new(ErrorCode::NUMERIC_VALUE_OUT_OF_RANGE, text.clone())
        }
        ArrowError::CastError(text) | ArrowError::ParseError(text) => {
            Error::new(ErrorCode::INVALID_CAST_ARGUMENT, text.clone())
        }
        // Kernels say so of values that they cannot compute with. Trying again would give the same.
        ArrowError::ComputeError(text) => Error::new(ErrorCode::NUMERIC_VALUE_OUT_OF_RANGE, text.clone()),
        ArrowError::InvalidArgumentError(text) => {
            Error::new(ErrorCode::INVALID_FUNCTION_ARGUMENT, text.clone())
        }
        ArrowError::MemoryError(text) => Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, text.clone()),
        ArrowError::NotYetImplemented(text) => Error::not_supported(text.clone()),
        ArrowError::IoError(_, below) => classify_io(below),
        other => Error::internal(other.to_string()),
    }
}

fn classify_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, .. } => Error::new(
            ErrorCode::COLUMN_NOT_FOUND,
            format!("Column '{}' cannot be resolved", field.flat_name()),
        ),
        SchemaError::AmbiguousReference { field } => {
            Error::new(ErrorCode::AMBIGUOUS_NAME, format!("Column '{}' is ambiguous", field.flat_name()))
        }
        other => Error::new(ErrorCode::DUPLICATE_COLUMN_NAME, other.to_string()),
    }
}

fn classify_store(error: &(dyn StdError + 'static)) -> Error {
    Error::new(ErrorCode::HIVE_FILESYSTEM_ERROR, error.to_string())
}

fn classify_io(error: &std::io::Error) -> Error {
    if let Some(below) = error.get_ref() {
        let below: &(dyn StdError + 'static) = below;
        if below.is::<Error>() || below.is::<DataFusionError>() || below.is::<ArrowError>() {
            return classify_any(below);
        }
    }
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorCode::GENERIC_INSUFFICIENT_RESOURCES, error.to_string())
        }
        _ => Error::new(ErrorCode::EXCHANGE_STORE_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Failure;
    use base::FailureClass;

    #[test]
    fn our_error_survives_every_wrapping() {
        let ours = Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero");
        let wrapped = into_datafusion(ours.clone()).context("while aggregating");
        let shared = DataFusionError::Shared(Arc::new(wrapped));
        let arrow = ArrowError::ExternalError(Box::new(shared));
        let io = std::io::Error::other(arrow);
        let outer = DataFusionError::External(Box::new(DataFusionError::IoError(io)));
        assert_eq!(from_datafusion(&outer), ours);
    }

    #[test]
    fn memory_exhaustion_is_retried_with_more_memory() {
        let error = DataFusionError::ResourcesExhausted("no more".into()).context("in a join");
        assert_eq!(Failure::of(from_datafusion(&error)).class, FailureClass::InsufficientResources);
    }

    #[test]
    fn values_that_cannot_be_computed_with_are_not_tried_again() {
        for error in
            [ArrowError::ComputeError("abs".into()), ArrowError::InvalidArgumentError("too large".into())]
        {
            let error = DataFusionError::ArrowError(Box::new(error), None);
            assert_eq!(Failure::of(from_datafusion(&error)).class, FailureClass::User);
        }
    }

    #[test]
    fn division_by_zero_is_the_users_fault() {
        let error = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        assert_eq!(from_datafusion(&error).code(), ErrorCode::DIVISION_BY_ZERO);
    }
}
