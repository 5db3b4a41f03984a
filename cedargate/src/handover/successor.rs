//! SIGUSR2: starts the program anew, from the file that it was started from, to take this process's place.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use service_kit::{Tasks, lifecycle};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// How this process was started.
#[derive(Debug, Clone)]
struct Start {
    program: PathBuf,
    arguments: Vec<OsString>,
}

const TAKE_OVER: &str = "--take-over";

impl Start {
    /// SECURITY: by the path of now. Another file there is the next version; the process's own would be the last.
    fn own() -> std::io::Result<Self> {
        let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
        if !arguments.iter().any(|it| it == TAKE_OVER) {
            arguments.push(TAKE_OVER.into());
        }
        Ok(Self {
            program: std::env::current_exe()?,
            arguments,
        })
    }

    /// Waits for its end, which comes only where it does not take over: else this process is gone before.
    async fn run(self) {
        tracing::info!(program = %self.program.display(), "starting a process that takes over");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .spawn();
        let ended = match child {
            Ok(mut child) => child.wait().await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(status) => tracing::error!(%status, "the process that was to take over has ended"),
            Err(error) => tracing::error!(%error, "no process can be started to take over"),
        }
    }
}

/// Does so at every SIGUSR2, until the process drains. `can_hand_over`: else the signal is only told of.
pub(crate) fn follow_signals(can_hand_over: bool, tasks: &Tasks) -> std::io::Result<()> {
    let mut signals = signal(SignalKind::user_defined2())?;
    let start = Start::own()?;
    let draining = tasks.draining();
    tasks.spawn(async move {
        while lifecycle::next(&mut signals, &draining).await {
            if !can_hand_over {
                tracing::warn!("nobody can take over: there is no `lifecycle.handover_socket`");
                continue;
            }
            tokio::select! {
                () = draining.cancelled() => return,
                () = start.clone().run() => {}
            }
        }
    });
    Ok(())
}
