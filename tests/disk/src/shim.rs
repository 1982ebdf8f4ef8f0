//! SQLite's side: a VFS in front of the system's own, and the methods of a file on a mounted folder.
//!
//! A file elsewhere is opened by the system's VFS in the very memory that SQLite gave, and never comes here
//! again. A file on a mounted folder gets [`METHODS`], which ask the folder's state first and the real file
//! next, under one lock.
//!
//! Invariant: SQLite sees either nothing opened (no methods) or a [`Handle`] whose `file` lives until `xClose`.

#![expect(unsafe_code, reason = "SQLite's VFS is a table of C functions; nothing else of the workspace speaks to it")]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::ffi;

use crate::media::Change;
use crate::platter::Step;
use crate::state::{Answer, State};
use crate::{Operation, lock};

type Shared = Arc<Mutex<State>>;

static MOUNTED: Mutex<BTreeMap<PathBuf, Shared>> = Mutex::new(BTreeMap::new());
static SYSTEM: OnceLock<System> = OnceLock::new();
const NAME: &CStr = c"tombolo-disk";

/// The system's own VFS.
struct System(*mut ffi::sqlite3_vfs);

// SAFETY: the pointer is SQLite's own static table, which is never written after SQLite's start.
unsafe impl Send for System {}
// SAFETY: as above; SQLite itself hands the table to every thread.
unsafe impl Sync for System {}

/// What SQLite holds of a file on a mounted folder.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    file: *mut File,
}

/// A file on a mounted folder.
struct File {
    disk: Shared,
    path: PathBuf,
    /// Memory of the system's own file, as large and as aligned as it asks.
    real: Box<[u64]>,
    /// Whether the next sync also syncs the folder, as the system's VFS does for new journals.
    syncs_names: bool,
}

/// Lets files below `folder` be opened on a disk that can fail.
pub(crate) fn mount(folder: &Path, state: Shared) {
    SYSTEM.get_or_init(register);
    lock(&MOUNTED).insert(folder.to_owned(), state);
}

pub(crate) fn unmount(folder: &Path) {
    lock(&MOUNTED).remove(folder);
}

fn mounted(path: &Path) -> Option<Shared> {
    let mounted = lock(&MOUNTED);
    path.ancestors().find_map(|folder| mounted.get(folder).cloned())
}

fn register() -> System {
    // SAFETY: SQLite is started first; the default VFS that it then finds is a table that lives as long as the
    // process, and so does the copy of it that is registered, because it is leaked.
    unsafe {
        ffi::sqlite3_initialize();
        let system = ffi::sqlite3_vfs_find(ptr::null());
        let mut vfs = *system;
        vfs.zName = NAME.as_ptr();
        vfs.pNext = ptr::null_mut();
        vfs.szOsFile = vfs.szOsFile.max(size_of::<Handle>() as c_int);
        vfs.xOpen = Some(open);
        vfs.xDelete = Some(delete);
        vfs.xAccess = Some(access);
        ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1);
        System(system)
    }
}

fn system() -> *mut ffi::sqlite3_vfs {
    SYSTEM.get_or_init(register).0
}

/// Calls a method of the system's VFS; `$or` is the answer if it has none, which no known system lacks.
macro_rules! of_system {
    ($method:ident($($argument:expr),*), $or:expr) => {
        match (*system()).$method {
            Some(method) => method(system(), $($argument),*),
            None => $or,
        }
    };
}

/// Calls a method of the real file below a file.
macro_rules! of_file {
    ($file:expr, $method:ident($($argument:expr),*), $or:expr) => {{
        let real = $file.real();
        match (*(*real).pMethods).$method {
            Some(method) => method(real, $($argument),*),
            None => $or,
        }
    }};
}

impl File {
    fn real(&mut self) -> *mut ffi::sqlite3_file {
        self.real.as_mut_ptr().cast()
    }

    fn length(&mut self) -> Option<u64> {
        let mut bytes = 0;
        // SAFETY: the real file is open as long as `self` lives; the pointer is to a local of the right type.
        let code = unsafe { of_file!(self, xFileSize(&raw mut bytes), ffi::SQLITE_IOERR) };
        (code == ffi::SQLITE_OK).then(|| bytes.max(0).cast_unsigned())
    }

    /// Reads what is there of a range.
    fn peek(&mut self, at: u64, end: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0_u8; usize::try_from(end.saturating_sub(at)).ok()?];
        if bytes.is_empty() {
            return Some(bytes);
        }
        let (amount, at) = (c_int::try_from(bytes.len()).ok()?, i64::try_from(at).ok()?);
        // SAFETY: the real file is open as long as `self` lives; `bytes` has room for `amount` bytes.
        let code = unsafe { of_file!(self, xRead(bytes.as_mut_ptr().cast(), amount, at), ffi::SQLITE_IOERR) };
        (code == ffi::SQLITE_OK).then_some(bytes)
    }
}

/// Tells which file SQLite means by a name.
///
/// # Safety
/// `name` is null or a string of C that outlives the path's use.
unsafe fn path_of<'a>(name: *const c_char) -> Option<&'a Path> {
    // SAFETY: the caller promises a string, whose null case goes here.
    (!name.is_null()).then(|| Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    handle: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a name that lives as long as the file (or none), and memory of `szOsFile` bytes, which
    // has room for the system's own file as well as for a `Handle`.
    unsafe {
        let found = path_of(name).and_then(|path| Some((path.to_owned(), mounted(path)?)));
        let Some((path, disk)) = found else {
            return of_system!(xOpen(name, handle, flags, flags_out), ffi::SQLITE_CANTOPEN);
        };
        (*handle).pMethods = ptr::null();
        let mut state = lock(&disk);
        let new = !path.exists();
        if state.is_cut()
            || (new && flags & ffi::SQLITE_OPEN_CREATE != 0 && state.ask(Operation::Write) != Answer::Done)
        {
            return ffi::SQLITE_CANTOPEN;
        }
        let words = ((*system()).szOsFile.max(0) as usize).div_ceil(size_of::<u64>());
        let journal = flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL);
        let syncs_names = journal != 0 && flags & ffi::SQLITE_OPEN_CREATE != 0;
        let mut file =
            Box::new(File { disk: Arc::clone(&disk), path, real: vec![0; words].into_boxed_slice(), syncs_names });
        let code = of_system!(xOpen(name, file.real(), flags, flags_out), ffi::SQLITE_CANTOPEN);
        if code != ffi::SQLITE_OK {
            if !(*file.real()).pMethods.is_null() {
                of_file!(file, xClose(), ffi::SQLITE_OK);
            }
            return code;
        }
        if new {
            state.note(Step::Made { path: file.path.clone() });
        }
        state.opened();
        let handle: *mut Handle = handle.cast();
        (*handle).file = Box::into_raw(file);
        (*handle).base.pMethods = &raw const METHODS;
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_names: c_int) -> c_int {
    // SAFETY: SQLite gives a name that lives during the call.
    unsafe {
        let found = path_of(name).and_then(|path| Some((path, mounted(path)?)));
        let Some((path, disk)) = found else {
            return of_system!(xDelete(name, sync_names), ffi::SQLITE_IOERR_DELETE);
        };
        let mut state = lock(&disk);
        let answer = state.ask(Operation::Write);
        let Ok(bytes) = std::fs::read(path) else {
            return if state.is_cut() { ffi::SQLITE_IOERR_DELETE } else { ffi::SQLITE_IOERR_DELETE_NOENT };
        };
        if answer == Answer::Error {
            return ffi::SQLITE_IOERR_DELETE;
        }
        let code = of_system!(xDelete(name, 0), ffi::SQLITE_IOERR_DELETE);
        if code != ffi::SQLITE_OK {
            return code;
        }
        state.note(Step::Deleted { path: path.to_owned(), bytes });
        if answer == Answer::Unheard {
            return ffi::SQLITE_IOERR_DELETE;
        }
        if sync_names != 0 {
            state.note(Step::SyncedNames);
        }
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, name: *const c_char, flags: c_int, answer: *mut c_int) -> c_int {
    // SAFETY: SQLite gives a name that lives during the call, and a place for the answer.
    unsafe {
        if path_of(name).and_then(mounted).is_some_and(|disk| lock(&disk).is_cut()) {
            return ffi::SQLITE_IOERR_ACCESS;
        }
        of_system!(xAccess(name, flags, answer), ffi::SQLITE_IOERR_ACCESS)
    }
}

/// Turns what SQLite holds into the file.
///
/// # Safety
/// `handle` was filled by [`open`] and not closed; nobody else uses it meanwhile.
unsafe fn file_of<'a>(handle: *mut ffi::sqlite3_file) -> &'a mut File {
    // SAFETY: the caller promises a handle of ours, whose file lives until it is closed; SQLite uses a file from one
    // thread at a time.
    unsafe { &mut *(*handle.cast::<Handle>()).file }
}

unsafe extern "C" fn close(handle: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once; the box is the one that `open` let go of.
    unsafe {
        let mut file = Box::from_raw((*handle.cast::<Handle>()).file);
        (*handle).pMethods = ptr::null();
        let code = of_file!(file, xClose(), ffi::SQLITE_OK);
        lock(&file.disk).closed();
        code
    }
}

unsafe extern "C" fn read(handle: *mut ffi::sqlite3_file, to: *mut c_void, amount: c_int, at: i64) -> c_int {
    // SAFETY: an open file of ours, and memory of `amount` bytes, as SQLite promises.
    unsafe {
        let file = file_of(handle);
        if lock(&file.disk).ask(Operation::Read) != Answer::Done {
            return ffi::SQLITE_IOERR_READ;
        }
        of_file!(file, xRead(to, amount, at), ffi::SQLITE_IOERR_READ)
    }
}

unsafe extern "C" fn write(handle: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, at: i64) -> c_int {
    // SAFETY: an open file of ours, and `amount` bytes to read, as SQLite promises.
    unsafe {
        let file = file_of(handle);
        let after = std::slice::from_raw_parts(from.cast::<u8>(), amount.max(0) as usize).to_vec();
        let disk = Arc::clone(&file.disk);
        let mut state = lock(&disk);
        let answer = state.ask(Operation::Write);
        let begin = at.max(0).cast_unsigned();
        let end = begin + after.len() as u64;
        let (Some(length), true) = (file.length(), answer != Answer::Error) else {
            return ffi::SQLITE_IOERR_WRITE;
        };
        if !state.grow(end.saturating_sub(length)) {
            return ffi::SQLITE_FULL;
        }
        let (Some(before), Ok(place), Ok(old_end)) =
            (file.peek(begin, end.min(length)), usize::try_from(begin), usize::try_from(length))
        else {
            return ffi::SQLITE_IOERR_WRITE;
        };
        let code = of_file!(file, xWrite(from, amount, at), ffi::SQLITE_IOERR_WRITE);
        if code != ffi::SQLITE_OK {
            return code;
        }
        let end_before = (end > length).then_some(old_end);
        let change = Change::Write { at: place, before, after, end_before };
        state.note(Step::Changed { path: file.path.clone(), change });
        if answer == Answer::Unheard { ffi::SQLITE_IOERR_WRITE } else { ffi::SQLITE_OK }
    }
}

unsafe extern "C" fn truncate(handle: *mut ffi::sqlite3_file, to: i64) -> c_int {
    // SAFETY: an open file of ours, as SQLite promises.
    unsafe {
        let file = file_of(handle);
        let disk = Arc::clone(&file.disk);
        let mut state = lock(&disk);
        let answer = state.ask(Operation::Write);
        let (Some(length), Ok(end), true) = (file.length(), usize::try_from(to), answer != Answer::Error) else {
            return ffi::SQLITE_IOERR_TRUNCATE;
        };
        let Some(tail) = file.peek(end as u64, length) else { return ffi::SQLITE_IOERR_TRUNCATE };
        let code = of_file!(file, xTruncate(to), ffi::SQLITE_IOERR_TRUNCATE);
        if code != ffi::SQLITE_OK {
            return code;
        }
        if !tail.is_empty() {
            state.note(Step::Changed { path: file.path.clone(), change: Change::Cut { to: end, tail } });
        }
        if answer == Answer::Unheard { ffi::SQLITE_IOERR_TRUNCATE } else { ffi::SQLITE_OK }
    }
}

unsafe extern "C" fn sync(handle: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file of ours, as SQLite promises. The real disk needs no sync: it is not the one that fails.
    let file = unsafe { file_of(handle) };
    let mut state = lock(&file.disk);
    match state.ask(Operation::Sync) {
        Answer::Done => {
            let names = std::mem::take(&mut file.syncs_names);
            state.note(Step::Synced { path: file.path.clone(), names });
            ffi::SQLITE_OK
        }
        Answer::Error => {
            state.sync_failed(&file.path);
            ffi::SQLITE_IOERR_FSYNC
        }
        Answer::Unheard => ffi::SQLITE_IOERR_FSYNC,
    }
}

/// Makes a method that the real file answers alone.
macro_rules! handed_on {
    ($name:ident, $method:ident($($argument:ident: $type:ty),*), $or:expr) => {
        unsafe extern "C" fn $name(handle: *mut ffi::sqlite3_file $(, $argument: $type)*) -> c_int {
            // SAFETY: an open file of ours, and arguments as SQLite promises them to any file.
            unsafe { of_file!(file_of(handle), $method($($argument),*), $or) }
        }
    };
}

handed_on!(file_size, xFileSize(bytes: *mut i64), ffi::SQLITE_IOERR);
handed_on!(take_lock, xLock(level: c_int), ffi::SQLITE_OK);
handed_on!(unlock, xUnlock(level: c_int), ffi::SQLITE_OK);
handed_on!(check_lock, xCheckReservedLock(answer: *mut c_int), ffi::SQLITE_OK);
handed_on!(control, xFileControl(what: c_int, argument: *mut c_void), ffi::SQLITE_NOTFOUND);
handed_on!(sector_size, xSectorSize(), 0);
handed_on!(characteristics, xDeviceCharacteristics(), 0);
handed_on!(shm_map, xShmMap(page: c_int, bytes: c_int, extend: c_int, memory: *mut *mut c_void), ffi::SQLITE_IOERR);
handed_on!(shm_lock, xShmLock(offset: c_int, count: c_int, flags: c_int), ffi::SQLITE_IOERR);
handed_on!(shm_unmap, xShmUnmap(delete: c_int), ffi::SQLITE_OK);

unsafe extern "C" fn shm_barrier(handle: *mut ffi::sqlite3_file) {
    // SAFETY: an open file of ours, as SQLite promises.
    unsafe { of_file!(file_of(handle), xShmBarrier(), ()) }
}

/// Version 2: memory is shared between connections, and files are not mapped, so that every read is seen.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(take_lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_lock),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
