//! Literals: Trino's types for them.

use super::*;
use crate::lexer::{START, tokenize};
use crate::query::parse_expression;
use chrono::NaiveDate;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, CharacterLength, DateTimeField, UnaryOperator,
    helpers::attached_token::AttachedToken,
};
use types::{RowField, Type};

const MONTHS_PER_YEAR: i32 = 12;

/// A number as a literal.
pub(super) fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).with_empty_span())
}

fn string(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span())
}

/// A double as a literal.
pub(super) fn double(text: &str) -> Expr {
    cast(string(text), DataType::Double(ExactNumberInfo::None))
}

pub(super) fn cast(expression: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expression), data_type, array: false, format: None }
}

/// The arguments of a row of these values: before each the name that says that its field has none.
pub(super) fn anonymous_fields(values: &[&Expr]) -> Vec<FunctionArg> {
    let field = RowField { name: None, field_type: Type::Unknown };
    let arrow::datatypes::DataType::Struct(fields) = Type::Row(vec![field; values.len()]).to_arrow() else {
        return Vec::new();
    };
    let argument = |value: Expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(value));
    let pairs = fields.iter().zip(values);
    pairs.flat_map(|(field, value)| [argument(string(field.name())), argument((*value).clone())]).collect()
}

pub(super) fn concatenation(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::StringConcat, right: Box::new(right) }
}

pub(super) fn case(condition: &Expr, then: &Expr, otherwise: Option<&Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: condition.clone(), result: then.clone() }],
        else_result: otherwise.map(|expression| Box::new(expression.clone())),
    }
}

/// A number with an exponent is a double, and a whole number must fit into a bigint.
pub(super) fn untyped(value: &ValueWithSpan) -> Result<Option<Expr>> {
    let Value::Number(digits, _) = &value.value else {
        return Ok(None);
    };
    if digits.contains(['e', 'E']) {
        return Ok(Some(double(digits)));
    }
    let is_whole = digits.bytes().all(|digit| digit.is_ascii_digit());
    // The least bigint is the negative of a number that is none.
    if is_whole && digits.parse::<i128>().map_or(true, |number| number > i128::from(i64::MAX) + 1) {
        let error = Error::new(ErrorCode::INVALID_LITERAL, format!("Invalid numeric literal: {digits}"));
        return Err(match location(value.span) {
            Some(place) => error.at(place),
            None => error,
        });
    }
    Ok(None)
}

/// The type of a literal that stands alone, or as a part of a value: a whole number is an integer where it fits into
/// one, and an interval of years or months has no days.
pub(super) fn type_literal(expression: &mut Expr) {
    for part in parts(expression) {
        type_literal(part);
    }
    if let Some(interval) = interval_of_months(expression) {
        *expression = interval;
        return;
    }
    let digits = match &*expression {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => digits.clone(),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => format!("-{digits}"),
            _ => return,
        },
        _ => return,
    };
    if digits.parse::<i32>().is_ok() {
        let literal = std::mem::replace(expression, number("0"));
        *expression = cast(literal, DataType::Int(None));
    }
}

/// `INTERVAL '1' YEAR`, `INTERVAL '2' MONTH`, `INTERVAL '1-2' YEAR TO MONTH`. In the planner every interval has months,
/// days and nanoseconds at once, unless it is cast.
fn interval_of_months(expression: &Expr) -> Option<Expr> {
    let Expr::Interval(interval) = expression else {
        return None;
    };
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = interval.value.as_ref()
    else {
        return None;
    };
    let count = |text: &str| text.trim().parse::<i32>().ok();
    let months = match (&interval.leading_field, &interval.last_field) {
        (Some(DateTimeField::Year), None) => count(text)?.checked_mul(MONTHS_PER_YEAR)?,
        (Some(DateTimeField::Month), None) => count(text)?,
        (Some(DateTimeField::Year), Some(DateTimeField::Month)) => {
            let (sign, text) = text.strip_prefix('-').map_or((1, text.as_str()), |text| (-1, text));
            let (years, months) = text.split_once('-')?;
            let years = count(years)?.checked_mul(MONTHS_PER_YEAR)?;
            years.checked_add(count(months)?)?.checked_mul(sign)?
        }
        _ => return None,
    };
    let text = format!("arrow_cast(CAST({months} AS integer), 'Interval(YearMonth)')");
    parse_expression(&tokenize(&text, START).ok()?).ok()
}

/// The parts of an array, a row or a map that is written out.
fn parts(expression: &mut Expr) -> Vec<&mut Expr> {
    match expression {
        Expr::Array(array) => array.elem.iter_mut().collect(),
        Expr::Function(function) if matches!(function_name(function), Some("row" | "map")) => {
            let FunctionArguments::List(list) = &mut function.args else {
                return Vec::new();
            };
            let arguments = list.args.iter_mut().filter_map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
                _ => None,
            });
            arguments.collect()
        }
        _ => Vec::new(),
    }
}

/// `DECIMAL '1.50'` has the digits that are written, and `TIMESTAMP '…'` those of its fraction.
pub(super) fn typed(typed: &mut TypedString) -> Result<Option<Expr>> {
    let Value::SingleQuotedString(text) = &typed.value.value else {
        return Ok(None);
    };
    match &mut typed.data_type {
        DataType::Decimal(ExactNumberInfo::None) => decimal(text.trim(), typed.value.span).map(Some),
        DataType::Timestamp(precision @ None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            *precision = Some(timestamp_precision(text));
            Ok(None)
        }
        DataType::Date if NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").is_err() => {
            Err(invalid(text, "DATE", typed.value.span))
        }
        other => {
            cast_type(other);
            Ok(None)
        }
    }
}

/// Timestamps have seconds, milliseconds, microseconds or nanoseconds below.
fn timestamp_precision(text: &str) -> u64 {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    match fraction.bytes().take_while(u8::is_ascii_digit).count() {
        0 => 0,
        1..=3 => 3,
        4..=6 => 6,
        _ => 9,
    }
}

fn invalid(text: &str, type_name: &str, span: Span) -> Error {
    let text = format!("'{text}' is not a valid {type_name} literal");
    let error = Error::new(ErrorCode::INVALID_LITERAL, text);
    match location(span) {
        Some(place) => error.at(place),
        None => error,
    }
}

fn decimal(text: &str, span: Span) -> Result<Expr> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && fraction.bytes().all(|byte| byte != b'.')
        && !(whole.is_empty() && fraction.is_empty());
    let whole = whole.trim_start_matches('0');
    let precision = (whole.len() + fraction.len()).max(1);
    if !is_number || precision > 38 {
        return Err(invalid(text, "DECIMAL", span));
    }
    let info = ExactNumberInfo::PrecisionAndScale(precision as u64, fraction.len() as i64);
    Ok(cast(string(text), DataType::Decimal(info)))
}

/// A cast to `varchar(n)` leaves out what is too long.
pub(super) fn shortened(expression: &Expr, data_type: &DataType) -> Option<Expr> {
    let DataType::Varchar(Some(CharacterLength::IntegerLength { length, .. })) = data_type else {
        return None;
    };
    Some(Expr::Substring {
        expr: Box::new(cast(expression.clone(), DataType::Varchar(None))),
        substring_from: Some(Box::new(number("1"))),
        substring_for: Some(Box::new(number(&length.to_string()))),
        special: false,
        shorthand: false,
    })
}

/// Trino's types that have other names there.
pub(super) fn cast_type(data_type: &mut DataType) {
    match data_type {
        DataType::Varbinary(None) => *data_type = DataType::Bytea,
        DataType::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            *precision = Some(match precision {
                Some(0) => 0,
                None | Some(1..=3) => 3,
                Some(4..=6) => 6,
                Some(_) => 9,
            });
        }
        _ => {}
    }
}
