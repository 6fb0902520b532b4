//! Literals: Trino's types for them.

use super::*;
use sqlparser::ast::{
    CaseWhen, CastKind, CharacterLength, UnaryOperator, helpers::attached_token::AttachedToken,
};

/// A number as a literal.
pub(super) fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).with_empty_span())
}

fn string(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span())
}

pub(super) fn cast(expression: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expression),
        data_type,
        array: false,
        format: None,
    }
}

pub(super) fn case(condition: &Expr, then: &Expr, otherwise: Option<&Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition: condition.clone(),
            result: then.clone(),
        }],
        else_result: otherwise.map(|expression| Box::new(expression.clone())),
    }
}

/// A number with an exponent is a double, and a whole number must fit into a bigint.
pub(super) fn untyped(value: &ValueWithSpan) -> Result<Option<Expr>> {
    let Value::Number(digits, _) = &value.value else {
        return Ok(None);
    };
    if digits.contains(['e', 'E']) {
        return Ok(Some(cast(
            string(digits),
            DataType::Double(ExactNumberInfo::None),
        )));
    }
    let is_whole = digits.bytes().all(|digit| digit.is_ascii_digit());
    // The least bigint is the negative of a number that is none.
    if is_whole
        && digits
            .parse::<i128>()
            .map_or(true, |number| number > i128::from(i64::MAX) + 1)
    {
        let error = Error::new(
            ErrorCode::INVALID_LITERAL,
            format!("Invalid numeric literal: {digits}"),
        );
        return Err(match location(value.span) {
            Some(place) => error.at(place),
            None => error,
        });
    }
    Ok(None)
}

/// A whole number that stands alone is an integer where it fits into one.
pub(super) fn type_integer(expression: &mut Expr) {
    let digits = match &*expression {
        Expr::Value(ValueWithSpan {
            value: Value::Number(digits, _),
            ..
        }) => digits.clone(),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(ValueWithSpan {
                value: Value::Number(digits, _),
                ..
            }) => format!("-{digits}"),
            _ => return,
        },
        _ => return,
    };
    if digits.parse::<i32>().is_ok() {
        let literal = std::mem::replace(expression, number("0"));
        *expression = cast(literal, DataType::Int(None));
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

fn decimal(text: &str, span: Span) -> Result<Expr> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && fraction.bytes().all(|byte| byte != b'.')
        && !(whole.is_empty() && fraction.is_empty());
    let whole = whole.trim_start_matches('0');
    let precision = (whole.len() + fraction.len()).max(1);
    if !is_number || precision > 38 {
        let error = Error::new(
            ErrorCode::INVALID_LITERAL,
            format!("'{text}' is not a valid DECIMAL literal"),
        );
        return Err(match location(span) {
            Some(place) => error.at(place),
            None => error,
        });
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
