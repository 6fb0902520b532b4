//! Type signatures: how the client protocol spells a type as a document.

use serde::{Deserialize, Serialize};

use crate::capability::ClientCapabilities;
use crate::trino_type::Type;

/// A type, as the `typeSignature` of a column has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeSignature {
    /// The name without parameters.
    pub raw_type: String,
    /// The parameters.
    pub arguments: Vec<SignatureArgument>,
}

/// A parameter of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value")]
pub enum SignatureArgument {
    /// A number: a length, a precision, a scale.
    #[serde(rename = "LONG")]
    Long(i64),
    /// A type.
    #[serde(rename = "TYPE")]
    Type(TypeSignature),
    /// A field of a row.
    #[serde(rename = "NAMED_TYPE")]
    NamedType {
        /// Its name. Anonymous fields have none.
        #[serde(rename = "fieldName", default, skip_serializing_if = "Option::is_none")]
        field_name: Option<RowFieldName>,
        /// Its type.
        #[serde(rename = "typeSignature")]
        type_signature: TypeSignature,
    },
}

/// The name of a field of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFieldName {
    /// The name.
    pub name: String,
}

impl Type {
    /// The signature for a client with these capabilities.
    pub fn signature(&self, capabilities: ClientCapabilities) -> TypeSignature {
        let long = |value: u32| SignatureArgument::Long(i64::from(value));
        let precision = |precision: &u8| match capabilities.parametric_datetime {
            true => vec![long(u32::from(*precision))],
            false => vec![],
        };
        let nested = |inner: &Type| SignatureArgument::Type(inner.signature(capabilities));
        let (raw_type, arguments) = match self {
            Type::Decimal { precision, scale } => {
                ("decimal", vec![long(u32::from(*precision)), long(u32::from(*scale))])
            }
            Type::Varchar { length } => {
                ("varchar", vec![long(length.unwrap_or(Type::VARCHAR_LENGTH_UNBOUNDED))])
            }
            Type::Char { length } => ("char", vec![long(*length)]),
            Type::Time { precision: p } => ("time", precision(p)),
            Type::Timestamp { precision: p } => ("timestamp", precision(p)),
            Type::TimestampWithTimeZone { precision: p } => ("timestamp with time zone", precision(p)),
            Type::Array(element) => ("array", vec![nested(element)]),
            Type::Map(key, value) => ("map", vec![nested(key), nested(value)]),
            Type::Row(fields) => {
                let arguments = fields.iter().map(|field| SignatureArgument::NamedType {
                    field_name: field.name.clone().map(|name| RowFieldName { name }),
                    type_signature: field.field_type.signature(capabilities),
                });
                ("row", arguments.collect())
            }
            plain => {
                return TypeSignature { raw_type: plain.to_string(), arguments: vec![] };
            }
        };
        TypeSignature { raw_type: raw_type.to_owned(), arguments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn signature(text: &str, capabilities: ClientCapabilities) -> serde_json::Value {
        let signature = text.parse::<Type>().unwrap().signature(capabilities);
        let document = serde_json::to_value(&signature).unwrap();
        assert_eq!(serde_json::from_value::<TypeSignature>(document.clone()).unwrap(), signature);
        document
    }

    #[test]
    fn signatures_are_those_of_the_protocol() {
        for (text, expected) in [
            ("bigint", json!({"rawType": "bigint", "arguments": []})),
            ("unknown", json!({"rawType": "unknown", "arguments": []})),
            ("interval day to second", json!({"rawType": "interval day to second", "arguments": []})),
            (
                "decimal(10,2)",
                json!({"rawType": "decimal", "arguments": [{"kind": "LONG", "value": 10}, {"kind": "LONG", "value": 2}]}),
            ),
            ("varchar(25)", json!({"rawType": "varchar", "arguments": [{"kind": "LONG", "value": 25}]})),
            ("varchar", json!({"rawType": "varchar", "arguments": [{"kind": "LONG", "value": 2147483647}]})),
            ("char(3)", json!({"rawType": "char", "arguments": [{"kind": "LONG", "value": 3}]})),
            (
                "timestamp(6) with time zone",
                json!({"rawType": "timestamp with time zone", "arguments": [{"kind": "LONG", "value": 6}]}),
            ),
            (
                "map(varchar(1), array(date))",
                json!({"rawType": "map", "arguments": [
                    {"kind": "TYPE", "value": {"rawType": "varchar", "arguments": [{"kind": "LONG", "value": 1}]}},
                    {"kind": "TYPE", "value": {"rawType": "array", "arguments": [
                        {"kind": "TYPE", "value": {"rawType": "date", "arguments": []}}]}}]}),
            ),
            (
                "row(a bigint, double)",
                json!({"rawType": "row", "arguments": [
                    {"kind": "NAMED_TYPE", "value": {"fieldName": {"name": "a"},
                        "typeSignature": {"rawType": "bigint", "arguments": []}}},
                    {"kind": "NAMED_TYPE", "value": {"typeSignature": {"rawType": "double", "arguments": []}}}]}),
            ),
        ] {
            assert_eq!(signature(text, ClientCapabilities::ALL), expected, "{text}");
        }
    }

    #[test]
    fn old_clients_see_no_precision() {
        for name in ["time", "timestamp", "timestamp with time zone"] {
            let expected = json!({"rawType": name, "arguments": []});
            assert_eq!(signature(name, ClientCapabilities::default()), expected);
        }
    }
}
