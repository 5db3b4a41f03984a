//! Values of a query that everybody reads in the same way: one name in one spelling, pairs between `&`, no `+` and no
//! `;` that could mean something.

use percent_encoding::percent_decode_str;

use super::{List, Unread};

/// The values of a name: one at most, but where a list is expected.
pub(crate) fn values(
    query: &str,
    name: &str,
    list: List,
    most: usize,
) -> Result<Vec<String>, Unread> {
    let mut found = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        // An older separator: to whoever knows it, there are two pairs.
        if pair.contains(';') {
            return Err(Unread::Ambiguous);
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key)?;
        if key == name {
            found.push(value);
        } else if could_be(&key, name) {
            return Err(Unread::Ambiguous);
        }
        if found.len() > most {
            return Err(if list == List::No {
                Unread::Ambiguous
            } else {
                Unread::TooMany
            });
        }
    }
    match list {
        List::No | List::Commas if found.len() > 1 => Err(Unread::Ambiguous),
        List::No | List::Repeated => found.into_iter().map(decode).collect(),
        List::Commas => {
            let values = found.first().map(|value| value.split(','));
            let values = values.into_iter().flatten().map(|value| {
                let value = decode(value)?;
                // Encoded, it may be a part of a value to one and the end of it to another.
                if value.contains(',') {
                    return Err(Unread::Ambiguous);
                }
                Ok(value)
            });
            let values = values.take(most + 1).collect::<Result<Vec<_>, _>>()?;
            if values.len() > most {
                Err(Unread::TooMany)
            } else {
                Ok(values)
            }
        }
    }
}

/// Whether somebody might read a key as this name: in another case, or as an element of it.
pub(crate) fn could_be(key: &str, name: &str) -> bool {
    let Some((begin, rest)) = key.split_at_checked(name.len()) else {
        return false;
    };
    let spelt = begin.trim_end() == begin && begin.eq_ignore_ascii_case(name);
    let padded = key.trim().eq_ignore_ascii_case(name);
    padded || (spelt && (rest.is_empty() || rest.starts_with(['[', '.'])))
}

/// `+` is a space to some and itself to others.
fn decode(text: &str) -> Result<String, Unread> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let digits = after.get(..2).ok_or(Unread::Ambiguous)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Unread::Ambiguous);
        }
        rest = after;
    }
    if text.contains('+') {
        return Err(Unread::Ambiguous);
    }
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| Unread::Ambiguous)?;
    if text.chars().any(char::is_control) {
        return Err(Unread::Ambiguous);
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, list: List, expected: Result<&[&str], Unread>) {
        let found = values(query, "id", list, 3);
        let expected = expected.map(|it| it.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn a_value_is_there_once_and_reads_in_one_way() {
        check("", List::No, Ok(&[]));
        check("a=1&id=7&b", List::No, Ok(&["7"]));
        check("id=caf%C3%A9%2B", List::No, Ok(&["caf\u{e9}+"]));
        check("%69d=7", List::No, Ok(&["7"]));
        check("xid=1&idx=2&i=3", List::No, Ok(&[]));
        check("id", List::No, Ok(&[""]));
        for query in [
            "id=1&id=1",
            "id=1&ID=2",
            "Id=1",
            "id=1&id[]=2",
            "id%5B0%5D=2",
            "id.x=2",
            "id=1&%20id=2",
            "id=1;id=2",
            "a=1;id=2",
            "id=a+b",
            "id=%",
            "id=%zz",
            "id=%ff",
            "id=%00",
            "%+=1",
        ] {
            check(query, List::No, Err(Unread::Ambiguous));
        }
    }

    #[test]
    fn several_values_come_as_the_route_says() {
        check("id=1&a&id=2", List::Repeated, Ok(&["1", "2"]));
        check("id=1,2", List::Repeated, Ok(&["1,2"]));
        check("id=1,2", List::Commas, Ok(&["1", "2"]));
        check("id=1&id=2", List::Commas, Err(Unread::Ambiguous));
        check("id=1%2c2", List::Commas, Err(Unread::Ambiguous));
        check("id=1&id=2&id=3&id=4", List::Repeated, Err(Unread::TooMany));
        check("id=1,2,3,4", List::Commas, Err(Unread::TooMany));
    }
}
