//! What can be said of a query before any database has seen it: it is one statement with one
//! parameter. Whether it is a good one, the database says.

use std::collections::BTreeSet;

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgresql,
    Sqlite,
}

impl Dialect {
    fn parameter(self) -> &'static str {
        match self {
            Self::Postgresql => "$1",
            Self::Sqlite => "?1",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Postgresql => "`postgresql.query`",
            Self::Sqlite => "`sqlite.query`",
        }
    }

    /// Whether a parameter may begin so, in front of its number or name.
    fn begins(self, sign: char) -> bool {
        match self {
            Self::Postgresql => sign == '$',
            Self::Sqlite => matches!(sign, '?' | ':' | '@' | '$'),
        }
    }

    /// What ends what begins so.
    fn quote(self, opening: char) -> Option<char> {
        match opening {
            '\'' | '"' => Some(opening),
            '`' if self == Self::Sqlite => Some('`'),
            '[' if self == Self::Sqlite => Some(']'),
            _ => None,
        }
    }
}

/// Refuses what is no query of one entity.
pub(super) fn check(query: &str, dialect: Dialect) -> Result<(), String> {
    let (key, wanted) = (dialect.key(), dialect.parameter());
    let bare = bare(query, dialect);
    let bare = bare.trim_end();
    let bare = bare.strip_suffix(';').unwrap_or(bare);
    if bare.contains(';') {
        return Err(format!("{key} must be one statement"));
    }
    let parameters = parameters(bare, dialect);
    if parameters.len() == 1 && parameters.contains(wanted) {
        Ok(())
    } else {
        Err(format!(
            "{key} must have one parameter, `{wanted}`, where the entity's id goes"
        ))
    }
}

/// The query without what stands in quotes and comments.
fn bare(query: &str, dialect: Dialect) -> String {
    let mut bare = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = skipped(rest, bare.chars().next_back(), dialect) {
            bare.push(' ');
            rest = after;
        } else {
            bare.push(next);
            rest = rest.strip_prefix(next).unwrap_or_default();
        }
    }
    bare
}

/// What follows the quoted text or the comment that begins here; nothing where none does.
fn skipped(rest: &str, before: Option<char>, dialect: Dialect) -> Option<&str> {
    if let Some(comment) = rest.strip_prefix("--") {
        return Some(behind(comment, "\n"));
    }
    if let Some(comment) = rest.strip_prefix("/*") {
        return Some(behind_comment(comment, dialect));
    }
    let in_word = before.is_some_and(is_of_word);
    let opening = rest.chars().next()?;
    let text = rest.strip_prefix(opening)?;
    if let Some(closing) = dialect.quote(opening) {
        let escapes = opening == '\'' && before.is_some_and(|sign| sign.eq_ignore_ascii_case(&'e'));
        return Some(if escapes && dialect == Dialect::Postgresql {
            behind_escaped(text)
        } else {
            text.split_once(closing).map_or("", |(_, after)| after)
        });
    }
    if dialect == Dialect::Postgresql && opening == '$' && !in_word {
        let (tag, text) = text.split_once('$')?;
        let is_tag = tag.chars().all(is_of_word) && !tag.starts_with(|c: char| c.is_ascii_digit());
        return is_tag.then(|| behind(text, &format!("${tag}$")));
    }
    None
}

fn behind<'a>(text: &'a str, end: &str) -> &'a str {
    text.split_once(end).map_or("", |(_, after)| after)
}

/// PostgreSQL's comments may stand in each other.
fn behind_comment(text: &str, dialect: Dialect) -> &str {
    let mut open = 1_usize;
    let mut rest = text;
    while open > 0 && !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("*/") {
            (rest, open) = (after, open - 1);
        } else if let Some(after) = rest.strip_prefix("/*") {
            (rest, open) = (after, open + usize::from(dialect == Dialect::Postgresql));
        } else {
            let mut signs = rest.chars();
            signs.next();
            rest = signs.as_str();
        }
    }
    rest
}

/// Behind a text in which a backslash takes away the meaning of what follows it.
fn behind_escaped(text: &str) -> &str {
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => drop(signs.next()),
            '\'' => break,
            _ => {}
        }
    }
    signs.as_str()
}

fn parameters(bare: &str, dialect: Dialect) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut before = ' ';
    let mut signs = bare.chars();
    while let Some(sign) = signs.next() {
        if dialect.begins(sign) && !is_of_word(before) && before != sign {
            let name: String = signs
                .as_str()
                .chars()
                .take_while(|c| is_of_word(*c))
                .collect();
            let is_one = match dialect {
                Dialect::Postgresql => name.starts_with(|c: char| c.is_ascii_digit()),
                Dialect::Sqlite => sign == '?' || !name.is_empty(),
            };
            if is_one {
                found.insert(format!("{sign}{name}"));
            }
        }
        before = sign;
    }
    found
}

fn is_of_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_' || sign == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_refused(dialect: Dialect, queries: &[&str]) {
        for query in queries {
            assert!(check(query, dialect).is_err(), "{query}");
        }
    }

    fn assert_taken(dialect: Dialect, queries: &[&str]) {
        for query in queries {
            assert_eq!(check(query, dialect), Ok(()), "{query}");
        }
    }

    #[test]
    fn postgresql_has_one_parameter_and_one_statement() {
        assert_taken(
            Dialect::Postgresql,
            &[
                "SELECT plan FROM customers WHERE id = $1",
                "SELECT plan FROM customers WHERE id = $1 OR other = $1;  ",
                "SELECT a FROM t WHERE id=$1::uuid -- and not $2; really",
                "SELECT '$2;', E'\\'$2;', \"$2;\" FROM t /* $2; /* $3 */ $4 */ WHERE id IN ($1)",
                "SELECT $$ $2; $$, $x$ $2 $$ $x$ FROM t WHERE id = $1",
                "SELECT data->'a' ? 'b' AS x, tags[1:2], foo$2 FROM t WHERE id = $1",
                "SELECT 'it''s' FROM t WHERE id = $1",
            ],
        );
        assert_refused(
            Dialect::Postgresql,
            &[
                "",
                "SELECT plan FROM customers",
                "SELECT plan FROM customers WHERE id = '$1'",
                "SELECT plan FROM customers WHERE id = $2",
                "SELECT plan FROM customers WHERE id = $1 AND x = $2",
                "SELECT plan FROM customers WHERE id = $10",
                "SELECT plan FROM customers WHERE id = ?1",
                "SELECT plan FROM customers -- WHERE id = $1",
                "SELECT plan FROM customers /* WHERE id = $1",
                "SELECT E'\\' $1 '",
                "SELECT $$ $1 $$",
                "SELECT 1; SELECT $1",
                "SELECT $1;;",
            ],
        );
    }

    #[test]
    fn sqlite_has_one_parameter_and_one_statement() {
        assert_taken(
            Dialect::Sqlite,
            &[
                "SELECT clearance FROM badges WHERE user_id = ?1",
                "SELECT clearance FROM badges WHERE user_id = ?1 OR other = ?1;",
                "SELECT '?2;', \"?2\", [?2], `?2` FROM t /* ?2 /* */ WHERE id = ?1 -- ?2",
            ],
        );
        assert_refused(
            Dialect::Sqlite,
            &[
                "SELECT clearance FROM badges",
                "SELECT clearance FROM badges WHERE user_id = ?",
                "SELECT clearance FROM badges WHERE user_id = ?2",
                "SELECT clearance FROM badges WHERE user_id = :id",
                "SELECT clearance FROM badges WHERE user_id = $1",
                "SELECT clearance FROM badges WHERE user_id = ?1 AND x = @x",
                "SELECT clearance FROM badges WHERE user_id = '?1'",
                "SELECT 1; SELECT ?1",
            ],
        );
    }
}
