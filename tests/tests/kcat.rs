//! kcat and ours, side by side on one broker: the same command lines, the same output and exit codes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use logrun_testkit::{Home, Product, Scratch, logrun_binary};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a program; gives its standard output and its exit code.
fn run(mut command: Command, input: &str) -> (String, Option<i32>) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

/// What is produced by one is read alike by both, and what is listed and queried reads the same.
#[test]
fn ours_does_what_kcat_does() {
    if Command::new("kcat").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        assert!(std::env::var("CI").is_err(), "kcat is not installed");
        eprintln!("skipped: kcat is not installed");
        return;
    }
    let scratch = Scratch::new("kcat").expect("a directory");
    let binary = logrun_binary().expect("a binary").0;
    let home = Home::new(Product::Logrun(binary.clone()), scratch.path(), "").expect("a home");
    let (_running, _) = home.start(PATIENCE).expect("it starts");
    let file = scratch.path().join("file.bin");
    std::fs::write(&file, "one\ntwo\n").expect("a file");

    let theirs = |args: &[&str], input: &str| {
        let mut command = Command::new("kcat");
        command.args(["-b", &home.bootstrap()]).args(args);
        run(command, input)
    };
    let ours = |args: &[&str], input: &str| {
        let mut command = Command::new(&binary);
        command.args(["kcat", "-b", &home.bootstrap()]).args(args);
        run(command, input)
    };
    let lines = "a\n\nb\nk:v\n:x\nk:\nlast";
    let headers = ["-P", "-p", "0", "-K:", "-H", "h1=v1", "-H", "h2=", "-H", "h3"];
    for (topic, kcat) in [("theirs", &theirs as &dyn Fn(&[&str], &str) -> _), ("ours", &ours)] {
        let (_, code): (String, Option<i32>) = kcat(&[&headers[..], &["-t", topic]].concat(), lines);
        assert_eq!(code, Some(0));
        let (_, code) = kcat(&["-P", "-t", topic, "-p", "0", "-z", "gzip", &file.to_string_lossy()], "");
        assert_eq!(code, Some(0));
        let (_, code) = kcat(&["-P", "-t", topic, "-p", "0", "-Z", "-K:"], "k:\n:\n");
        assert_eq!(code, Some(0));
    }
    let untimed = |(text, code): (String, Option<i32>)| (text.replace("theirs", "T").replace("ours", "T"), code);
    let all = r"%t [%p] %o: %k (%K) = %s (%S) %h\n";
    let read = |topic| untimed(theirs(&["-C", "-t", topic, "-e", "-f", all], ""));
    assert_eq!(read("ours"), read("theirs"));
    assert!(read("ours").0.contains("T [0] 6:  (-1) = one\ntwo\n (8) "), "{}", read("ours").0);

    for args in [
        &["-C", "-t", "ours", "-e"][..],
        &["-C", "-t", "theirs", "-e", "-J"],
        &["-C", "-t", "theirs", "-eq", "-f", r"%T\t%R%s\x41\n"],
        &["-C", "-t", "ours", "-p", "0", "-o", "-2", "-e", "-D", ";", "-K="],
        &["-C", "-t", "ours", "-o", "2", "-c", "2"],
        &["-C", "-t", "ours", "-o", "end", "-e"],
        &["-C", "-t", "ours", "-o", "s@1", "-e"],
        &["-C", "-t", "nothing", "-e", "-X", "allow.auto.create.topics=false"],
        &["-C", "-t", "ours", "-p", "7", "-e"],
        &["-L"],
        &["-L", "-t", "ours", "-J"],
        &["-Q", "-t", "ours:0:0", "-t", "theirs:0:-1"],
        &["-Q", "-t", "ours:0:1", "-J"],
        &["-L", "-X", "foo=bar"],
    ] {
        let (expected, code) = theirs(args, "");
        let (text, our_code) = ours(args, "");
        // The order of topics is nobody's promise.
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.trim_end().lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&text), sorted(&expected), "{args:?}");
        assert_eq!(our_code, code, "{args:?}");
    }

    // An illegal name among a group's topics is told, and the others are read.
    let (text, code) = ours(&["-G", "skupina_konzumentů", "ours", "téma2", "-e"], "");
    assert_eq!((text.lines().next(), code), (Some("a"), Some(0)));
}
