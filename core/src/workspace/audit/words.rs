//! The trail in words: a sentence for each act, one line for each entry, and JSON for an export.
//!
//! Invariant: what other people wrote is shown quoted and escaped, so that nobody can draw on the
//! reader's terminal or forge a line.

use std::fmt;

use serde_json::{Map, Value, json};
use tombolo_protocol::ids::{DeviceId, RecordId};
use tombolo_protocol::record::{Levels, Policy};

use super::{AuditAct, AuditAttestation, AuditAuthor, AuditEntry, AuditId, AuditOutcome};

/// What the act does, in one sentence without its subject.
impl fmt::Display for AuditAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddDevice { .. } | Self::RevokeDevice { .. } => self.write_devices(f),
            Self::Admit { .. } | Self::Exclude { .. } | Self::Purge { .. } => self.write_content(f),
            Self::Invite { .. } => self.write_invite(f),
            Self::Found => f.write_str("founds the workspace"),
            Self::SetRole { user, role, expires_ms, .. } => {
                write!(f, "makes {} {}", user.short(), role.name())?;
                until(f, *expires_ms)
            }
            Self::Remove { user, .. } => write!(f, "removes {}", user.short()),
            Self::Leave { .. } => f.write_str("leaves"),
            Self::EndRole { user, .. } => write!(f, "ends the role of {}, whose time is over", user.short()),
            Self::RotateKeys { recipients, .. } => write!(f, "begins new keys for {recipients} recipients"),
            Self::StateDevices { user, .. } => write!(f, "tells of the devices of {}", user.short()),
            Self::DeliverKeys { recipients, to_organisation, .. } => {
                write!(f, "gives the keys to {recipients} recipients who lacked them")?;
                f.write_str(if *to_organisation { ", the organisation's recovery key among them" } else { "" })
            }
            Self::EndInvite { invite, .. } => write!(f, "ends the invite {}", invite.short()),
            Self::Join { invite, nth } => {
                write!(f, "joins by the invite {}", invite.short())?;
                nth.map_or(Ok(()), |nth| write!(f, " as number {nth}"))
            }
            Self::SetPolicy(policy) => policy_words(f, policy),
            Self::TransferOwnership { to } => write!(f, "makes {} owner and becomes admin", to.short()),
            Self::SetRecoveryKey => f.write_str("has a recovery kit"),
            Self::SucceedRelay { address, new, .. } => {
                write!(f, "says that the relay {address:?} has a new key, {}", new.short())
            }
            Self::Unknown { kind } => write!(f, "states something of a later version (type {kind})"),
        }?;
        let says = matches!(self, Self::RotateKeys { .. });
        f.write_str(if self.epoch().is_some() && !says { "; new keys begin" } else { "" })
    }
}

impl AuditAct {
    fn write_devices(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddDevice { device, name, platform } => {
                write!(f, "adds the device {} ({})", Device(device, name.as_deref()), platform.name())
            }
            Self::RevokeDevice { device, name } => {
                write!(f, "gives up the device {}", Device(device, name.as_deref()))
            }
            _ => Ok(()),
        }
    }

    fn write_content(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admit { entries } => write!(f, "lets {entries} entries count that were set aside"),
            Self::Exclude { entries } => write!(f, "keeps {entries} entries out"),
            Self::Purge { document } => write!(f, "gives up the document {}", document.short()),
            _ => Ok(()),
        }
    }

    fn write_invite(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Invite { role, uses, expires_ms, .. } = self else {
            return Ok(());
        };
        match uses {
            Some(1) => write!(f, "invites somebody as {}", role.name())?,
            Some(uses) => write!(f, "invites up to {uses} as {}", role.name())?,
            None => write!(f, "invites any number as {}", role.name())?,
        }
        until(f, *expires_ms)
    }
}

fn until(f: &mut fmt::Formatter<'_>, expires_ms: Option<i64>) -> fmt::Result {
    expires_ms.map_or(Ok(()), |expires_ms| write!(f, " until {}", Utc(expires_ms)))
}

fn policy_words(f: &mut fmt::Formatter<'_>, policy: &Policy) -> fmt::Result {
    let Levels { open, append, invite, membership } = policy.levels;
    write!(f, "sets the policy: level {open} to open, {append} to write, {invite} to invite, ")?;
    write!(f, "{membership} to change members, attested by {} relays; ", policy.relays.len())?;
    match &policy.recovery {
        Some(recovery) => write!(f, "the organisation {} has a recovery key", recovery.user.short()),
        None => f.write_str("no organisation has a recovery key"),
    }
}

/// A device, by its name if it has one.
struct Device<'a>(&'a DeviceId, Option<&'a str>);

impl fmt::Display for Device<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(name) => write!(f, "{name:?} {}", self.0.short()),
            None => f.write_str(&self.0.short()),
        }
    }
}

impl fmt::Display for AuditAuthor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => f.write_str(&user.short())?,
            None => f.write_str("somebody unknown")?,
        }
        if let Some(role) = self.role {
            write!(f, " ({})", role.name())?;
        }
        match &self.device {
            Some(device) => write!(f, " on {}", Device(device, self.device_name.as_deref())),
            None => f.write_str(" by the root"),
        }
    }
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counts => f.write_str("counts"),
            Self::Struck { by } => write!(f, "void: {} removed its author beside it", by.short()),
            Self::Baseless { on } => write!(f, "void: it rests on {}, which is void", on.short()),
            Self::WouldLeaveNoOwner => f.write_str("void: nobody would be owner"),
            Self::Revoked => f.write_str("void: its signer was given up beside it"),
            Self::AwaitsParents => f.write_str("waits for earlier records"),
            Self::AwaitsAttestation => f.write_str("waits for a relay's attestation"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
        }
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(id) => write!(f, "{id}"),
            Self::Identity(id) => write!(f, "{}", RecordId::from_bytes(*id)),
        }
    }
}

/// One line: id, time, author, act, and what became of it if it does not simply count.
impl fmt::Display for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match self.id {
            AuditId::Record(id) => id.short(),
            AuditId::Identity(id) => RecordId::from_bytes(id).short(),
        };
        match self.claimed_ms {
            Some(at) => write!(f, "{id}  {}  {} {}", Utc(at), self.author, self.act)?,
            None => write!(f, "{id}  {:20}  {} {}", "", self.author, self.act)?,
        }
        for said in &self.attestations {
            write!(f, " [relay {} at {}, level {}]", said.relay.short(), Utc(said.time_ms), said.level)?;
        }
        if self.outcome == AuditOutcome::Counts { Ok(()) } else { write!(f, " -- {}", self.outcome) }
    }
}

impl AuditEntry {
    /// Returns it as JSON, for an export of one object a line; ids are in hex and times in milliseconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
        put("id", json!(self.id.to_string()));
        put("log", json!(if matches!(self.id, AuditId::Record(_)) { "membership" } else { "identity" }));
        put("act", json!(self.act.name()));
        put("says", json!(self.act.to_string()));
        put("user", json!(self.author.user.map(|user| user.to_string())));
        put("role", json!(self.author.role.map(|role| role.name())));
        put("device", json!(self.author.device.map(|device| device.to_string())));
        put("device_name", json!(self.author.device_name));
        put("subject", json!(self.act.subject().map(|user| user.to_string())));
        put("epoch", json!(self.act.epoch().map(|epoch| epoch.to_string())));
        put("claimed_ms", json!(self.claimed_ms));
        put("outcome", json!(self.outcome.name()));
        put("outcome_says", json!(self.outcome.to_string()));
        put("because_of", json!(self.outcome.because_of().map(|record| record.to_string())));
        put("rests_on", self.rests_on.iter().map(ToString::to_string).collect());
        put("attestations", self.attestations.iter().copied().map(AuditAttestation::to_json).collect());
        put("carried_by", json!(self.carried_by.map(|record| record.to_string())));
        Value::Object(out)
    }
}

impl AuditOutcome {
    /// Returns its name, in lower case with hyphens: what an export calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Struck { .. } | Self::Baseless { .. } | Self::WouldLeaveNoOwner | Self::Revoked => "void",
            Self::AwaitsParents | Self::AwaitsAttestation => "waits",
            Self::Refused(_) => "refused",
        }
    }

    /// Returns the record that made it void, if one did.
    #[must_use]
    pub fn because_of(&self) -> Option<RecordId> {
        match self {
            Self::Struck { by } => Some(*by),
            Self::Baseless { on } => Some(*on),
            _ => None,
        }
    }
}

impl AuditAttestation {
    fn to_json(self) -> Value {
        json!({ "relay": self.relay.to_string(), "time_ms": self.time_ms, "level": self.level, "nth": self.nth })
    }
}

/// A time in milliseconds since 1970, shown in UTC to the second.
struct Utc(i64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1000);
        let (day, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // The Gregorian calendar repeats after 146,097 days; years here begin with March, so that the leap
        // day is the last.
        let shifted = day + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let of_month = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        write!(f, "{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |ms: i64| Utc(ms).to_string();
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_709_251_199_999), "2024-02-29T23:59:59Z");
        assert_eq!(at(1_709_251_200_000), "2024-03-01T00:00:00Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59Z");
        // The least and the greatest are far away, and no panic.
        assert!(at(i64::MIN).starts_with('-') && at(i64::MAX).starts_with("29"));
    }
}
