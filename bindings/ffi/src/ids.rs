//! Ids are strings of hexadecimal digits to an app; here each is the core's own type, so none stands for another.

use std::collections::{BTreeMap, HashMap};

use tombolo::document::Value;
use tombolo::protocol::ids::{DeviceId, DocumentId, EntryHash, LogId, RecordId, RelayId, UserId, WorkspaceId};

use crate::error::TomboloError;

macro_rules! hexadecimal {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        uniffi::custom_type!($(#[$doc])* $name, String, {
            remote,
            lower: |id| id.to_string(),
            try_lift: |text| text.parse::<$name>().map_err(|_| TomboloError::bad_id(stringify!($name)).into()),
        });
    )*};
}

hexadecimal! {
    /// Names a workspace, in hexadecimal digits.
    WorkspaceId;
    /// Names a document, in hexadecimal digits.
    DocumentId;
    /// Names a person, in hexadecimal digits.
    UserId;
    /// Names a device, in hexadecimal digits.
    DeviceId;
    /// Names a statement about members, in hexadecimal digits.
    RecordId;
    /// Names an entry, in hexadecimal digits.
    EntryHash;
    /// A relay's key, in hexadecimal digits.
    RelayId;
    /// Names one history of a relay, in hexadecimal digits.
    LogId;
}

/// The values of a map, by key.
pub(crate) type Entries = BTreeMap<String, Value>;

uniffi::custom_type!(
    /// The values of a map, by key.
    Entries,
    HashMap<String, Value>,
    {
        remote,
        lower: |entries| entries.into_iter().collect(),
        try_lift: |entries| Ok(entries.into_iter().collect()),
    }
);

/// A public key of 32 bytes.
pub(crate) type PublicKey = [u8; 32];

uniffi::custom_type!(
    /// A public key of 32 bytes.
    PublicKey,
    Vec<u8>,
    {
        remote,
        lower: |key| key.to_vec(),
        try_lift: |bytes| PublicKey::try_from(bytes).map_err(|_| TomboloError::bad_id("PublicKey").into()),
    }
);
