//! Every bound of the protocol, with its reason.
//!
//! Invariant: nothing is allocated, queued or looped over for a peer without one of these above it.

/// Bytes of one sealed entry as it travels with its full header: what a phone can hold and re-send.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;
/// Bytes of one record: a rotation for 1,000 devices needs about 150 KiB, a bulk removal more.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// Bytes of one frame: the largest record and its envelope.
pub const FRAME_BYTES_MAX: usize = RECORD_BYTES_MAX + (64 << 10);
/// Bytes of a frame before its sender has proven who it is.
pub const FRAME_BYTES_UNAUTHENTICATED_MAX: usize = 4 << 10;
/// Bytes of a frame in one WebSocket fragment: with the fragment's own header they fill a TLS record.
pub const FRAGMENT_BYTES_MAX: usize = (16 << 10) - 8;
/// Bytes of items in one `Items` frame, so that a slow reader is interrupted between frames.
pub const ITEMS_BYTES_TARGET: usize = 256 << 10;
/// Items in one frame, whatever their size.
pub const ITEMS_PER_FRAME_MAX: usize = 4096;
/// Optional features that one side names in the handshake.
pub const FEATURES_MAX: usize = 64;
/// Bytes of one change before compression; larger ones are refused before anything is altered.
pub const CHANGE_BYTES_MAX: usize = 64 << 20;
/// Bytes of a change, or of several coalesced ones, that go into one entry, uncompressed.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// Dependencies one entry may name: other chains of its document that it has seen.
pub const DEPS_MAX: usize = 4096;
/// Parents one record may name.
pub const PARENTS_MAX: usize = 256;
/// Recipients of one rotation.
pub const WRAPS_MAX: usize = 16 << 10;
/// Epochs one rotation may follow: as many as there can be concurrent heads below it.
pub const PREVIOUS_EPOCHS_MAX: usize = PARENTS_MAX;
/// Heads one identity record may stand on: a user's devices act concurrently now and then.
pub const IDENTITY_PARENTS_MAX: usize = 16;
/// Identity records carried by one record.
pub const IDENTITY_RECORDS_MAX: usize = 256;
/// Chains that one record pins: with their hashes they fill three quarters of a record.
pub const PINS_MAX: usize = 32 << 10;
/// Documents one record speaks for by name; more take several records.
pub const PINNED_DOCUMENTS_MAX: usize = 128 << 10;
/// Entries one record admits or excludes.
pub const JUDGED_ENTRIES_MAX: usize = 64 << 10;
/// Relays whose attestations a policy counts.
pub const POLICY_RELAYS_MAX: usize = 16;
/// Bytes of the encrypted section of a record.
pub const RECORD_SECRET_BYTES_MAX: usize = 64 << 10;
/// Bytes of an entry's clear section: what a snapshot covers, and blob addresses.
pub const CLEAR_SECTION_BYTES_MAX: usize = 256 << 10;
/// Chains of one document that a snapshot covers: with their hashes they fill three quarters of a clear section.
pub const COVERED_CHAINS_MAX: usize = 4096;
/// Entries that a snapshot covers and leaves out: admins exclude a few bad ones.
pub const EXCLUDED_ENTRIES_MAX: usize = 1024;
/// Bytes of a relay's address.
pub const ADDRESS_BYTES_MAX: usize = 255;
/// Relay addresses in one invite.
pub const INVITE_RELAYS_MAX: usize = 8;
/// Workspaces one session may have open.
pub const OPEN_WORKSPACES_MAX: usize = 1024;
/// Chains a reconcile list names in one frame.
pub const RECONCILE_CHAINS_PER_FRAME_MAX: usize = 16 << 10;
/// Documents that a device asks for in one workspace, where it does not ask for all.
pub const WANTED_DOCUMENTS_MAX: usize = 4096;
/// Chains of documents that a device does not ask for, and has listed because it holds them.
pub const HELD_CHAINS_MAX: usize = 128 << 10;
/// Bytes of held entries (a predecessor is missing) a device keeps for one document.
pub const HOLD_BYTES_MAX: usize = 64 << 20;
/// Bytes of one sealed status row.
pub const STATUS_BYTES_MAX: usize = 4 << 10;
/// Bytes of an application's document type.
pub const APP_TYPE_BYTES_MAX: usize = 64;
/// Positions in one workspace log; keeps every count inside an SQL integer.
pub const POSITION_MAX: u64 = i64::MAX as u64;
/// Milliseconds a challenge may be answered in.
pub const CHALLENGE_MS_MAX: u64 = 30_000;
/// Bytes of a second factor's proof: an id token has a few hundred to some thousand.
pub const STEP_UP_PROOF_BYTES_MAX: usize = 16 << 10;
/// Milliseconds from the request of a new device to the approval: time to find the other one and type.
pub const LINK_MS_MAX: i64 = 180_000;
/// Bytes of a message between two devices that are being linked, but for the last: one small frame.
pub const LINK_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Bytes of the last message: an identity log of full length, and a thousand workspaces with their relays.
pub const LINK_APPROVAL_BYTES_MAX: usize = 1 << 20;
/// Messages between two devices that are being linked: six are needed.
pub const LINK_MESSAGES_MAX: u32 = 12;
/// What a device offers in Hello when it wants to be linked: to be let in though it is no member of anything.
pub const FEATURE_LINKING: u16 = 1;
