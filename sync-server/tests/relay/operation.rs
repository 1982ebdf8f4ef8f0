//! Starting, stopping, and what an operator is told.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::tempdir;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::Frame;
use tombolo_protocol::ids::Stream;
use tombolo_protocol::record::Record;

use super::client::Client;
use super::people::{Pen, Person, found, workspace};
use super::process::{RelayProcess, command, http_get};

fn run(args: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = command().args(args).output().unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.code().unwrap(), text)
}

#[test]
fn all_mistakes_in_the_settings_are_told_at_once_with_their_place() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let text = "data = \"x\"\nlissten = \"127.0.0.1:1\"\nping_ms = \"20s\"\ntokens = [\"hush-hush\"]\n\
                admission = \"everyone\"\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (code, said) = run(&["config", "check", "--config", file, "--listen", "nowhere"]);
    assert_eq!(code, 2, "{said}");
    for expected in [
        &format!("{file}:2: lissten: there is no such setting; did you mean `listen`?"),
        &format!("{file}:3: ping_ms: expected a whole number without a unit"),
        &format!("{file}:5: admission: expected open or token"),
        "--listen: expected an address with a port",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing in:\n{said}");
    }
    assert!(!said.contains("hush"), "a secret was repeated:\n{said}");
    let (code, said) = run(&["config", "check"]);
    assert_eq!(code, 2);
    assert!(said.contains("pass --data"), "{said}");
    std::fs::write(folder.path().join("broken.toml"), "data = \n").unwrap();
    let broken = folder.path().join("broken.toml");
    let (code, said) = run(&["config", "check", "--config", broken.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(said.contains("broken.toml:1: config: the file is not TOML here"), "{said}");
}

#[test]
fn a_relay_for_others_must_be_told_whom_and_how() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let (code, said) = run(&["serve", "--data", data, "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 2);
    assert!(said.contains("--admission token") && said.contains("--tls-cert"), "{said}");
    assert!(!Path::new(data).exists(), "a refused start made the folder");
    let (code, said) = run(&["config", "check", "--data", data, "--admission", "token"]);
    assert_eq!(code, 2);
    assert!(said.contains("--admission: needs --token-file"), "{said}");
    let (code, _) = run(&[
        "config",
        "check",
        "--data",
        data,
        "--listen",
        "0.0.0.0:1",
        "--tls-mode",
        "proxy",
        "--admission",
        "open",
    ]);
    assert_eq!(code, 0);
    let (code, help) = run(&["--help"]);
    assert_eq!(code, 0);
    assert!(help.contains("Example"), "{help}");
}

#[test]
fn a_choice_that_would_be_dropped_in_silence_is_refused_with_what_to_do() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let check = |more: &[&str]| run(&[&["config", "check", "--data", data.to_str().unwrap()], more].concat());
    let files = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let refused: [(&[&str], &str); 8] = [
        (&["--tls-mode", "relay"], "--tls-mode: needs --tls-cert FILE and --tls-key FILE as well"),
        (&[&["--tls-mode", "proxy"], files.as_slice()].concat(), "leave them out, or the mode"),
        (&["--tls-mode", "proxy", "--tls-cert", "cert.pem"], "leave them out, or the mode"),
        (&["--tls-cert", "cert.pem"], "--tls-cert: needs --tls-key FILE as well"),
        (
            &["--snapshot-retention-days", "0"],
            "--snapshot-retention-days: expected days as a whole number above zero, or never",
        ),
        (&["--ping-ms", "0"], "--ping-ms: expected a whole number without a unit, above zero"),
        (&["--config", "no-such.toml"], "tombolo-relay: no-such.toml can not be read: No such file"),
        (&["--admission", "token", "--token-file", "no-such"], "--token-file: no-such can not be read: No such file"),
    ];
    for (args, expected) in refused {
        let (code, said) = check(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    let (code, said) = check(&[&["--tls-mode", "relay"], files.as_slice()].concat());
    assert_eq!(code, 0, "{said}");
}

#[test]
fn what_the_machine_does_not_allow_is_one_clear_sentence() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let taken = relay.address.to_string();
    let data = folder.path().to_str().unwrap();
    let (code, said) = run(&["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(said.contains("another relay is running on the data folder"), "{said}");
    let other = tempdir().unwrap();
    let (code, said) = run(&["serve", "--data", other.path().to_str().unwrap(), "--listen", &taken]);
    assert_eq!(code, 1);
    assert!(said.contains(&format!("can not listen on {taken}")), "{said}");
    let file = other.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let (code, said) = run(&["serve", "--data", file.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(said.contains("can not be used"), "{said}");
    let foreign = tempdir().unwrap();
    std::fs::write(foreign.path().join("log.sqlite"), "not a database, but long enough to be read").unwrap();
    let (code, said) = run(&["serve", "--data", foreign.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(said.contains("the log can not be opened"), "{said}");
}

#[test]
fn the_relays_key_is_kept_and_only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempdir().unwrap();
    drop(RelayProcess::start(folder.path()));
    let path = folder.path().join("relay.key");
    let key = std::fs::read(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    drop(RelayProcess::start(folder.path()));
    assert_eq!(std::fs::read(&path).unwrap(), key);
}

#[tokio::test]
async fn a_relay_that_is_told_to_stop_says_so_and_keeps_what_is_under_way() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let alice = Person::new(1);
    let ground = found(&alice, 1);
    let mut client = Client::dial(relay.address, &alice).await;
    let channel = client.seeded(&ground).await.channel;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    client.append(channel, 1, vec![pen.item(b"last words")]).await;
    client.received().await;
    let mut silent = Client::connect(relay.address).await;
    let asked = Instant::now();
    relay.terminate();
    let (code, close) = client.closed().await;
    assert_eq!(code, CloseCode::Draining);
    assert!(close.retry_after_ms.is_some());
    assert_eq!(silent.closed().await.0, CloseCode::Draining);
    assert!(relay.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(10));

    let relay = RelayProcess::start(folder.path());
    let mut client = Client::dial(relay.address, &alice).await;
    client.open(workspace(&ground).tag(), None, 0, None).await;
    client.opened().await;
    assert_eq!(client.caught_up().await.0.len(), 3);
}

#[test]
fn health_and_readiness_are_answered_beside_the_socket() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    assert_eq!(http_get(relay.address, "/healthz").0, 200);
    assert_eq!(http_get(relay.address, "/readyz").0, 200);
    assert_eq!(http_get(relay.address, "/v1").0, 426);
    let (status, text) = http_get(relay.metrics, "/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("tombolo_relay_commit_seconds_bucket{le=\"+Inf\"} 1"), "{text}");
    assert!(http_get(relay.address, "/metrics").0 != 200, "metrics are not for everybody");
}

/// A small file system of its own; `None` where the machine does not allow it.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let disk = Self { folder: tempdir().unwrap() };
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tombolo-test"])
            .arg(disk.folder.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(disk)
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(self.folder.path()).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        match Command::new("umount").arg("-l").arg(self.folder.path()).status() {
            Ok(status) if status.success() => {}
            other => println!("the small disk is still mounted: {other:?}"),
        }
    }
}

/// Writes one document until the relay can store no more; returns how many entries it acknowledged.
async fn fill(relay: &RelayProcess, alice: &Person, ground: &[Record], document: u8) -> u32 {
    let mut client = Client::dial(relay.address, alice).await;
    client.open(workspace(ground).tag(), None, 0, None).await;
    let channel = client.opened().await.channel;
    client.caught_up().await;
    let mut pen = Pen::new(alice, ground, document, Stream::CONTENT);
    for batch in 1.. {
        client.append(channel, batch, vec![pen.item(&[1; 100_000])]).await;
        match client.frame().await {
            Frame::Received(_) => {}
            Frame::Close(close) => {
                assert_eq!(CloseCode::from_number(close.code), CloseCode::Unavailable);
                return batch - 1;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    unreachable!("a small disk is full some day")
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_loses_nothing_and_heals() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: 1 (a tmpfs can not be mounted here)");
        return;
    };
    let relay = RelayProcess::start(disk.folder.path());
    let alice = Person::new(1);
    let ground = found(&alice, 1);
    let channel = Client::dial(relay.address, &alice).await.seeded(&ground).await.channel;
    let filler = disk.folder.path().join("filler");
    let mut acknowledged = 2;
    // The log may find room in pages of its own that it had not used yet: then it is ready, and is filled again.
    for round in 1.. {
        acknowledged += fill(&relay, &alice, &ground, round).await;
        assert!(acknowledged > 3 && round < 9, "{acknowledged} in {round} rounds");
        // Small rows may still fit: the relay is ready only once as much fits as did not.
        std::fs::write(&filler, vec![0; 4 << 20]).unwrap_err();
        if http_get(relay.address, "/readyz").0 == 503 {
            break;
        }
    }
    assert_eq!(http_get(relay.address, "/healthz").0, 200);
    assert!(relay.metric("tombolo_relay_commits_failed_total") >= 1.0);

    disk.grow();
    std::fs::remove_file(filler).unwrap();
    assert_eq!(http_get(relay.address, "/readyz").0, 200);
    let mut client = Client::dial(relay.address, &alice).await;
    client.open(workspace(&ground).tag(), None, 0, None).await;
    client.opened().await;
    let (items, _) = client.caught_up().await;
    assert_eq!(items.len() as u32, acknowledged);
    let mut next = Pen::new(&alice, &ground, 99, Stream::CONTENT);
    client.append(channel, 1, vec![next.item(&[1; 100_000])]).await;
    client.received().await;
    drop(relay);
}
