//! Bad days for the disk, with the real binary and real file systems: one that fills up and is emptied again, one that
//! fails, one that is not there at the start; and partitions that move from one to another while they are written.
//!
//! What was acknowledged is there whatever happened. File systems of a few dozen megabytes are mounted for it, which
//! needs to be root; where that is refused, the test says so and is skipped. `DISK_TESTS_REQUIRED=1` makes that a failure.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logrun_testkit::{Home, Running, Scratch};
use logrun_tests::logrun;
use logrun_tests::wire::{Connection, batch};

const PATIENCE: Duration = Duration::from_secs(60);
/// The code of KAFKA_STORAGE_ERROR, as the client says it.
const STORAGE_ERROR: &str = "error 56";
/// The code of REQUEST_TIMED_OUT: a large append that was taken waits for room, and gets it if there is some in time.
const TIMED_OUT: &str = "error 7";
const RECORD_BYTES: usize = 20_000;
const RECORDS: usize = 5;

/// A mounted file system, which goes with its owner.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A file system of `mib` MiB, in memory or ext4 in a file; none if this process may not mount.
fn mount(scratch: &Scratch, kind: &str, mib: u64) -> Option<Mount> {
    let at = scratch.join(&format!("{kind}-mount"));
    fs::create_dir_all(&at).expect("a directory");
    let ran = |command: &mut Command| command.output().is_ok_and(|done| done.status.success());
    let mounted = if kind == "tmpfs" {
        ran(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "logrun"]).arg(&at))
    } else {
        let image = scratch.join("image");
        let made = fs::File::create(&image).and_then(|f| f.set_len(mib << 20)).is_ok();
        made && ran(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))
            && ran(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))
    };
    if !mounted {
        assert!(std::env::var_os("DISK_TESTS_REQUIRED").is_none(), "{kind} can't be mounted");
        println!("SKIPPED: {kind} can't be mounted here (it needs to be root)");
        return None;
    }
    Some(Mount(at))
}

fn value(number: usize) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(RECORD_BYTES, (number % 251) as u8);
    value
}

/// Writes one topic's partitions and knows what was acknowledged.
struct Writer {
    connection: Connection,
    topic: &'static str,
    next: usize,
    /// For each partition: base offset and first number of each acknowledged batch.
    acknowledged: Vec<Vec<(i64, usize)>>,
}

impl Writer {
    fn new(home: &Home, topic: &'static str, partitions: i32) -> Self {
        let mut connection = connect(home);
        connection.create_topic(topic, partitions).expect("a topic");
        Self { connection, topic, next: 0, acknowledged: vec![Vec::new(); partitions as usize] }
    }

    fn write(&mut self, partition: usize) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        let values: Vec<_> = (self.next..self.next + RECORDS).map(value).collect();
        self.connection.produce(self.topic, partition as i32, &batch(&values, now))?;
        let base = self.connection.produced()?;
        self.acknowledged[partition].push((base, self.next));
        self.next += RECORDS;
        Ok(())
    }

    /// Writes until it is refused; gives how many batches were taken.
    fn fill(&mut self, partition: usize) -> usize {
        // Nobody makes room meanwhile: what waits for it need not wait long.
        let usual = std::mem::replace(&mut self.connection.produce_timeout, Duration::from_secs(3));
        let refused = (0..10_000).find_map(|n| self.write(partition).err().map(|e| (n, e)));
        let (taken, e) = refused.expect("the disk does not take everything");
        if e.to_string().contains(TIMED_OUT) {
            let refused = self.write(partition).expect_err("one waits already").to_string();
            assert!(refused.contains(STORAGE_ERROR), "{refused}");
        } else {
            assert!(e.to_string().contains(STORAGE_ERROR), "{e}");
        }
        self.connection.produce_timeout = usual;
        taken
    }

    /// Tries again, as clients do, until it is taken.
    fn write_again(&mut self, partition: usize, within: Duration) {
        let end = Instant::now() + within;
        while let Err(e) = self.write(partition) {
            assert!(e.to_string().contains(STORAGE_ERROR), "{e}");
            assert!(Instant::now() < end, "still refused after {within:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Reads partition from `from` on and finds all that was acknowledged there.
    fn check(&mut self, partition: usize, from: i64) {
        let mut found = Vec::new();
        let mut at = from;
        loop {
            let (high_watermark, records) = self.connection.fetch(self.topic, partition as i32, at).expect("a fetch");
            let Some(last) = records.last() else { break };
            at = last.0 + 1;
            found.extend(records);
            if at >= high_watermark {
                break;
            }
        }
        for (base, first) in self.acknowledged[partition].iter().filter(|(base, _)| *base >= from) {
            for n in 0..RECORDS {
                let offset = base + n as i64;
                let place = found.binary_search_by_key(&offset, |(o, _)| *o);
                let place = place.unwrap_or_else(|_| panic!("partition {partition}: offset {offset} is lost"));
                assert!(found[place].1 == value(first + n), "partition {partition}: offset {offset} is another record");
            }
        }
    }
}

/// Shows the end of the broker's log if the test fails.
struct ShowLog<'a>(&'a Home);

impl Drop for ShowLog<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.0.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("the broker's log ends:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

fn connect(home: &Home) -> Connection {
    Connection::open(home.addr(), PATIENCE).expect("a connection")
}

/// A home whose data lies in `dirs`; the metadata in the first.
fn home(scratch: &Scratch, dirs: &[&Path], extra: &str) -> Home {
    let list: Vec<_> = dirs.iter().map(|d| d.display().to_string()).collect();
    let extra = format!("log.dirs={}\nlog.segment.bytes=1048576\n{extra}", list.join(","));
    Home::new(logrun(), &scratch.join("home"), &extra).expect("a home")
}

fn start(home: &Home) -> Running {
    home.start(PATIENCE).unwrap_or_else(|e| panic!("{e}")).0
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn count(log: &str, text: &str) -> usize {
    log.lines().filter(|l| l.contains(text)).count()
}

/// The disk fills up, is emptied, fills up again; producers are refused and served, everybody else is served throughout.
fn a_full_disk(kind: &str, reserve: u64) {
    let scratch = Scratch::new(&format!("disk-full-{kind}-{reserve}")).expect("a directory");
    let Some(disk) = mount(&scratch, kind, 48) else { return };
    let home = home(&scratch, &[&disk.0], &format!("logrun.disk.reserve.bytes={reserve}"));
    let _show = ShowLog(&home);
    let mut running = start(&home);
    let mut writer = Writer::new(&home, "filled", 2);
    let taken = writer.fill(0);
    assert!(taken > 200, "only {taken} batches were taken");
    let free = |home: &Home| connect(home).describe_log_dirs().expect("DescribeLogDirs")[0].usable_bytes as u64;
    let left = free(&home);
    // Index files, checkpoints and metadata may take from the reserve, producers may not.
    assert!(left + (1 << 20) > reserve, "{left} bytes are free");
    println!("{kind}: {taken} batches were taken, {left} bytes are left, {reserve} are reserved");
    // Another partition of the same disk is refused too; reading goes on, and so does what the node writes itself.
    if reserve > 0 {
        let refused = writer.write(1).expect_err("refused").to_string();
        assert!(refused.contains(STORAGE_ERROR), "{refused}");
        connect(&home).create_topic("made-on-a-full-disk", 1).expect("a topic");
    }
    writer.check(0, 0);
    // Half of it is deleted: producers are served again by themselves.
    let middle = writer.acknowledged[0][taken / 2].0;
    assert_eq!(connect(&home).delete_records("filled", 0, middle).expect("DeleteRecords"), middle);
    writer.write_again(0, Duration::from_secs(30));
    writer.write_again(1, Duration::from_secs(30));
    let log = home.log();
    let (full, room) = (count(&log, "is full: producers are refused"), count(&log, "has room again"));
    assert_eq!((full, room), (1, 1), "said too often, or not: {log}");
    let again = writer.fill(1);
    assert!(again > 50, "only {again} batches were taken after the deletion");
    writer.check(0, middle);
    writer.check(1, 0);
    if reserve == 0 {
        // The last byte may be taken, and a start writes a little of its own: for that there is a reserve.
        return;
    }
    // Killed on a full disk, and stopped on one.
    running.kill().expect("SIGKILL ends it");
    let mut running = start(&home);
    writer.connection = connect(&home);
    writer.check(0, middle);
    writer.check(1, 0);
    running.terminate(PATIENCE).expect("SIGTERM ends it");
    let _running = start(&home);
    writer.connection = connect(&home);
    writer.check(0, middle);
    writer.check(1, 0);
    let middle = writer.acknowledged[1][again / 2].0;
    connect(&home).delete_records("filled", 1, middle).expect("DeleteRecords");
    writer.write_again(0, Duration::from_secs(30));
    writer.check(1, middle);
}

#[test]
fn a_full_tmpfs_is_an_ordinary_state() {
    a_full_disk("tmpfs", 8 << 20);
}

#[test]
fn a_full_ext4_is_an_ordinary_state() {
    a_full_disk("ext4", 8 << 20);
}

#[test]
fn a_disk_without_reserve_refuses_only_what_does_not_fit() {
    a_full_disk("ext4", 0);
}

/// The partitions in a directory.
fn partitions_in(connection: &mut Connection, dir: &Path, topic: &str) -> Vec<usize> {
    let dirs = connection.describe_log_dirs().expect("DescribeLogDirs");
    let dir = dirs.iter().find(|d| Path::new(&d.path) == dir).expect("the directory is described");
    let mut found: Vec<usize> =
        dir.replicas.iter().filter(|r| r.topic == topic && !r.is_future).map(|r| r.partition as usize).collect();
    found.sort_unstable();
    found
}

/// Makes all of an ext4 file system answer EIO from now on, as a device does that has gone (FS_IOC_SHUTDOWN).
fn shut_down(mount: &Mount) {
    let code =
        "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
    let done = Command::new("python3").args(["-c", code]).arg(&mount.0).output().expect("python3");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_failing_directory_takes_only_its_own_partitions_offline() {
    let scratch = Scratch::new("disk-fails").expect("a directory");
    let Some(disk) = mount(&scratch, "ext4", 64) else { return };
    let (good, bad) = (scratch.join("good"), disk.0.join("bad"));
    let home = home(&scratch, &[&good, &bad], "");
    let _show = ShowLog(&home);
    let mut running = start(&home);
    let mut writer = Writer::new(&home, "spread", 6);
    for _ in 0..5 {
        (0..6).for_each(|p| writer.write(p).expect("all is well"));
    }
    let (in_good, in_bad) =
        (partitions_in(&mut writer.connection, &good, "spread"), partitions_in(&mut writer.connection, &bad, "spread"));
    assert_eq!((in_good.len(), in_bad.len()), (3, 3), "{in_good:?} {in_bad:?}");
    shut_down(&disk);
    let refused = writer.write(in_bad[0]).expect_err("its device is gone").to_string();
    assert!(refused.contains(STORAGE_ERROR), "{refused}");
    // The others of the directory go with it, those of the other one stay.
    wait_for("the directory is offline", || {
        let dirs = writer.connection.describe_log_dirs().expect("DescribeLogDirs");
        dirs.iter().any(|d| Path::new(&d.path) == bad && d.error == 56)
    });
    for p in &in_bad {
        let refused = writer.write(*p).expect_err("its directory is offline").to_string();
        assert!(refused.contains(STORAGE_ERROR), "{refused}");
    }
    for p in &in_good {
        writer.write(*p).expect("its directory works");
        writer.check(*p, 0);
    }
    // The controller names no leader any more (LEADER_NOT_AVAILABLE), and what is new goes to the other directory.
    wait_for("the metadata knows", || {
        let leaders = writer.connection.leaders("spread").expect("Metadata");
        (0..6).all(|p| (leaders[p] == -1) == in_bad.contains(&p))
    });
    writer.connection.create_topic("later", 2).expect("a topic");
    assert_eq!(partitions_in(&mut writer.connection, &good, "later"), [0, 1]);
    assert_eq!(count(&home.log(), "has failed and is offline until a new start"), 1);
    running.terminate(PATIENCE).expect("SIGTERM ends it");
    // A start without the directory is a start; nothing of it begins anew elsewhere.
    let mut running = start(&home);
    writer.connection = connect(&home);
    for p in &in_good {
        writer.check(*p, 0);
    }
    for p in &in_bad {
        assert!(writer.write(*p).is_err(), "partition {p} was made anew");
    }
    running.terminate(PATIENCE).expect("SIGTERM ends it");
    // The device is back, and with it what was acknowledged and had reached it.
    let image = scratch.join("image");
    drop(disk);
    let disk = Mount(scratch.join("ext4-mount"));
    let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&disk.0).status().expect("mount");
    assert!(mounted.success(), "the file system can't be mounted again");
    let _running = start(&home);
    writer.connection = connect(&home);
    for p in &in_good {
        writer.check(*p, 0);
    }
    for p in &in_bad {
        writer.write(*p).expect("its directory works again");
    }
}

#[test]
fn the_last_directory_ends_the_process() {
    let scratch = Scratch::new("disk-last").expect("a directory");
    let Some(disk) = mount(&scratch, "ext4", 32) else { return };
    let dir = disk.0.join("data");
    let home = home(&scratch, &[&dir], "");
    let _show = ShowLog(&home);
    let mut running = start(&home);
    let mut writer = Writer::new(&home, "t", 1);
    writer.write(0).expect("all is well");
    shut_down(&disk);
    let _ = writer.write(0);
    let status = running.wait_end(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(1));
    let log = home.log();
    assert!(count(&log, "the node could not go on") == 1 && log.contains(&dir.display().to_string()), "{log}");
}

#[test]
fn partitions_move_while_they_are_written() {
    let scratch = Scratch::new("disk-moves").expect("a directory");
    let (a, b) = (scratch.join("a"), scratch.join("b"));
    let home = home(&scratch, &[&a, &b], "file.delete.delay.ms=0");
    let _show = ShowLog(&home);
    let mut running = start(&home);
    let mut writer = Writer::new(&home, "moved", 4);
    for _ in 0..100 {
        (0..4).for_each(|p| writer.write(p).expect("all is well"));
    }
    let mut admin = connect(&home);
    for (round, to) in [&b, &a, &b].into_iter().enumerate() {
        for p in 0..4 {
            admin.move_replica(to, "moved", p).expect("AlterReplicaLogDirs");
        }
        // The second time the process dies on the way, and the next one goes on.
        if round == 1 {
            writer.write(0).expect("all is well");
            running.kill().expect("SIGKILL ends it");
            running = start(&home);
            (admin, writer.connection) = (connect(&home), connect(&home));
        }
        wait_for("the partitions have moved", || {
            (0..4).for_each(|p| writer.write(p).expect("all is well"));
            if partitions_in(&mut admin, to, "moved").len() < 4 && round == 1 {
                // What had not begun was forgotten with the process.
                (0..4).for_each(|p| admin.move_replica(to, "moved", p).expect("AlterReplicaLogDirs"));
            }
            partitions_in(&mut admin, to, "moved").len() == 4
        });
        (0..4).for_each(|p| writer.check(p, 0));
    }
    running.terminate(PATIENCE).expect("SIGTERM ends it");
    let left: Vec<_> = fs::read_dir(&b).expect("b").flatten().map(|e| e.file_name().into_string()).collect();
    assert!(!left.iter().flatten().any(|n| n.ends_with("-future")), "{left:?}");
    let _running = start(&home);
    writer.connection = connect(&home);
    (0..4).for_each(|p| writer.check(p, 0));
    assert!(connect(&home).move_replica(Path::new("/nowhere"), "moved", 0).is_err());
}
