//! What the access log tells, and in which words.
//!
//! Invariant: a record is one line of JSON with fixed keys; every value is a number, an id in hex, or a word
//! of this program, so nothing that a device says can break the line.

use std::fmt::Write as _;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{NotFoundReason, RefusalReason, RightEnded, StepUpMethod, StepUpRefusal};
use tombolo_protocol::ids::{DeviceId, RecordId, RelayId, UserId, WorkspaceId, WorkspaceTag};
use tombolo_protocol::record::RecordBody;

use crate::fanout::SessionId;
use crate::metrics::refusal_name;

/// Something that an operator may have to account for.
#[derive(Clone, Debug)]
pub enum AccessEvent {
    /// The relay began; behind a crash, so many bytes of an unsigned batch were cut off.
    Started {
        /// Which relay.
        relay: RelayId,
        /// Bytes that were cut off.
        cut_bytes: u64,
    },
    /// The relay ended as it was told to.
    Stopped,
    /// So many events were not written, for the queue was full or the disk refused.
    Lost {
        /// How many.
        events: u64,
    },
    /// A device proved its key.
    Came {
        /// In which session.
        session: SessionId,
        /// Which device.
        device: DeviceId,
        /// Whether nothing but an invite can admit it.
        guest: bool,
        /// Whether the session is tied to its TLS connection.
        bound: bool,
    },
    /// Its session ended.
    Left {
        /// Which session.
        session: SessionId,
        /// Which device.
        device: DeviceId,
        /// Why, if it was the relay that ended it.
        code: Option<CloseCode>,
    },
    /// A workspace was opened.
    Opened {
        /// By which session.
        session: SessionId,
        /// By which device.
        device: DeviceId,
        /// Which workspace.
        workspace: WorkspaceId,
        /// At which level.
        level: u8,
    },
    /// A workspace was not opened.
    Denied {
        /// To which session.
        session: SessionId,
        /// To which device.
        device: DeviceId,
        /// Which workspace was named.
        workspace: WorkspaceTag,
        /// Why.
        why: Denial,
    },
    /// An open workspace was taken away.
    Shut {
        /// From which session.
        session: SessionId,
        /// From which device.
        device: DeviceId,
        /// Which workspace.
        workspace: WorkspaceId,
        /// Why.
        why: RightEnded,
    },
    /// An invite was shown.
    Entered {
        /// By which session.
        session: SessionId,
        /// By which device.
        device: DeviceId,
        /// To which workspace.
        workspace: WorkspaceTag,
        /// Whether it holds.
        taken: bool,
    },
    /// A second factor was shown.
    SteppedUp {
        /// In which session.
        session: SessionId,
        /// By which device.
        device: DeviceId,
        /// Whose it is, if a challenge waited for it.
        user: Option<UserId>,
        /// Which one.
        method: StepUpMethod,
        /// Whether it was enrolled by this.
        enrolled: bool,
        /// The level after it.
        level: u8,
        /// Why it was not taken, if it was not.
        refused: Option<StepUpRefusal>,
    },
    /// A membership record was taken.
    Recorded {
        /// From which session.
        session: SessionId,
        /// From which device.
        device: DeviceId,
        /// In which workspace.
        workspace: WorkspaceId,
        /// Which record.
        record: RecordId,
        /// What kind, as [`record_name`] says it.
        kind: &'static str,
        /// Who made it.
        author: DeviceId,
        /// At which level the session was.
        level: u8,
    },
    /// Items were not taken.
    Refused {
        /// From which session.
        session: SessionId,
        /// From which device.
        device: DeviceId,
        /// In which workspace.
        workspace: WorkspaceId,
        /// Why.
        reason: RefusalReason,
        /// How many of one append.
        items: u64,
    },
}

/// Why a workspace is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It is not there for this device.
    NotFound,
    /// The device was a member.
    Ended(RightEnded),
    /// The policy wants a session bound to TLS.
    Unbound,
    /// A second factor is needed.
    Level {
        /// The level that is needed.
        needed: u8,
    },
}

impl AccessEvent {
    /// Writes the keys and values behind a record's number and time.
    pub(super) fn write(&self, out: &mut String) {
        out.push_str(",\"event\":\"");
        out.push_str(self.name());
        out.push('"');
        match self {
            Self::Started { relay, cut_bytes } => {
                text(out, "relay", relay);
                number(out, "cut_bytes", *cut_bytes);
            }
            Self::Stopped => {}
            Self::Lost { events } => number(out, "events", *events),
            Self::Came { session, device, guest, bound } => {
                who(out, *session, device);
                text(out, "guest", guest);
                text(out, "bound", bound);
            }
            Self::Left { session, device, code } => {
                who(out, *session, device);
                if let Some(code) = code {
                    number(out, "code", u64::from(code.number()));
                }
            }
            Self::SteppedUp { session, device, user, method, enrolled, level, refused } => {
                who(out, *session, device);
                if let Some(user) = user {
                    text(out, "user", user);
                }
                text(out, "method", &method_name(*method));
                text(out, "enrolled", enrolled);
                number(out, "level", u64::from(*level));
                text(out, "outcome", &refused.map_or("taken", outcome_name));
            }
            event => event.write_of_workspace(out),
        }
    }

    /// The same for events of one workspace.
    fn write_of_workspace(&self, out: &mut String) {
        match self {
            Self::Opened { session, device, workspace, level } => {
                who(out, *session, device);
                text(out, "workspace", workspace);
                number(out, "level", u64::from(*level));
            }
            Self::Denied { session, device, workspace, why } => {
                who(out, *session, device);
                text(out, "workspace_tag", workspace);
                why.write(out);
            }
            Self::Shut { session, device, workspace, why } => {
                who(out, *session, device);
                text(out, "workspace", workspace);
                text(out, "why", &ended_name(*why));
            }
            Self::Entered { session, device, workspace, taken } => {
                who(out, *session, device);
                text(out, "workspace_tag", workspace);
                text(out, "taken", taken);
            }
            Self::Recorded { session, device, workspace, record, kind, author, level } => {
                who(out, *session, device);
                text(out, "workspace", workspace);
                text(out, "record", record);
                text(out, "kind", kind);
                text(out, "author", author);
                number(out, "level", u64::from(*level));
            }
            Self::Refused { session, device, workspace, reason, items } => {
                who(out, *session, device);
                text(out, "workspace", workspace);
                text(out, "reason", &refusal_name(*reason));
                number(out, "items", *items);
            }
            _ => {}
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Stopped => "stopped",
            Self::Lost { .. } => "lost",
            Self::Came { .. } => "came",
            Self::Left { .. } => "left",
            Self::Opened { .. } => "opened",
            Self::Denied { .. } => "denied",
            Self::Shut { .. } => "shut",
            Self::Entered { .. } => "entered",
            Self::SteppedUp { .. } => "stepped_up",
            Self::Recorded { .. } => "recorded",
            Self::Refused { .. } => "refused",
        }
    }
}

impl From<NotFoundReason> for Denial {
    fn from(reason: NotFoundReason) -> Self {
        match reason {
            NotFoundReason::Removed => Self::Ended(RightEnded::Removed),
            NotFoundReason::Revoked => Self::Ended(RightEnded::Revoked),
            NotFoundReason::RoleExpired => Self::Ended(RightEnded::Expired),
            NotFoundReason::NeedsBinding => Self::Unbound,
            _ => Self::NotFound,
        }
    }
}

impl Denial {
    fn write(self, out: &mut String) {
        text(out, "why", &self.name());
        if let Self::Level { needed } = self {
            number(out, "needed", u64::from(needed));
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Ended(ended) => ended_name(ended),
            Self::Unbound => "unbound",
            Self::Level { .. } => "mfa_required",
        }
    }
}

/// Returns the word for a kind of membership record.
#[must_use]
pub fn record_name(body: &RecordBody) -> &'static str {
    match body {
        RecordBody::Genesis(_) => "genesis",
        RecordBody::Standing(_) => "standing",
        RecordBody::Rotate(_) => "rotate",
        RecordBody::Devices(_) => "devices",
        RecordBody::InviteCreate(_) => "invite_create",
        RecordBody::Join(_) => "join",
        RecordBody::Rewrap(_) => "rewrap",
        RecordBody::Policy(_) => "policy",
        RecordBody::OwnerTransfer(_) => "owner_transfer",
        RecordBody::Admit(_) => "admit",
        RecordBody::Exclude(_) => "exclude",
        RecordBody::Purge(_) => "purge",
        RecordBody::RecoverySet(_) => "recovery_set",
        RecordBody::RelaySuccession(_) => "relay_succession",
        RecordBody::InviteRevoke(_) => "invite_revoke",
        RecordBody::Unsupported { .. } => "unsupported",
    }
}

fn who(out: &mut String, session: SessionId, device: &DeviceId) {
    number(out, "session", session.0);
    text(out, "device", device);
}

fn number(out: &mut String, key: &str, value: u64) {
    append(out, format_args!(",\"{key}\":{value}"));
}

fn text(out: &mut String, key: &str, value: &dyn std::fmt::Display) {
    append(out, format_args!(",\"{key}\":\"{value}\""));
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    out.write_fmt(text).unwrap_or_default();
}

fn ended_name(ended: RightEnded) -> &'static str {
    match ended {
        RightEnded::Removed => "removed",
        RightEnded::Revoked => "revoked",
        RightEnded::Expired => "expired",
    }
}

fn method_name(method: StepUpMethod) -> &'static str {
    match method {
        StepUpMethod::UserVerified => "user_verified",
        StepUpMethod::Totp => "totp",
        StepUpMethod::Oidc => "oidc",
    }
}

fn outcome_name(refusal: StepUpRefusal) -> &'static str {
    match refusal {
        StepUpRefusal::NotOffered => "not_offered",
        StepUpRefusal::NoChallenge => "no_challenge",
        StepUpRefusal::Wrong => "wrong",
        StepUpRefusal::Replayed => "replayed",
        StepUpRefusal::TooMany => "too_many",
        StepUpRefusal::OtherDevice => "other_device",
        StepUpRefusal::Stale => "stale",
        StepUpRefusal::Unavailable => "unavailable",
    }
}
