//! Stories of people who use the `notes` program, each with a store of their own, and a real relay.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tombolo_relay::{Config, Serving, serve};
use totp_rs::{Builder, Secret};

/// What a run of the program left.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A person with a store.
struct Person {
    store: PathBuf,
    passphrase: Option<&'static str>,
}

impl Person {
    fn named(name: &str, folder: &TempDir) -> Self {
        Self { store: folder.path().join(name).join("notes.tombolo"), passphrase: None }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "").await
    }

    async fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_notes"));
        command.args(args).env("NOTES_STORE", &self.store).env_remove("NOTES_PASSPHRASE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(passphrase) = self.passphrase {
            command.env("NOTES_PASSPHRASE", passphrase);
        }
        let Ok(mut child) = command.spawn() else { unreachable!("the program starts") };
        let stdin = child.stdin.take();
        if let Some(mut stdin) = stdin {
            // A command that reads no input has closed it.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        let Ok(done) = child.wait_with_output().await else { unreachable!("the program ends") };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
    }

    /// Runs what must succeed; returns what it printed.
    async fn does(&self, args: &[&str]) -> String {
        let ran = self.run(args).await;
        assert_eq!(ran.code, Some(0), "{args:?} printed {} and {}", ran.out, ran.err);
        ran.out
    }

    /// Runs what must fail; returns what it complained of.
    async fn fails(&self, args: &[&str]) -> String {
        let ran = self.run(args).await;
        assert_eq!(ran.code, Some(1), "{args:?} printed {} and {}", ran.out, ran.err);
        assert_eq!(ran.out, "");
        ran.err
    }
}

async fn relay(folder: &Path) -> (Serving, String) {
    let Ok(config) = Config::on_loopback(&folder.join("relay")) else { unreachable!("built-in settings") };
    let Ok(serving) = serve(config, std::future::pending()).await else { unreachable!("a free port") };
    let address = format!("ws://{}", serving.address);
    (serving, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_edit_offline_at_once_and_read_the_same_after_both_have_synced() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = relay(folder.path()).await;
    let (ana, ben) = (Person::named("ana", &folder), Person::named("ben", &folder));
    for (title, crdt) in [("Groceries", "automerge"), ("Reef 🪸", "yrs")] {
        ana.does(&["new", title, "--crdt", crdt]).await;
        ana.does(&["edit", title, "--append", "milk\neggs\nbread"]).await;
    }
    ana.does(&["sync", "--relay", &address]).await;
    let link = ana.does(&["share", "--expires", "7d"]).await;
    assert!(link.starts_with("tombolo:1:"), "{link}");
    assert_eq!(ben.does(&["join", &link]).await, "joined \"Notes\"; see: notes list\n");
    let list = ben.does(&["list"]).await;
    assert!(list.starts_with("Notes (writer)\n") && list.contains("Groceries  (automerge)"), "{list}");
    for title in ["Groceries", "Reef 🪸"] {
        ana.does(&["edit", title, "--editor", "sed -i 's/^milk/oat milk 🥛/'"]).await;
        let ben_edits = ben.run_with(&["edit", title, "--replace"], "milk\neggs and ham\nbread\n").await;
        assert_eq!(ben_edits.code, Some(0), "{}", ben_edits.err);
        ben.does(&["edit", title, "--append", "tea"]).await;
    }
    ana.does(&["sync"]).await;
    let bens = ben.does(&["sync"]).await;
    assert!(bens.contains("came in: \"Groceries\"") && bens.contains("in step"), "{bens}");
    ana.does(&["sync"]).await;
    for title in ["Groceries", "Reef 🪸"] {
        assert_eq!(ana.does(&["show", title]).await, "oat milk 🥛\neggs and ham\nbread\ntea\n");
        assert_eq!(ben.does(&["show", title]).await, "oat milk 🥛\neggs and ham\nbread\ntea\n");
    }
    let status = ben.does(&["status"]).await;
    assert!(status.contains("Notes (writer): in step") && status.contains("owner, 1 device\n"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_and_is_told_why_nothing_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = relay(folder.path()).await;
    let (ana, ben) = (Person::named("ana", &folder), Person::named("ben", &folder));
    ana.does(&["new", "Rules"]).await;
    ana.does(&["edit", "Rules", "--append", "no fishing"]).await;
    ana.does(&["sync", "--relay", &address]).await;
    let link = ana.does(&["share", "--role", "reader"]).await;
    ben.does(&["join", &link]).await;
    assert_eq!(ben.does(&["show", "rul"]).await, "no fishing\n");
    assert!(ben.fails(&["edit", "Rules", "--append", "but nets"]).await.contains("role"));
    let complaint = ben.fails(&["new", "Mine"]).await;
    assert!(complaint.contains("reader of \"Notes\"") && complaint.contains("--in NAME"), "{complaint}");
    ben.does(&["new", "Mine", "--in", "Ben's own"]).await;
    assert!(ben.does(&["list"]).await.contains("Ben's own (owner)"));
    let late = Person::named("late", &folder);
    assert!(late.fails(&["join", &link]).await.contains("ask for a new one"), "one use only");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_whose_editor_fails_changes_nothing_and_one_that_can_not_be_saved_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let ana = Person::named("ana", &folder);
    ana.does(&["new", "Log"]).await;
    ana.does(&["edit", "Log", "--append", "high tide"]).await;
    assert!(ana.fails(&["edit", "Log", "--editor", "false"]).await.contains("the note is as it was"));
    assert_eq!(ana.does(&["edit", "Log", "--editor", "true"]).await, "\"Log\" is as it was\n");
    // While the editor is open the store is free; another command changes the note under it.
    let script = folder.path().join("editor.sh");
    let binary = env!("CARGO_BIN_EXE_notes");
    let body = format!("{binary} edit Log --append 'from another pane'\nsed -i s/high/low/ \"$1\"\n");
    std::fs::write(&script, body).unwrap();
    ana.does(&["edit", "Log", "--editor", &format!("sh {}", script.display())]).await;
    assert_eq!(ana.does(&["show", "Log"]).await, "low tide\nfrom another pane\n");
    std::fs::write(&script, format!("echo mine >> \"$1\"\nmv {0} {0}.away\nmkdir {0}\n", ana.store.display())).unwrap();
    let complaint = ana.fails(&["edit", "Log", "--editor", &format!("sh {}", script.display())]).await;
    let draft = complaint.lines().find_map(|line| line.strip_prefix("your text is kept in ")).unwrap();
    assert_eq!(std::fs::read_to_string(draft).unwrap(), "low tide\nfrom another pane\nmine\n");
    std::fs::remove_file(draft).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_made_with_a_passphrase_opens_with_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut ana = Person::named("ana", &folder);
    ana.passphrase = Some("six tides");
    ana.does(&["new", "Secret"]).await;
    ana.passphrase = Some("seven tides");
    assert!(ana.fails(&["list"]).await.contains("the passphrase is wrong"));
    ana.passphrase = None;
    assert!(ana.fails(&["list"]).await.contains("export NOTES_PASSPHRASE"));
    assert!(ana.fails(&["list", "--passphrase-env", "NOT_SET"]).await.contains("NOT_SET holds no passphrase"));
    ana.passphrase = Some("six tides");
    assert!(ana.does(&["list"]).await.contains("Secret"));
    let mut ben = Person::named("ben", &folder);
    ben.does(&["new", "Open"]).await;
    ben.passphrase = Some("six tides");
    assert!(ben.fails(&["list"]).await.contains("unset NOTES_PASSPHRASE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_is_named_wrongly_or_doubtfully_is_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let ana = Person::named("ana", &folder);
    assert!(ana.does(&["list"]).await.contains("notes new"));
    assert!(ana.fails(&["show", "Tides"]).await.contains("no note is called \"Tides\"; see: notes list"));
    let made = ana.does(&["new", "Tides"]).await;
    ana.does(&["new", "Tides"]).await;
    let id = made.split_whitespace().next().unwrap();
    assert!(ana.fails(&["show", "tides"]).await.contains(id));
    ana.does(&["edit", id, "--append", "by its id"]).await;
    assert_eq!(ana.does(&["show", id]).await, "by its id\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_relay_says_so_and_still_owes_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let ana = Person::named("ana", &folder);
    ana.does(&["new", "Island"]).await;
    assert!(ana.fails(&["sync"]).await.contains("notes sync --relay"));
    assert!(ana.fails(&["share"]).await.contains("notes sync --relay"));
    assert!(ana.fails(&["sync", "--relay", "http://127.0.0.1:1"]).await.contains("wss://"));
    assert!(ana.fails(&["join", "tombolo:1:abc"]).await.contains("invite link"));
    assert!(ana.fails(&["join", "https://example.org"]).await.contains("tombolo:1:"));
    let owing = ana.run(&["sync", "--relay", "ws://127.0.0.1:9", "--deadline", "1s"]).await;
    assert_eq!(owing.code, Some(3), "{}", owing.err);
    assert!(owing.out.contains("\"Island\": 2 changes"), "{}", owing.out);
    assert!(owing.out.contains("no relay is reached"), "{}", owing.out);
}

/// What an authenticator shows that has scanned this line.
fn code(line: &str) -> Option<String> {
    let secret = line.split_once("secret=")?.1.split('&').next()?;
    let authenticator = Builder::new().with_secret(Secret::try_from_base32(secret).ok()?).build().ok()?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(authenticator.generate(since.as_secs()).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_wants_a_second_factor_is_shown_the_code_of_an_authenticator() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::on_loopback(&folder.path().join("relay")).unwrap();
    config.minimum.open = 3;
    let serving = serve(config, std::future::pending()).await.unwrap();
    let address = format!("ws://{}", serving.address);
    let ana = Person::named("ana", &folder);
    ana.does(&["new", "Log"]).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_notes"));
    command.args(["sync", "--relay", &address]).env("NOTES_STORE", &ana.store).env_remove("NOTES_PASSPHRASE");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let code = loop {
        if let Some(code) = code(&told.next_line().await.unwrap().unwrap()) {
            break code;
        }
    };
    child.stdin.take().unwrap().write_all(format!("{code}\n").as_bytes()).await.unwrap();
    let synced = child.wait_with_output().await.unwrap();
    assert!(synced.status.success() && String::from_utf8_lossy(&synced.stdout).contains("in step"), "{synced:?}");
    // The factor is the session's: the next one asks again, and where nobody answers it says what is owed.
    ana.does(&["edit", "Log", "--append", "high tide"]).await;
    let mut owing = ana.run(&["sync", "--deadline", "6s"]).await;
    if !owing.err.contains("the code of your authenticator") {
        // A busy machine may not have come to the question.
        owing = ana.run(&["sync", "--deadline", "60s"]).await;
    }
    assert_eq!(owing.code, Some(3), "{}", owing.err);
    assert!(owing.err.contains("the code of your authenticator"), "{}", owing.err);
    assert!(owing.out.contains("second factor"), "{}", owing.out);
}

/// A run of the program that is still going on: what it prints is read line by line, and answered.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Person {
    fn starts(&self, args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_notes"));
        command.args(args).env("NOTES_STORE", &self.store).env_remove("NOTES_PASSPHRASE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else { unreachable!("the program starts") };
        Running::of(child)
    }
}

impl Running {
    fn of(mut child: Child) -> Self {
        let Some(out) = child.stdout.take() else { unreachable!("its output is a pipe") };
        Self { child, lines: BufReader::new(out).lines() }
    }

    /// Returns the rest of the next line that begins so.
    async fn says(&mut self, beginning: &str) -> String {
        while let Ok(Some(line)) = self.lines.next_line().await {
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
        unreachable!("it never said {beginning}")
    }

    async fn hears(&mut self, text: &str) {
        let Some(stdin) = self.child.stdin.as_mut() else { unreachable!("its input is a pipe") };
        assert!(stdin.write_all(format!("{text}\n").as_bytes()).await.is_ok());
    }

    async fn ends(self) {
        assert_eq!(self.code().await, Some(0));
    }

    async fn code(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        while let Ok(Some(_)) = self.lines.next_line().await {}
        let Ok(status) = self.child.wait().await else { unreachable!("it ends") };
        status.code()
    }
}

/// A relay in a process of its own; it dies with the test.
async fn relay_process(folder: &Path) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_two_islands"));
    command.args(["--relay", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--log-level", "error", "--data"]).arg(folder.join("relay"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let Ok(child) = command.spawn() else { unreachable!("the relay starts") };
    let mut relay = Running::of(child);
    let address = relay.says("listening on ").await;
    (relay.child, address)
}

/// Makes a kit, as a person would: reads the sheet and types its words back.
async fn kit_of(person: &Person) -> String {
    let mut kit = person.starts(&["kit"]);
    let mut words = Vec::new();
    while words.len() < 24 {
        let Ok(Some(line)) = kit.lines.next_line().await else { unreachable!("the sheet has 24 words") };
        let pairs: Vec<&str> = line.split_whitespace().collect();
        if pairs.len() == 8 && pairs.first().is_some_and(|number| number.parse::<u8>().is_ok()) {
            words.extend(pairs.chunks(2).filter_map(|pair| pair.last()).map(ToString::to_string));
        }
    }
    kit.hears(&words.join(" ")).await;
    kit.ends().await;
    words.join(" ")
}

/// Links a new device to that of a person who has one.
async fn link(has: &Person, new: &Person, address: &str) {
    let mut asking = new.starts(&["link", "--relay", address]);
    let request = asking.says("tombolo-link:1:").await;
    let mut approving = has.starts(&["link", &format!("tombolo-link:1:{request}")]);
    let digits = asking.says("digits: ").await;
    approving.hears(&digits).await;
    approving.ends().await;
    asking.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_with_three_devices_lose_one_and_then_all_and_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = relay_process(folder.path()).await;
    let [laptop, phone, found, ben] = ["laptop", "phone", "found", "ben"].map(|name| Person::named(name, &folder));
    laptop.does(&["new", "Tides"]).await;
    laptop.does(&["sync", "--relay", &address]).await;
    ben.does(&["join", &laptop.does(&["share", "--role", "reader"]).await]).await;
    let words = kit_of(&laptop).await;
    link(&laptop, &phone, &address).await;
    assert!(phone.does(&["list"]).await.contains("Tides"));
    phone.does(&["devices", "--name", "phone"]).await;
    laptop.does(&["sync"]).await;
    assert!(laptop.does(&["devices"]).await.contains("  phone ("));
    // Ben may write from now on, and does.
    let members = laptop.does(&["members"]).await;
    let bens = members.lines().find(|line| line.contains("reader")).unwrap().split_whitespace().next().unwrap();
    laptop.does(&["role", bens, "writer"]).await;
    ben.does(&["sync"]).await;
    ben.does(&["edit", "Tides", "--append", "low at six"]).await;
    ben.does(&["sync"]).await;
    // The phone is lost.
    laptop.does(&["sync"]).await;
    laptop.does(&["revoke", "phone"]).await;
    laptop.does(&["edit", "Tides", "--append", "high at noon"]).await;
    laptop.does(&["sync"]).await;
    assert_ne!(phone.run(&["sync", "--deadline", "3s"]).await.code, Some(0));
    assert_eq!(phone.does(&["show", "Tides"]).await, "");
    // The laptop is lost as well: the words bring everything back.
    let back = found.run_with(&["recover", "--relay", &address], &format!("{words}\n")).await;
    assert_eq!((back.code, back.out.contains("1 workspace came back")), (Some(0), true), "{} {}", back.out, back.err);
    assert_eq!(found.does(&["show", "Tides"]).await, "low at six\nhigh at noon\n");
    assert_eq!(found.does(&["devices"]).await.matches("given up").count(), 2);
    // And Ben goes.
    found.does(&["remove", bens]).await;
    found.does(&["edit", "Tides", "--append", "among us"]).await;
    found.does(&["sync"]).await;
    ben.run(&["sync", "--deadline", "3s"]).await;
    assert!(!ben.does(&["show", "Tides"]).await.contains("among us"));
    let trail = found.does(&["audit"]).await;
    for told in ["founds the workspace", "joins by the invite", "gives up the device \"phone\"", "removes ", "level 1]"]
    {
        assert!(trail.contains(told), "{told} in {trail}");
    }
    let json = found.does(&["audit", "--json"]).await;
    assert_eq!(json.lines().count(), trail.lines().count());
    assert!(json.lines().all(|line| line.starts_with('{') && line.ends_with('}')));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_of_people_and_devices_is_answered_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = relay_process(folder.path()).await;
    let [ana, new] = ["ana", "new"].map(|name| Person::named(name, &folder));
    ana.does(&["new", "Tides"]).await;
    assert!(ana.fails(&["remove", "ffffffffff"]).await.contains("see: notes members"));
    assert!(ana.fails(&["revoke", "phone"]).await.contains("see: notes devices"));
    let this = ana.does(&["devices"]).await;
    assert!(ana.fails(&["revoke", this.split_whitespace().next().unwrap()]).await.contains("another device"));
    let own = ana.does(&["members"]).await;
    let own = own.split_whitespace().next().unwrap();
    assert!(ana.fails(&["remove", own]).await.contains("without an owner"));
    assert!(ana.fails(&["share", "--role", "owner"]).await.contains("invite them as admin"));
    assert!(ana.fails(&["recover", "--relay", &address]).await.contains("--store FILE"));
    let wrong = new.run_with(&["recover", "--relay", &address], "tide tide\n").await;
    assert!(wrong.code == Some(1) && wrong.err.contains("24"), "{}", wrong.err);
    assert!(new.fails(&["link"]).await.contains("--relay"));
    ana.does(&["sync", "--relay", &address]).await;
    // Wrong digits end the link on both sides.
    let mut asking = new.starts(&["link", "--relay", &address]);
    let request = asking.says("tombolo-link:1:").await;
    let mut approving = ana.starts(&["link", &format!("tombolo-link:1:{request}")]);
    asking.says("digits: ").await;
    approving.hears("no digits").await;
    assert_eq!((approving.code().await, asking.code().await), (Some(1), Some(1)));
}
