//! The Postgres types that shardd knows by name and number.
//!
//! <https://www.postgresql.org/docs/current/catalog-pg-type.html>

macro_rules! pg_types {
    ($($variant:ident = $oid:literal, $size:literal, $name:literal, $sql_name:literal, $array:expr;)*) => {
        /// A Postgres type. Scalars and one-dimensional arrays of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum PgType { $($variant,)* }

        impl PgType {
            pub const ALL: &[PgType] = &[$(PgType::$variant,)*];

            pub const fn oid(self) -> u32 {
                match self { $(PgType::$variant => $oid,)* }
            }

            pub fn from_oid(oid: u32) -> Option<PgType> {
                match oid { $($oid => Some(PgType::$variant),)* _ => None }
            }

            /// `typlen`: bytes of a fixed-size value, -1 when it varies, -2 for a C string.
            pub const fn size(self) -> i16 {
                match self { $(PgType::$variant => $size,)* }
            }

            /// `typname`, as the catalog spells it: `int8`, `_int8`.
            pub const fn name(self) -> &'static str {
                match self { $(PgType::$variant => $name,)* }
            }

            /// The name as messages and `format_type` spell it: `bigint`, `bigint[]`.
            pub const fn sql_name(self) -> &'static str {
                match self { $(PgType::$variant => $sql_name,)* }
            }

            /// The array type of this scalar.
            pub const fn array(self) -> Option<PgType> {
                match self { $(PgType::$variant => $array,)* }
            }
        }
    };
}

pg_types! {
    Bool = 16, 1, "bool", "boolean", Some(PgType::BoolArray);
    Bytea = 17, -1, "bytea", "bytea", Some(PgType::ByteaArray);
    Char = 18, 1, "char", "\"char\"", Some(PgType::CharArray);
    Name = 19, 64, "name", "name", Some(PgType::NameArray);
    Int8 = 20, 8, "int8", "bigint", Some(PgType::Int8Array);
    Int2Vector = 22, -1, "int2vector", "int2vector", None;
    Int2 = 21, 2, "int2", "smallint", Some(PgType::Int2Array);
    Int4 = 23, 4, "int4", "integer", Some(PgType::Int4Array);
    Text = 25, -1, "text", "text", Some(PgType::TextArray);
    Oid = 26, 4, "oid", "oid", Some(PgType::OidArray);
    Xid = 28, 4, "xid", "xid", None;
    OidVector = 30, -1, "oidvector", "oidvector", None;
    Json = 114, -1, "json", "json", Some(PgType::JsonArray);
    NodeTree = 194, -1, "pg_node_tree", "pg_node_tree", None;
    Float4 = 700, 4, "float4", "real", Some(PgType::Float4Array);
    Float8 = 701, 8, "float8", "double precision", Some(PgType::Float8Array);
    Unknown = 705, -2, "unknown", "unknown", None;
    Aclitem = 1033, 16, "aclitem", "aclitem", Some(PgType::AclitemArray);
    Bpchar = 1042, -1, "bpchar", "character", Some(PgType::BpcharArray);
    Varchar = 1043, -1, "varchar", "character varying", Some(PgType::VarcharArray);
    Date = 1082, 4, "date", "date", Some(PgType::DateArray);
    Time = 1083, 8, "time", "time without time zone", None;
    Timestamp = 1114, 8, "timestamp", "timestamp without time zone", Some(PgType::TimestampArray);
    Timestamptz = 1184, 8, "timestamptz", "timestamp with time zone", Some(PgType::TimestamptzArray);
    Interval = 1186, 16, "interval", "interval", Some(PgType::IntervalArray);
    Numeric = 1700, -1, "numeric", "numeric", Some(PgType::NumericArray);
    Uuid = 2950, 16, "uuid", "uuid", Some(PgType::UuidArray);
    Jsonb = 3802, -1, "jsonb", "jsonb", Some(PgType::JsonbArray);
    Record = 2249, -1, "record", "record", None;
    Void = 2278, 4, "void", "void", None;
    Regproc = 24, 4, "regproc", "regproc", None;
    Regprocedure = 2202, 4, "regprocedure", "regprocedure", None;
    Regclass = 2205, 4, "regclass", "regclass", None;
    Regtype = 2206, 4, "regtype", "regtype", None;
    Regnamespace = 4089, 4, "regnamespace", "regnamespace", None;
    Regrole = 4096, 4, "regrole", "regrole", None;
    BoolArray = 1000, -1, "_bool", "boolean[]", None;
    ByteaArray = 1001, -1, "_bytea", "bytea[]", None;
    CharArray = 1002, -1, "_char", "\"char\"[]", None;
    NameArray = 1003, -1, "_name", "name[]", None;
    Int2Array = 1005, -1, "_int2", "smallint[]", None;
    Int4Array = 1007, -1, "_int4", "integer[]", None;
    TextArray = 1009, -1, "_text", "text[]", None;
    BpcharArray = 1014, -1, "_bpchar", "character[]", None;
    VarcharArray = 1015, -1, "_varchar", "character varying[]", None;
    Int8Array = 1016, -1, "_int8", "bigint[]", None;
    Float4Array = 1021, -1, "_float4", "real[]", None;
    Float8Array = 1022, -1, "_float8", "double precision[]", None;
    OidArray = 1028, -1, "_oid", "oid[]", None;
    TimestampArray = 1115, -1, "_timestamp", "timestamp without time zone[]", None;
    AclitemArray = 1034, -1, "_aclitem", "aclitem[]", None;
    DateArray = 1182, -1, "_date", "date[]", None;
    TimestamptzArray = 1185, -1, "_timestamptz", "timestamp with time zone[]", None;
    IntervalArray = 1187, -1, "_interval", "interval[]", None;
    NumericArray = 1231, -1, "_numeric", "numeric[]", None;
    UuidArray = 2951, -1, "_uuid", "uuid[]", None;
    JsonArray = 199, -1, "_json", "json[]", None;
    JsonbArray = 3807, -1, "_jsonb", "jsonb[]", None;
}

/// By type, what its array holds.
const ELEMENTS: [Option<PgType>; PgType::ALL.len()] = {
    let mut elements = [None; PgType::ALL.len()];
    let mut at = 0;
    while at < PgType::ALL.len() {
        if let Some(array) = PgType::ALL[at].array() {
            elements[array as usize] = Some(PgType::ALL[at]);
        }
        at += 1;
    }
    elements[PgType::Int2Vector as usize] = Some(PgType::Int2);
    elements[PgType::OidVector as usize] = Some(PgType::Oid);
    elements
};

impl PgType {
    /// The scalar that this array holds.
    pub fn element(self) -> Option<PgType> {
        ELEMENTS[self as usize]
    }

    pub fn is_array(self) -> bool {
        self.element().is_some()
    }

    /// The arrays of the system catalog that count from 0 and have a text form of their own: `1 2 3`.
    pub const fn is_vector(self) -> bool {
        matches!(self, PgType::Int2Vector | PgType::OidVector)
    }

    /// The oid of something in the system catalog, which is shown by its name.
    pub const fn is_reg(self) -> bool {
        matches!(
            self,
            PgType::Regclass
                | PgType::Regtype
                | PgType::Regproc
                | PgType::Regprocedure
                | PgType::Regnamespace
                | PgType::Regrole
        )
    }

    /// The types that only the system catalog's own columns have.
    pub const fn is_catalogs_own(self) -> bool {
        self.is_vector()
            || self.is_reg()
            || matches!(self, PgType::Xid | PgType::Record | PgType::NodeTree | PgType::Aclitem | PgType::AclitemArray)
    }
}

impl std::fmt::Display for PgType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.sql_name())
    }
}
