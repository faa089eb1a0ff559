//! Flags and variables of our own servers, as the program itself reads them: `forebay check-settings` says what it would.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::failure::Failure;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::schema::nearest;
use crate::world::World;

/// Commands of the program.
const COMMANDS: [&str; 8] =
    ["serve", "front", "gate", "check-filter", "check-settings", "infer", "bench", "optimize"];

/// Says what our programs would refuse, or not read.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::all(world) {
        for container in pod.all_containers() {
            let Some(command) = command(&container) else { continue };
            if let Some(forebay) = &world.tools.forebay {
                of_container(forebay, &container, &command, failures);
            }
        }
    }
}

/// `forebay/serve`, `registry/x/forebay/gate:1`.
pub(crate) fn is_our_image(image: &str) -> bool {
    let image = image.split('@').next().unwrap_or_default();
    let parts: Vec<&str> = image.split('/').collect();
    let last = parts.last().map_or("", |last| last.split(':').next().unwrap_or_default());
    last == "forebay" || (parts.len() > 1 && parts[parts.len() - 2] == "forebay")
}

/// What the image begins with: all of ours have the command in their entry point.
fn entry(image: &str) -> Option<&'static str> {
    let name = image.split('@').next()?.rsplit('/').next()?.split(':').next()?;
    match name {
        "serve" | "serve-gpu" => Some("serve"),
        "gate" => Some("gate"),
        "optimize" => Some("optimize"),
        _ => None,
    }
}

/// The arguments behind the program's name, if it is ours.
fn command(container: &Field<'_>) -> Option<Vec<String>> {
    let words = |field: &str| -> Vec<String> {
        container.at(field).list().iter().map(|word| word.text_or_empty().to_owned()).collect()
    };
    let (program, arguments, image) =
        (words("command"), words("args"), container.at("image").text_or_empty());
    if let Some((first, rest)) = program.split_first() {
        let ours = first.rsplit('/').next() == Some("forebay");
        return ours.then(|| rest.iter().cloned().chain(arguments).collect());
    }
    if !is_our_image(image) {
        return None;
    }
    let said = arguments.first().is_some_and(|first| COMMANDS.contains(&first.as_str()));
    let entry = entry(image).filter(|_| !said).map(str::to_owned);
    (said || entry.is_some()).then(|| entry.into_iter().chain(arguments).collect())
}

fn of_container(forebay: &Path, container: &Field<'_>, command: &[String], failures: &mut Vec<Failure>) {
    let mut variables = BTreeMap::new();
    let (mut fields, mut unknown) = (HashMap::new(), BTreeSet::new());
    for variable in container.at("env").list() {
        let Some(name) = variable.at("name").text() else { continue };
        let value = if variable.at("value").value().is_some() {
            variable.at("value").text_or_empty().to_owned()
        } else {
            unknown.insert(name.to_owned());
            stand_in(name).to_owned()
        };
        variables.insert(name.to_owned(), expanded(&value, &variables));
        fields.insert(name.to_owned(), variable);
    }
    let server =
        command.first().filter(|command| matches!(command.as_str(), "serve" | "front" | "gate" | "optimize"));
    if let Some(server) = server {
        let known = variables_of(forebay, server);
        for (name, field) in
            fields.iter().filter(|(name, _)| name.starts_with("FOREBAY_") && !known.contains(*name))
        {
            let near = nearest(name, known.iter().map(String::as_str));
            let right = near.map_or_else(
                || format!("one that `forebay {server} --help` names"),
                |near| format!("perhaps `{near}`"),
            );
            field.at("name").fail(failures, format!("`forebay {server}` reads no `{name}`"), right);
        }
    }
    let arguments: Vec<String> = command.iter().map(|word| expanded(word, &variables)).collect();
    let Some(refusal) = refusal(forebay, &arguments, &variables) else { return };
    if unknown.iter().any(|name| refusal.contains(name.as_str()) || refusal.contains(&flag(name))) {
        return;
    }
    let place = fields.iter().find(|(name, _)| {
        refusal.contains(&format!("{} ", flag(name)))
            || refusal.contains(&format!("{}:", flag(name)))
            || refusal.contains(name.as_str())
    });
    let place = match place {
        Some((_, field))
            if !command.iter().any(|word| {
                refusal.contains(word.split('=').next().unwrap_or_default()) && word.starts_with("--")
            }) =>
        {
            field.at("value")
        }
        _ if container.at("args").is_empty() && !container.at("command").is_empty() => {
            container.at("command")
        }
        _ => container.at("args"),
    };
    place.fail(
        failures,
        format!("`forebay` refuses it: {refusal}"),
        "flags and variables as `forebay serve --help` and `forebay gate --help` say",
    );
}

/// `--redis-url` of `FOREBAY_REDIS_URL`.
fn flag(variable: &str) -> String {
    format!("--{}", variable.trim_start_matches("FOREBAY_").to_lowercase().replace('_', "-"))
}

/// A value whose text is not here, in the form that it must have.
fn stand_in(name: &str) -> &'static str {
    match name {
        "FOREBAY_REDIS_URL" => "redis://any:6379",
        "FOREBAY_MEMCACHED_URL" => "memcached://any:11211",
        _ => "0123456789abcdef0123456789abcdef",
    }
}

/// `$(NAME)` as Kubernetes puts variables in.
fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in variables {
        text = text.replace(&format!("$({name})"), value);
    }
    text
}

/// What the program says against its settings.
fn refusal(forebay: &Path, arguments: &[String], variables: &BTreeMap<String, String>) -> Option<String> {
    static ASKED: LazyLock<Mutex<HashMap<String, Option<String>>>> = LazyLock::new(Mutex::default);
    let key = format!("{arguments:?} {variables:?}");
    if let Some(answer) = ASKED.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return answer.clone();
    }
    // The models are the pod's; here any folder stands for them.
    let folder = std::env::temp_dir();
    let mut own: Vec<String> = Vec::new();
    let mut repository = false;
    for word in arguments {
        let here = folder.display();
        own.push(match word.strip_prefix("--model-repository=") {
            Some(_) => format!("--model-repository={here}"),
            None if repository => here.to_string(),
            None => word.clone(),
        });
        repository = word == "--model-repository";
    }
    let mut command = Command::new(forebay);
    command.arg("check-settings").args(&own).env_clear().envs(variables).stdin(Stdio::null());
    if variables.contains_key("FOREBAY_MODEL_REPOSITORY") {
        command.env("FOREBAY_MODEL_REPOSITORY", &folder);
    }
    command.env("FOREBAY_LOG_FORMAT", variables.get("FOREBAY_LOG_FORMAT").map_or("text", String::as_str));
    let answer = match command.output() {
        Err(error) => Some(format!("{} can't be run: {error}", forebay.display())),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    };
    ASKED.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer.clone());
    answer
}

/// Variables that a server's help names.
fn variables_of(forebay: &Path, server: &str) -> BTreeSet<String> {
    static KNOWN: LazyLock<Mutex<HashMap<String, BTreeSet<String>>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{} {server}", forebay.display());
    let read = || {
        let said = Command::new(forebay).args([server, "--help"]).env_clear().stdin(Stdio::null()).output();
        let said =
            said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let words = said.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        words.filter(|word| word.starts_with("FOREBAY_")).map(str::to_owned).collect()
    };
    known.entry(key).or_insert_with(read).clone()
}
