//! What hand-written Cedar may be at most, before a parser sees it: parser and validator go down with what is nested, on the stack.

use crate::rows::{Part, Refused};

/// Brackets within brackets, at most.
const DEPTH_MAX: usize = 32;
/// Bytes of one policy, at most; what nests without brackets (`if` in `else`, fields of fields) is bounded by it.
const POLICY_MAX: usize = 4 * 1024;

/// Refuses a text that is too deep or has a policy that is too long.
///
/// # Errors
/// The place of the first bracket or policy that goes too far.
pub(crate) fn check(text: &str) -> Result<(), Refused> {
    let refused = |place: usize, rule: String| Err(Refused::at(Part::Cedar, text, place, rule));
    let (mut depth, mut begins) = (0usize, 0);
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                while bytes.next_if(|(_, byte)| *byte != b'\n').is_some() {}
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return refused(place, format!("more than {DEPTH_MAX} brackets within each other"));
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' => {
                depth = 0;
                begins = place + 1;
            }
            _ => {}
        }
        if place.saturating_sub(begins) > POLICY_MAX {
            return refused(begins, format!("a policy of more than {POLICY_MAX} bytes: split it"));
        }
    }
    if text.len() - begins.min(text.len()) > POLICY_MAX + 1 {
        return refused(begins, format!("more than {POLICY_MAX} bytes after the last policy"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_policies_are_bounded() {
        let nested = |depth: usize| format!("permit {}x{};", "(".repeat(depth), ")".repeat(depth));
        for (text, rule) in [
            (nested(32), None),
            (nested(33), Some("more than 32 brackets within each other")),
            (format!("{}{}", nested(32), nested(32)), None),
            // In strings and remarks brackets are none.
            (format!("\"{}\\\"{}\";", "(".repeat(60), "[".repeat(60)), None),
            (format!("// {}\n;", "(".repeat(60)), None),
            (format!("{};", "x".repeat(4_000)), None),
            (format!(";{};", "x".repeat(5_000)), Some("a policy of more than 4096 bytes: split it")),
            (format!(";\"{}", "x".repeat(5_000)), Some("more than 4096 bytes after the last policy")),
            ("\"\\".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(
                check(&text).map_err(|refused| refused.rule),
                rule.map_or(Ok(()), |rule| Err(rule.to_owned())),
                "{text}"
            );
        }
        let refused = check(&format!("permit;\n  {}", nested(40))).unwrap_err();
        assert_eq!((refused.line, refused.column), (2, 42));
    }
}
