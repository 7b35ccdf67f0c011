//! Just enough of Rust's grammar to tell code from comments and to list the paths that it names.

/// The text with every comment and literal blanked, so that what is left is code; lines stay where
/// they are.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal_or_comment(rest);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (skipped, after) = rest.split_at(length);
            code.extend(skipped.chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

/// How many bytes of a comment or literal begin here; 0 for none.
fn literal_or_comment(text: &str) -> usize {
    let up_to = |end: Option<usize>| end.unwrap_or(text.len());
    if text.starts_with("//") {
        return up_to(text.find('\n'));
    }
    if text.starts_with("/*") {
        return up_to(text.find("*/").map(|at| at + 2));
    }
    if let Some(inner) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = inner.find(|it| {
            let ends = it == '"' && !escaped;
            escaped = it == '\\' && !escaped;
            ends
        });
        return up_to(end.map(|at| at + 2));
    }
    if text.starts_with("r\"") || text.starts_with("r#") {
        let hashes = text[1..].chars().take_while(|&it| it == '#').count();
        if text[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            return up_to(text[start..].find(&close).map(|at| start + at + close.len()));
        }
    }
    if let Some(inner) = text.strip_prefix('\'') {
        let mut characters = inner.char_indices();
        return match (characters.next(), characters.next()) {
            (Some((_, '\\')), Some(_)) => up_to(inner[2..].find('\'').map(|at| at + 4)),
            (Some(_), Some((at, '\''))) => at + 2,
            _ => 0, // a lifetime
        };
    }
    0
}

/// The part of the code before its tests, which stand last: up to a `#[cfg(test)] mod tests {`.
pub(crate) fn before_tests(code: &str) -> &str {
    let tests = code.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|&at| {
        let item = code[at..].split_inclusive(['{', ';']).next().unwrap_or_default();
        item.ends_with("mod tests {")
    });
    &code[..tests.unwrap_or(code.len())]
}

/// The line of a place in a text, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// A path that the code names, groups written out: `a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The line that it ends on, from 1.
    pub(crate) line: usize,
    /// Its names.
    pub(crate) names: Vec<String>,
}

impl Path {
    /// Whether these names, in this order, stand somewhere in the path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split("::").collect();
        self.names.windows(wanted.len()).any(|names| names == wanted)
    }
}

/// Every path in the code; a name that stands alone is a path too.
pub(crate) fn paths_of(code: &str) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        at = path(code, at, &[], &mut found);
    }
    found
}

fn is_name(it: char) -> bool {
    it.is_alphanumeric() || it == '_'
}

fn skip_space(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

/// Reads the path or the single other character at `at`; gives the place after it.
fn path(code: &str, mut at: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let mut names = before.to_vec();
    loop {
        let length = code[at..].find(|it| !is_name(it)).unwrap_or(code.len() - at);
        if length == 0 {
            break;
        }
        names.push(code[at..at + length].to_owned());
        at += length;
        let next = skip_space(code, at);
        if !code[next..].starts_with("::") {
            break;
        }
        at = skip_space(code, next + 2);
    }
    let in_path = names.len() > before.len();
    if in_path && code[at..].starts_with('{') && code[..at].trim_end().ends_with("::") {
        at += 1;
        while at < code.len() && !code[at..].starts_with('}') {
            at = path(code, at, &names, found);
        }
        return (at + 1).min(code.len());
    }
    if in_path {
        found.push(Path { line: line_of(code, at), names });
        return at;
    }
    at + code[at..].chars().next().map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "a // b\n/* c\n*/ d \"e \\\" // f\" g r#\"h \" i\"# 'j' '\\'' k<'l> 'm: n";
        let code = code_of(text);
        let words: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(words, ["a", "d", "g", "k<'l>", "'m:", "n"]);
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn groups_are_written_out_over_lines() {
        let code =
            "use std::{\n    fs,\n    time::{Duration, Instant as Now},\n};\nlet x = a::b(c);";
        let paths: Vec<(usize, String)> =
            paths_of(code).into_iter().map(|it| (it.line, it.names.join("::"))).collect();
        let expected = [
            (1, "use"),
            (2, "std::fs"),
            (3, "std::time::Duration"),
            (3, "std::time::Instant"),
            (3, "std::time::as"),
            (3, "std::time::Now"),
            (5, "let"),
            (5, "x"),
            (5, "a::b"),
            (5, "c"),
        ];
        assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
    }

    #[test]
    fn a_path_has_whole_names_only() {
        let path = |code: &str| paths_of(code).remove(0);
        assert!(path("std::time::Instant").has("std::time"));
        assert!(path("a::Instant::now").has("Instant::now"));
        assert!(!path("core::time::Duration").has("std::time"));
        assert!(!path("operand::x").has("rand"));
    }
}
