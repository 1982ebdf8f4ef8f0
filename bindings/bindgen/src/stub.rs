//! The interface as a stub of Python: every type, field, argument and default, sorted by name, without a word about it.
//!
//! UniFFI's generated Python says of variants and errors what they are made of, but not to a type checker. A stub beside
//! it does, and, as all languages are generated from one interface, it is what a review reads. How things are named here
//! is how UniFFI names them in Python; the type checker of the suite would find where it is not.

use anyhow::{Result, bail};
use camino::Utf8Path;
use heck::{ToShoutySnakeCase as _, ToSnakeCase as _};
use uniffi_bindgen::interface::{Argument, AsType as _, Callable, Enum, Field, Object, Record, Type, Variant};
use uniffi_bindgen::{BindgenLoader, BindgenPaths, ComponentInterface, GlobalConfig};

const HEAD: &str = "# Made by `cargo xtask bindings generate`: what apps in other languages see, as Python has it.
import datetime
import enum
from dataclasses import dataclass

";

/// Returns the stub of what a library carries.
pub fn of(library: &str) -> Result<String> {
    let loader = BindgenLoader::new(BindgenPaths::default(), GlobalConfig::default());
    let interfaces = loader.load_cis(loader.load_metadata(Utf8Path::new(library))?)?;
    let [interface] = interfaces.as_slice() else {
        bail!("{library} carries {} interfaces, and one is expected", interfaces.len());
    };
    let mut parts: Vec<(String, String)> = Vec::new();
    for ty in interface.iter_local_types() {
        if let Type::Custom { name, builtin, .. } = ty {
            parts.push((name.clone(), format!("{name} = {}\n", python(builtin))));
        }
    }
    parts.extend(interface.record_definitions().iter().map(|record| (record.name().to_owned(), of_record(record))));
    for declared in interface.enum_definitions() {
        parts.push((declared.name().to_owned(), of_enum(declared, interface)));
    }
    parts.extend(interface.object_definitions().iter().map(|object| (object.name().to_owned(), of_object(object))));
    parts.sort();
    let mut functions: Vec<String> =
        interface.function_definitions().iter().map(|function| callable(function.name(), function, None)).collect();
    functions.sort();
    let parts = parts.into_iter().map(|(_, part)| part + "\n").chain(functions);
    Ok(HEAD.to_owned() + &parts.collect::<String>())
}

fn of_record(record: &Record) -> String {
    format!("@dataclass(kw_only=True, match_args=False)\nclass {}:\n{}", record.name(), fields(record.fields(), "    "))
}

fn of_enum(declared: &Enum, interface: &ComponentInterface) -> String {
    let name = declared.name();
    let is_error = interface.is_name_used_as_error(name);
    let base = match (is_error, declared.is_flat()) {
        (true, _) => "(Exception)",
        (false, true) => "(enum.Enum)",
        (false, false) => "",
    };
    let mut out = format!("class {name}{base}:\n");
    if is_error {
        out.push_str(&shared(declared.variants()));
    }
    for (number, variant) in declared.variants().iter().enumerate() {
        if declared.is_flat() && !is_error {
            out.push_str(&format!("    {} = {number}\n", variant.name().to_shouty_snake_case()));
        } else {
            out.push_str(&of_variant(variant, name, is_error));
        }
    }
    out
}

/// What every variant of an error carries can be asked of any.
fn shared(variants: &[Variant]) -> String {
    let (first, others) = variants.split_first().map_or((&[][..], &[][..]), |(first, others)| (first.fields(), others));
    let everywhere = |field: &&Field| {
        let same = |found: &Field| found.name() == field.name() && found.as_type() == field.as_type();
        others.iter().all(|variant| variant.fields().iter().any(same))
    };
    let shared: Vec<Field> = first.iter().filter(everywhere).cloned().collect();
    fields(&shared, "    ")
}

/// A variant is a class within its enum's, and below it.
fn of_variant(variant: &Variant, declared: &str, is_error: bool) -> String {
    let name = if is_error { variant.name().to_owned() } else { variant.name().to_shouty_snake_case() };
    let class = format!("    class {name}({declared}):");
    if !variant.has_fields() {
        return format!("{class} ...\n");
    }
    if variant.has_nameless_fields() {
        let types: Vec<String> = variant.fields().iter().map(|field| python(&field.as_type())).collect();
        let arguments: String = types.iter().enumerate().map(|(at, ty)| format!("v{at}: {ty}, ")).collect();
        let held = types.join(" | ");
        return format!(
            "{class}\n        def __init__(self, {arguments}/) -> None: ...\n        def __getitem__(self, index: int) -> {held}: ...\n"
        );
    }
    let how = if is_error { "eq=False, match_args=False" } else { "match_args=False" };
    format!("    @dataclass({how})\n{class}\n{}", fields(variant.fields(), "        "))
}

fn fields(fields: &[Field], indent: &str) -> String {
    let field = |field: &Field| {
        let default = if field.default_value().is_some() { " = ..." } else { "" };
        format!("{indent}{}: {}{default}\n", field.name().to_snake_case(), python(&field.as_type()))
    };
    fields.iter().map(field).collect()
}

fn of_object(object: &Object) -> String {
    let mut out = format!("class {}:\n", object.name());
    if let Some(primary) = object.primary_constructor() {
        let arguments = arguments(&primary.arguments(), Some("self"));
        out.push_str(&format!("    def __init__({arguments}) -> None: ...\n"));
    }
    for made in object.alternate_constructors() {
        out.push_str(&format!("    @classmethod\n    {}", callable(made.name(), made, Some("cls"))));
    }
    for method in object.methods() {
        out.push_str(&format!("    {}", callable(method.name(), method, Some("self"))));
    }
    out
}

fn callable(name: &str, callable: &impl Callable, first: Option<&str>) -> String {
    let kind = if callable.is_async() { "async def" } else { "def" };
    let returned = callable.return_type().map_or_else(|| "None".to_owned(), python);
    format!("{kind} {}({}) -> {returned}: ...\n", name.to_snake_case(), arguments(&callable.arguments(), first))
}

fn arguments(arguments: &[&Argument], first: Option<&str>) -> String {
    let argument = |argument: &&Argument| {
        let default = if argument.default_value().is_some() { " = ..." } else { "" };
        format!("{}: {}{default}", argument.name().to_snake_case(), python(&argument.as_type()))
    };
    first.map(str::to_owned).into_iter().chain(arguments.iter().map(argument)).collect::<Vec<_>>().join(", ")
}

fn python(ty: &Type) -> String {
    match ty {
        Type::UInt8 | Type::Int8 | Type::UInt16 | Type::Int16 | Type::UInt32 | Type::Int32 => "int".to_owned(),
        Type::UInt64 | Type::Int64 => "int".to_owned(),
        Type::Float32 | Type::Float64 => "float".to_owned(),
        Type::Boolean => "bool".to_owned(),
        Type::String => "str".to_owned(),
        Type::Bytes => "bytes".to_owned(),
        Type::Timestamp => "datetime.datetime".to_owned(),
        Type::Duration => "datetime.timedelta".to_owned(),
        Type::Object { name, .. } | Type::Record { name, .. } | Type::Enum { name, .. } => name.clone(),
        Type::CallbackInterface { name, .. } | Type::Custom { name, .. } => name.clone(),
        Type::Box { inner_type } => python(inner_type),
        Type::Optional { inner_type } => format!("{} | None", python(inner_type)),
        Type::Sequence { inner_type } => format!("list[{}]", python(inner_type)),
        Type::Set { inner_type } => format!("set[{}]", python(inner_type)),
        Type::Map { key_type, value_type } => format!("dict[{}, {}]", python(key_type), python(value_type)),
    }
}
