//! Whether the rooms of a crate, the modules right below its door, import each other one way.

use std::collections::{BTreeMap, BTreeSet};

/// Which room imports which others.
pub(super) type Imports = BTreeMap<String, BTreeSet<String>>;

/// Reads one file of a crate. `path` is below `src`.
pub(super) fn read(imports: &mut Imports, path: &str, text: &str) {
    let Some(room) = room_of(path) else {
        return;
    };
    let own = imports.entry(room.clone()).or_default();
    // Tests may look at everything.
    let text = text.split("#[cfg(test)]\nmod tests {").next();
    let text = text.unwrap_or_default();
    for line in statements(text) {
        for (at, _) in line.match_indices("crate::") {
            let named = line.get(at + "crate::".len()..).unwrap_or_default();
            own.extend(first_names(named).filter(|name| *name != room));
        }
    }
}

/// Statements and other lines, without comments; one that is spread over lines is joined.
fn statements(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let mut whole = open.take().unwrap_or_default();
        whole.push_str(line);
        if whole.starts_with("use crate::{") && !whole.ends_with(';') {
            open = Some(whole);
        } else {
            found.push(whole);
        }
    }
    found
}

/// The modules that a path after `crate::` begins with: one, or those in braces.
fn first_names(named: &str) -> impl Iterator<Item = String> {
    let paths: Vec<&str> = match named.strip_prefix('{') {
        Some(several) => several.split_inclusive([',', '}']).collect(),
        None => vec![named],
    };
    let names = paths.into_iter().filter_map(|path| {
        let is_part = |byte: char| byte.is_ascii_lowercase() || byte == '_';
        let (name, rest) = path
            .trim()
            .split_at(path.trim().find(|byte| !is_part(byte))?);
        // What is called or made is no module.
        rest.starts_with([':', ';', ',', '}', ' '])
            .then(|| name.to_owned())
    });
    names.collect::<Vec<_>>().into_iter()
}

fn room_of(path: &str) -> Option<String> {
    let is_door = matches!(path, "lib.rs" | "main.rs");
    if is_door || path.split('/').any(|part| part.contains("test")) {
        return None;
    }
    let first = path.split('/').next()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

/// The rooms of some circle, where there is one: each imports the next, the last the first.
pub(super) fn circle(imports: &Imports) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    imports
        .keys()
        .find_map(|room| walk(imports, room, &mut Vec::new(), &mut done))
}

fn walk<'i>(
    imports: &'i Imports,
    room: &'i str,
    way: &mut Vec<&'i str>,
    done: &mut BTreeSet<&'i str>,
) -> Option<Vec<String>> {
    if let Some(at) = way.iter().position(|before| *before == room) {
        return Some(way.iter().skip(at).map(|room| (*room).to_owned()).collect());
    }
    if done.contains(room) {
        return None;
    }
    way.push(room);
    let next = imports.get(room).into_iter().flatten();
    let found = next
        .filter(|next| imports.contains_key(*next))
        .find_map(|next| walk(imports, next, way, done));
    way.pop();
    done.insert(room);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle_of(files: &[(&str, &str)]) -> Option<Vec<String>> {
        let mut imports = Imports::new();
        for (path, text) in files {
            read(&mut imports, path, text);
        }
        circle(&imports)
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        let one_way = [
            ("lib.rs", "use crate::b::B;"),
            ("a.rs", "use crate::b::B;\n// crate::c::C\nuse crate::Door;"),
            ("b/part.rs", "use crate::{\n    c::C,\n    d::D,\n};"),
            ("c.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}"),
            ("d.rs", "fn d() -> super::D {}"),
            ("d/tests.rs", "use crate::a::A;"),
        ];
        assert_eq!(circle_of(&one_way), None);
        for back in [
            "use crate::a::A;",
            "use crate::{x::X,\n a::A};",
            "fn c(_: crate::b::B) {}",
        ] {
            let mut files = one_way.to_vec();
            files[3].1 = back;
            let circle = circle_of(&files).unwrap();
            assert!(circle.contains(&"c".to_owned()), "{back}: {circle:?}");
        }
    }
}
