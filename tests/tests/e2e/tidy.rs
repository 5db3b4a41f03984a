//! Tidy: the rules of the tree that no compiler holds. Who may import whom, how long a file may
//! be, what no file may say, and that the rooms of a crate import each other one way.
//!
//! Each rule is a function from text to complaints, so that each can be shown a bad example.

mod dependencies;
mod files;
mod rooms;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Folders that hold nothing of ours.
const NOT_OURS: [&str; 6] = [".git", "target", "node_modules", ".venv", "data", "corpora"];

#[test]
fn nobody_imports_what_they_may_not() -> anyhow::Result<()> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root()?.join("Cargo.toml"))
        .no_deps()
        .exec()?;
    let packages: Vec<_> = metadata
        .workspace_packages()
        .into_iter()
        .map(dependencies::Package::from)
        .collect();
    ensure!(packages.len() > 8, "only {} packages found", packages.len());
    let complaints = dependencies::complaints(&packages);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    Ok(())
}

#[test]
fn every_file_keeps_the_house_rules() -> anyhow::Result<()> {
    let root = root()?;
    let mut complaints = Vec::new();
    let mut lengths = Vec::new();
    for path in tree(&root)? {
        let name = path.strip_prefix(&root)?.to_string_lossy().into_owned();
        // What is not text has no lines to complain about.
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        complaints.extend(files::complaints(&name, &text));
        if files::is_rust(&name) {
            lengths.push(text.lines().count());
        }
    }
    ensure!(
        lengths.len() > 50,
        "only {} Rust files found",
        lengths.len()
    );
    println!("{}", files::length_table(lengths));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    Ok(())
}

#[test]
fn rooms_of_a_crate_import_each_other_one_way() -> anyhow::Result<()> {
    let root = root()?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()?;
    let mut complaints = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(folder) = package.manifest_path.parent() else {
            continue;
        };
        let src = folder.join("src").into_std_path_buf();
        let mut imports = rooms::Imports::new();
        for path in tree(&src).unwrap_or_default() {
            let name = path.strip_prefix(&src)?.to_string_lossy().into_owned();
            if files::is_rust(&name) {
                rooms::read(&mut imports, &name, &std::fs::read_to_string(&path)?);
            }
        }
        if let Some(circle) = rooms::circle(&imports) {
            complaints.push(format!("{}: {} -> …", package.name, circle.join(" -> ")));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    Ok(())
}

fn root() -> anyhow::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .context("the package has no parent folder")
}

/// Every file below `folder` that is ours.
fn tree(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_file() {
                found.push(entry.path());
            } else if kind.is_dir()
                && !NOT_OURS.contains(&entry.file_name().to_string_lossy().as_ref())
            {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
