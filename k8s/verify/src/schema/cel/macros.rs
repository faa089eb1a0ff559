//! What Kubernetes' CEL has and the engine lacks, made of what the engine has: a parsed rule enters, one that it can evaluate leaves.
//!
//! Two-variable comprehensions go over the keys of a map, or the numbers of a list's items; their second variable is the value there.

use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators};
use kube_cel::cel::parser::Parser;

/// What stands for a call of that name with so many variables and bodies: of a target, a variable, and those bodies.
struct Macro {
    name: &'static str,
    variables: usize,
    bodies: usize,
    /// What the last variable is, where it is not one that the engine sets.
    last: Option<&'static str>,
    text: &'static str,
}

const fn plain(name: &'static str, bodies: usize, text: &'static str) -> Macro {
    Macro { name, variables: 1, bodies, last: None, text }
}

const fn of_two(name: &'static str, bodies: usize, text: &'static str) -> Macro {
    Macro { name, variables: 2, bodies, last: Some("__T[__I]"), text }
}

const fn of_optional(name: &'static str, text: &'static str) -> Macro {
    Macro { name, variables: 1, bodies: 1, last: Some("__T.value()"), text }
}

const MACROS: &[Macro] = &[
    of_two("all", 1, "keysOf(__T).all(__I, __B)"),
    of_two("exists", 1, "keysOf(__T).exists(__I, __B)"),
    of_two("existsOne", 1, "keysOf(__T).exists_one(__I, __B)"),
    of_two("exists_one", 1, "keysOf(__T).exists_one(__I, __B)"),
    of_two("transformList", 1, "keysOf(__T).map(__I, __B)"),
    of_two("transformList", 2, "keysOf(__T).map(__I, __B, __C)"),
    of_two("transformMap", 1, "mapOf(keysOf(__T).map(__I, [__I, __B]))"),
    of_two("transformMap", 2, "mapOf(keysOf(__T).filter(__I, __B).map(__I, [__I, __C]))"),
    plain("sortBy", 1, "sortedByFirst(__T.map(__I, [__B, __I]))"),
    of_optional("optMap", "__T.hasValue() ? optional.of(__B) : optional.none()"),
    of_optional("optFlatMap", "__T.hasValue() ? __B : optional.none()"),
];

/// Puts what the engine has in place of what it lacks.
///
/// # Errors
/// Something that can't be evaluated is left.
pub(super) fn expand(expression: &mut IdedExpr) -> Result<(), String> {
    let mut outcome = Ok(());
    each(expression, &mut |node| {
        if let Err(wrong) = one(node) {
            outcome = Err(wrong);
        }
    });
    outcome
}

fn one(node: &mut IdedExpr) -> Result<(), String> {
    match &mut node.expr {
        // The engine ends where it meets one.
        Expr::Struct(of) => return Err(format!("makes a `{}`", of.type_name)),
        // It takes a field that isn't there for an error, but not an index.
        Expr::Call(call) if call.func_name == operators::OPT_SELECT => {
            operators::OPT_INDEX.clone_into(&mut call.func_name);
        }
        // A field of what may be there may be there.
        Expr::Select(select) if !select.test && is_optional(&select.operand) => {
            let mut there = parse(&format!("__T[{:?}]", select.field))?;
            put(&mut there, "__T", &select.operand);
            if let Expr::Call(call) = &mut there.expr {
                operators::OPT_INDEX.clone_into(&mut call.func_name);
            }
            *node = there;
        }
        Expr::Call(call) => {
            if let Some(made) = expanded(call)? {
                *node = made;
            }
        }
        _ => {}
    }
    Ok(())
}

fn is_optional(of: &IdedExpr) -> bool {
    matches!(&of.expr, Expr::Call(call) if call.func_name == operators::OPT_INDEX)
}

fn expanded(call: &CallExpr) -> Result<Option<IdedExpr>, String> {
    let known = MACROS
        .iter()
        .find(|known| known.name == call.func_name && known.variables + known.bodies == call.args.len());
    let (Some(known), Some(target)) = (known, call.target.as_deref()) else { return Ok(None) };
    let (variables, bodies) = call.args.split_at(known.variables);
    let mut bodies = bodies.to_vec();
    let mut made = parse(known.text)?;
    for (index, variable) in variables.iter().enumerate() {
        let Expr::Ident(variable) = &variable.expr else {
            return Err(format!("{} without a variable", call.func_name));
        };
        match known.last.filter(|_| index + 1 == variables.len()) {
            Some(text) => {
                let there = parse(text)?;
                for body in &mut bodies {
                    put(body, variable, &there);
                }
            }
            None => rename(&mut made, variable),
        }
    }
    for (name, body) in ["__B", "__C"].iter().zip(&bodies) {
        put(&mut made, name, body);
    }
    // The bodies' last variable is said by it too.
    if let Some(Expr::Ident(first)) = variables.first().map(|variable| &variable.expr) {
        rename(&mut made, first);
    }
    put(&mut made, "__T", target);
    Ok(Some(made))
}

fn parse(text: &str) -> Result<IdedExpr, String> {
    Parser::new().parse(text).map_err(|errors| errors.to_string())
}

/// Puts an expression in place of a name.
fn put(within: &mut IdedExpr, name: &str, what: &IdedExpr) {
    each(within, &mut |node| {
        if matches!(&node.expr, Expr::Ident(other) if other == name) {
            *node = what.clone();
        }
    });
}

/// The template's variable becomes the rule's.
fn rename(within: &mut IdedExpr, variable: &str) {
    each(within, &mut |node| match &mut node.expr {
        Expr::Ident(name) if name == "__I" => variable.clone_into(name),
        Expr::Comprehension(of) if of.iter_var == "__I" => variable.clone_into(&mut of.iter_var),
        _ => {}
    });
}

/// Every node, the innermost first.
fn each(node: &mut IdedExpr, act: &mut dyn FnMut(&mut IdedExpr)) {
    match &mut node.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| each(target, act));
            call.args.iter_mut().for_each(|argument| each(argument, act));
        }
        Expr::Comprehension(of) => {
            for part in
                [&mut of.iter_range, &mut of.accu_init, &mut of.loop_cond, &mut of.loop_step, &mut of.result]
            {
                each(part, act);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(|element| each(element, act)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    each(&mut entry.key, act);
                    each(&mut entry.value, act);
                }
            }
        }
        Expr::Select(select) => each(&mut select.operand, act),
        _ => {}
    }
    act(node);
}

/// A function that a rule calls and nobody knows.
pub(super) fn unknown(expression: &IdedExpr, knows: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut found = None;
    each(&mut expression.clone(), &mut |node| {
        let Expr::Call(call) = &node.expr else { return };
        let name = &call.func_name;
        // Operators have signs in their names.
        let is_operator = !name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let library = match call.target.as_deref().map(|target| &target.expr) {
            Some(Expr::Ident(library)) => knows(&format!("{library}.{name}")),
            _ => false,
        };
        if !is_operator && !library && !knows(name) {
            found = Some(name.clone());
        }
    });
    found
}

/// Names that an expression reads: neither its own variables, nor libraries of functions.
pub(super) fn free(expression: &IdedExpr, knows: &dyn Fn(&str) -> bool) -> Vec<String> {
    let (mut read, mut own) = (Vec::new(), Vec::new());
    each(&mut expression.clone(), &mut |node| match &node.expr {
        Expr::Ident(name) if !name.starts_with('@') => read.push(name.clone()),
        Expr::Comprehension(of) => own.extend([of.iter_var.clone(), of.accu_var.clone()]),
        Expr::Call(call) => {
            let library = call.target.as_deref().map(|target| &target.expr);
            if let Some(Expr::Ident(library)) = library
                && knows(&format!("{library}.{}", call.func_name))
            {
                own.push(library.clone());
            }
        }
        _ => {}
    });
    read.retain(|name| !own.contains(name));
    read.sort();
    read.dedup();
    read
}
