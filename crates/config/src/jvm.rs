//! `jvm.config`: only `-Xmx` says something that holds here too.

use base::DataSize;

use crate::problem::{Position, Problem, ProblemKind};

/// The `-Xmx` of a `jvm.config`, the last one if there are several.
///
/// # Errors
/// The line, if its size cannot be read.
pub(crate) fn memory_limit(file: &str, text: &str) -> Result<Option<DataSize>, Problem> {
    let options = (1..).zip(text.lines()).flat_map(|(line, text)| {
        let is_comment = text.trim_start().starts_with('#');
        text.split_whitespace().filter(move |_| !is_comment).map(move |option| (line, option))
    });
    let mut limit = None;
    for (line, option) in options {
        if let Some(size) = option.strip_prefix("-Xmx") {
            limit = Some(parse_size(size).ok_or_else(|| Problem {
                position: Some(Position { file: file.into(), line: Some(line) }),
                kind: ProblemKind::InvalidValue {
                    name: "-Xmx".to_owned(),
                    value: size.to_owned(),
                    reason: "expected a size such as 8G".to_owned(),
                },
            })?);
        }
    }
    Ok(limit)
}

fn parse_size(text: &str) -> Option<DataSize> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let size = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (size > 0).then_some(DataSize(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmx_is_found_among_other_options() {
        for (text, limit) in [
            ("-server\n-Xmx8G\n-Xms1g\n", Some(8 << 30)),
            ("-Xmx512m -XX:+UseG1GC", Some(512 << 20)),
            ("-Xmx1g\n-Xmx2g", Some(2 << 30)),
            ("-Xmx1048576", Some(1 << 20)),
            ("# -Xmx1g\n-XX:MaxRAMPercentage=80", None),
            ("", None),
        ] {
            assert_eq!(memory_limit("etc/jvm.config", text), Ok(limit.map(DataSize)), "{text}");
        }
    }

    #[test]
    fn a_bad_xmx_names_its_line() {
        for bad in ["-Xmx8GB", "-Xmx", "-Xmx0", "-Xmxlots", "-Xmx99999999999999t"] {
            let problem = memory_limit("etc/jvm.config", &format!("-server\n{bad}")).unwrap_err();
            assert!(problem.to_string().starts_with("etc/jvm.config:2: Invalid value '"), "{problem}");
        }
    }
}
