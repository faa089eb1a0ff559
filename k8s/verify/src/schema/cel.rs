//! Rules (CEL) of `CustomResourceDefinitions`, as the API server evaluates them: a schema and an object enter, rules that are not kept
//! leave. The engine is `kube-cel`'s; what it lacks is in [`macros`] and [`functions`], and [`values`] are made as the server makes them.

mod functions;
mod macros;
mod values;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::parser::{Expression, Parser};
use kube_cel::cel::{Context, ExecutionError, Value as Cel};
use serde_json::Value;

use crate::path;

/// A rule that an object does not keep.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    /// The field that has it.
    pub path: String,
    /// What its author says of it.
    pub message: String,
    /// The rule.
    pub rule: String,
}

/// All that rules may call, and rules that were read.
pub struct Rules {
    context: Context<'static>,
    read: RefCell<HashMap<String, Result<Rc<Expression>, String>>>,
}

impl Default for Rules {
    fn default() -> Self {
        let mut context = Context::default().with_all();
        functions::add(&mut context);
        Self { context, read: RefCell::default() }
    }
}

impl Rules {
    /// Those of a schema, and of all in it, that a value does not keep. One that can't be evaluated here counts as kept: see
    /// [`Self::read`].
    pub fn broken(&self, schema: &Value, value: &Value) -> Vec<Broken> {
        let mut found = Vec::new();
        self.walk(schema, value, "", &mut found);
        found
    }

    /// Reads a rule.
    ///
    /// # Errors
    /// It can't be evaluated here, and why.
    pub fn read(&self, rule: &str) -> Result<Rc<Expression>, String> {
        if let Some(known) = self.read.borrow().get(rule) {
            return known.clone();
        }
        let parsed = Parser::new().enable_optional_syntax(true).parse(rule);
        let read = parsed.map_err(|errors| errors.to_string()).and_then(|mut expression| {
            macros::expand(&mut expression)?;
            match macros::unknown(&expression, &|name| self.knows(name)) {
                Some(name) => Err(format!("nobody knows `{name}`")),
                None => Ok(Rc::new(expression)),
            }
        });
        self.read.borrow_mut().insert(rule.to_owned(), read.clone());
        read
    }

    /// What is wrong with an expression that is none.
    pub fn unreadable(&self, expression: &str) -> Option<String> {
        let parsed = Parser::new().enable_optional_syntax(true).parse(expression);
        parsed.err().map(|errors| errors.to_string())
    }

    /// Names that an expression reads and does not bring itself.
    pub fn free(&self, expression: &str) -> Vec<String> {
        self.read(expression)
            .map_or_else(|_| Vec::new(), |read| macros::free(&read, &|name| self.knows(name)))
    }

    /// A value of a schema, as rules see it.
    pub fn shown(&self, schema: &Value, value: &Value) -> Cel {
        values::of(value, schema, &|call, text| self.made(call, text))
    }

    /// Evaluates a rule of a value.
    ///
    /// # Errors
    /// It can't be read, or says nothing of that value.
    pub fn evaluate(&self, rule: &str, of: Cel) -> Result<Cel, String> {
        let expression = self.read(rule)?;
        self.resolve(&expression, of).map_err(|error| error.to_string())
    }

    fn resolve(&self, expression: &Expression, of: Cel) -> Result<Cel, ExecutionError> {
        let mut scope = self.context.new_inner_scope();
        scope.add_variable_from_value("self", of);
        scope.resolve(expression)
    }

    /// A function that is called with nothing says what it misses; one that isn't there says that.
    fn knows(&self, function: &str) -> bool {
        let call = Parser::new().parse(&format!("{function}()"));
        let answer = call.map(|call| self.context.resolve(&call));
        !matches!(answer, Ok(Err(ExecutionError::UndeclaredReference(_))) | Err(_))
    }

    fn walk(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<Broken>) {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        if let Some(rules) = rules.filter(|rules| !rules.is_empty()) {
            let itself = self.shown(schema, value);
            found.extend(rules.iter().filter_map(|rule| self.one(rule, &itself, at)));
        }
        match value {
            Value::Object(members) => {
                let properties = schema.get("properties").and_then(Value::as_object);
                let others = schema.get("additionalProperties").filter(|others| others.is_object());
                for (key, member) in members {
                    if let Some(schema) = properties.and_then(|known| known.get(key)).or(others) {
                        self.walk(schema, member, &path::key(at, key), found);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.walk(schema, item, &path::item(at, index), found);
                    }
                }
            }
            _ => {}
        }
    }

    fn one(&self, rule: &Value, of: &Cel, at: &str) -> Option<Broken> {
        let text = |key: &str| rule.get(key).and_then(Value::as_str);
        let source = text("rule")?;
        let expression = self.read(source).ok()?;
        // What may not change has no meaning for an object that is new.
        if expression.references().has_variable("oldSelf") {
            return None;
        }
        match self.resolve(&expression, of.clone()) {
            // The server refuses what asks for something that is not there, too.
            Ok(Cel::Bool(false))
            | Err(ExecutionError::NoSuchKey(_) | ExecutionError::MissingArgumentOrTarget) => {}
            _ => return None,
        }
        let said = |expression: &str| match self.evaluate(expression, of.clone()) {
            Ok(Cel::String(said)) => Some(said.to_string()),
            _ => None,
        };
        let message = text("messageExpression").and_then(said);
        let message = message.or_else(|| text("message").map(str::to_owned));
        let path = text("fieldPath").map_or(at.to_owned(), |below| format!("{at}{below}"));
        Some(Broken {
            path: path.trim_start_matches('.').to_owned(),
            message: message.unwrap_or_else(|| "breaks a rule of its definition".to_owned()),
            rule: source.to_owned(),
        })
    }

    /// A time or a span, by CEL's own reading of it.
    fn made(&self, call: &str, text: &str) -> Option<Cel> {
        self.evaluate(&format!("{call}(self)"), Cel::String(text.to_owned().into())).ok()
    }
}
