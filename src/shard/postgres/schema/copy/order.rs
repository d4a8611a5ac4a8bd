//! The order in which objects can be made: by their phases, but nothing before what it needs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::Object;
use crate::error::{Error, Result};

/// How many objects of a circle are named.
const MAX_NAMED: usize = 6;

/// `aliases`: what is made with another object, and with which. `needs`: what needs what.
///
/// # Errors
/// 0A000: some need one another in a circle.
pub(super) fn in_order(
    mut objects: BTreeMap<String, Object>,
    aliases: &BTreeMap<String, String>,
    needs: &[(&str, &str)],
) -> Result<Vec<Object>> {
    let mut needed_by: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    for (dependent, needed) in needs {
        let (dependent, needed) = (made_with(dependent, aliases), made_with(needed, aliases));
        let known = objects.contains_key(dependent) && objects.contains_key(needed) && dependent != needed;
        if known && needed_by.entry(needed).or_default().insert(dependent) {
            *missing.entry(dependent).or_default() += 1;
        }
    }
    let ready = |node: &str, objects: &BTreeMap<String, Object>| {
        let object = &objects[node];
        Reverse((object.phase, object.label.clone(), node.to_owned()))
    };
    let free = objects.keys().filter(|node| !missing.contains_key(node.as_str()));
    let mut heap: BinaryHeap<_> = free.map(|node| ready(node, &objects)).collect();
    let mut ordered = Vec::with_capacity(objects.len());
    while let Some(Reverse((_, _, node))) = heap.pop() {
        for dependent in needed_by.remove(node.as_str()).unwrap_or_default() {
            let Some(count) = missing.get_mut(dependent) else { continue };
            *count -= 1;
            if *count == 0 {
                heap.push(ready(dependent, &objects));
            }
        }
        ordered.extend(objects.remove(&node));
    }
    if objects.is_empty() {
        return Ok(ordered);
    }
    let named: Vec<&str> = objects.values().take(MAX_NAMED).map(|object| object.label.as_str()).collect();
    Err(Error::unsupported(
        format!("copying objects that depend on one another in a circle ({})", named.join(", ")),
        "Make the tables on the new server first, with pg_dump --schema-only or the migrations that made the others'.",
    ))
}

/// The object that another one is made with.
fn made_with<'n>(mut node: &'n str, aliases: &'n BTreeMap<String, String>) -> &'n str {
    // An array's type is its element's, which may be a table's, which is its view's: the ways are short, and have an end.
    for _ in 0..8 {
        match aliases.get(node) {
            Some(of) => node = of,
            None => break,
        }
    }
    node
}
