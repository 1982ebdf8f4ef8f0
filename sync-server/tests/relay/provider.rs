//! A real login provider (oidc-provider) in a process of its own, and a person with a browser.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The provider's programs with what they need, installed once; `None` where that is not to be had.
pub(crate) fn programs(here: &Path) -> Option<PathBuf> {
    // Tests run side by side, and one of them installs.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["package.json", "package-lock.json", "provider.mjs", "login.mjs"] {
        std::fs::copy(here.join(name), folder.join(name)).unwrap();
    }
    if !folder.join("node_modules/oidc-provider").is_dir() {
        let installed = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).status();
        if !installed.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "CI must have node and npm, and reach the registry");
            println!("SKIPPED: no login provider: `npm ci` in {} does not work", folder.display());
            return None;
        }
    }
    Some(folder)
}

/// The provider, while it runs.
pub(crate) struct Provider {
    child: Child,
    pub(crate) folder: PathBuf,
    pub(crate) issuer: String,
}

impl Provider {
    pub(crate) fn start(folder: &Path, port: &str) -> Self {
        let mut command = Command::new("node");
        command.args(["provider.mjs", port]).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, folder: folder.to_owned(), issuer: line.trim().to_owned() }
    }

    /// A person logs in, and the app gets this token.
    pub(crate) fn login(&self, client: &str, nonce: &str, name: &str) -> String {
        let args = ["login.mjs", &self.issuer, client, nonce, name];
        let done = Command::new("node").args(args).current_dir(&self.folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
