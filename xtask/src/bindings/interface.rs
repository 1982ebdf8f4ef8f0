//! A listing of generated Python: the names, arguments and types that an app has, one a line, without their words.
//!
//! Every language is generated from the same interface, so a listing of one says what changed in all. The types of
//! fields without a name do not show, nor do those of the error's.

/// Classes that UniFFI adds for itself.
const NOT_OURS: &[&str] = &["InternalError"];

/// Lists what the generated code offers.
pub(super) fn list(code: &str) -> String {
    let mut out = String::from("# Made by `cargo xtask bindings generate`: what apps in other languages see.\n");
    let mut class = None;
    for line in code.lines() {
        let indent = line.len() - line.trim_start().len();
        let text = line.trim();
        let at_top = indent == 0;
        // Comments of classes begin at the margin as well.
        if at_top && text.starts_with("class ") {
            class = opened(text);
        }
        let shown = match (at_top, class) {
            (true, _) if text.starts_with("class ") => class,
            (true, _) => signature(text),
            (false, Some(_)) => member(text),
            (false, None) => None,
        };
        if let Some(text) = shown {
            push(&mut out, indent, text);
        }
    }
    out
}

/// Returns the name of a class of the interface that begins here.
fn opened(text: &str) -> Option<&str> {
    let name = text.strip_prefix("class ")?.split(['(', ':']).next()?;
    let generated = name.starts_with('_') || name.ends_with("Protocol") || name.ends_with("Impl");
    (!generated && !NOT_OURS.contains(&name)).then_some(name)
}

/// Returns what a line inside a class adds to the listing.
fn member(text: &str) -> Option<&str> {
    if let Some(fields) = text.strip_prefix("def __init__(self, ") {
        let fields = fields.strip_prefix("*, ").unwrap_or(fields).strip_suffix("):")?;
        return (!fields.is_empty() && !fields.starts_with('*')).then_some(fields);
    }
    if text.starts_with("class ") {
        return text.split(['(', ':']).next();
    }
    signature(text).or_else(|| is_constant(text).then_some(text))
}

/// Returns a function's line, unless it is one that UniFFI adds.
fn signature(text: &str) -> Option<&str> {
    let name = text.strip_prefix("async def ").or_else(|| text.strip_prefix("def "))?;
    let added = name.starts_with('_') || name.starts_with("is_") && name.ends_with("-> bool:") && !is_method(name);
    (!added && !name.starts_with("uniffi_")).then_some(text.trim_end_matches(':'))
}

/// UniFFI asks `is_VARIANT(self)` of its enums; methods of handles have a place for arguments.
fn is_method(name: &str) -> bool {
    name.contains("(self, ")
}

/// Tells a variant of a plain enum: `NAME = 3`.
fn is_constant(text: &str) -> bool {
    let upper =
        |name: &str| name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
    text.split_once(" = ").is_some_and(|(name, number)| upper(name) && number.parse::<u32>().is_ok())
}

fn push(out: &mut String, indent: usize, text: &str) {
    let line = format!("{}{text}\n", " ".repeat(indent));
    // An error class is declared twice.
    if !out.ends_with(&format!("\n{line}")) {
        out.push_str(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surface_is_listed_and_what_uniffi_adds_is_not() {
        let code = "class _UniffiThing:\n    def lower(self): pass\nclass InternalError(Exception):\n    CALL = 1\n\
            class Role(enum.Enum):\n    READER = 0\nclass TomboloError(Exception):\n    pass\nclass TomboloError:\n    \
            class Store(_Temp):\n        def __init__(self, fault, reason):\n            x = 1\nclass Document(DocumentProtocol):\n    \
            def __init__(self, *args, **kwargs):\n    async def edit(self, edits: typing.List[Edit]) -> None:\n    \
            def _private(self):\n    def is_PUT(self) -> bool:\n    def is_ended(self, ) -> bool:\ndef live_object_count() -> int:\n";
        let expected = "Role\n    READER = 0\nTomboloError\n    class Store\n        fault, reason\nDocument\n    \
            async def edit(self, edits: typing.List[Edit]) -> None\n    def is_ended(self, ) -> bool\n\
            def live_object_count() -> int\n";
        let listed = list(code);
        assert_eq!(listed.split_once('\n').unwrap().1, expected, "{listed}");
    }
}
