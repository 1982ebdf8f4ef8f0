//! A relay as a process of its own: killed as a power cut would, and started again at its address.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::fault::Fault;

/// A relay that runs, or was killed.
#[derive(Debug)]
pub struct Relay {
    program: PathBuf,
    folder: PathBuf,
    address: String,
    child: Child,
    // It would break the relay's pipe if it went.
    _said: BufReader<ChildStdout>,
}

impl Relay {
    /// Starts `program relay serve …` with its data in a folder.
    ///
    /// # Errors
    /// [`Fault`] if it does not come up.
    pub async fn start(program: PathBuf, folder: PathBuf) -> Result<Self, Fault> {
        let (child, said, address) = serve(&program, &folder, "127.0.0.1:0").await?;
        Ok(Self { program, folder, address, child, _said: said })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Kills it.
    ///
    /// # Errors
    /// [`Fault`] if it can not be killed.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again, at the address that it had.
    ///
    /// # Errors
    /// [`Fault`] if it does not come up.
    pub async fn start_again(&mut self) -> Result<(), Fault> {
        let listen = self.address.trim_start_matches("ws://").to_owned();
        (self.child, self._said, self.address) = serve(&self.program, &self.folder, &listen).await?;
        Ok(())
    }
}

async fn serve(
    program: &PathBuf,
    folder: &PathBuf,
    listen: &str,
) -> Result<(Child, BufReader<ChildStdout>, String), Fault> {
    let mut command = Command::new(program);
    command.args(["relay", "serve", "--listen", listen, "--admin-listen", "127.0.0.1:0", "--log-level", "error"]);
    command.arg("--data").arg(folder).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| Fault::otherwise("the relay has no output"))?;
    let mut said = BufReader::new(stdout);
    let mut line = String::new();
    while said.read_line(&mut line).await? > 0 {
        if let Some(address) = line.strip_prefix("listening on ") {
            let address = address.trim().to_owned();
            return Ok((child, said, address));
        }
        line.clear();
    }
    Err(Fault::otherwise("the relay did not say where it listens"))
}
