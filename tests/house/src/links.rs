//! Links of the documents: a relative link, and a path of the tree in code font, lead to something tracked.
//!
//! A small reader of Markdown is enough: inline links, link definitions, `src` and `href` of embedded
//! HTML, and code spans. Fenced code is not looked at; addresses of other hosts are not tried.

use std::collections::BTreeMap;

/// Every tracked file by its path from the top, with its text (empty for binaries).
pub type Tree = BTreeMap<String, String>;

/// Links of all documents in the tree that lead nowhere.
pub fn violations(tree: &Tree) -> Vec<String> {
    let documents = tree.iter().filter(|(path, _)| path.ends_with(".md"));
    let mut found = Vec::new();
    for (path, text) in documents {
        for (number, line) in prose(text) {
            let (links, spans) = targets(line);
            for link in links {
                if !leads_somewhere(tree, path, &link) {
                    found.push(format!("{path}:{number}: no {link}"));
                }
            }
            for span in spans {
                if names_file(tree, span) && !exists(tree, span.trim_end_matches('/')) {
                    found.push(format!("{path}:{number}: no `{span}`"));
                }
            }
        }
    }
    found
}

/// Lines outside fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let start = line.trim_start();
        let fence = start.starts_with("```") || start.starts_with("~~~");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The link targets and the code spans of a line.
fn targets(line: &str) -> (Vec<String>, Vec<&str>) {
    let mut plain = String::new();
    let mut spans = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('`') {
        plain.push_str(before);
        let Some((span, after)) = after.split_once('`') else {
            rest = after;
            break;
        };
        spans.push(span);
        rest = after;
    }
    plain.push_str(rest);
    let mut links = Vec::new();
    for (start, end) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
        for piece in plain.split(start).skip(1) {
            let target = piece.split(end).next().unwrap_or_default();
            // A title may follow the address.
            links.extend(target.split_whitespace().next().map(str::to_owned));
        }
    }
    if let Some((label, target)) = plain.split_once("]: ")
        && label.starts_with('[')
        && !label.starts_with("[^")
    {
        links.extend(target.split_whitespace().next().map(str::to_owned));
    }
    (links, spans)
}

fn leads_somewhere(tree: &Tree, document: &str, link: &str) -> bool {
    let link = link.trim_start_matches('<').trim_end_matches('>');
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        Some(document.to_owned())
    } else {
        join(document, path)
    };
    let Some(target) = target.filter(|target| exists(tree, target)) else {
        return false;
    };
    let text = tree.get(&target).filter(|_| target.ends_with(".md"));
    heading.is_empty() || text.is_none_or(|text| has_heading(text, heading))
}

/// The path from the top that a relative path in a document means.
fn join(document: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    // An absolute path means another thing on every host.
    (!path.starts_with('/')).then(|| parts.join("/"))
}

/// Whether there is such a file or folder; the top is one.
fn exists(tree: &Tree, path: &str) -> bool {
    let folder = format!("{path}/");
    path.is_empty()
        || tree.contains_key(path)
        || tree
            .range(folder.clone()..)
            .next()
            .is_some_and(|(found, _)| found.starts_with(&folder))
}

/// Whether a code span is the plain path of something in one of the tree's top folders.
fn names_file(tree: &Tree, span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let Some((top, rest)) = span.split_once('/') else {
        return false;
    };
    !top.is_empty() && !rest.is_empty() && span.chars().all(plain) && exists(tree, top)
}

/// Whether a document has the heading that `#anchor` means.
fn has_heading(text: &str, anchor: &str) -> bool {
    prose(text).any(|(_, line)| {
        let title = line.trim_start_matches('#');
        title.len() < line.len() && slug(title) == anchor
    })
}

/// The anchor of a heading, as mdBook and the usual hosts make it.
fn slug(title: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || *c == '-' || *c == '_' || *c == ' ';
    let title = title.trim().to_lowercase();
    let title = title.chars().filter(kept);
    title.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(document: &str) -> usize {
        let mut tree = Tree::new();
        for path in ["Makefile", "kernel/src/main.rs", "docs/a.png"] {
            tree.insert(path.to_owned(), String::new());
        }
        let page = "# The page: one!\n```\n# not a heading\n```\n";
        tree.insert("docs/page.md".to_owned(), page.to_owned());
        tree.insert("docs/start.md".to_owned(), document.to_owned());
        violations(&tree).len()
    }

    #[test]
    fn good_links_pass() {
        for line in [
            "[a](page.md) and ![b](a.png \"title\")",
            "[a](../Makefile) [b](../kernel/src) [c](../kernel/) [d](..) [e](.)",
            "[a](page.md#the-page-one)",
            "# Here\n[a](#here)",
            "[a]: page.md",
            "[^1]: a footnote",
            "[a](https://a.example/b) <a href=\"https://a.example\">",
            "`[a](missing.md)`",
            "```\n[a](missing.md)\n`kernel/missing.rs`\n```",
            "`kernel/src/main.rs` `kernel/src/` `kernel/*.rs` `either/or` `a / b` `kernel/`",
        ] {
            assert_eq!(count(line), 0, "{line}");
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        for line in [
            "[a](missing.md)",
            "![a](missing.png)",
            "[a](Makefile)",
            "[a](../../Makefile)",
            "[a](/Makefile)",
            "[a](page.md#no-such)",
            "[a](page.md#not-a-heading)",
            "[a](#nowhere)",
            "[a]: missing.md",
            "<img src=\"missing.png\">",
            "```\n```\n[a](missing.md)",
            "an odd ` and then [a](missing.md)",
            "`kernel/missing.rs`",
            "`kernel/sr`",
        ] {
            assert_eq!(count(line), 1, "{line}");
        }
    }
}
