//! Reads a policy folder whole, and names its content by a hash.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::source::SourceFile;
use crate::{PdpError, PolicyIssue};

/// The files of a folder, by kind and in the order of their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) schemas: Vec<SourceFile>,
    pub(crate) policies: Vec<SourceFile>,
    pub(crate) entities: Vec<SourceFile>,
    /// Hash of every name and content: equal versions decide equally.
    pub(crate) version: String,
}

/// What the file system says of every file that counts. A change of content changes it, unless it
/// follows another one faster than the file system's clock ticks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<(String, [i64; 4], [u64; 3])>);

impl Stamp {
    /// Reads no file: it costs little, however much the folder holds.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let stamped = |(name, _)| {
            // Where it is a link, of what it leads to.
            let file = std::fs::metadata(folder.join(&name))?;
            let times = [
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            ];
            Ok((name, times, [file.dev(), file.ino(), file.size()]))
        };
        let files = files(folder)?.into_iter().map(stamped);
        files.collect::<io::Result<_>>().map(Self)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Schema,
    Policies,
    Entities,
}

impl Folder {
    /// Reads every file that counts; hidden ones and other kinds do not.
    pub(crate) fn read(folder: &Path) -> Result<Self, PdpError> {
        let unreadable = |error: &std::io::Error| {
            PdpError::Policies(vec![
                PolicyIssue::of_file(folder, format!("the folder cannot be read: {error}"))
                    .hint("`pdp.policies` names a folder of `*.cedarschema`, `*.cedar` and `entities*.json`"),
            ])
        };
        let names = files(folder).map_err(|error| unreadable(&error))?;
        let mut read = Self {
            path: folder.to_owned(),
            ..Self::default()
        };
        let mut issues = Vec::new();
        let mut content = Vec::new();
        for (name, kind) in names {
            let path = folder.join(&name);
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    // Lengths keep the border between two files where it is.
                    for part in [&name, &text] {
                        content.extend_from_slice(&(part.len() as u64).to_be_bytes());
                        content.extend_from_slice(part.as_bytes());
                    }
                    read.files(kind).push(SourceFile {
                        path: path.into(),
                        text: text.into(),
                    });
                }
                Err(error) => {
                    issues.push(PolicyIssue::of_file(
                        path,
                        format!("cannot be read: {error}"),
                    ));
                }
            }
        }
        if !issues.is_empty() {
            return Err(PdpError::Policies(issues));
        }
        read.version = service_kit::digest::sha256_base64url(&content);
        Ok(read)
    }

    fn files(&mut self, kind: Kind) -> &mut Vec<SourceFile> {
        match kind {
            Kind::Schema => &mut self.schemas,
            Kind::Policies => &mut self.policies,
            Kind::Entities => &mut self.entities,
        }
    }
}

/// The files that count, in the order of their names.
fn files(folder: &Path) -> io::Result<Vec<(String, Kind)>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string()
            && let Some(kind) = kind(&name)
        {
            names.push((name, kind));
        }
    }
    names.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(names)
}

fn kind(name: &str) -> Option<Kind> {
    if name.starts_with('.') {
        return None;
    }
    match name.rsplit_once('.')? {
        (_, "cedarschema") => Some(Kind::Schema),
        (_, "cedar") => Some(Kind::Policies),
        (stem, "json") if stem.starts_with("entities") => Some(Kind::Entities),
        _ => None,
    }
}
