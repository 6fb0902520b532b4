//! Error codes: Trino's numbers, names and types, and a few of our own.

use core::fmt;

/// Who is at fault, in Trino's four classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorType {
    /// The statement, or the user.
    UserError,
    /// The engine.
    InternalError,
    /// Too little memory, time or space.
    InsufficientResources,
    /// Something the engine talks to.
    External,
}

impl ErrorType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::UserError => "USER_ERROR",
            ErrorType::InternalError => "INTERNAL_ERROR",
            ErrorType::InsufficientResources => "INSUFFICIENT_RESOURCES",
            ErrorType::External => "EXTERNAL",
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error code: its number and name as clients see them, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode {
    /// The number.
    pub code: u32,
    /// The name.
    pub name: &'static str,
    /// Who is at fault.
    pub error_type: ErrorType,
}

impl ErrorCode {
    /// The code with that number, if there is one.
    pub fn from_number(code: u32) -> Option<ErrorCode> {
        ErrorCode::ALL.iter().copied().find(|known| known.code == code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A code is written as its number; the rest is known.
#[cfg(feature = "serde")]
impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.code)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let unknown = || serde::de::Error::custom("a number that is no error code");
        ErrorCode::from_number(number).ok_or_else(unknown)
    }
}

macro_rules! error_codes {
    ($($code:literal $name:ident $error_type:ident,)*) => {
        #[allow(missing_docs, reason = "the names are Trino's and say what they mean")]
        impl ErrorCode {
            $(pub const $name: ErrorCode =
                ErrorCode { code: $code, name: stringify!($name), error_type: ErrorType::$error_type };)*

            /// Every code there is.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];
        }
    };
}

error_codes! {
    0 GENERIC_USER_ERROR UserError,
    1 SYNTAX_ERROR UserError,
    2 ABANDONED_QUERY UserError,
    3 USER_CANCELED UserError,
    4 PERMISSION_DENIED UserError,
    5 NOT_FOUND UserError,
    6 FUNCTION_NOT_FOUND UserError,
    7 INVALID_FUNCTION_ARGUMENT UserError,
    8 DIVISION_BY_ZERO UserError,
    9 INVALID_CAST_ARGUMENT UserError,
    10 OPERATOR_NOT_FOUND UserError,
    11 INVALID_VIEW UserError,
    12 ALREADY_EXISTS UserError,
    13 NOT_SUPPORTED UserError,
    14 INVALID_SESSION_PROPERTY UserError,
    15 INVALID_WINDOW_FRAME UserError,
    16 CONSTRAINT_VIOLATION UserError,
    17 TRANSACTION_CONFLICT UserError,
    18 INVALID_TABLE_PROPERTY UserError,
    19 NUMERIC_VALUE_OUT_OF_RANGE UserError,
    20 UNKNOWN_TRANSACTION UserError,
    21 NOT_IN_TRANSACTION UserError,
    22 TRANSACTION_ALREADY_ABORTED UserError,
    23 READ_ONLY_VIOLATION UserError,
    24 MULTI_CATALOG_WRITE_CONFLICT UserError,
    25 AUTOCOMMIT_WRITE_CONFLICT UserError,
    26 UNSUPPORTED_ISOLATION_LEVEL UserError,
    27 INCOMPATIBLE_CLIENT UserError,
    28 SUBQUERY_MULTIPLE_ROWS UserError,
    29 PROCEDURE_NOT_FOUND UserError,
    30 INVALID_PROCEDURE_ARGUMENT UserError,
    31 QUERY_REJECTED UserError,
    32 AMBIGUOUS_FUNCTION_CALL UserError,
    33 INVALID_SCHEMA_PROPERTY UserError,
    34 SCHEMA_NOT_EMPTY UserError,
    35 QUERY_TEXT_TOO_LARGE UserError,
    36 UNSUPPORTED_SUBQUERY UserError,
    37 EXCEEDED_FUNCTION_MEMORY_LIMIT UserError,
    38 ADMINISTRATIVELY_KILLED UserError,
    39 INVALID_COLUMN_PROPERTY UserError,
    40 QUERY_HAS_TOO_MANY_STAGES UserError,
    41 INVALID_SPATIAL_PARTITIONING UserError,
    42 INVALID_ANALYZE_PROPERTY UserError,
    43 TYPE_NOT_FOUND UserError,
    44 CATALOG_NOT_FOUND UserError,
    45 SCHEMA_NOT_FOUND UserError,
    46 TABLE_NOT_FOUND UserError,
    47 COLUMN_NOT_FOUND UserError,
    48 ROLE_NOT_FOUND UserError,
    49 SCHEMA_ALREADY_EXISTS UserError,
    50 TABLE_ALREADY_EXISTS UserError,
    51 COLUMN_ALREADY_EXISTS UserError,
    52 ROLE_ALREADY_EXISTS UserError,
    53 DUPLICATE_NAMED_QUERY UserError,
    54 DUPLICATE_COLUMN_NAME UserError,
    55 MISSING_COLUMN_NAME UserError,
    56 MISSING_CATALOG_NAME UserError,
    57 MISSING_SCHEMA_NAME UserError,
    58 TYPE_MISMATCH UserError,
    59 INVALID_LITERAL UserError,
    60 COLUMN_TYPE_UNKNOWN UserError,
    61 MISMATCHED_COLUMN_ALIASES UserError,
    62 AMBIGUOUS_NAME UserError,
    63 INVALID_COLUMN_REFERENCE UserError,
    64 MISSING_GROUP_BY UserError,
    65 MISSING_ORDER_BY UserError,
    66 MISSING_OVER UserError,
    67 NESTED_AGGREGATION UserError,
    68 NESTED_WINDOW UserError,
    69 EXPRESSION_NOT_IN_DISTINCT UserError,
    70 TOO_MANY_GROUPING_SETS UserError,
    71 FUNCTION_NOT_WINDOW UserError,
    72 FUNCTION_NOT_AGGREGATE UserError,
    73 EXPRESSION_NOT_AGGREGATE UserError,
    74 EXPRESSION_NOT_SCALAR UserError,
    75 EXPRESSION_NOT_CONSTANT UserError,
    76 INVALID_ARGUMENTS UserError,
    77 TOO_MANY_ARGUMENTS UserError,
    78 INVALID_PRIVILEGE UserError,
    79 DUPLICATE_PROPERTY UserError,
    80 INVALID_PARAMETER_USAGE UserError,
    81 VIEW_IS_STALE UserError,
    82 VIEW_IS_RECURSIVE UserError,
    83 NULL_TREATMENT_NOT_ALLOWED UserError,
    84 INVALID_ROW_FILTER UserError,
    85 INVALID_COLUMN_MASK UserError,
    86 MISSING_TABLE UserError,
    87 INVALID_RECURSIVE_REFERENCE UserError,
    88 MISSING_COLUMN_ALIASES UserError,
    89 NESTED_RECURSIVE UserError,
    90 INVALID_LIMIT_CLAUSE UserError,
    91 INVALID_ORDER_BY UserError,
    92 DUPLICATE_WINDOW_NAME UserError,
    93 INVALID_WINDOW_REFERENCE UserError,
    94 INVALID_PARTITION_BY UserError,
    95 INVALID_MATERIALIZED_VIEW_PROPERTY UserError,
    96 INVALID_LABEL UserError,
    97 INVALID_PROCESSING_MODE UserError,
    98 INVALID_NAVIGATION_NESTING UserError,
    99 INVALID_ROW_PATTERN UserError,
    100 NESTED_ROW_PATTERN_RECOGNITION UserError,
    101 TABLE_HAS_NO_COLUMNS UserError,
    102 INVALID_RANGE UserError,
    103 INVALID_PATTERN_RECOGNITION_FUNCTION UserError,
    104 TABLE_REDIRECTION_ERROR UserError,
    105 MISSING_VARIABLE_DEFINITIONS UserError,
    106 MISSING_ROW_PATTERN UserError,
    107 INVALID_WINDOW_MEASURE UserError,
    108 STACK_OVERFLOW UserError,
    109 MISSING_RETURN_TYPE UserError,
    110 AMBIGUOUS_RETURN_TYPE UserError,
    111 MISSING_ARGUMENT UserError,
    112 DUPLICATE_PARAMETER_NAME UserError,
    113 INVALID_PATH UserError,
    114 JSON_INPUT_CONVERSION_ERROR UserError,
    115 JSON_OUTPUT_CONVERSION_ERROR UserError,
    116 PATH_EVALUATION_ERROR UserError,
    117 INVALID_JSON_LITERAL UserError,
    118 JSON_VALUE_RESULT_ERROR UserError,
    119 MERGE_TARGET_ROW_MULTIPLE_MATCHES UserError,
    120 INVALID_COPARTITIONING UserError,
    121 INVALID_TABLE_FUNCTION_INVOCATION UserError,
    122 DUPLICATE_RANGE_VARIABLE UserError,
    123 INVALID_CHECK_CONSTRAINT UserError,
    124 INVALID_CATALOG_PROPERTY UserError,
    125 CATALOG_UNAVAILABLE UserError,
    126 MISSING_RETURN UserError,
    127 DUPLICATE_COLUMN_OR_PATH_NAME UserError,
    128 MISSING_PATH_NAME UserError,
    129 INVALID_PLAN UserError,
    130 INVALID_VIEW_PROPERTY UserError,
    131 INVALID_ENTITY_KIND UserError,
    132 QUERY_EXCEEDED_COMPILER_LIMIT UserError,
    133 INVALID_FUNCTION_PROPERTY UserError,
    134 BRANCH_NOT_FOUND UserError,
    135 BRANCH_ALREADY_EXISTS UserError,
    136 INVALID_BRANCH_PROPERTY UserError,
    137 INVALID_DEFAULT_COLUMN_VALUE UserError,
    138 INVALID_GRACE_PERIOD UserError,
    139 TRANSACTION_ALREADY_COMMITED UserError,
    65536 GENERIC_INTERNAL_ERROR InternalError,
    65537 TOO_MANY_REQUESTS_FAILED InternalError,
    65538 PAGE_TOO_LARGE InternalError,
    65539 PAGE_TRANSPORT_ERROR InternalError,
    65540 PAGE_TRANSPORT_TIMEOUT InternalError,
    65541 NO_NODES_AVAILABLE InternalError,
    65542 REMOTE_TASK_ERROR InternalError,
    65543 COMPILER_ERROR InternalError,
    65544 REMOTE_TASK_MISMATCH InternalError,
    65545 SERVER_SHUTTING_DOWN InternalError,
    65546 FUNCTION_IMPLEMENTATION_MISSING InternalError,
    65547 REMOTE_BUFFER_CLOSE_FAILED InternalError,
    65548 SERVER_STARTING_UP InternalError,
    65549 FUNCTION_IMPLEMENTATION_ERROR InternalError,
    65550 INVALID_PROCEDURE_DEFINITION InternalError,
    65551 PROCEDURE_CALL_FAILED InternalError,
    65552 AMBIGUOUS_FUNCTION_IMPLEMENTATION InternalError,
    65553 ABANDONED_TASK InternalError,
    65554 CORRUPT_SERIALIZED_IDENTITY InternalError,
    65555 CORRUPT_PAGE InternalError,
    65556 OPTIMIZER_TIMEOUT InternalError,
    65557 OUT_OF_SPILL_SPACE InternalError,
    65558 REMOTE_HOST_GONE InternalError,
    65559 CONFIGURATION_INVALID InternalError,
    65560 CONFIGURATION_UNAVAILABLE InternalError,
    65561 INVALID_RESOURCE_GROUP InternalError,
    65562 SERIALIZATION_ERROR InternalError,
    65563 REMOTE_TASK_FAILED InternalError,
    65564 EXCHANGE_MANAGER_NOT_CONFIGURED InternalError,
    65565 CATALOG_NOT_AVAILABLE InternalError,
    65566 CATALOG_STORE_ERROR InternalError,
    131072 GENERIC_INSUFFICIENT_RESOURCES InsufficientResources,
    131073 EXCEEDED_GLOBAL_MEMORY_LIMIT InsufficientResources,
    131074 QUERY_QUEUE_FULL InsufficientResources,
    131075 EXCEEDED_TIME_LIMIT InsufficientResources,
    131076 CLUSTER_OUT_OF_MEMORY InsufficientResources,
    131077 EXCEEDED_CPU_LIMIT InsufficientResources,
    131078 EXCEEDED_SPILL_LIMIT InsufficientResources,
    131079 EXCEEDED_LOCAL_MEMORY_LIMIT InsufficientResources,
    131080 ADMINISTRATIVELY_PREEMPTED InsufficientResources,
    131081 EXCEEDED_SCAN_LIMIT InsufficientResources,
    131082 EXCEEDED_TASK_DESCRIPTOR_STORAGE_CAPACITY InsufficientResources,
    131083 EXCEEDED_WRITE_LIMIT InsufficientResources,
    133001 UNSUPPORTED_TABLE_TYPE External,
    0x01000000 HIVE_METASTORE_ERROR External,
    0x01000003 HIVE_CANNOT_OPEN_SPLIT External,
    0x01000004 HIVE_FILE_NOT_FOUND External,
    0x01000007 HIVE_BAD_DATA External,
    0x0100000d HIVE_FILESYSTEM_ERROR External,
    0x05060000 MAX_OUTPUT_PARTITION_COUNT_EXCEEDED UserError,
    0x05070000 EXCHANGE_STORE_ERROR External,
    0x05070001 EXCHANGE_DATA_LOST External,
    0x05070002 EXCHANGE_DATA_CORRUPT External,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        for (at, one) in ErrorCode::ALL.iter().enumerate() {
            for other in &ErrorCode::ALL[at + 1..] {
                assert!(one.code != other.code && one.name != other.name, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn division_by_zero_has_the_number_clients_know() {
        assert_eq!(ErrorCode::DIVISION_BY_ZERO.code, 8);
        assert_eq!(ErrorCode::from_number(65541), Some(ErrorCode::NO_NODES_AVAILABLE));
    }
}
