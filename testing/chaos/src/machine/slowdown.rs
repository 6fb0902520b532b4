//! A process that gets a tenth of a processor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steadfast::Failure;

/// Where control groups of version 1 limit processors, and those of version 2.
const GROUPS_V1: &str = "/sys/fs/cgroup/cpu";
const GROUPS_V2: &str = "/sys/fs/cgroup";

/// How long a process runs and stands still in turns where there are no control groups.
const DUTY_RUN: Duration = Duration::from_millis(10);
const DUTY_STAND: Duration = Duration::from_millis(90);

/// A process that gets a tenth of a processor until this is dropped.
pub struct Slowdown {
    means: Means,
}

enum Means {
    /// A control group with a quota.
    Group { group: PathBuf, parent: PathBuf, process: u32 },
    /// A thread that stops the process and lets it go on.
    Duty { has_ended: Arc<AtomicBool>, thread: Option<JoinHandle<()>> },
}

impl Slowdown {
    /// Slows a process down, by a control group if the machine lets us have one.
    pub fn of(process: u32) -> Result<Self, Failure> {
        let means = match Self::by_group(process) {
            Ok(means) => means,
            Err(_) => Self::by_duty(process)?,
        };
        Ok(Slowdown { means })
    }

    /// By what means.
    pub fn means(&self) -> &'static str {
        match self.means {
            Means::Group { .. } => "processor quota",
            Means::Duty { .. } => "stops and continues",
        }
    }

    fn by_group(process: u32) -> Result<Means, Failure> {
        let (parent, limit, value) = match Path::new(GROUPS_V1).join("cpu.cfs_quota_us").exists() {
            true => (PathBuf::from(GROUPS_V1), "cpu.cfs_quota_us", "10000"),
            false => (PathBuf::from(GROUPS_V2), "cpu.max", "10000 100000"),
        };
        let group = parent.join(format!("steadfast-chaos-{process}"));
        std::fs::create_dir(&group)?;
        let limited = std::fs::write(group.join(limit), value)
            .and_then(|()| std::fs::write(group.join("cgroup.procs"), process.to_string()));
        if let Err(error) = limited {
            let _ = std::fs::remove_dir(&group);
            return Err(error.into());
        }
        Ok(Means::Group { group, parent, process })
    }

    fn by_duty(process: u32) -> Result<Means, Failure> {
        let id = Pid::from_raw(i32::try_from(process)?);
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // A process that has gone needs no more slowing down.
                let stopped = kill(id, Signal::SIGSTOP);
                std::thread::sleep(DUTY_STAND);
                if stopped.is_err() || kill(id, Signal::SIGCONT).is_err() {
                    return;
                }
                std::thread::sleep(DUTY_RUN);
            }
        });
        Ok(Means::Duty { has_ended, thread: Some(thread) })
    }
}

impl Drop for Slowdown {
    fn drop(&mut self) {
        match &mut self.means {
            Means::Group { group, parent, process } => {
                // An ended process has left the group by itself.
                let _ = std::fs::write(parent.join("cgroup.procs"), process.to_string());
                if let Err(error) = std::fs::remove_dir(&*group) {
                    eprintln!("{} stays: {error}", group.display());
                }
            }
            Means::Duty { has_ended, thread } => {
                has_ended.store(true, Ordering::Relaxed);
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
        }
    }
}
