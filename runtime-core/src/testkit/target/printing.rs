//! What programs print arrives whole, in order, and in time.

use super::Suite;
use crate::{
    logs::{MAX_LINE, Stream},
    target::Exit,
};

pub(super) async fn both_streams_in_order(suite: &Suite<'_>) {
    const COUNT: usize = 500;
    let script =
        format!("i=0; while [ $i -lt {COUNT} ]; do echo \"out $i\"; echo \"err $i\" >&2; i=$((i + 1)); done");
    let ended = suite.run(&script).await;
    for (stream, word) in [(Stream::Stdout, "out"), (Stream::Stderr, "err")] {
        let expected: Vec<_> = (0..COUNT).map(|n| format!("{word} {n}")).collect();
        let mut texts = ended.texts(suite.stream(stream));
        texts.retain(|text| text.starts_with(word));
        assert!(texts == expected, "the lines on {stream} must come complete and in order");
    }
}

/// Bytes are the program's own: no encoding, no line's end, no length is assumed.
pub(super) async fn whatever_bytes(suite: &Suite<'_>) {
    let long: Vec<u8> = (0..MAX_LINE * 5 / 2).map(|n| b'a' + u8::try_from(n % 26).unwrap_or(0)).collect();
    let exact = vec![b'='; MAX_LINE];
    let nature = suite.fixture.nature();
    let cases: [(&str, Vec<&[u8]>, bool); 6] = [
        ("nothing", vec![], true),
        ("empty lines", vec![b"", b"", b"x", b""], true),
        (
            "bytes that are no text",
            vec![b"\xff\xfe\x80", b"nul \x00 inside", b"\r carriage \r", b" spaces  "],
            true,
        ),
        ("a line without an end", vec![b"first", b"last"], false),
        ("a very long line", vec![b"short", &long, b"short again"], true),
        ("a line as long as a piece, without an end", vec![&exact, &exact], false),
    ];
    for (what, lines, ends) in cases {
        let mut content = lines.join(&b'\n');
        if ends && !lines.is_empty() {
            content.push(b'\n');
        }
        let file = suite.path("content");
        let written = std::fs::write(&file, &content);
        assert!(written.is_ok(), "{written:?}");
        let ended = suite.run(&format!("cat '{}'", file.display())).await;
        assert_eq!(*ended.exit(), Exit::Code(0), "{what}");
        let printed = ended.printed(Stream::Stdout);
        assert_eq!(printed.len(), lines.len(), "{what}: each line must arrive, once");
        for (printed, line) in printed.iter().zip(lines) {
            let marked = !nature.exact && (line.len() >= MAX_LINE || line.ends_with(b"\r"));
            assert!(marked || printed == line, "{what} must arrive as it was printed");
        }
        let stderr = if nature.stderr { ended.printed(Stream::Stderr) } else { vec![] };
        assert!(stderr.is_empty(), "{what}: nothing was printed on stderr");
        assert!(ended.longest_piece() <= MAX_LINE, "{what}: no piece is longer than {MAX_LINE} bytes");
    }
}

pub(super) async fn much_of_it(suite: &Suite<'_>) {
    let texts = [Stream::Stdout, Stream::Stderr].map(|stream| {
        let lines = (0..40_000).map(|n| format!("line {n} of many on {stream}, and no two are alike\n"));
        (stream, lines.collect::<String>())
    });
    let [out, err] = texts.each_ref().map(|(stream, text)| {
        assert!(text.len() > 1_000_000);
        let file = suite.path(&format!("content-{stream}"));
        let written = std::fs::write(&file, text);
        assert!(written.is_ok(), "{written:?}");
        file
    });
    // What two programs print into one stream at the same time is mixed anywhere.
    let both = if suite.fixture.nature().stderr { "&" } else { ";" };
    let script = format!("cat '{}' {both} cat '{}' >&2; wait", out.display(), err.display());
    let ended = suite.run(&script).await;
    for (stream, text) in texts {
        let mut arrived = ended.texts(suite.stream(stream));
        if !suite.fixture.nature().stderr {
            arrived.retain(|line| line.contains(&format!(" on {stream},")));
        }
        assert!(
            arrived.iter().eq(text.lines()),
            "a megabyte on {stream} must arrive whole: {} lines",
            arrived.len()
        );
    }
}

/// A line is there while the program that printed it still runs.
pub(super) async fn as_it_is_printed(suite: &Suite<'_>) {
    let file = suite.path("answer");
    let target = suite.fixture.open();
    let script =
        format!("echo question >&2; until [ -e '{0}' ]; do sleep 0.02; done; cat '{0}'", file.display());
    let mut follow = suite.apply(&*target, suite.job(&script)).await;
    follow.line("question").await;
    let staged = suite.path("staged");
    let written = std::fs::write(&staged, "42\n").and_then(|()| std::fs::rename(&staged, &file));
    assert!(written.is_ok(), "{written:?}");
    let ended = follow.end().await;
    let mut texts = ended.texts(Stream::Stdout);
    if !suite.fixture.nature().stderr {
        assert_eq!(texts.remove(0), "question");
    }
    assert_eq!(texts, ["42"]);
}
