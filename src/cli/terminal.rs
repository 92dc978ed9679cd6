//! How text meets the terminal: errors, tables, colour. Knows nothing of commands.

use std::io::{IsTerminal, Write};

use super::args::Color;
use crate::error::Error;

/// Prints an error to standard error.
pub fn complain(error: &Error, color: Color) {
    let text = error.to_string();
    let mut err = std::io::stderr().lock();
    // Nothing can be said any more if standard error is gone.
    let _ = match error {
        // A recipe's problems come rendered, each with its own `error:`.
        Error::Recipe(_) => writeln!(err, "{}", text.trim_end()),
        Error::Interrupted | Error::Differs(_) => writeln!(err, "{text}"),
        _ if colour(color) => writeln!(err, "\x1b[1;31merror:\x1b[0m {text}"),
        _ => writeln!(err, "error: {text}"),
    };
}

/// Prints to standard output; a reader that went away (`| head`) ends the printing, not the command.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line to standard output.
pub fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Prints one JSON document to standard output.
pub fn json(value: &serde_json::Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Whether messages to standard error are coloured.
pub fn colour(color: Color) -> bool {
    use_color(color, std::io::stderr().is_terminal())
}

fn use_color(color: Color, terminal: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// Rows under a header, columns as wide as they need to be; columns named in `right` are flush right.
pub fn table(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut push = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (i, cell) in cells.enumerate() {
            let pad = " ".repeat(widths[i].saturating_sub(cell.chars().count()));
            let gap = if i == 0 { "" } else { "  " };
            line.push_str(gap);
            if right.contains(&i) {
                line.push_str(&pad);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&pad);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    };
    push(&mut header.iter().copied());
    for row in rows {
        push(&mut row.iter().map(String::as_str));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_numbers_flush_right() {
        let rows = vec![vec!["BLUE JAY".into(), "7".into()], vec!["OWL".into(), "1,200".into()]];
        assert_eq!(table(&["species", "real"], &rows, &[1]), "species    real\nBLUE JAY      7\nOWL       1,200\n");
    }
}
