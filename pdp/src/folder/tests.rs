//! What is no file, or has no readable name, is refused and never passed over.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::fixture::Fixture;

/// Reads beside the test, which must not wait for ever with it.
fn read(fixture: &Fixture) -> Result<Folder, PdpError> {
    let (tell, told) = mpsc::channel();
    let path = fixture.folder.path().to_owned();
    std::thread::spawn(move || drop(tell.send(Folder::read(&path))));
    told.recv_timeout(Duration::from_secs(20))
        .expect("the folder is read to its end")
}

fn check(fixture: &Fixture, expected: &[&str]) {
    let error = read(fixture).unwrap_err().to_string();
    for part in expected {
        assert!(error.contains(part), "no `{part}` in:\n{error}");
    }
}

#[test]
fn what_is_not_a_file_is_refused_and_never_opened() {
    let (fixture, elsewhere) = (Fixture::new(), Fixture::empty());
    let (root, beside) = (fixture.folder.path(), elsewhere.folder.path());
    for pipe in [root.join("z.cedar"), beside.join("pipe")] {
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    }
    symlink(beside.join("pipe"), root.join("linked.cedarschema")).unwrap();
    let _socket = UnixListener::bind(root.join("entities-s.json")).unwrap();
    std::fs::create_dir(root.join("old.cedar")).unwrap();
    check(
        &fixture,
        &[
            "z.cedar: is a pipe, socket or device, not a file\n hint: put a file",
            "linked.cedarschema: is a pipe",
            "entities-s.json: is a pipe",
            "old.cedar: is a folder, not a file",
        ],
    );
}

#[tokio::test]
async fn a_file_that_is_renamed_into_its_place_is_told_from_one_that_is_written_there() {
    let fixture = Fixture::new();
    let root = fixture.folder.path();
    let before = Stamp::of(root).unwrap();
    assert!(before.is_only_moved_since(&before));
    fixture.write(".new", "// new");
    // As coarse as the clocks of file systems are.
    tokio::time::sleep(Duration::from_millis(50)).await;
    std::fs::rename(root.join(".new"), root.join("policies.cedar")).unwrap();
    let moved = Stamp::of(root).unwrap();
    assert!(moved != before && moved.is_only_moved_since(&before));
    fixture.write("policies.cedar", "// longer now");
    let written = Stamp::of(root).unwrap();
    assert!(!written.is_only_moved_since(&moved));
    fixture.write("more.cedar", "");
    assert!(!Stamp::of(root).unwrap().is_only_moved_since(&written));
    std::fs::remove_file(root.join("more.cedar")).unwrap();
    assert!(Stamp::of(root).unwrap().is_only_moved_since(&written));
}

#[test]
fn pipes_and_folders_with_other_names_do_not_count() {
    let fixture = Fixture::new();
    let root = fixture.folder.path();
    let version = read(&fixture).unwrap().version;
    assert!(
        Command::new("mkfifo")
            .arg(root.join("notes"))
            .status()
            .unwrap()
            .success()
    );
    std::fs::create_dir(root.join("..data")).unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"notes\xff.md")), "x").unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b".old\xff.cedar")), "x").unwrap();
    assert_eq!(read(&fixture).unwrap().version, version);
}

#[test]
fn a_name_that_is_not_utf_8_is_refused() {
    let fixture = Fixture::new();
    let root = fixture.folder.path();
    let before = Stamp::of(root).unwrap();
    for name in [
        &b"b\xff.cedar"[..],
        b"\xff.cedarschema",
        b"entities\xff.json",
    ] {
        std::fs::write(root.join(OsStr::from_bytes(name)), "").unwrap();
    }
    check(
        &fixture,
        &[
            "/b\u{fffd}.cedar: the name is not UTF-8\n hint: rename the file",
            "/\u{fffd}.cedarschema: the name",
            "/entities\u{fffd}.json: the name",
        ],
    );
    assert_ne!(Stamp::of(root).unwrap(), before, "it is not seen to come");
}
