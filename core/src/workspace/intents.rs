//! How what is intended rests in the store until it is stated.
//!
//! Invariant: numbers of intents never change; what was written by an earlier build is read.

use tombolo_protocol::bytes::{DecodeError, Reader, put_run};
use tombolo_protocol::ids::{RecordId, RelayId, UserId, WorkspaceId};
use tombolo_protocol::limits::POLICY_RELAYS_MAX;
use tombolo_protocol::record::{Levels, OrganisationRecovery, Role};

use super::act::MembershipAct;
use super::policy::PolicyTerms;

pub(super) fn intents_key(workspace: &WorkspaceId) -> String {
    format!("intents:{workspace}")
}

const SET_ROLE: u8 = 1;
const REMOVE: u8 = 2;
const TRANSFER: u8 = 3;
const REVOKE_INVITE: u8 = 4;
const SET_POLICY: u8 = 5;
const SET_ORGANISATION: u8 = 6;
const SET_BOUND_POLICY: u8 = 7;

/// Bytes of one intent: a policy with as many relays as there may be.
const INTENT_BYTES_MAX: usize = 64 + 32 * POLICY_RELAYS_MAX;

pub(super) fn write_intents(intents: &[MembershipAct]) -> Vec<u8> {
    let mut out = Vec::new();
    for act in intents {
        let mut one = Vec::new();
        match act {
            MembershipAct::SetRole { user, role, expires_ms } => {
                one.extend_from_slice(&[SET_ROLE, *role as u8]);
                one.extend_from_slice(user.as_bytes());
                one.extend_from_slice(&expires_ms.unwrap_or(i64::MAX).to_be_bytes());
            }
            MembershipAct::Remove { user } => one.extend([&[REMOVE], user.as_bytes().as_slice()].concat()),
            MembershipAct::TransferOwnership { to } => one.extend([&[TRANSFER], to.as_bytes().as_slice()].concat()),
            MembershipAct::RevokeInvite { invite } => {
                one.extend([&[REVOKE_INVITE], invite.as_bytes().as_slice()].concat());
            }
            MembershipAct::SetPolicy(terms) => {
                let Levels { open, append, invite, membership } = terms.levels;
                let number = if terms.needs_binding { SET_BOUND_POLICY } else { SET_POLICY };
                one.extend_from_slice(&[number, open, append, invite, membership]);
                terms.relays.iter().for_each(|relay| one.extend_from_slice(relay.as_bytes()));
            }
            MembershipAct::SetOrganisationRecovery(recovery) => {
                one.push(SET_ORGANISATION);
                if let Some(OrganisationRecovery { user, box_public }) = recovery {
                    one.extend([user.as_bytes().as_slice(), box_public].concat());
                }
            }
        }
        put_run(&mut out, &one);
    }
    out
}

pub(super) fn read_intents(bytes: &[u8]) -> Result<Vec<MembershipAct>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut intents = Vec::new();
    while reader.remaining() > 0 {
        let mut one = Reader::new(reader.run("intent", INTENT_BYTES_MAX)?);
        let number = one.u8()?;
        intents.push(match number {
            SET_ROLE => {
                let (role, user) = (Role::from_u8(one.u8()?)?, UserId::read(&mut one)?);
                let expires_ms = Some(one.i64()?).filter(|expires_ms| *expires_ms != i64::MAX);
                MembershipAct::SetRole { user, role, expires_ms }
            }
            REMOVE => MembershipAct::Remove { user: UserId::read(&mut one)? },
            TRANSFER => MembershipAct::TransferOwnership { to: UserId::read(&mut one)? },
            REVOKE_INVITE => MembershipAct::RevokeInvite { invite: RecordId::read(&mut one)? },
            SET_POLICY | SET_BOUND_POLICY => {
                let [open, append, invite, membership] = one.array()?;
                let levels = Levels { open, append, invite, membership };
                let needs_binding = number == SET_BOUND_POLICY;
                let mut terms = PolicyTerms { levels, relays: Vec::new(), needs_binding };
                while one.remaining() > 0 {
                    terms.relays.push(RelayId::read(&mut one)?);
                }
                MembershipAct::SetPolicy(terms)
            }
            SET_ORGANISATION if one.remaining() == 0 => MembershipAct::SetOrganisationRecovery(None),
            SET_ORGANISATION => {
                let recovery = OrganisationRecovery { user: UserId::read(&mut one)?, box_public: one.array()? };
                MembershipAct::SetOrganisationRecovery(Some(recovery))
            }
            value => return Err(DecodeError::Unknown { field: "intent", value: u64::from(value) }),
        });
        one.finish()?;
    }
    Ok(intents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_intended_is_read_as_it_was_written() {
        let user = UserId::from_bytes([1; 32]);
        let levels = Levels { open: 1, append: 2, invite: 3, membership: 4 };
        let relays: Vec<_> = (0..POLICY_RELAYS_MAX).map(|at| RelayId::from_bytes([at as u8; 32])).collect();
        let intents = [
            MembershipAct::SetRole { user, role: Role::Reader, expires_ms: Some(7) },
            MembershipAct::Remove { user },
            MembershipAct::TransferOwnership { to: user },
            MembershipAct::RevokeInvite { invite: RecordId::from_bytes([2; 32]) },
            MembershipAct::SetPolicy(PolicyTerms { levels, relays: relays.clone(), needs_binding: false }),
            MembershipAct::SetPolicy(PolicyTerms { levels, relays, needs_binding: true }),
            MembershipAct::SetOrganisationRecovery(None),
            MembershipAct::SetOrganisationRecovery(Some(OrganisationRecovery { user, box_public: [3; 32] })),
        ];
        assert_eq!(read_intents(&write_intents(&intents)).unwrap(), intents);
        assert!(read_intents(&[0, 0, 0, 1, 9]).is_err());
    }
}
