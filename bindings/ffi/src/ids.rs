//! Ids are strings of hexadecimal digits to an app; here each is the core's own type, so none stands for another.

use std::collections::{BTreeMap, HashMap};

use tombolo::document::Value;
use tombolo::protocol::ids::{DeviceId, DocumentId, EntryHash, LogId, RecordId, RelayId, UserId, WorkspaceId};
use uniffi::{FfiConverter, Lift, Lower, MetadataBuffer, TypeId};

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

/// The values of a map, by key: a plain map to an app.
pub(crate) type Entries = BTreeMap<String, Value>;

/// What a map is to the languages; its order is not theirs to rely on.
type Crossing = HashMap<String, Value>;

// SAFETY: all that crosses is what UniFFI makes of the map that it knows; nothing is read or written here.
unsafe impl FfiConverter<crate::UniFfiTag> for Entries {
    uniffi::ffi_converter_rust_buffer_lift_and_lower!(crate::UniFfiTag);

    const TYPE_ID_META: MetadataBuffer = <Crossing as TypeId<crate::UniFfiTag>>::TYPE_ID_META;

    fn write(entries: Self, out: &mut Vec<u8>) {
        <Crossing as Lower<crate::UniFfiTag>>::write(entries.into_iter().collect(), out);
    }

    fn try_read(bytes: &mut &[u8]) -> uniffi::Result<Self> {
        Ok(<Crossing as Lift<crate::UniFfiTag>>::try_read(bytes)?.into_iter().collect())
    }
}

uniffi::derive_ffi_traits!(local Entries);

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
