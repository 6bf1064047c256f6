//! Folders copied as they lie there, as somebody does who keeps one of yesterday.

use std::{fs, path::Path};

/// Copies a folder's files and folders into another one, which is made if it is not there.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes a folder what another one is.
pub fn replace(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}
