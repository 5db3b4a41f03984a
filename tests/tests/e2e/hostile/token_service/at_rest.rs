//! What must be nowhere in the files of a running site.

use e2e::http::get;
use e2e::tokens::{self, text};

use super::Attacks;

/// Nothing that opens a door is at rest or in a log.
pub(super) async fn secrets_at_rest(attacks: &mut Attacks) {
    let grant = tokens::log_in(&attacks.site, "alice").await;
    let secrets: Vec<String> = ["access_token", "refresh_token", "id_token"]
        .iter()
        .map(|member| text(&grant, member))
        .chain([
            "alice-demo-password".to_owned(),
            "demo-secret-of-gateway".to_owned(),
        ])
        .collect();
    assert_eq!(
        get(
            &attacks.site.gateway_url("/records/1001"),
            Some(&secrets[0])
        )
        .await
        .status,
        200
    );
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut folders = vec![attacks.site.folder.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        if folder.ends_with("config") {
            continue;
        }
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).expect("file");
            for secret in &secrets {
                let found = bytes
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!found, "a secret is in {}", path.display());
            }
        }
    }
    assert!(files >= 3, "only {files} files were looked at");
    attacks.expectation("TK-22");
}
