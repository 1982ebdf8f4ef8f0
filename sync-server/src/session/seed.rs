//! Seeds and entering: the ways into a workspace that is not open yet.
//!
//! Invariant: a seed is bounded, judged as a whole once its last frame is here, and changes nothing
//! unless the session's device is a member by it.

use std::sync::Arc;

use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Enter, Ground, NotFoundReason, Seed};
use tombolo_protocol::ids::{DocumentTag, WorkspaceId};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::Record;

use super::Session;
use super::catch_up::Mode;
use super::open::ground;
use crate::fanout::Closing;
use crate::workspace::{SeedError, Verdicts, Workspace};
use crate::writer::{AppendJob, Job};

/// Bytes of one seed: the records of a workspace of some thousand devices.
pub(super) const SEED_BYTES_MAX: usize = 16 << 20;

/// A seed whose last frame is not here yet.
pub(super) struct SeedBuffer {
    workspace: WorkspaceId,
    records: Vec<Record>,
    attestations: Vec<Signed<Attestation>>,
    documents: Option<Vec<DocumentTag>>,
    bytes: usize,
}

impl Session {
    pub(super) fn seed(&mut self, seed: Seed) -> Result<(), Closing> {
        self.proven()?;
        let mut buffer = self.seed.take().unwrap_or_else(|| SeedBuffer {
            workspace: seed.workspace,
            records: Vec::new(),
            attestations: Vec::new(),
            documents: None,
            bytes: 0,
        });
        let more = seed.more;
        buffer.take(&seed)?;
        if more {
            self.seed = Some(buffer);
            return Ok(());
        }
        let (tag, documents) = (buffer.workspace.tag(), buffer.documents.take());
        self.plant(buffer)?;
        let open = self.channels.values().find(|channel| channel.workspace.id().tag() == tag);
        if let Some(row) = open.map(|channel| channel.workspace.row()) {
            self.ask_for(row, documents);
        }
        Ok(())
    }

    fn plant(&mut self, seed: SeedBuffer) -> Result<(), Closing> {
        let known = self.relay.open(&seed.workspace.tag())?;
        match known {
            Some(workspace) if workspace.id() == seed.workspace => {
                let judge = workspace.judge(self.relay.log())?;
                let judged = self.judge_seed(judge, seed)?;
                self.planted(&workspace, judged)
            }
            Some(_) => {
                self.not_found(seed.workspace.tag());
                Ok(())
            }
            None => self.begin(seed),
        }
    }

    /// Begins a workspace that nobody has brought here before.
    fn begin(&mut self, seed: SeedBuffer) -> Result<(), Closing> {
        let (relay, log) = (Arc::clone(&self.relay), self.relay.new_log_id()?);
        let workspace = Workspace::begin(relay.id(), relay.next_row(), seed.workspace, log);
        let judge = workspace.judge(self.relay.log())?;
        let judged = self.judge_seed(judge, seed)?;
        if judged.is_ok() && !self.proven()?.token_holds {
            drop(judged);
            self.not_found_because(workspace.id().tag(), NotFoundReason::NeedsToken);
            return Ok(());
        }
        if judged.is_err() {
            return self.planted(&workspace, judged);
        }
        if !relay.begin(&workspace) {
            // Another session began it a moment ago; the device comes again and finds it.
            return Err(CloseCode::Overloaded.into());
        }
        tracing::info!(workspace = %workspace.id().short(), "a workspace begins");
        self.planted(&workspace, judged)
    }

    fn judge_seed<'a>(
        &self,
        mut judge: std::sync::MutexGuard<'a, crate::workspace::Judge>,
        seed: SeedBuffer,
    ) -> Result<Judged<'a>, Closing> {
        let mut verdicts = Verdicts::default();
        let taken = judge.take_seed(&self.caller()?, seed.records, seed.attestations, &mut verdicts);
        Ok(taken.map(|()| (judge, verdicts)).inspect_err(|error| tracing::debug!(%error, "a seed was not taken")))
    }

    /// Queues what a seed brought, and opens the workspace once it is durable.
    fn planted(&mut self, workspace: &Arc<Workspace>, judged: Judged<'_>) -> Result<(), Closing> {
        let tag = workspace.id().tag();
        let (judge, verdicts) = match judged {
            Ok(judged) => judged,
            Err(SeedError::Level(levels)) => {
                self.want_factor(tag, levels);
                return Ok(());
            }
            Err(SeedError::NoRight(no)) => {
                self.deny(tag, no);
                return Ok(());
            }
            Err(_) => {
                self.not_found(tag);
                return Ok(());
            }
        };
        if verdicts.items.is_empty() {
            drop(judge);
            if !self.admit(workspace)? {
                return Ok(());
            }
            return self.opened(Arc::clone(workspace), Mode::Reading, 0, None);
        }
        self.note_records(workspace, &judge, &verdicts);
        self.relay.queue().push(Job::Append(AppendJob {
            workspace: Arc::clone(workspace),
            outbox: Arc::clone(&self.outbox),
            batch: None,
            credit_bytes: 0,
            verdicts,
        }));
        drop(judge);
        self.enter_channel(workspace, Mode::Waiting, 0).map(drop)
    }

    pub(super) fn enter(&mut self, enter: &Enter) -> Result<(), Closing> {
        let shown = match self.relay.open(&enter.workspace)? {
            Some(workspace) => self.show_ground(&workspace, enter)?,
            None => Shown::Nothing,
        };
        let taken = matches!(shown, Shown::Ground(_));
        self.relay.metrics().entered(taken);
        self.note_entry(enter.workspace, taken);
        match shown {
            Shown::Ground(frames) => {
                self.note_entered(enter.workspace);
                frames.into_iter().for_each(|frame| self.send(frame));
            }
            Shown::Reason(reason) => self.not_found_because(enter.workspace, reason),
            Shown::Nothing => self.not_found(enter.workspace),
        }
        Ok(())
    }

    fn show_ground(&self, workspace: &Workspace, enter: &Enter) -> Result<Shown, Closing> {
        let proven = self.proven()?;
        let judge = workspace.judge(self.relay.log())?;
        let Some(invite) = judge.view().invite(&enter.invite) else {
            return Ok(Shown::Nothing);
        };
        if proven.transcript.verify_invite(&proven.keys, &invite.sign, &enter.proof).is_err() {
            return Ok(Shown::Nothing);
        }
        // A device whose Join is here, though it did not hear of it, may see what it is a member of.
        let is_member = judge.right(&proven.device, self.relay.now_ms()).is_ok();
        Ok(match () {
            () if is_member => Shown::Ground(ground(judge.membership(), Vec::new())),
            () if invite.ended => Shown::Reason(NotFoundReason::Ended),
            () if !invite.is_open() => Shown::Reason(NotFoundReason::UsedUp),
            () if invite.expires_ms != 0 && self.relay.now_ms() > invite.expires_ms => {
                Shown::Reason(NotFoundReason::Expired)
            }
            () => Shown::Ground(ground(judge.membership(), Vec::new())),
        })
    }
}

/// What a device is shown that shows an invite.
enum Shown {
    /// The records.
    Ground(Vec<Ground>),
    /// Why the invite is not taken; it proved its key.
    Reason(NotFoundReason),
    /// What a stranger is told.
    Nothing,
}

type Judged<'a> = Result<(std::sync::MutexGuard<'a, crate::workspace::Judge>, Verdicts), SeedError>;

impl SeedBuffer {
    fn take(&mut self, seed: &Seed) -> Result<(), Closing> {
        if seed.workspace != self.workspace {
            return Err(CloseCode::Malformed.into());
        }
        self.documents.clone_from(&seed.documents);
        let parts = seed.records.iter().chain(&seed.attestations);
        self.bytes += parts.map(|part| part.len()).sum::<usize>();
        if self.bytes > SEED_BYTES_MAX {
            return Err(CloseCode::RateLimited.into());
        }
        let malformed = |_| Closing::from(CloseCode::Malformed);
        for record in &seed.records {
            let record = Record::decode(record).map_err(|_| Closing::from(CloseCode::Malformed))?;
            self.records.push(record);
        }
        for attestation in &seed.attestations {
            self.attestations.push(Signed::decode(attestation).map_err(malformed)?);
        }
        Ok(())
    }
}
