//! Where the statements of a policy file begin and end, found without parsing them: what an edit
//! leaves as it was need not be read again.

use memchr::{memchr2, memchr3};

/// A statement of a file, from behind the one before it up to and with its `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// How a file's statements became another text's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// So many at the beginning are as they were.
    pub(crate) front: usize,
    /// What stands between those and `back`, in the new text.
    pub(crate) fresh: Vec<Span>,
    /// From this one on, the old statements are as they were, moved.
    pub(crate) back: usize,
}

/// Every statement. What is behind the last `;` is none.
pub(crate) fn all(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    while let Some(end) = end_of(text, start) {
        spans.push(Span { start, end });
        start = end;
    }
    spans
}

/// Compares two texts of a file; `spans` are those of the first. `None` where the second ends in
/// the middle of a statement.
pub(crate) fn edit(before: &str, spans: &[Span], after: &str) -> Option<Edit> {
    let prefix = same(
        before.as_bytes().chunks(CHUNK),
        after.as_bytes().chunks(CHUNK),
        |chunk| chunk.iter(),
    );
    let (one, other) = (
        before.as_bytes().get(prefix..)?,
        after.as_bytes().get(prefix..)?,
    );
    let suffix = same(one.rchunks(CHUNK), other.rchunks(CHUNK), |chunk| {
        chunk.iter().rev()
    });
    let front = spans.partition_point(|span| span.end <= prefix);
    let mut at = spans.get(..front)?.last().map_or(0, |span| span.end);
    let mut fresh = Vec::new();
    loop {
        // Where both texts are the same to their ends, and a statement begins, all are the same.
        let from_end = after.len() - at;
        if from_end <= suffix
            && let Some(start) = before.len().checked_sub(from_end)
            && let Ok(back) = spans.binary_search_by_key(&start, |span| span.start)
        {
            return Some(Edit { front, fresh, back });
        }
        let Some(end) = end_of(after, at) else {
            let back = spans.len();
            return is_blank(after.get(at..)?).then_some(Edit { front, fresh, back });
        };
        fresh.push(Span { start: at, end });
        at = end;
    }
}

/// Compared at once, then byte by byte where they differ.
const CHUNK: usize = 1024;

/// How many bytes are the same, from where the chunks begin.
fn same<'t, B: Iterator<Item = &'t u8>>(
    one: impl Iterator<Item = &'t [u8]>,
    other: impl Iterator<Item = &'t [u8]>,
    bytes: impl Fn(&'t [u8]) -> B,
) -> usize {
    let mut same = 0;
    for (one, other) in one.zip(other) {
        if one == other {
            same += one.len();
            continue;
        }
        let pairs = bytes(one).zip(bytes(other));
        return same + pairs.take_while(|(one, other)| one == other).count();
    }
    same
}

/// Where the statement ends that begins here: behind the next `;` that is neither in a text nor in
/// a comment.
fn end_of(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at += memchr3(b';', b'"', b'/', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b';' => return Some(at + 1),
            b'"' => at = behind_text(bytes, at + 1)?,
            _ if bytes.get(at + 1) == Some(&b'/') => {
                at += memchr2(b'\n', b'\r', bytes.get(at..)?)?;
            }
            _ => at += 1,
        }
    }
}

/// Behind the quotation mark that ends a text.
fn behind_text(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// Whether there is nothing but white space and comments.
fn is_blank(text: &str) -> bool {
    text.split(['\n', '\r']).all(|line| {
        let line = line.trim_start();
        line.is_empty() || line.starts_with("//")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        let spans = all(text).into_iter();
        spans
            .map(|span| text.get(span.start..span.end).unwrap())
            .collect()
    }

    #[test]
    fn a_statement_ends_at_a_semicolon_that_is_code() {
        assert_eq!(texts("a;b ;c"), ["a;", "b ;"]);
        assert_eq!(texts("a \";\\\";\" ;b;"), ["a \";\\\";\" ;", "b;"]);
        assert_eq!(texts("a // ; \" \n;b;"), ["a // ; \" \n;", "b;"]);
        assert_eq!(texts("a / ;\u{e9};"), ["a / ;", "\u{e9};"]);
        assert_eq!(texts("a // no end ;"), Vec::<&str>::new());
        assert_eq!(texts("a \"no end ;"), Vec::<&str>::new());
        // As for Cedar, a carriage return ends a comment.
        assert_eq!(texts("// x\r;"), ["// x\r;"]);
    }

    /// The pieces that statements are made of, what hides a semicolon among them.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = select(vec![
            ";", ";", ";", "a", "b", "\"", "\\", "//", "/", "\n", "\r", " ", "\"x;\"", "\u{e9}",
        ]);
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn an_edit_finds_the_statements_that_reading_anew_finds(
            front in pieces(), before in pieces(), after in pieces(), back in pieces()
        ) {
            let (before, after) = (format!("{front}{before}{back}"), format!("{front}{after}{back}"));
            let spans = all(&before);
            let anew = all(&after);
            let rest = anew.last().map_or(0, |span| span.end);
            match edit(&before, &spans, &after) {
                None => prop_assert!(!is_blank(after.get(rest..).unwrap())),
                Some(edit) => {
                    let shift = |at: usize| at + after.len() - before.len();
                    let mut found = spans[..edit.front].to_vec();
                    found.extend(&edit.fresh);
                    found.extend(spans[edit.back..].iter().map(|span| Span {
                        start: shift(span.start),
                        end: shift(span.end),
                    }));
                    prop_assert_eq!(found, anew);
                }
            }
        }
    }
}
