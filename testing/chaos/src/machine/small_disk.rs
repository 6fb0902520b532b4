//! A directory that is a disk of its own, and soon full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use steadfast::Failure;

/// How long it may take until what is on a disk fits on a smaller one: what queries leave is removed soon.
const RESIZE_TIMEOUT: Duration = Duration::from_secs(30);
const RESIZE_INTERVAL: Duration = Duration::from_millis(200);

/// A directory that is a disk of its own until this is dropped.
pub struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    /// Mounts a file system of that size.
    ///
    /// # Errors
    /// What the machine has against it.
    pub fn mount(directory: &Path, kilobytes: u64) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory)?;
        let size = format!("size={kilobytes}k");
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory).output()?;
        match output.status.success() {
            true => Ok(SmallDisk { directory: directory.to_path_buf() }),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
        }
    }

    /// Gives it another size, as soon as what is on it fits.
    pub async fn resize(&self, kilobytes: u64) -> Result<(), Failure> {
        let size = format!("remount,size={kilobytes}k");
        let deadline = Instant::now() + RESIZE_TIMEOUT;
        loop {
            let output = Command::new("mount").args(["-o", &size]).arg(&self.directory).output()?;
            if output.status.success() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let error = String::from_utf8_lossy(&output.stderr).trim().to_string();
                return Err(
                    format!("{} cannot be given another size: {error}", self.directory.display()).into()
                );
            }
            tokio::time::sleep(RESIZE_INTERVAL).await;
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is just ending may still use it.
        let ended = Command::new("umount").arg("--lazy").arg(&self.directory).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.directory.display());
        }
    }
}
