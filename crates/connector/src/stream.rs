//! Errors inside DataFusion's streams.

use base::Error;
use datafusion::error::DataFusionError;

/// Wraps an error so that it can travel through a DataFusion stream without losing its code.
pub fn to_stream_error(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The error that [`to_stream_error`] wrapped, wherever in the chain of causes it is.
pub fn from_stream_error(error: &DataFusionError) -> Option<&Error> {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(found) = cause.downcast_ref::<Error>() {
            return Some(found);
        }
        // A boxed error's own `source` skips the error in the box, so the variants that box are opened by hand.
        cause = match cause.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => &**inner,
            Some(DataFusionError::Shared(inner)) => &**inner,
            Some(DataFusionError::Context(_, inner)) => &**inner,
            _ => cause.source()?,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::ErrorCode;

    use super::*;

    #[test]
    fn codes_survive_wrapping() {
        let error = Error::new(ErrorCode::HIVE_BAD_DATA, "broken");
        let wrapped = to_stream_error(error.clone()).context("reading");
        let shared = DataFusionError::Shared(Arc::new(wrapped));
        assert_eq!(from_stream_error(&shared), Some(&error));
        assert_eq!(from_stream_error(&DataFusionError::Execution("broken".to_string())), None);
    }
}
