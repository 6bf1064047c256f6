//! The same answer as text or as JSON, and the exit codes of the contract.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use accord_protocol::message::{Fault, Notice, PersonReply, Where};
use serde_json::{Value, json};

use crate::command::Global;

/// What a command came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Exit code.
    pub(crate) exit: u8,
    /// For `--json`.
    pub(crate) result: Option<Value>,
    /// For people, on stdout.
    pub(crate) text: String,
    /// Things to know, on stderr.
    pub(crate) warnings: Vec<Notice>,
    /// What went wrong.
    pub(crate) error: Option<Fault>,
}

/// A failure with its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{}", .fault.message)]
pub(crate) struct Failure {
    pub(crate) exit: u8,
    pub(crate) fault: Box<Fault>,
}

impl Failure {
    /// Misused: nothing was sent or changed.
    pub(crate) fn usage(code: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(2, code, message, next)
    }

    /// Refused: nothing was changed.
    pub(crate) fn refused(code: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(3, code, message, next)
    }

    /// A fault of disk, network or own node.
    pub(crate) fn fault(code: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(4, code, message, next)
    }

    fn new(exit: u8, code: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        let fault =
            Fault { code: code.to_owned(), message: message.into(), place: Where::default(), next: Some(next.into()) };
        Self { exit, fault: Box::new(fault) }
    }

    /// With the physical line that it is about.
    pub(crate) fn at_line(mut self, line: u64) -> Self {
        self.fault.place.line = Some(line);
        self
    }

    /// With the file that it is about.
    pub(crate) fn in_file(mut self, file: impl Into<String>) -> Self {
        self.fault.place.file = Some(file.into());
        self
    }
}

impl Outcome {
    /// Done as asked.
    pub(crate) fn done(result: Value, text: impl Into<String>) -> Self {
        Self { result: Some(result), text: text.into(), ..Self::default() }
    }

    /// What the node replied; text is made from its result.
    pub(crate) fn from_reply(reply: PersonReply<Value>, text: impl FnOnce(&Value) -> String) -> Self {
        let text = reply.result.as_ref().map(text).unwrap_or_default();
        Self { exit: reply.exit, result: reply.result, text, warnings: reply.warnings, error: reply.error }
    }

    /// From an error chain.
    pub(crate) fn from_error(error: anyhow::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => Self { exit: failure.exit, error: Some(*failure.fault), ..Self::default() },
            Err(error) => {
                let fault =
                    Fault { code: "FAULT".into(), message: format!("{error:#}"), place: Where::default(), next: None };
                Self { exit: 4, error: Some(fault), ..Self::default() }
            }
        }
    }
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    json: bool,
    colour: bool,
}

impl Style {
    pub(crate) fn new(global: &Global) -> Self {
        let colour = match global.color.as_str() {
            "always" => true,
            "never" => false,
            _ => io::stderr().is_terminal(),
        };
        Self { json: global.json, colour }
    }
}

/// Prints an outcome: answers to stdout, everything else to stderr.
pub(crate) fn print(command: &str, outcome: &Outcome, style: Style) -> ExitCode {
    let written = if style.json { print_json(command, outcome) } else { print_text(outcome, style) };
    match written {
        // A reader that has gone away (`| head`) is no fault.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(outcome.exit),
        Err(_) => ExitCode::from(4),
        Ok(()) => ExitCode::from(outcome.exit),
    }
}

fn print_json(command: &str, outcome: &Outcome) -> io::Result<()> {
    let envelope = json!({
        "accord": 1,
        "command": command,
        "exit": outcome.exit,
        "result": outcome.result,
        "warnings": outcome.warnings,
        "error": outcome.error,
    });
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, &envelope)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

fn print_text(outcome: &Outcome, style: Style) -> io::Result<()> {
    let paint =
        |code: &str, text: &str| if style.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() };
    let mut stdout = io::stdout().lock();
    stdout.write_all(outcome.text.as_bytes())?;
    if !outcome.text.is_empty() && !outcome.text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()?;
    let mut stderr = io::stderr().lock();
    for warning in &outcome.warnings {
        writeln!(stderr, "{} {}", paint("33", "warning:"), warning.message)?;
    }
    if let Some(error) = &outcome.error {
        let mut place = String::new();
        for (name, value) in [
            ("", &error.place.file),
            ("line ", &error.place.line.map(|line| line.to_string())),
            ("column ", &error.place.column),
            ("", &error.place.member),
            ("request ", &error.place.request_id),
        ] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                let separator = if place.is_empty() { "" } else { ", " };
                // Writing to a string does not fail.
                let _ = write!(place, "{separator}{name}{value}");
            }
        }
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        writeln!(stderr, "{} {place}{} ({})", paint("31", "error:"), error.message, error.code)?;
        if let Some(next) = &error.next {
            writeln!(stderr, "  next: {next}")?;
        }
    }
    stderr.flush()
}

/// Prints what clap found wrong; `--json` holds for it too.
pub(crate) fn usage_error(error: &clap::Error, json: bool) -> ExitCode {
    if !error.use_stderr() {
        // Help and version.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if json {
        let message = error.to_string();
        // What is wrong, in one line, without the usage and the hint that follow it.
        let lines = message.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
        let words: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
        let command = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
        let known = command.filter(|command| crate::command::Cli::knows(command));
        let fault = Fault {
            code: "USAGE".into(),
            message: words.join(" ").trim_start_matches("error: ").to_owned(),
            place: Where::default(),
            next: Some(known.as_ref().map_or("accord --help".to_owned(), |command| format!("accord {command} --help"))),
        };
        let outcome = Outcome { exit: 2, error: Some(fault), ..Outcome::default() };
        return print(known.as_deref().unwrap_or("usage"), &outcome, Style { json: true, colour: false });
    }
    let _ = error.print();
    ExitCode::from(2)
}

/// Lines of cells as an aligned table; columns named in `right` are numbers.
pub(crate) fn table(header: &[String], rows: &[Vec<String>], right: &[bool]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(header).chain(rows.iter().map(Vec::as_slice)) {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if index == 0 { "" } else { "  " };
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let flush_right = right.get(index).copied().unwrap_or(false);
            line += gap;
            line += &if flush_right { format!("{pad}{cell}") } else { format!("{cell}{pad}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A number with thin groups of three, for people.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_columns_line_up() {
        assert_eq!([0, 12, 1234, 1_234_567].map(grouped), ["0", "12", "1 234", "1 234 567"]);
        let header = ["a", "n"].map(str::to_owned);
        let rows = [vec!["xyz".to_owned(), "1".to_owned()], vec!["x".to_owned(), "1 000".to_owned()]];
        assert_eq!(table(&header, &rows, &[false, true]), "a        n\nxyz      1\nx    1 000\n");
    }
}
