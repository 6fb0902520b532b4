//! Numbers, as Java writes them.

use std::fmt::{Display, LowerExp, Write};
use std::str::FromStr;

/// Numbers from here to below 10⁷ are written without an exponent.
const PLAIN_EXPONENT_MIN: i32 = -3;
const PLAIN_EXPONENT_MAX: i32 = 6;

/// Writes what the value displays.
pub(super) fn write_display(value: impl Display, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

/// Writes a number in decimal, filled up with zeros to a width.
pub(super) fn write_padded(value: u64, width: usize, out: &mut String) {
    let mut digits = [b'0'; 20];
    let mut rest = value;
    let mut at = digits.len();
    while rest > 0 || digits.len() - at < width.min(digits.len()) {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    push_ascii(&digits[at..], out);
}

/// Appends ASCII text.
fn push_ascii(text: &[u8], out: &mut String) {
    out.push_str(std::str::from_utf8(text).expect("ASCII is UTF-8"));
}

/// Writes a `double` as a JSON token that is never an integer; a string if it is no number.
pub(super) fn write_double(value: f64, out: &mut String) {
    if value.is_finite() {
        write_finite(value, out);
    } else {
        out.push_str(not_finite(value.is_nan(), value > 0.0));
    }
}

/// Writes a `real`. See [`write_double`].
pub(super) fn write_real(value: f32, out: &mut String) {
    if value.is_finite() {
        write_finite(value, out);
    } else {
        out.push_str(not_finite(value.is_nan(), value > 0.0));
    }
}

fn not_finite(nan: bool, positive: bool) -> &'static str {
    match (nan, positive) {
        (true, _) => "\"NaN\"",
        (false, true) => "\"Infinity\"",
        (false, false) => "\"-Infinity\"",
    }
}

/// Writes the shortest decimal of at least two digits that reads back as the same value, the nearest one if there
/// are several.
fn write_finite<T: LowerExp + FromStr + PartialEq + Copy>(value: T, out: &mut String) {
    let start = out.len();
    let _ = write!(out, "{value:e}");
    if !out[start..].contains('.') {
        // One digit is enough, so two digits are free: they may lie nearer, as in 4.9E-324.
        let one_digit_end = out.len();
        let _ = write!(out, "{value:.1e}");
        if out[one_digit_end..].parse().is_ok_and(|read: T| read == value) {
            out.replace_range(start..one_digit_end, "");
        } else {
            out.truncate(one_digit_end);
        }
    }
    let mut scientific = [0; 40];
    let length = out.len() - start;
    scientific[..length].copy_from_slice(&out.as_bytes()[start..]);
    out.truncate(start);
    write_java_form(&scientific[..length], out);
}

/// Writes `-d.ddde±x` in Java's form.
fn write_java_form(scientific: &[u8], out: &mut String) {
    let mut exponent = 0i32;
    let mut exponent_negative = false;
    let mut in_exponent = false;
    let mut digits = [0u8; 32];
    let mut count = 0;
    for byte in scientific {
        match byte {
            b'-' if in_exponent => exponent_negative = true,
            b'-' => out.push('-'),
            b'e' => in_exponent = true,
            b'.' => {}
            digit if in_exponent => exponent = exponent * 10 + i32::from(digit - b'0'),
            digit => {
                digits[count] = *digit;
                count += 1;
            }
        }
    }
    if exponent_negative {
        exponent = -exponent;
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    let digits = &digits[..count];
    let zeros = |count: i32, out: &mut String| (0..count).for_each(|_| out.push('0'));
    match exponent {
        PLAIN_EXPONENT_MIN..0 => {
            out.push_str("0.");
            zeros(-exponent - 1, out);
            push_ascii(digits, out);
        }
        0..=PLAIN_EXPONENT_MAX => {
            let whole = exponent as usize + 1;
            if digits.len() <= whole {
                push_ascii(digits, out);
                zeros((whole - digits.len()) as i32, out);
                out.push_str(".0");
            } else {
                push_ascii(&digits[..whole], out);
                out.push('.');
                push_ascii(&digits[whole..], out);
            }
        }
        _ => {
            push_ascii(&digits[..1], out);
            out.push('.');
            push_ascii(if digits.len() > 1 { &digits[1..] } else { b"0" }, out);
            out.push('E');
            write_display(exponent, out);
        }
    }
}

/// Writes a `decimal` as a JSON string with all digits of its scale.
pub(super) fn write_decimal(unscaled: i128, scale: u8, out: &mut String) {
    out.push('"');
    if unscaled < 0 {
        out.push('-');
    }
    let magnitude = unscaled.unsigned_abs();
    let scale = usize::from(scale);
    // One digit stands before the point at least.
    let _ = write!(out, "{magnitude:0width$}", width = scale + 1);
    if scale > 0 {
        out.insert(out.len() - scale, '.');
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = String::from("x");
        write_double(value, &mut out);
        out[1..].to_owned()
    }

    fn real(value: f32) -> String {
        let mut out = String::new();
        write_real(value, &mut out);
        out
    }

    #[test]
    fn doubles_are_written_as_java_does() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (123456.789, "123456.789"),
            (9_999_999.0, "9999999.0"),
            (9_999_999.999999998, "9999999.999999998"),
            (1e7, "1.0E7"),
            (12345678.9, "1.23456789E7"),
            (1e10, "1.0E10"),
            (0.001, "0.001"),
            (0.0012, "0.0012"),
            (0.00099999, "9.9999E-4"),
            (1e-5, "1.0E-5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (2e-3, "0.002"),
            (1e23, "1.0E23"),
            (2e23, "2.0E23"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (5e-324, "4.9E-324"),
            (1e-323, "9.9E-324"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(double(value), expected);
        }
    }

    #[test]
    fn reals_are_written_as_java_does() {
        for (value, expected) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (3.4028235e38, "3.4028235E38"),
            (1e-45, "1.4E-45"),
            (16777216.0, "1.6777216E7"),
            (1e10, "1.0E10"),
            (-0.0, "-0.0"),
            (f32::NAN, "\"NaN\""),
        ] {
            assert_eq!(real(value), expected);
        }
    }

    #[test]
    fn doubles_read_back_as_themselves() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = double(value);
                assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits, "{text}");
                assert!(text.contains('.'), "{text}");
            }
        }
    }

    #[test]
    fn decimals_have_all_digits_of_their_scale() {
        for (unscaled, scale, expected) in [
            (12340, 2, "\"123.40\""),
            (5, 2, "\"0.05\""),
            (-5, 2, "\"-0.05\""),
            (0, 3, "\"0.000\""),
            (-7, 0, "\"-7\""),
            (
                99_999_999_999_999_999_999_999_999_999_999_999_999,
                38,
                "\"0.99999999999999999999999999999999999999\"",
            ),
        ] {
            let mut out = String::new();
            write_decimal(unscaled, scale, &mut out);
            assert_eq!(out, expected);
        }
    }
}
