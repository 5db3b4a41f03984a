//! Who may not take over, and who does not get far enough: the process that runs goes on as if nothing had been.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use e2e::Site;
use e2e::http::get;
use e2e::load::{Load, Manner, Target};
use e2e::site::eventually;
use e2e::tokens;

use super::{PATIENCE, await_socket, report, with_handover};

/// Somebody who is not the user that the process runs as.
const NOBODY: &str = "nobody";
/// What the log says of a process that has the store of the one before it,
const HAS_STORE: &str = "the store is open in the other process";
/// and of one that cannot serve.
const UNBOUND: &str = "cannot listen on";

/// One that listens where the demo's upstream does.
fn with_port_of_another(text: &str, site: &Site, port: u16) -> String {
    let at = |port: u16| format!("listen: {}:{port}", site.host);
    assert!(text.contains(&at(port)), "{port}");
    text.replacen(&at(port), &at(9000), 1)
}

fn load(site: &Site, token: &str) -> Load {
    let records = Target {
        address: (site.host, 8080).into(),
        path: "/records/1001".to_owned(),
        bearer: Some(token.to_owned()),
        status: 200,
        authority: None,
    };
    Load::start([Manner::Kept, Manner::New].map(|manner| (manner, records.clone())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_does_not_come_up_leaves_the_old_one_serving() {
    let mut site = Site::all_in_one_with(with_handover);
    let alice = tokens::access_token(&site, "alice").await;
    let load = load(&site, &alice);
    let file = site.path("config/all-in-one.yaml");
    let original = std::fs::read_to_string(&file).expect("file");
    let broken = [
        // Known before anything is asked for.
        (
            original.replacen("upstream: records", "upstream: nobody", 1),
            "nobody",
        ),
        // Known only after the store has been handed over: a port that somebody else has.
        (with_port_of_another(&original, &site, 8082), UNBOUND),
    ];
    for (text, said) in broken {
        assert_ne!(text, original);
        std::fs::write(&file, text).expect("write");
        let mut next = site.take_over("all-in-one");
        assert!(!next.wait(PATIENCE).success());
        assert!(next.output().contains(said), "{}", next.output());
        load.go_on_for(50).await;
    }
    let (answered, failures) = load.stop().await;
    assert!(failures.is_empty(), "{}", report(&failures));
    assert!(answered > 100, "{answered}");
    // One that is killed when it has the store, and would not get as far as the gateway: whom it accepts dies with it.
    // What it was asked for is answered by an error, and in no other way.
    let text = with_port_of_another(&original, &site, 9901);
    std::fs::write(&file, text).expect("write");
    let load = self::load(&site, &alice);
    let said = |site: &Site, text: &str| site.pdp.output().matches(text).count();
    let mut killed = 0;
    for _ in 0..10 {
        let before = [HAS_STORE, UNBOUND].map(|text| said(&site, text));
        let mut next = site.take_over("all-in-one");
        let has_store = || async { said(&site, HAS_STORE) > before[0] };
        eventually("the next process has the store", PATIENCE, has_store).await;
        next.kill();
        killed += usize::from(said(&site, UNBOUND) == before[1]);
        load.go_on_for(50).await;
        if killed == 3 {
            break;
        }
    }
    assert!(killed > 0, "{}", site.pdp.output());
    std::fs::write(&file, &original).expect("write");
    let (_, mut failures) = load.stop().await;
    failures.retain(|failure| !failure.contains("Ok(Ok(503))"));
    assert!(failures.is_empty(), "{}", report(&failures));
    // Without being asked to take over, it does not.
    let second = Command::new(e2e::process::cedargate())
        .args(["run", "-c"])
        .arg(&file)
        .env(
            "CEDARGATE_TOKEN_SECRET",
            "a secret of the tests, long enough to be taken",
        )
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && said.contains("--take-over"),
        "{said}"
    );
    site.pdp.terminate();
    assert!(site.pdp.wait(PATIENCE).success());
    assert!(!site.path("run/handover.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_nothing_and_whoever_says_nonsense_changes_nothing() {
    let site = Site::all_in_one_with(with_handover);
    let socket = await_socket(&site);
    let mode = |path: &std::path::Path| {
        let found = std::fs::metadata(path).expect("there");
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(&site.path("run")), 0o700);
    let alice = tokens::access_token(&site, "alice").await;
    let load = load(&site, &alice);
    let hello = message(r#"[0,{"Hello":{"protocol":1,"version":"9"}}]"#);
    for words in [
        vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()],
        vec![message("[0,\"Serving\"]")],
        vec![message(r#"[0,{"Hello":{"protocol":2,"version":"9"}}]"#)],
        vec![hello.clone(), message("[9,\"StoreOpened\"]")],
        vec![hello.clone(), message("[0,\"ThatWasAll\"]")],
        vec![
            hello.clone(),
            message(r#"[0,{"StorePlease":{"path":"/etc/passwd"}}]"#),
        ],
    ] {
        let mut stream = UnixStream::connect(&socket).expect("same user");
        for word in words {
            let _ = stream.write_all(&word);
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        load.go_on_for(20).await;
    }
    // Whoever takes the store and goes gives it back.
    let store = site
        .path("data/cedargate.redb")
        .canonicalize()
        .expect("file");
    let mut stream = UnixStream::connect(&socket).expect("same user");
    let please = format!(r#"[0,{{"StorePlease":{{"path":"{}"}}}}]"#, store.display());
    stream.write_all(&hello).expect("write");
    stream.write_all(&message(&please)).expect("write");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("StoreReleased") {
        let mut bytes = [0; 1024];
        let length = stream.read(&mut bytes).expect("answer");
        assert!(length > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&bytes[..length]);
    }
    drop(stream);
    eventually("the store is back", PATIENCE, || async {
        get(&site.gateway_url("/records/1001"), Some(&alice))
            .await
            .status
            == 200
    })
    .await;
    let bob = tokens::access_token(&site, "bob").await;
    assert!(!bob.is_empty());
    let (_, failures) = load.stop().await;
    assert!(failures.is_empty(), "{}", report(&failures));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_is_told_nothing_even_with_the_path_wide_open() {
    assert!(
        is_root(),
        "another user has to be played: run the tests as root, as in a container"
    );
    let site = Site::all_in_one_with(with_handover);
    let socket = await_socket(&site);
    let open = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    open(site.folder.path(), 0o755);
    open(&site.path("run"), 0o755);
    open(&socket, 0o666);
    let program = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n\
        m = b'[0,{\"Hello\":{\"protocol\":1,\"version\":\"9\"}}]'\n\
        try:\n    s.sendall(len(m).to_bytes(4, 'big') + m); print(s.recv(4096))\n\
        except (BrokenPipeError, ConnectionResetError): print(b'')\n";
    let asked = Command::new("setpriv")
        .args([
            &format!("--reuid={NOBODY}"),
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            program,
        ])
        .arg(&socket)
        .stderr(Stdio::inherit())
        .output()
        .expect("setpriv and python3");
    assert!(asked.status.success());
    assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), "b''");
    // It is told after whoever asked was hung up on.
    let told = async || site.pdp.output().contains("is of the user");
    eventually("it is told", PATIENCE, told).await;
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.starts_with(b"0")
}

fn message(text: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(text.len())
        .expect("short")
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
