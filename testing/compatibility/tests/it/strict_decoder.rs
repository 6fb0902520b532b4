//! Pages of results as strictly as the Java client takes them: what it would refuse is refused here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Checks a page.
///
/// # Errors
/// What the Java client would not take.
pub fn check(page: &Value) -> Result<(), String> {
    for member in ["id", "infoUri"] {
        page[member].as_str().ok_or_else(|| format!("{member} is not a text: {}", page[member]))?;
    }
    check_stats(&page["stats"])?;
    page["warnings"].as_array().ok_or("warnings are not an array")?;
    if let Some(error) = page.get("error") {
        check_error(error)?;
    }
    let columns = match page.get("columns") {
        None => &[],
        Some(columns) => columns.as_array().ok_or("columns are not an array")?.as_slice(),
    };
    for column in columns {
        column["name"].as_str().ok_or("a column without a name")?;
        column["type"].as_str().ok_or("a column without a type")?;
        check_signature(&column["typeSignature"])?;
    }
    let Some(data) = page.get("data") else {
        return Ok(());
    };
    let rows = data.as_array().ok_or("data is not an array")?;
    if rows.is_empty() {
        return Err("data is empty instead of absent".to_owned());
    }
    if columns.is_empty() {
        return Err("rows without columns".to_owned());
    }
    for row in rows {
        let row = row.as_array().ok_or("a row is not an array")?;
        if row.len() != columns.len() {
            return Err(format!("a row has {} values for {} columns", row.len(), columns.len()));
        }
        for (value, column) in row.iter().zip(columns) {
            check_value(value, &column["typeSignature"])?;
        }
    }
    Ok(())
}

/// All statistics but the shares in percent are integers.
fn check_stats(stats: &Value) -> Result<(), String> {
    let members = stats.as_object().ok_or("stats are not an object")?;
    stats["state"].as_str().ok_or("stats without a state")?;
    for name in ["queued", "scheduled"] {
        stats[name].as_bool().ok_or_else(|| format!("stats.{name} is not a boolean"))?;
    }
    for name in [
        "nodes",
        "totalSplits",
        "queuedSplits",
        "runningSplits",
        "completedSplits",
        "cpuTimeMillis",
        "wallTimeMillis",
        "queuedTimeMillis",
        "elapsedTimeMillis",
        "processedRows",
        "processedBytes",
        "physicalInputBytes",
        "peakMemoryBytes",
        "spilledBytes",
    ] {
        stats[name].as_u64().ok_or_else(|| format!("stats.{name} is not an integer: {}", stats[name]))?;
    }
    let is_wrong = |(name, value): &(&String, &Value)| {
        value.is_null() || (value.is_number() && !value.is_u64() && !name.ends_with("Percentage"))
    };
    match members.iter().find(is_wrong) {
        Some((name, value)) => Err(format!("stats.{name} is {value}")),
        None => Ok(()),
    }
}

fn check_error(error: &Value) -> Result<(), String> {
    for name in ["message", "errorName", "errorType"] {
        error[name].as_str().ok_or_else(|| format!("error.{name} is not a text"))?;
    }
    error["errorCode"].as_u64().ok_or("error.errorCode is not an integer")?;
    if let Some(location) = error.get("errorLocation") {
        for name in ["lineNumber", "columnNumber"] {
            let place = location[name].as_u64().filter(|place| *place >= 1);
            place.ok_or_else(|| format!("error.errorLocation.{name} is {}", location[name]))?;
        }
    }
    let mut failure = error.get("failureInfo");
    while let Some(info) = failure {
        info["type"].as_str().ok_or("failureInfo without a type")?;
        info["suppressed"].as_array().ok_or("failureInfo without suppressed")?;
        info["stack"].as_array().ok_or("failureInfo without a stack")?;
        failure = info.get("cause");
    }
    Ok(())
}

fn arguments(signature: &Value) -> Result<&[Value], String> {
    let arguments = signature["arguments"].as_array();
    arguments.map(Vec::as_slice).ok_or_else(|| format!("a type without arguments: {signature}"))
}

fn check_signature(signature: &Value) -> Result<(), String> {
    let name = signature["rawType"].as_str().ok_or_else(|| format!("a type without a name: {signature}"))?;
    let arguments = arguments(signature)?;
    let (least, kind) = match name {
        "varchar" | "char" => (1, "LONG"),
        "decimal" => (2, "LONG"),
        "array" => (1, "TYPE"),
        "map" => (2, "TYPE"),
        "row" => (1, "NAMED_TYPE"),
        _ => (0, "LONG"),
    };
    if arguments.len() < least || arguments.iter().any(|argument| argument["kind"] != kind) {
        return Err(format!("the arguments of a {name} are wrong: {signature}"));
    }
    for argument in arguments {
        match kind {
            "LONG" => {
                argument["value"].as_u64().ok_or_else(|| format!("not a number: {argument}"))?;
            }
            "TYPE" => check_signature(&argument["value"])?,
            _ => {
                let field = &argument["value"];
                if let Some(name) = field.get("fieldName") {
                    name["name"].as_str().ok_or_else(|| format!("a field with a strange name: {field}"))?;
                }
                check_signature(&field["typeSignature"])?;
            }
        }
    }
    Ok(())
}

/// Checks a value of a result.
fn check_value(value: &Value, signature: &Value) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let name = signature["rawType"].as_str().unwrap_or_default();
    let wrong = || format!("{value} is no {name}");
    let is_right = match name {
        "boolean" => value.is_boolean(),
        "tinyint" | "smallint" | "integer" | "bigint" => value.is_i64(),
        "real" | "double" => {
            value.is_f64() || matches!(value.as_str(), Some("NaN" | "Infinity" | "-Infinity"))
        }
        "array" => {
            let element = &arguments(signature)?[0]["value"];
            return value
                .as_array()
                .ok_or_else(wrong)?
                .iter()
                .try_for_each(|value| check_value(value, element));
        }
        "map" => {
            let arguments = arguments(signature)?;
            let (key, of) = (&arguments[0]["value"], &arguments[1]["value"]);
            return value.as_object().ok_or_else(wrong)?.iter().try_for_each(|(name, value)| {
                check_key(name, key)?;
                check_value(value, of)
            });
        }
        "row" => {
            let fields = arguments(signature)?;
            let values = value.as_array().filter(|values| values.len() == fields.len()).ok_or_else(wrong)?;
            let mut pairs = values.iter().zip(fields);
            return pairs.try_for_each(|(value, field)| check_value(value, &field["value"]["typeSignature"]));
        }
        "varchar"
        | "char"
        | "json"
        | "uuid"
        | "ipaddress"
        | "decimal"
        | "date"
        | "number"
        | "interval day to second"
        | "interval year to month" => value.is_string(),
        name if name.starts_with("time") => value.is_string(),
        _ => value.as_str().is_some_and(|text| STANDARD.decode(text).is_ok()),
    };
    if is_right { Ok(()) } else { Err(wrong()) }
}

/// The keys of a map are texts, read as their type.
fn check_key(key: &str, signature: &Value) -> Result<(), String> {
    let name = signature["rawType"].as_str().unwrap_or_default();
    let is_right = match name {
        "boolean" => matches!(key, "true" | "false"),
        "tinyint" | "smallint" | "integer" | "bigint" => key.parse::<i64>().is_ok(),
        "real" | "double" => key.parse::<f64>().is_ok(),
        _ => true,
    };
    if is_right { Ok(()) } else { Err(format!("the key {key:?} is no {name}")) }
}

#[test]
fn what_the_java_client_refuses_is_refused() {
    let page = |signature: &str, value: &str| {
        let text = format!(
            r#"{{"id":"q","infoUri":"u","warnings":[],"columns":[{{"name":"a","type":"t","typeSignature":{signature}}}],
            "data":[[{value}]],"stats":{{"state":"RUNNING","queued":false,"scheduled":true,"nodes":1,"totalSplits":1,
            "queuedSplits":1,"runningSplits":1,"completedSplits":1,"cpuTimeMillis":1,"wallTimeMillis":1,
            "queuedTimeMillis":1,"elapsedTimeMillis":1,"processedRows":1,"processedBytes":1,"physicalInputBytes":1,
            "peakMemoryBytes":1,"spilledBytes":1}}}}"#
        );
        check(&serde_json::from_str(&text).unwrap())
    };
    let double = r#"{"rawType":"double","arguments":[]}"#;
    let decimal =
        r#"{"rawType":"decimal","arguments":[{"kind":"LONG","value":3},{"kind":"LONG","value":1}]}"#;
    let map = format!(
        r#"{{"rawType":"map","arguments":[{{"kind":"TYPE","value":{{"rawType":"bigint","arguments":[]}}}},
        {{"kind":"TYPE","value":{double}}}]}}"#
    );
    for (signature, value) in [
        (double, "1.0"),
        (double, "\"NaN\""),
        (double, "null"),
        (decimal, "\"10.5\""),
        (map.as_str(), r#"{"1":2.5}"#),
    ] {
        assert_eq!(page(signature, value), Ok(()), "{signature} {value}");
    }
    for (signature, value) in [
        (double, "1"),
        (double, "true"),
        (decimal, "10.5"),
        (map.as_str(), r#"{"a":2.5}"#),
        (map.as_str(), r#"{"1":2}"#),
        (map.as_str(), "[[1,2.5]]"),
        (r#"{"rawType":"varchar","arguments":[]}"#, "\"a\""),
        (r#"{"rawType":"bigint","arguments":[]}"#, "1.5"),
        (r#"{"rawType":"varbinary","arguments":[]}"#, "\"%\""),
        (double, "1.0,1.0"),
    ] {
        assert!(page(signature, value).is_err(), "{signature} {value}");
    }
}
