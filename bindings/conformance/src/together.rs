//! A play of devices in several languages: each is a process that takes steps, and a leader has the relay.
//!
//! What one device names is told to all others before the next step, so that a workspace goes by one name everywhere.
#![allow(clippy::print_stdout, reason = "the leader is a command line, and says how the play goes")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::fault::Fault;
use crate::scenario::{Scenario, TOGETHER, read, words};
use crate::stage::{Named, PATIENCE, Stage};

/// Plays all of `together.txt` with a device for each name in `commands`: a name, its command, and `--` before the next.
/// The relay is `program relay serve …`.
///
/// # Errors
/// [`Fault`] that says at which step of which scenario it went wrong.
pub async fn play_all(program: &Path, commands: &[&str]) -> Result<(), Fault> {
    for scenario in read(TOGETHER) {
        let began = Instant::now();
        let folder = tempfile::tempdir()?;
        let mut play = Play { leader: Stage::new(folder.path(), program), devices: BTreeMap::new() };
        for command in commands.split(|word| *word == "--") {
            let [name, program, arguments @ ..] = command else {
                return Err(Fault::otherwise("each device has a name and a command"));
            };
            play.devices.insert((*name).to_owned(), Device::start(program, arguments)?);
        }
        play.whole(&scenario).await?;
        play.end().await?;
        println!("{}: {:.1} s", scenario.name, began.elapsed().as_secs_f64());
    }
    Ok(())
}

struct Play {
    leader: Stage,
    devices: BTreeMap<String, Device>,
}

impl Play {
    async fn whole(&mut self, scenario: &Scenario) -> Result<(), Fault> {
        for (number, step) in scenario.steps.iter().enumerate() {
            let done = tokio::time::timeout(PATIENCE, self.step(step)).await;
            let done = done.unwrap_or_else(|_| Err(Fault::otherwise("it takes too long")));
            done.map_err(|fault| {
                let line = step.join(" ");
                Fault::otherwise(format!("{}, step {}, `{line}`: {fault}", scenario.name, number + 1))
            })?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &[String]) -> Result<(), Fault> {
        let words: Vec<&str> = step.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["relay" | "cut"] => self.leader.step(step).await?,
            ["mend"] => {
                self.leader.step(step).await?;
                for name in self.devices.keys().cloned().collect::<Vec<_>>() {
                    self.ask(&name, "mend").await?;
                }
            }
            ["same", document, one, other] => {
                let here = self.ask(one, &format!("version {one} {document}")).await?;
                if here != self.ask(other, &format!("version {other} {document}")).await? {
                    return Err(Fault::otherwise("the versions differ"));
                }
            }
            [_, who, ..] => {
                self.ask(who, &step.join(" ")).await?;
            }
            _ => return Err(Fault::otherwise("nobody is to do it")),
        }
        for named in self.leader.told() {
            self.spread(&named).await?;
        }
        Ok(())
    }

    /// Has a device do a step, and returns the version if it told one.
    async fn ask(&mut self, who: &str, line: &str) -> Result<Option<String>, Fault> {
        let device = self.devices.get_mut(who).ok_or_else(|| Fault::otherwise(format!("{who} is not here")))?;
        let (named, mut version) = (device.ask(line).await?, None);
        for named in named {
            if named.kind == "version" {
                version = Some(named.value);
            } else {
                self.leader.learn(&named)?;
                self.spread(&named).await?;
            }
        }
        Ok(version)
    }

    async fn spread(&mut self, named: &Named) -> Result<(), Fault> {
        for device in self.devices.values_mut() {
            device.write(&format!("learn {} {} {}", named.kind, named.name, named.value)).await?;
        }
        Ok(())
    }

    async fn end(mut self) -> Result<(), Fault> {
        for (name, device) in self.devices {
            let Device { mut child, input, .. } = device;
            drop(input);
            let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
            let ended = ended.map_err(|_| Fault::otherwise(format!("{name} does not end")))??;
            if !ended.success() {
                return Err(Fault::otherwise(format!("{name} ended badly: {ended}")));
            }
        }
        self.leader.end().await
    }
}

/// A device: a process that takes steps.
struct Device {
    child: Child,
    input: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Device {
    fn start(program: &str, arguments: &[&str]) -> Result<Self, Fault> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(input), Some(said)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Fault::otherwise("a device has no pipes"));
        };
        Ok(Self { child, input, said: BufReader::new(said).lines() })
    }

    async fn write(&mut self, line: &str) -> Result<(), Fault> {
        self.input.write_all(line.as_bytes()).await?;
        self.input.write_all(b"\n").await?;
        Ok(self.input.flush().await?)
    }

    /// Has it do a step, and returns what that has named.
    async fn ask(&mut self, line: &str) -> Result<Vec<Named>, Fault> {
        self.write(line).await?;
        let mut named = Vec::new();
        while let Some(said) = self.said.next_line().await? {
            match words(&said).as_slice() {
                [done] if done == "done" => return Ok(named),
                [learn, kind, name, value] if learn == "learn" => {
                    named.push(Named { kind: kind.clone(), name: name.clone(), value: value.clone() });
                }
                [failed, ..] if failed.starts_with("failed") => return Err(Fault::otherwise(said)),
                _ => {}
            }
        }
        Err(Fault::otherwise("the device is gone"))
    }
}
