//! Which type a column has: one that shardd knows, a domain over one, or one that only the shards know.

use std::collections::BTreeMap;

use super::catalog;
use crate::topology::{NamedType, NamedTypeKind};
use crate::types::PgType;

/// A column's type as a [`crate::topology::Column`] holds it.
#[derive(Debug, PartialEq)]
pub(super) struct ColumnType {
    pub(super) data_type: PgType,
    pub(super) named_type: Option<NamedType>,
    pub(super) modifier: i32,
}

/// `types`: those that are not built in, by oid.
pub(super) fn of(column: &catalog::Column, types: &BTreeMap<u32, &catalog::Type>) -> ColumnType {
    if let Some(data_type) = known(column.type_oid) {
        return ColumnType { data_type, named_type: None, modifier: column.modifier };
    }
    let named_type = Some(NamedType { name: column.type_name.clone(), kind: kind(column.kind) });
    if column.kind != 'd' {
        return ColumnType { data_type: PgType::Unknown, named_type, modifier: column.modifier };
    }
    let (base, modifier) = base_type(column.type_oid, types);
    ColumnType { data_type: known(base).unwrap_or(PgType::Unknown), named_type, modifier }
}

fn known(oid: u32) -> Option<PgType> {
    PgType::from_oid(oid).filter(|data_type| *data_type != PgType::Unknown)
}

/// What the values of a type can be, when that is not built in: its definition, and those of what it is made from.
pub(super) fn definition(oid: u32, types: &BTreeMap<u32, &catalog::Type>) -> Option<String> {
    let mut definitions: Vec<&str> = Vec::new();
    let mut next = Some(oid);
    while let Some(oid) = next.take() {
        let element = || types.values().find(|known| known.array == Some(oid));
        let Some(known) = types.get(&oid).or_else(element) else { break };
        definitions.extend(known.definition.as_deref());
        next = known.base.filter(|_| definitions.len() <= types.len());
    }
    (!definitions.is_empty()).then(|| definitions.join(" of "))
}

/// What a domain, or a domain over domains, is in the end. Values go to clients as that type, with that modifier.
fn base_type(oid: u32, types: &BTreeMap<u32, &catalog::Type>) -> (u32, i32) {
    let (mut oid, mut modifier) = (oid, -1);
    // A domain is made after its base, so there is no circle; the bound is for a catalog that says otherwise.
    for _ in 0..types.len() {
        let Some(catalog::Type { kind: 'd', base: Some(base), modifier: declared, .. }) = types.get(&oid) else {
            break;
        };
        (oid, modifier) = (*base, *declared);
    }
    (oid, modifier)
}

fn kind(letter: char) -> NamedTypeKind {
    match letter {
        'a' => NamedTypeKind::Array,
        'c' => NamedTypeKind::Composite,
        'd' => NamedTypeKind::Domain,
        'e' => NamedTypeKind::Enum,
        'm' => NamedTypeKind::Multirange,
        'r' => NamedTypeKind::Range,
        _ => NamedTypeKind::Base,
    }
}
