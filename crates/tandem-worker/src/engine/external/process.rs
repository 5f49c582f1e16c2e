//! An engine's process, with all that it starts: a group that ends together, also if this process is
//! killed.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tandem_runtime::Lifecycle;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tracing::{info, warn};

use super::launch::Flags;

/// Becomes the engine, and leaves somebody in its group who removes the directory of its sockets and
/// kills the group when the standard input ends: this process holds its other end, and the system
/// closes that whatever becomes of us.
///
/// Signals are for the engine; the one who watches must not die of them before it.
const SCRIPT: &str = r#"
command=$1 extra=$2 directory=$3
shift 3
exec 3<&0 </dev/null
(trap '' TERM INT HUP; read -r _ <&3; rm -rf -- "$directory"; kill -KILL 0) >/dev/null 2>&1 &
exec 3<&-
eval "exec $command \"\$@\" $extra"
"#;
/// Longest line of an engine's log that is passed on.
const MAX_LINE: usize = 16 << 10;

/// A running engine. Dropping it kills it.
#[derive(Debug)]
pub(super) struct EngineProcess {
    child: Child,
    group: Pid,
    /// Closed with us.
    _lifeline: Option<ChildStdin>,
}

impl EngineProcess {
    /// Starts `command` with `flags`, then the words of `extra`; what it writes is logged by tasks
    /// of `tasks`. If this process is killed, `directory` is removed.
    pub(super) fn start(
        (command, extra): (&str, &str),
        flags: &Flags,
        directory: &Path,
        tasks: &Lifecycle,
    ) -> std::io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh", command, extra])
            .arg(directory)
            .args(&flags.arguments)
            .envs(flags.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let no_pipe = || std::io::Error::other("the engine has no pipes");
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = pid.ok_or_else(no_pipe)?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        // Up to its last word, which it may say when it is asked to end.
        tasks.spawn_to_end(relay(output.ok_or_else(no_pipe)?));
        tasks.spawn_to_end(relay(errors.ok_or_else(no_pipe)?));
        info!(pid = group.as_raw_nonzero(), command, "engine starts");
        Ok(Self {
            _lifeline: child.stdin.take(),
            child,
            group,
        })
    }

    /// Waits until the engine has ended by itself. Cancel-safe.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the engine to end, with all processes of its group, and kills it after `timeout`.
    pub(super) async fn stop(mut self, timeout: Duration) {
        self.signal(Signal::TERM);
        match tokio::time::timeout(timeout, self.child.wait()).await {
            Ok(Ok(status)) => info!(%status, "engine has ended"),
            Ok(Err(error)) => warn!(%error, "failed to wait for the engine"),
            Err(_) => warn!(
                seconds = timeout.as_secs(),
                "engine does not end, it is killed"
            ),
        }
        // What is left of its group goes when this is dropped.
    }

    /// The one who watches keeps the group alive, so its number cannot be another group's by now.
    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(self.group, signal) {
            warn!(%error, ?signal, "failed to signal the engine");
        }
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Logs what the engine writes, line by line.
async fn relay(pipe: impl AsyncRead + Unpin) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                line.truncate(MAX_LINE);
                let text = String::from_utf8_lossy(&line);
                info!("engine: {}", text.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests;
