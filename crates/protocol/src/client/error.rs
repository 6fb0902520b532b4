//! Errors, as clients are told them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The Java class that clients expect an engine's error to be of.
const FAILURE_TYPE: &str = "io.trino.spi.TrinoException";
/// The Java class of the error below.
const CAUSE_TYPE: &str = "java.lang.RuntimeException";

/// Why a query failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryError {
    /// The text, with the location in front if there is one.
    pub message: String,
    /// The number of the code.
    pub error_code: u32,
    /// The name of the code.
    #[serde(default)]
    pub error_name: String,
    /// `USER_ERROR`, `INTERNAL_ERROR`, `INSUFFICIENT_RESOURCES` or `EXTERNAL`.
    #[serde(default)]
    pub error_type: String,
    /// Where in the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_location: Option<ErrorLocation>,
    /// The same, as Java has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_info: Option<FailureInfo>,
}

/// A place in the text of a statement, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorLocation {
    /// The line.
    pub line_number: u32,
    /// The column.
    pub column_number: u32,
}

/// An error as Java has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureInfo {
    /// The class.
    #[serde(rename = "type")]
    pub failure_type: String,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The error below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<FailureInfo>>,
    /// Errors beside it.
    #[serde(default)]
    pub suppressed: Vec<FailureInfo>,
    /// The stack, always empty here.
    #[serde(default)]
    pub stack: Vec<String>,
    /// The code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_info: Option<ErrorInfo>,
    /// Where in the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_location: Option<ErrorLocation>,
}

/// A code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// The number.
    pub code: u32,
    /// The name.
    pub name: String,
    /// Who is at fault.
    #[serde(rename = "type")]
    pub error_type: String,
}

impl From<base::ErrorCode> for ErrorInfo {
    fn from(code: base::ErrorCode) -> Self {
        ErrorInfo { code: code.code, name: code.name.into(), error_type: code.error_type.as_str().into() }
    }
}

impl From<base::ErrorLocation> for ErrorLocation {
    fn from(location: base::ErrorLocation) -> Self {
        ErrorLocation { line_number: location.line, column_number: location.column }
    }
}

impl From<&base::Error> for QueryError {
    fn from(error: &base::Error) -> Self {
        let message = error.to_string();
        let code = error.code();
        let error_location = error.location().map(ErrorLocation::from);
        let cause = error.cause().map(|cause| {
            Box::new(FailureInfo {
                failure_type: CAUSE_TYPE.into(),
                message: Some(cause.message.clone()),
                cause: None,
                suppressed: vec![],
                stack: vec![],
                error_info: None,
                error_location: None,
            })
        });
        QueryError {
            message: message.clone(),
            error_code: code.code,
            error_name: code.name.into(),
            error_type: code.error_type.as_str().into(),
            error_location,
            failure_info: Some(FailureInfo {
                failure_type: FAILURE_TYPE.into(),
                message: Some(message),
                cause,
                suppressed: vec![],
                stack: vec![],
                error_info: Some(code.into()),
                error_location,
            }),
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for QueryError {}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ErrorCode;
    use serde_json::json;

    #[test]
    fn an_error_has_all_that_the_java_client_requires() {
        let location = base::ErrorLocation { line: 1, column: 15 };
        let error = base::Error::new(ErrorCode::TABLE_NOT_FOUND, "Table 'a.b.c' does not exist");
        let error = QueryError::from(&error.at(location).caused_by("gone"));
        let code = json!({"code": 46, "name": "TABLE_NOT_FOUND", "type": "USER_ERROR"});
        let message = "line 1:15: Table 'a.b.c' does not exist";
        let place = json!({"lineNumber": 1, "columnNumber": 15});
        let document = serde_json::to_value(&error).unwrap();
        assert_eq!(
            document,
            json!({
                "message": message, "errorCode": 46, "errorName": "TABLE_NOT_FOUND", "errorType": "USER_ERROR",
                "errorLocation": place,
                "failureInfo": {"type": "io.trino.spi.TrinoException", "message": message, "suppressed": [],
                    "stack": [], "errorInfo": code, "errorLocation": place,
                    "cause": {"type": "java.lang.RuntimeException", "message": "gone", "suppressed": [], "stack": []}}
            })
        );
        assert_eq!(serde_json::from_value::<QueryError>(document).unwrap(), error);
    }
}
