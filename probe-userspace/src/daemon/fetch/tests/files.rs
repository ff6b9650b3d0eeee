//! `file://`.

use std::{
    fs,
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

#[tokio::test]
async fn files_must_be_regular_and_hold_still() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.cordon");
    let file = source(&format!("file://{}", path.display()));
    let error = async |limits| format!("{:#}", look(&file, None, limits).await.unwrap_err());
    assert!(error(SMALL).await.contains("No such file"));
    fs::write(&path, "bundle").unwrap();
    let Look::Changed { bytes, tag } = look(&file, None, SMALL).await.unwrap() else {
        panic!("it is new");
    };
    assert_eq!(bytes, b"bundle");
    assert_eq!(look(&file, tag.as_deref(), SMALL).await.unwrap(), Look::Unchanged);
    fs::write(&path, "bundlf").unwrap();
    assert!(matches!(
        look(&file, tag.as_deref(), SMALL).await.unwrap(),
        Look::Changed { .. }
    ));
    fs::write(&path, "x".repeat(10_001)).unwrap();
    assert!(error(SMALL).await.contains("10001 bytes"));

    fs::rename(&path, dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("real"), &path).unwrap();
    assert!(error(SMALL).await.contains("symbolic link"));
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(error(SMALL).await.contains("no regular file"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(error(SMALL).await.contains("no regular file"));
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.cordon");
    fs::write(&path, vec![b'x'; 16 << 20]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (path, stop) = (path.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            for _ in 0..100_000 {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                file.write_all(b"y").unwrap();
            }
        })
    };
    let file = source(&format!("file://{}", path.display()));
    let looked = look(&file, None, Limits::default()).await;
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let error = format!("{:#}", looked.unwrap_err());
    assert!(error.contains("changed while it was read"), "{error}");
}
